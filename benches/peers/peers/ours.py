"""An executable made by rescc, with the interface of `worker.Worker`. It is started anew for each burst."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from .cases import Case
from .files import Files, whole
from .worker import Failed

# Longer than any burst; compiling the largest network takes minutes on a slow machine.
TIMEOUT_S = 900


class Executable:
    def __init__(self, rescc: Path, case: Case, winograd: str = "auto") -> None:
        self.rescc, self.case, self.winograd = rescc, case, winograd
        self.name = "rescc" if winograd == "auto" else f"rescc-winograd-{winograd}"
        self.files = Files(case.net, case.batch)
        self.path = self.files.executable(winograd)
        self.load_ms = 0.0
        self.peak_kib = 0
        self.run_ms = 0.0

    def convert(self) -> None:
        """Imports and compiles, unless this very rescc has done so already."""
        stamp = self.path.with_suffix(".stamp")
        made_by = hashlib.sha256(self.rescc.read_bytes()).hexdigest()
        if self.path.exists() and stamp.exists() and stamp.read_text() == made_by:
            return
        rir = self.files.rir
        rir.parent.mkdir(parents=True, exist_ok=True)
        call([self.rescc, "import", self.files.weights, "--arch", self.case.net, "-o", rir, "--quiet"])
        with whole(self.path) as part:
            call([self.rescc, "compile", rir, "-o", part, "--emit", "exe", "--target", "native", "--batch", self.case.batch,
                   "--winograd", self.winograd, "--quiet"])
        stamp.write_text(made_by)

    def start(self) -> None:
        """One whole life of the process, input read and output written: `load_ms`. Then memory, in a run of its own."""
        out = self.files.answer(self.name)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        begin = time.perf_counter()
        call([self.path, "--npy", self.files.x, "--out", out, *self._shape()])
        self.load_ms = (time.perf_counter() - begin) * 1e3
        if not self.run_ms:
            self._measure_memory()

    def burst(self, seconds: float, warm_seconds: float, least: int) -> dict:
        reply = self._bench(
            warmup=max(2, math.ceil(warm_seconds * 1e3 / self.run_ms)),
            iterations=max(least, math.ceil(seconds * 1e3 / self.run_ms)))
        self.run_ms = reply["median_ms"]
        return {key: reply[key] for key in ("median_ms", "min_ms", "p90_ms", "iterations")}

    def answer(self) -> np.ndarray:
        """What `start` wrote: the first answer of a fresh process."""
        return np.load(self.files.answer(self.name))

    def close(self) -> None:
        pass

    def shipped_bytes(self) -> int:
        return self.path.stat().st_size

    def _measure_memory(self) -> None:
        said, self.peak_kib = watched(self._bench_command(warmup=2, iterations=3), every_s=0.0005)
        self.run_ms = _json(said, self.path)["median_ms"]

    def _bench(self, warmup: int, iterations: int) -> dict:
        return _json(call(self._bench_command(warmup, iterations)), self.path)

    def _bench_command(self, warmup: int, iterations: int) -> list[str]:
        return [str(self.path), "--bench", *self._shape(), "--warmup", str(warmup), "--iterations", str(iterations), "--json"]

    def _shape(self) -> list[str]:
        return ["--threads", str(self.case.threads), "--batch", str(self.case.batch)]


def call(command: list[object]) -> str:
    """Standard output of a command; `Failed` says what it said first if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{Path(words[0]).name}: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}, nothing said"]
        raise Failed(f"{Path(words[0]).name} {words[1]}: {said[0]}")
    return done.stdout


def watched(command: list[object], every_s: float) -> tuple[str, int]:
    """Standard output of a command, and the most memory that it held, KiB, looked at again and again.

    The peak of a process is lost when it ends, so it is read over and over while the process lives. getrusage would do,
    were it not that Linux lets a new process inherit the peak of the one it was started from.
    """
    peak_kib = 0
    with tempfile.TemporaryFile("w+") as said:  # a pipe would have to be read meanwhile
        process = subprocess.Popen(list(map(str, command)), stdout=said, stderr=subprocess.DEVNULL)
        try:
            status = Path(f"/proc/{process.pid}/status")
            while process.poll() is None:
                for line in status.read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        peak_kib = max(peak_kib, int(line.split()[1]))
                time.sleep(every_s)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        return said.read(), peak_kib


def _json(text: str, path: Path) -> dict:
    try:
        return json.loads(text) | {}
    except (ValueError, TypeError) as error:
        raise Failed(f"{path.name} --bench --json printed no JSON object: {error}") from error
