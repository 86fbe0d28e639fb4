"""Keeps a network away from its kinks, where its gradient jumps.

A ReLU's input that is zero but for rounding lets gradients pass or not, and two equal values of a pool's window take them
to one place or another, as rounding decides. One such element of 100,000 changes a gradient by 10⁻³, a thousand times what
rounding does elsewhere: without care a comparison shows who was lucky. So biases are shifted by at most a hundredth of a
deviation, each to the middle of a gap between the inputs of its ReLU, and pictures with near ties are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import networks

PICTURE_SEED = 1000
LARGEST_SHIFT = 0.01  # in deviations of the channel
LEAST_LEAD = 1e-6  # of a window's maximum, in deviations of the channel


def pictures(net: str, model: nn.Module) -> Iterator[np.ndarray]:
    """Seeded pictures, as many as are asked for. `model` is in double precision."""
    for seed in count(PICTURE_SEED):
        picture = networks.images(net, 1, seed)
        if not hasattr(model, "maxpool") or least_lead(model, torch.from_numpy(picture).double()) > LEAST_LEAD:
            yield picture[0]


@torch.no_grad()
def least_lead(model: nn.Module, picture: torch.Tensor) -> float:
    """How far the second value of a window stays behind at least. Batch norm and ReLU keep the order, so both are left out."""
    channels = model.conv1(picture)[0]
    channels = channels / channels.std((1, 2), keepdim=True)
    pool = model.maxpool
    padded = functional.pad(channels[:, None], [pool.padding] * 4, value=-torch.inf)
    first, second = functional.unfold(padded, pool.kernel_size, stride=pool.stride).topk(2, dim=1).values.unbind(1)
    return (first - second).min().item()


@torch.no_grad()
def settle(model: nn.Module, x: torch.Tensor) -> float:
    """Shifts biases for training on the batch `x`, from the input on; model and `x` are in double precision.

    The result is the least magnitude of a ReLU's input, in deviations of its channel.
    """
    norm: nn.BatchNorm2d | None = None
    margins = []

    def remember(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal norm
        norm = module

    def shift(module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
        margin, by = widest_gap(inputs[0])
        margins.append(margin)
        bias = (norm.bias - by).float().double()  # a float32, as all weights are
        shifted = inputs[0] + (bias - norm.bias)[:, None, None]
        norm.bias.copy_(bias)
        return shifted

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.ReLU):
            hooks.append(module.register_forward_pre_hook(shift))
    model(x)
    for hook in hooks:
        hook.remove()
    return min(margins)


def widest_gap(x: torch.Tensor) -> tuple[float, torch.Tensor]:
    """For each channel the number near zero that is farthest from all values; and the least of these distances."""
    values = x.transpose(0, 1).flatten(1).sort(dim=1).values
    deviation = values.std(dim=1, keepdim=True)
    limit = LARGEST_SHIFT * deviation
    far = torch.full_like(limit, 1e9)
    values = torch.cat([-far, values, far], dim=1)
    below, above = values[:, :-1], values[:, 1:]
    places = ((below + above) / 2).clamp(-limit, limit)
    margins = torch.minimum(places - below, above - places)  # negative where the gap is out of reach
    margin, widest = margins.max(dim=1, keepdim=True)
    return (margin / deviation).min().item(), places.gather(1, widest)[:, 0]
