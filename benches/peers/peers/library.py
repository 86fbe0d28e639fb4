"""A training library made by rescc, loaded by ctypes: what its header says, as Python."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np

PREFIX = "net_"
KINDS = ("parameter", "momentum", "statistic")


class _State(ctypes.Structure):
    _fields_ = [("now", ctypes.c_void_p), ("next", ctypes.c_void_p)]


class _Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("offset", ctypes.c_uint64), ("elements", ctypes.c_uint64),
                ("shape", ctypes.c_uint32 * 4), ("rank", ctypes.c_uint32), ("kind", ctypes.c_uint32)]


class Library:
    """One network with its state: to begin with the weights of the model that was compiled, and momenta of 0."""

    def __init__(self, path: Path) -> None:
        """`path` is the shared library; its header lies beside it."""
        self._library = ctypes.CDLL(str(path))
        sizes = dict(re.findall(r"#define NET_(\w+) (\d+)", path.with_suffix(".h").read_text()))
        self._align = int(sizes["ALIGN"])
        tensors = self._function("tensors", ctypes.POINTER(_Tensor))()
        self.tensors = {t.name.decode(): t for t in tensors[: int(sizes["TENSORS"])]}
        self._halves = {a.ctypes.data: a for a in (self._aligned(int(sizes["STATE_BYTES"])) for _ in range(2))}
        self._state = _State(*self._halves)
        self._gradients = self._aligned(int(sizes["GRADIENT_BYTES"]))
        arena_bytes = self._function("arena_bytes", ctypes.c_size_t)(ctypes.c_uint32(1))
        self._arena = self._aligned(arena_bytes)
        self._call("init")

    def now(self, name: str) -> np.ndarray:
        """A view of a tensor of the state, until the next step."""
        return self._view(self._halves[self._state.now], name)

    def gradient(self, name: str) -> np.ndarray:
        """A view of what `step` has left for a parameter."""
        return self._view(self._gradients, name)

    def step(self, x: np.ndarray, labels: np.ndarray, lr: float) -> float:
        """Gradients, then the update, as `net_step` does both in one; gives the loss."""
        assert x.dtype == np.float32 and labels.dtype == np.int32 and x.flags.c_contiguous
        loss = ctypes.c_float()
        memory = (_pointer(self._arena), ctypes.c_size_t(self._arena.nbytes), None)
        self._call("grad", _pointer(x), _pointer(labels), _pointer(self._gradients), ctypes.byref(loss), *memory)
        self._call("apply", _pointer(self._gradients), ctypes.c_float(lr), *memory)
        return loss.value

    def _view(self, array: np.ndarray, name: str) -> np.ndarray:
        t = self.tensors[name]
        return array[t.offset : t.offset + t.elements].reshape(t.shape[: t.rank])

    def _aligned(self, size: int) -> np.ndarray:
        """float32 of `size` bytes, aligned as the library asks for."""
        whole = np.zeros(size + self._align, np.uint8)
        begin = -whole.ctypes.data % self._align
        return whole[begin : begin + size].view(np.float32)

    def _function(self, name: str, gives: type = ctypes.c_int):
        function = self._library[PREFIX + name]
        function.restype = gives
        return function

    def _call(self, name: str, *arguments: object) -> None:
        if status := self._function(name)(ctypes.byref(self._state), *arguments):
            raise RuntimeError(f"{PREFIX}{name}: {self._function('strerror', ctypes.c_char_p)(status).decode()}")


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
