"""The process of one engine: loads it, answers once, then times bursts on request until its input ends.

Requests are lines of JSON on standard input, replies lines of JSON on a pipe of their own, as engines print what they
like on standard output.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from .cases import case
from .engines import ENGINES, TRAINERS, Engine


def peak_kib() -> int:
    """The most memory this process ever had resident, KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmHWM")


def burst(engine: Engine, seconds: float, warm_seconds: float, least: int) -> list[float]:
    """Milliseconds of each run, in a time of `seconds` and at least `least` of them, after a warm-up of two or more."""
    start = time.perf_counter()
    engine.run()
    engine.run()
    while time.perf_counter() - start < warm_seconds:
        engine.run()
    times: list[float] = []
    start = before = time.perf_counter()
    while len(times) < least or before - start < seconds:
        engine.run()
        after = time.perf_counter()
        times.append((after - before) * 1e3)
        before = after
    return times


def handle(engine: Engine, request: dict) -> dict:
    if "save" in request:
        engine.run()  # never the first run: an engine that spoils its input shows it from the second on
        np.save(request["save"], engine.output())
        return {"peak_kib": peak_kib()}
    times = burst(engine, request["seconds"], request["warm_seconds"], request["least"])
    return {"median_ms": float(np.median(times)), "min_ms": min(times), "p90_ms": float(np.quantile(times, 0.9)),
            "iterations": len(times), "peak_kib": peak_kib()}


def end_with_parent() -> None:
    """Has the kernel end this process when its parent ends: a stopped one would not notice, and wait for ever."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    end_with_parent()
    spec = json.loads(sys.argv[1])
    with os.fdopen(spec["replies"], "w", buffering=1) as replies:
        def reply(**words: object) -> None:
            replies.write(json.dumps(words) + "\n")

        try:
            engine = (ENGINES | TRAINERS)[spec["engine"]](case(spec["net"], spec["batch"], spec["threads"]), spec["pin"])
            if spec["convert"]:
                engine.convert()
                return reply(converted=True)
            engine.load()
            engine.run()
            engine.output()
            reply(ready=True)
            for line in sys.stdin:
                reply(**handle(engine, json.loads(line)))
        except Exception as error:  # whatever a package raises becomes the reason in the table
            reply(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
