"""Whether the machine is idle, and as fast as it was: what others take of its processors, and a probe of its clock."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path

# numpy's own threads would disturb the probe; this has to be set before numpy is imported for the first time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np  # noqa: E402

# Share of all processors, 0 to 1, that others may take before a machine counts as busy.
BUSY = 0.05
# A probe this far below the best one of the race means a lower clock or a neighbour that /proc/stat does not show.
SLOW = 0.90

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _ticks() -> tuple[int, int]:
    """(busy, all) ticks of all processors since boot; time stolen by a hypervisor counts as busy."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, words)
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait


def _own_ticks(pids: Iterable[int]) -> float:
    """Ticks of this process, of its children that have ended, and of the processes named."""
    times = os.times()
    total = sum(times[:4]) * TICKS_PER_SECOND
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            continue
        words = stat.rsplit(")", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total


class Watch:
    """Measures what others took of the processors since it was made; `pids` are processes of the race that live throughout."""

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self.pids = list(pids)
        self.busy, self.all = _ticks()
        self.own = _own_ticks(self.pids)

    def others(self) -> float:
        """Share of all processors, 0 to 1."""
        busy, total = _ticks()
        taken = (busy - self.busy) - (_own_ticks(self.pids) - self.own)
        return max(0.0, taken) / max(1, total - self.all)


def wait_idle(limit_s: float, window_s: float = 0.5) -> tuple[float, float]:
    """Waits until others take less than `BUSY`, at most `limit_s`. Gives their share in the last window, and the wait in s.

    The window itself is no wait, so an idle machine costs none.
    """
    start = time.monotonic()
    while True:
        watch = Watch()
        time.sleep(window_s)
        share = watch.others()
        waited = max(0.0, time.monotonic() - start - window_s - 0.1)
        if share < BUSY or waited + window_s > limit_s:
            return share, waited


class Probe:
    """Multiplies matrices on one processor after another: GFLOP/s of the slowest, each at its best of a few runs."""

    SIZE, RUNS = 384, 8

    def __init__(self, threads: int) -> None:
        self.processors = sorted(os.sched_getaffinity(0))
        self.used = self.processors[:threads]
        self.a = np.ones((self.SIZE, self.SIZE), np.float32)

    def gflops(self) -> float:
        try:
            return min(self._on(cpu) for cpu in self.used)
        finally:
            os.sched_setaffinity(0, self.processors)

    def _on(self, cpu: int) -> float:
        os.sched_setaffinity(0, {cpu})
        best = float("inf")
        for _ in range(self.RUNS):
            start = time.perf_counter()
            self.a @ self.a
            best = min(best, time.perf_counter() - start)
        return 2 * self.SIZE**3 / best / 1e9


def describe() -> str:
    """Processor, number of them that this process may use, kernel."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} processors, Linux {platform.release()}"
