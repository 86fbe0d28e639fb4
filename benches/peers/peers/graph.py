"""A network as a list of layers, traced from its torch module: what the writers of ONNX and ncnn files read."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx, nn

from .networks import ShortcutA

INPUT = "x"


@dataclass
class Layer:
    """One operation. `inputs` are names of layers, or `INPUT`; `tensors` are float32, by short name."""

    kind: str  # conv, norm, relu, max_pool, add, mean, shortcut_a, linear
    name: str
    inputs: list[str]
    kernel: int = 0
    stride: int = 1
    pad: int = 0
    eps: float = 0.0
    tensors: dict[str, np.ndarray] = field(default_factory=dict)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, ShortcutA) or super().is_leaf_module(module, name)


def trace(model: nn.Module) -> list[Layer]:
    """Layers in the order of execution; the last one is the answer."""
    layers: list[Layer] = []
    names: dict[str, str] = {}
    for node in _Tracer().trace(model).nodes:
        if node.op == "placeholder":
            names[node.name] = INPUT
            continue
        inputs = [names[a.name] for a in node.args if isinstance(a, fx.Node)]
        if node.op == "output" or node.target is torch.flatten:
            names[node.name] = inputs[0]  # a mean has one value a channel, so flattening changes nothing
            continue
        if node.op == "call_function" and node.target in (operator.add, operator.iadd):
            layer = Layer("add", node.name, inputs)
        elif node.op == "call_module":
            module = model.get_submodule(node.target)
            if isinstance(module, nn.Identity):
                names[node.name] = inputs[0]
                continue
            layer = _of_module(module, node.name, inputs)
        else:
            raise NotImplementedError(f"{node.op} {node.target}")
        names[node.name] = layer.name
        layers.append(layer)
    return layers


def _of_module(module: nn.Module, name: str, inputs: list[str]) -> Layer:
    def arrays(*keys: str) -> dict[str, np.ndarray]:
        return {key: getattr(module, key).detach().float().numpy() for key in keys}

    match module:
        case nn.Conv2d():
            return Layer("conv", name, inputs, module.kernel_size[0], module.stride[0], module.padding[0], tensors=arrays("weight"))
        case nn.BatchNorm2d():
            return Layer("norm", name, inputs, eps=module.eps, tensors=arrays("weight", "bias", "running_mean", "running_var"))
        case nn.ReLU():
            return Layer("relu", name, inputs)
        case nn.MaxPool2d():
            return Layer("max_pool", name, inputs, module.kernel_size, module.stride, module.padding)
        case nn.AdaptiveAvgPool2d():
            return Layer("mean", name, inputs)
        case nn.Linear():
            return Layer("linear", name, inputs, tensors=arrays("weight", "bias"))
        case ShortcutA():
            return Layer("shortcut_a", name, inputs, stride=module.stride, pad=module.pad)
    raise NotImplementedError(type(module).__name__)
