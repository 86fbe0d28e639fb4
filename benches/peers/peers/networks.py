"""Seeded residual networks as torch modules, with weights and batch-norm statistics that behave like trained ones.

ImageNet networks are torchvision's (v1.5: the 3x3 convolution of a bottleneck has the stride). CIFAR networks follow
section 4.2 of He et al. 2015, with shortcut A unless another is asked for. Tensor names are those of `rescc new`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .cases import CIFAR, image_shape

WEIGHT_SEED, CALIBRATION_SEED, INPUT_SEED = 50, 51, 52


class ShortcutA(nn.Module):
    """Every second pixel, and zero channels, half of them in front: an identity where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.stride = 2
        self.pad = (channels_out - channels_in) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        thin = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(thin, (0, 0, 0, 0, self.pad, self.pad))


def projection(channels_in: int, channels_out: int) -> nn.Module:
    """Shortcuts B and C."""
    stride = 1 if channels_in == channels_out else 2
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))


class CifarBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, option: str) -> None:
        super().__init__()
        grows = channels_in != channels_out
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, 2 if grows else 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        if option == "C" or option == "B" and grows:
            self.shortcut = projection(channels_in, channels_out)
        else:
            self.shortcut = ShortcutA(channels_in, channels_out) if grows else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(branch)) + self.shortcut(x))


class CifarResNet(nn.Module):
    def __init__(self, depth: int, option: str) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        channels = 16
        for stage, width in enumerate((16, 32, 64), start=1):
            body = []
            for _ in range(blocks):
                body.append(CifarBlock(channels, width, option))
                channels = width
            setattr(self, f"layer{stage}", nn.Sequential(*body))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(self.avgpool(x), 1))


def build(net: str, option: str = "A") -> nn.Module:
    """The network with whatever weights torch gives it, in evaluation mode; `option` is the shortcut of a CIFAR network."""
    if net in CIFAR:
        return CifarResNet(int(re.sub(r"\D", "", net)), option).eval()
    import torchvision

    return getattr(torchvision.models, net)(weights=None).eval()


def images(net: str, count: int, seed: int = INPUT_SEED) -> np.ndarray:
    """float32 (count, 3, H, W), smooth as pictures are: noise at an eighth of the size, enlarged, and some at full size.

    Each image has a seed of its own, so that the first images of any count are the same.
    """
    channels, height, width = image_shape(net)
    out = np.empty((count, channels, height, width), np.float32)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        coarse = rng.standard_normal((channels, height // 8, width // 8))
        fine = rng.standard_normal((channels, height, width))
        out[i] = 0.9 * coarse.repeat(8, 1).repeat(8, 2) + 0.4 * fine
    return out


def seeded(net: str, option: str = "A") -> nn.Module:
    """The network with He-initialised weights, drawn from one seed, and measured batch-norm statistics.

    The last scale of each block is small, as training leaves it, so that the sum over many blocks does not grow; mean
    and variance are those of real activations, so that nothing explodes or vanishes on the way.
    """
    model = build(net, option)
    rng = np.random.default_rng(WEIGHT_SEED)
    closing = _closing_norms(model)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                _fill(module.weight, rng.standard_normal(module.weight.shape) * np.sqrt(2 / fan_out))
            elif isinstance(module, nn.BatchNorm2d):
                low, high = (0.2, 0.8) if name in closing else (0.6, 1.4)
                _fill(module.weight, rng.uniform(low, high, module.weight.shape))
                _fill(module.bias, rng.standard_normal(module.bias.shape) * 0.1)
                module.momentum = None  # plain averages over the calibration below
            elif isinstance(module, nn.Linear):
                _fill(module.weight, rng.standard_normal(module.weight.shape) / np.sqrt(module.in_features))
                _fill(module.bias, rng.standard_normal(module.bias.shape) * 0.1)
        model.train()
        model(torch.from_numpy(images(net, 128 if net in CIFAR else 16, CALIBRATION_SEED)))
    return model.eval()


def load(net: str, tensors: Mapping[str, torch.Tensor], option: str = "A") -> nn.Module:
    """The network with these tensors; what is missing or unknown is an error, counters of batches apart."""
    model = build(net, option)
    missing, unknown = model.load_state_dict(tensors, strict=False)
    if missing := [name for name in missing if not name.endswith("num_batches_tracked")]:
        raise ValueError(f"tensors are missing: {missing[:3]}")
    if unknown:
        raise ValueError(f"tensors are unknown: {unknown[:3]}")
    return model


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


def reference(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """float64 (N, classes): the model in double precision, a few images at a time to bound memory. Changes the model."""
    model = model.double()
    with torch.inference_mode():
        parts = [model(torch.from_numpy(x[i : i + 8]).double()).numpy() for i in range(0, len(x), 8)]
    return np.concatenate(parts)


def _closing_norms(model: nn.Module) -> set[str]:
    """Names of the last batch norm of each block's branch."""
    names = (name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d))
    last = {}
    for name in names:
        if name.startswith("layer") and ".bn" in name:
            last[name.rsplit(".", 1)[0]] = name
    return set(last.values())


def _fill(parameter: torch.Tensor, values: np.ndarray) -> None:
    parameter.copy_(torch.from_numpy(values.astype(np.float32)))
