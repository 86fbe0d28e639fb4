"""OpenVINO, for latency, and with a stream a thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cases import Case
from ..files import Files, whole
from .base import Engine


class OpenVino(Engine):
    name = "openvino"
    packages = ("openvino",)
    settings = "f32, LATENCY hint, one stream, pinned threads, model in its own IR with f32 weights"
    converts = True

    @classmethod
    def model_files(cls, files: Files) -> list[Path]:
        return [files.openvino, files.openvino.with_suffix(".bin")]

    def convert(self) -> None:
        import openvino

        target = self.files.openvino
        if target.exists():
            return
        with whole(target.with_suffix(".bin")) as weights, whole(target) as text:
            # save_model names the weights after the text; `whole` gives the two the same stem.
            openvino.save_model(openvino.Core().read_model(str(self.files.onnx)), str(text), compress_to_fp16=False)
            assert weights.exists(), f"OpenVINO wrote no {weights.name}"

    def load(self) -> None:
        import openvino

        model = openvino.Core().read_model(str(self.files.openvino))
        self.compiled = self.compile(model)
        x = self.images()
        self.requests, self.tensors = [], []
        for part in np.split(x, self.streams()):
            request = self.compiled.create_infer_request()
            tensor = openvino.Tensor(np.ascontiguousarray(part))  # copies, so nothing else has to live on
            request.set_input_tensor(tensor)
            self.requests.append(request)
            self.tensors.append(tensor)

    def compile(self, model: object) -> object:
        import openvino

        streams = self.streams()
        return openvino.Core().compile_model(model, "CPU", {
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.case.threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": self.pin,
        })

    def streams(self) -> int:
        return 1

    def run(self) -> None:
        self.requests[0].infer()

    def output(self) -> np.ndarray:
        return np.concatenate([request.get_output_tensor().data for request in self.requests])


class OpenVinoStreams(OpenVino):
    name = "openvino-streams"
    settings = "f32, THROUGHPUT hint, one stream a thread, the batch split evenly over them"

    @classmethod
    def refusal(cls, case: Case) -> str:
        return "" if case.threads > 1 and case.batch % case.threads == 0 else "needs a batch that its threads can share"

    def streams(self) -> int:
        return self.case.threads

    def compile(self, model: object) -> object:
        _, *image = model.inputs[0].shape
        model.reshape([self.case.batch // self.case.threads, *image])
        return super().compile(model)

    def run(self) -> None:
        for request in self.requests:
            request.start_async()
        for request in self.requests:
            request.wait()
