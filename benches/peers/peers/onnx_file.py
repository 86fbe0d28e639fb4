"""Writes a network as ONNX, as an exporter would: nothing folded or fused, so that each engine optimises for itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .graph import INPUT, Layer

# Old enough for every reader, new enough for all that is used here.
OPSET, IR_VERSION = 17, 8


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def tensor(self, name: str, value: np.ndarray) -> str:
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, name: str, values: list[int]) -> str:
        return self.tensor(name, np.array(values, np.int64))

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def layer(self, layer: Layer) -> None:
        name, inputs = layer.name, list(layer.inputs)
        inputs += [self.tensor(f"{name}.{key}", value) for key, value in layer.tensors.items()]
        window = dict(kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2, pads=[layer.pad] * 4)
        match layer.kind:
            case "conv":
                self.node("Conv", inputs, name, **window)
            case "max_pool":
                self.node("MaxPool", inputs, name, **window)
            case "norm":
                self.node("BatchNormalization", inputs, name, epsilon=layer.eps)
            case "relu":
                self.node("Relu", inputs, name)
            case "add":
                self.node("Add", inputs, name)
            case "mean":
                self.node("GlobalAveragePool", inputs, name)
            case "linear":
                self.node("Flatten", inputs[:1], f"{name}.flat", axis=1)
                self.node("Gemm", [f"{name}.flat", *inputs[1:]], name, transB=1)
            case "shortcut_a":
                bounds = [self.integers(f"{name}.{key}", v) for key, v in
                          (("starts", [0, 0]), ("ends", [2**31 - 1] * 2), ("axes", [2, 3]), ("steps", [layer.stride] * 2))]
                self.node("Slice", [*inputs, *bounds], f"{name}.thin")
                pads = self.integers(f"{name}.pads", [0, layer.pad, 0, 0, 0, layer.pad, 0, 0])
                self.node("Pad", [f"{name}.thin", pads], name)
            case _:
                raise NotImplementedError(layer.kind)


def write(layers: list[Layer], input_shape: tuple[int, ...], path: Path) -> None:
    """`input_shape` is (batch, C, H, W), all fixed: every engine plans best for fixed shapes."""
    writer = _Writer()
    for layer in layers:
        writer.layer(layer)
    last = layers[-1]
    classes = last.tensors["weight"].shape[0]
    graph = helper.make_graph(
        writer.nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(last.name, TensorProto.FLOAT, [input_shape[0], classes])],
        writer.tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
