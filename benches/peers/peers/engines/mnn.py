"""MNN."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import Files, whole
from .base import Engine


class Mnn(Engine):
    name = "mnn"
    packages = ("MNN",)
    settings = "precision high (f32), power high, fixed shapes, Winograd as it chooses"
    converts = True

    @classmethod
    def model_files(cls, files: Files) -> list[Path]:
        return [files.mnn]

    def convert(self) -> None:
        if self.files.mnn.exists():
            return
        # The converter itself. Its command `mnnconvert` would install a package for logging and report each use.
        import _tools

        with whole(self.files.mnn) as path:
            _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(self.files.onnx), "--MNNModel", str(path),
                               "--bizCode", "network"])

    def load(self) -> None:
        import MNN

        self.interpreter = MNN.Interpreter(str(self.files.mnn))
        self.session = self.interpreter.createSession(
            {"backend": "CPU", "numThread": self.case.threads, "precision": "high", "power": "high"})
        x = self.images()
        self.input = self.interpreter.getSessionInput(self.session)
        self.host = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)

    def run(self) -> None:
        # Inside a run MNN reuses the memory of its input, so that the next one needs the images again.
        self.input.copyFrom(self.host)
        self.interpreter.runSession(self.session)

    def output(self) -> np.ndarray:
        import MNN

        device = self.interpreter.getSessionOutput(self.session)
        shape = device.getShape()
        host = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), MNN.Tensor_DimensionType_Caffe)
        device.copyToHostTensor(host)
        return np.array(host.getData(), np.float32).reshape(shape)
