"""ncnn, which has no batch dimension: images one after the other, or several at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..cases import Case
from ..files import Files
from .base import Engine, openmp


class Ncnn(Engine):
    name = "ncnn"
    packages = ("ncnn",)
    settings = "f32 (no 16-bit storage or arithmetic), Winograd, sgemm and packing on, norms and ReLU folded; batches image by image"

    @classmethod
    def environment(cls, threads: int, pin: bool) -> dict[str, str]:
        return openmp(threads, pin)

    @classmethod
    def model_files(cls, files: Files) -> list[Path]:
        return [files.ncnn_param, files.ncnn_bin]

    def net_threads(self) -> int:
        return self.case.threads

    def load(self) -> None:
        import ncnn

        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = self.net_threads()
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        options.use_winograd_convolution = options.use_sgemm_convolution = options.use_packing_layout = True
        for path, read in ((self.files.ncnn_param, self.net.load_param), (self.files.ncnn_bin, self.net.load_model)):
            if status := read(str(path)):
                raise RuntimeError(f"ncnn refused {path.name} with {status}")
        self.last = self.net.output_names()[0]
        self.x = [ncnn.Mat(image).clone() for image in self.images()]
        self.y: list[object] = [None] * len(self.x)

    def one(self, index: int) -> None:
        extractor = self.net.create_extractor()
        extractor.input("x", self.x[index])
        status, self.y[index] = extractor.extract(self.last)
        if status:
            raise RuntimeError(f"ncnn's extract gave {status}")

    def run(self) -> None:
        for index in range(len(self.x)):
            self.one(index)

    def output(self) -> np.ndarray:
        return np.stack([np.array(y).reshape(-1) for y in self.y])


class NcnnStreams(Ncnn):
    name = "ncnn-streams"
    settings = "as ncnn, but images side by side, each on one thread"

    @classmethod
    def refusal(cls, case: Case) -> str:
        return "" if case.threads > 1 and case.batch >= case.threads else "needs as many images as threads"

    @classmethod
    def environment(cls, threads: int, pin: bool) -> dict[str, str]:
        return openmp(1, False)

    def net_threads(self) -> int:
        return 1

    def load(self) -> None:
        super().load()
        self.pool = ThreadPoolExecutor(self.case.threads)

    def share(self, first: int) -> None:
        for index in range(first, len(self.x), self.case.threads):
            self.one(index)

    def run(self) -> None:
        list(self.pool.map(self.share, range(self.case.threads)))
