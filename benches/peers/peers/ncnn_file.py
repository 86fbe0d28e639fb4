"""Writes a network in ncnn's own form, folded and fused as ncnn's optimiser does it.

The text part names layers and blobs; a blob may be read once, so a `Split` layer multiplies it. The binary part holds
weights in the order of the layers, each convolution and dense layer as tag 0 (raw float32), weight, bias.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .graph import INPUT, Layer

MAGIC = "7767517"


def fold(layers: list[Layer]) -> tuple[list[Layer], set[str]]:
    """Folds each batch norm into its convolution. Gives the layers left, and the names of convolutions followed by ReLU."""
    readers = Counter(name for layer in layers for name in layer.inputs)
    kept: dict[str, Layer] = {}
    alias = {INPUT: INPUT}
    rectified: set[str] = set()
    for layer in layers:
        inputs = [alias[name] for name in layer.inputs]
        before = kept.get(inputs[0])
        alias[layer.name] = layer.name
        if layer.kind == "norm":
            t = layer.tensors
            scale = t["weight"].astype(np.float64) / np.sqrt(t["running_var"].astype(np.float64) + layer.eps)
            before.tensors = {
                "weight": (before.tensors["weight"] * scale[:, None, None, None]).astype(np.float32),
                "bias": (t["bias"] - t["running_mean"] * scale).astype(np.float32),
            }
            alias[layer.name] = before.name
        elif layer.kind == "relu" and before and before.kind == "conv" and readers[layer.inputs[0]] == 1:
            rectified.add(before.name)
            alias[layer.name] = before.name
        else:
            kept[layer.name] = replace(layer, inputs=inputs)
    return list(kept.values()), rectified


@dataclass
class _Text:
    """Lines of the text part. `readers` counts how often each blob is read."""

    readers: Counter[str]
    lines: list[str] = field(default_factory=list)
    blobs: int = 0
    taken: Counter[str] = field(default_factory=Counter)

    def read(self, name: str) -> str:
        """The blob to read for this layer's result: its own, or the next copy of it."""
        if self.readers[name] < 2:
            return name
        self.taken[name] += 1
        return f"{name}_{self.taken[name]}"

    def add(self, kind: str, inputs: list[str], output: str, **options: object) -> None:
        words = [f"{key.removeprefix('p')}={value}" for key, value in options.items()]
        self.lines.append(" ".join([kind, output, str(len(inputs)), "1", *inputs, output, *words]))
        self.blobs += 1
        count = self.readers[output]
        if count > 1:
            copies = [f"{output}_{i + 1}" for i in range(count)]
            self.lines.append(" ".join(["Split", f"{output}_split", "1", str(count), output, *copies]))
            self.blobs += count


def write(layers: list[Layer], param: Path, binary: Path) -> None:
    layers, rectified = fold(layers)
    text = _Text(Counter(name for layer in layers for name in layer.inputs))
    text.add("Input", [], INPUT)
    with open(binary, "wb") as weights:
        for layer in layers:
            _layer(text, layer, layer.name in rectified)
            if layer.kind in ("conv", "linear"):
                weights.write(b"\0\0\0\0" + layer.tensors["weight"].tobytes() + layer.tensors["bias"].tobytes())
    param.write_text("\n".join([MAGIC, f"{len(text.lines)} {text.blobs}", *text.lines]) + "\n")


def _layer(text: _Text, layer: Layer, rectified: bool) -> None:
    inputs, name = [text.read(i) for i in layer.inputs], layer.name
    match layer.kind:
        case "conv":
            w = layer.tensors["weight"]
            text.add("Convolution", inputs, name, p0=w.shape[0], p1=layer.kernel, p3=layer.stride, p4=layer.pad, p5=1,
                     p6=w.size, p9=int(rectified))
        case "linear":
            w = layer.tensors["weight"]
            text.add("InnerProduct", inputs, name, p0=w.shape[0], p1=1, p2=w.size)
        case "relu":
            text.add("ReLU", inputs, name)
        case "add":
            text.add("BinaryOp", inputs, name, p0=0)
        case "max_pool":
            text.add("Pooling", inputs, name, p0=0, p1=layer.kernel, p2=layer.stride, p3=layer.pad, p5=1)
        case "mean":
            text.add("Pooling", inputs, name, p0=1, p4=1)
        case "shortcut_a":
            # ncnn slices no channels of every second pixel; a max over one pixel with that stride is the same.
            text.add("Pooling", inputs, f"{name}_thin", p0=0, p1=1, p2=layer.stride, p5=1)
            text.add("Padding", [f"{name}_thin"], name, p4=0, p5="0.0", p7=layer.pad, p8=layer.pad)
        case _:
            raise NotImplementedError(layer.kind)
