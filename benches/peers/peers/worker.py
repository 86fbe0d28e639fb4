"""The parent's end of an engine's process."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from .cases import Case
from .engines import Engine
from .files import HOME, Files

# Loading the largest network takes seconds, compiling it by Inductor minutes; beyond this a process hangs.
TIMEOUT_S = 900


class Failed(Exception):
    """An engine cannot take part; the text says why."""


def absent(engine: type[Engine]) -> str:
    """How to install what this engine lacks, or nothing."""
    lacking = [name for name in engine.packages if not _installed(name)]
    return f"absent: pip install {' '.join(lacking)}" if lacking else ""


def version(engine: type[Engine]) -> str:
    return metadata.version(engine.packages[0])


def shipped_bytes(engine: type[Engine], files: Files) -> int:
    """The engine's own packages as pip unpacks them, and the model; neither Python, nor NumPy, nor dependencies."""
    size = sum(path.stat().st_size for path in engine.model_files(files))
    for name in engine.packages:
        for entry in metadata.files(name) or []:
            path = Path(entry.locate())
            if path.is_file() and path.suffix != ".pyc":
                size += path.stat().st_size
    return size


def environment(engine: type[Engine], threads: int, pin: bool) -> dict[str, str]:
    """Ours without what tunes thread pools, so that each engine has its own settings and no others."""
    tuning = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
    return {k: v for k, v in os.environ.items() if not k.startswith(tuning)} | engine.environment(threads, pin)


class Worker:
    """One engine's process. It is stopped whenever it is not asked, so that threads which spin for work take no time."""

    def __init__(self, engine: type[Engine], case: Case, pin: bool) -> None:
        self.engine, self.case, self.pin = engine, case, pin
        self.files = Files(case.net, case.batch)
        self.log = HOME / "logs" / f"{engine.name}.log"
        self.process: subprocess.Popen | None = None
        self.load_ms = 0.0
        self.peak_kib = 0

    def convert(self) -> None:
        if self.engine.converts:
            try:
                self._spawn(convert=True)
                self._receive()
            finally:
                self.close()

    def start(self) -> None:
        """Starts the process and waits for its first answer; `load_ms` is the time between."""
        self.close()
        begin = time.perf_counter()
        self._spawn(convert=False)
        self._receive()
        self.load_ms = (time.perf_counter() - begin) * 1e3
        self._pause()

    def burst(self, seconds: float, warm_seconds: float, least: int) -> dict:
        reply = self._ask(seconds=seconds, warm_seconds=warm_seconds, least=least)
        self.peak_kib = max(self.peak_kib, reply["peak_kib"])
        return reply

    def answer(self) -> np.ndarray:
        path = self.files.answer(self.engine.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._ask(save=str(path))
        return np.load(path)

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.replies.close()
            self.process = None

    def _spawn(self, convert: bool) -> None:
        here, there = os.pipe()
        spec = {"engine": self.engine.name, "net": self.case.net, "batch": self.case.batch, "threads": self.case.threads,
                "pin": self.pin, "convert": convert, "replies": there}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "peers.child", json.dumps(spec)], bufsize=0, stdin=subprocess.PIPE,
                stdout=log, stderr=log, pass_fds=[there], env=environment(self.engine, self.case.threads, self.pin))
        os.close(there)
        self.replies = os.fdopen(here, "rb", buffering=0)

    def _ask(self, **request: object) -> dict:
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            pass  # the process has ended: reading says how
        reply = self._receive()
        self._pause()
        return reply

    def _receive(self) -> dict:
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([self.replies], [], [], TIMEOUT_S)[0]:
                raise Failed(f"no reply within {TIMEOUT_S} s")
            part = self.replies.read(65536)
            if not part:
                raise Failed(f"its process ended with {self.process.wait()}; see {self.log.relative_to(HOME.parent.parent)}")
            line += part
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply

    def _pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
