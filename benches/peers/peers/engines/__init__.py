"""The engines, one a file. Importing this imports none of their packages: those load in each engine's own process."""

from .base import Engine
from .mnn import Mnn
from .ncnn import Ncnn, NcnnStreams
from .openvino import OpenVino, OpenVinoStreams
from .ort import OnnxRuntime
from .torch import TorchCompile, TorchEager
from .torch_step import StepEager, StepEagerNchw, StepInductor

ENGINES: dict[str, type[Engine]] = {
    engine.name: engine
    for engine in (OnnxRuntime, OpenVino, OpenVinoStreams, Mnn, Ncnn, NcnnStreams, TorchEager, TorchCompile)
}

# torch-compile takes a minute and a C++ compiler for each case, and is not the fastest peer anywhere: on request.
DEFAULT = tuple(name for name in ENGINES if name != "torch-compile")

# What `train` times: a run is a training step.
TRAINERS: dict[str, type[Engine]] = {engine.name: engine for engine in (StepEager, StepEagerNchw, StepInductor)}
