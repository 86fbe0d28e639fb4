"""Writes what every engine reads: `python -m peers.export NET BATCH…`. A process of its own, as it needs torch."""

from __future__ import annotations

import sys

import numpy as np
from safetensors.torch import load_file, save_file

from . import graph, ncnn_file, networks, onnx_file
from .cases import image_shape
from .files import Files, whole


def export(net: str, batches: list[int]) -> None:
    """Writes the files that are missing; what exists is kept, and read back so that all describe the same weights."""
    files = [Files(net, batch) for batch in batches]
    if not files[0].weights.exists():
        with whole(files[0].weights) as path:
            save_file(networks.state(networks.seeded(net)), path)
    model = networks.load(net, load_file(files[0].weights))
    layers = graph.trace(model)
    if not files[0].ncnn_param.exists():
        with whole(files[0].ncnn_bin) as binary, whole(files[0].ncnn_param) as param:
            ncnn_file.write(layers, param, binary)
    for f in files:
        x = networks.images(net, f.batch)
        if not f.onnx.exists():
            with whole(f.onnx) as path:
                onnx_file.write(layers, (f.batch, *image_shape(net)), path)
        if not f.reference.exists():
            _save(f.x, x)
            _save(f.reference, networks.reference(networks.load(net, load_file(f.weights)), x))


def _save(path, array: np.ndarray) -> None:
    with whole(path) as part, open(part, "wb") as file:
        np.save(file, array)


if __name__ == "__main__":
    export(sys.argv[1], [int(batch) for batch in sys.argv[2:]])
