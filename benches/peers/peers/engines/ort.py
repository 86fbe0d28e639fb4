"""ONNX Runtime."""

from __future__ import annotations

import numpy as np

from .base import Engine


class OnnxRuntime(Engine):
    name = "onnxruntime"
    packages = ("onnxruntime",)
    settings = "all graph optimisations, fixed shapes, IO binding, spinning threads, denormals as zero"

    def load(self) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = self.case.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.session = ort.InferenceSession(str(self.files.onnx), options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        self.x = self.images()  # bound by address, so it has to live as long as the binding
        self.binding.bind_cpu_input(self.session.get_inputs()[0].name, self.x)
        self.binding.bind_output(self.session.get_outputs()[0].name)

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def output(self) -> np.ndarray:
        return self.binding.copy_outputs_to_cpu()[0]
