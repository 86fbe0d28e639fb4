"""A training step of PyTorch: eager in both layouts, and compiled by Inductor."""

from __future__ import annotations

import numpy as np

from .torch import TorchCompile, TorchEager

LR, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-4


class StepEager(TorchEager):
    """One run is forwards, mean cross-entropy, backwards and SGD with momentum."""

    name = "eager"
    settings = "channels last, fused SGD over all tensors at once, OpenMP threads spinning and bound"
    channels_last = True

    def load(self) -> None:
        import torch
        from safetensors.torch import load_file

        from .. import networks

        torch.set_num_threads(self.case.threads)
        torch.set_flush_denormal(True)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        self.model = networks.load(self.case.net, load_file(self.files.weights)).train().to(memory_format=layout)
        self.x = torch.from_numpy(self.images()).to(memory_format=layout)
        classes = list(self.model.children())[-1].out_features
        self.labels = torch.arange(self.case.batch) % classes
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
        self.loss_of = torch.nn.functional.cross_entropy

    def run(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = self.loss_of(self.model(self.x), self.labels)
        self.loss.backward()
        self.optimizer.step()

    def output(self) -> np.ndarray:
        """The loss of the last step."""
        return self.loss.detach().numpy()


class StepEagerNchw(StepEager):
    name = "eager-nchw"
    settings = "planes of channels, otherwise as eager"
    channels_last = False


class StepInductor(StepEager):
    name = "inductor"
    settings = "torch.compile, its cache warm, otherwise as eager"
    converts = True
    environment = TorchCompile.environment
    convert = TorchCompile.convert

    def load(self) -> None:
        super().load()
        import torch
        import torch._inductor.config as config

        config.cpp.threads = self.case.threads
        self.model = torch.compile(self.model)
