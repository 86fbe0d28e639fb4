"""PyTorch, eager and compiled by Inductor."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..files import HOME, Files
from .base import Engine, openmp


class TorchEager(Engine):
    name = "torch"
    packages = ("torch", "torchvision", "safetensors")
    settings = "eager, inference mode, channels last, batch norms folded, OpenMP threads spinning and bound"

    @classmethod
    def environment(cls, threads: int, pin: bool) -> dict[str, str]:
        return openmp(threads, pin)

    @classmethod
    def model_files(cls, files: Files) -> list[Path]:
        return [files.weights]

    def load(self) -> None:
        import torch
        from safetensors.torch import load_file
        from torch.fx.experimental.optimization import fuse

        from .. import networks

        torch.set_num_threads(self.case.threads)
        torch.set_flush_denormal(True)
        model = fuse(networks.load(self.case.net, load_file(self.files.weights)))
        self.model = model.to(memory_format=torch.channels_last)
        self.x = torch.from_numpy(self.images()).to(memory_format=torch.channels_last)
        self.inference = torch.inference_mode

    def run(self) -> None:
        with self.inference():
            self.y = self.model(self.x)

    def output(self) -> np.ndarray:
        return self.y.numpy()


class TorchCompile(TorchEager):
    name = "torch-compile"
    settings = "Inductor with frozen weights, channels last, batch norms folded, its cache warm"
    converts = True

    @classmethod
    def environment(cls, threads: int, pin: bool) -> dict[str, str]:
        cache = HOME / "inductor"
        return super().environment(threads, pin) | {"TORCHINDUCTOR_CACHE_DIR": str(cache), "TRITON_CACHE_DIR": str(cache / "triton")}

    def convert(self) -> None:
        os.makedirs(HOME / "inductor", exist_ok=True)
        self.load()
        self.run()

    def load(self) -> None:
        super().load()
        import torch
        import torch._inductor.config as config

        config.freezing = True
        config.cpp.threads = self.case.threads
        self.model = torch.compile(self.model)
