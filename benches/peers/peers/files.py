"""Where the files of a race lie, all below `target/peers`, and how they are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[3]
HOME = ROOT / "target" / "peers"

# Part of the folder's name; raised whenever networks.py or a file writer changes what it writes.
RECIPE = 2


@dataclass(frozen=True)
class Files:
    """The files of one network at one batch. Paths say nothing about whether a file exists."""

    net: str
    batch: int

    @property
    def folder(self) -> Path:
        return HOME / f"networks-{RECIPE}"

    def _of_net(self, suffix: str) -> Path:
        return self.folder / f"{self.net}{suffix}"

    def _of_batch(self, suffix: str) -> Path:
        return self.folder / f"{self.net}-b{self.batch}{suffix}"

    @property
    def weights(self) -> Path:
        return self._of_net(".safetensors")

    @property
    def ncnn_param(self) -> Path:
        return self._of_net(".ncnn.param")

    @property
    def ncnn_bin(self) -> Path:
        return self._of_net(".ncnn.bin")

    @property
    def rir(self) -> Path:
        """What rescc imports to. Not beside `weights`: rescc writes its tensors next to it, under the same name."""
        return self.folder / "imported" / f"{self.net}.rir"

    @property
    def onnx(self) -> Path:
        return self._of_batch(".onnx")

    @property
    def mnn(self) -> Path:
        return self._of_batch(".mnn")

    @property
    def openvino(self) -> Path:
        return self._of_batch(".xml")

    @property
    def x(self) -> Path:
        """float32 (batch, 3, H, W); smaller batches hold the first images of larger ones."""
        return self._of_batch(".x.npy")

    @property
    def reference(self) -> Path:
        """float64 (batch, classes), computed in float64."""
        return self._of_batch(".y.npy")

    def executable(self, winograd: str) -> Path:
        return self._of_batch(f".winograd-{winograd}.run")

    def answer(self, engine: str) -> Path:
        return HOME / "answers" / f"{self.net}-b{self.batch}-{engine}.npy"


def missing(net: str, batches: list[int]) -> bool:
    """Whether `export` has something to write for these batches."""
    return not all(path.exists() for f in (Files(net, batch) for batch in batches)
                   for path in (f.weights, f.ncnn_param, f.ncnn_bin, f.onnx, f.x, f.reference))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a name to write to and renames it to `path` at the end, so that an interrupted run leaves no torn file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
