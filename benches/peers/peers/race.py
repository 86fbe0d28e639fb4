"""Runs one case: every engine answers, is checked against float64, and is timed in rounds that all share."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from . import machine
from .cases import Case
from .engines import DEFAULT, ENGINES
from .files import Files, missing
from .ours import Executable
from .worker import Failed, Worker, absent, shipped_bytes

# Starts before the one that is timed, so that files are in the page cache for all.
UNTIMED_STARTS = 1
# Relative L2 beyond which an answer is wrong, whatever the arithmetic.
WRONG = 0.1
# An engine this many times less exact than the median engine has bought its speed with digits.
INEXACT = 200


@dataclass
class Row:
    """What one engine did in a case. Times in ms, sizes in MB of 10^6 bytes."""

    engine: str
    ours: bool = False
    fault: str = ""
    note: str = ""
    eligible: bool = False
    load_ms: float | None = None
    peak_mb: float | None = None
    shipped_mb: float | None = None
    rel_l2: float | None = None
    same_class: str = ""
    rounds: list[dict] = field(default_factory=list)

    @property
    def medians(self) -> list[float]:
        return [r["median_ms"] for r in self.rounds]

    @property
    def median_ms(self) -> float | None:
        return statistics.median(self.medians) if self.rounds and not self.fault else None

    @property
    def spread(self) -> float | None:
        """(largest − smallest) / median of the rounds' medians."""
        return (max(self.medians) - min(self.medians)) / self.median_ms if self.median_ms else None


@dataclass
class Result:
    case: Case
    rows: list[Row]
    rounds: int = 0
    disturbed: int = 0
    others: float = 0.0
    probe_gflops: list[float] = field(default_factory=list)
    idle: bool = True
    inapplicable: list[str] = field(default_factory=list)

    @property
    def ours(self) -> Row | None:
        return next((r for r in self.rows if r.engine == "rescc" and r.eligible), None)

    @property
    def best(self) -> Row | None:
        peers = [r for r in self.rows if not r.ours and r.eligible]
        return min(peers, key=lambda r: r.median_ms, default=None)

    @property
    def ratio(self) -> float | None:
        return self.best.median_ms / self.ours.median_ms if self.best and self.ours else None

    @property
    def ratio_range(self) -> tuple[float, float] | None:
        """Least and greatest ratio of one round."""
        if self.ratio is None:
            return None
        ratios = [b / o for b, o in zip(self.best.medians, self.ours.medians)]
        return min(ratios), max(ratios)

    @property
    def verdict(self) -> str:
        """`ok` or `below`, or why a promise is not judged.

        On a busy machine engines that spin suffer most, which would flatter ours; so would a fast peer that is missing.
        """
        if not self.idle:
            return "not idle"
        if self.case.promised is None:
            return ""
        if self.ratio is None:
            return "no ratio"
        finished = {row.engine for row in self.rows if not row.fault}
        if any(name not in finished and not ENGINES[name].refusal(self.case) for name in DEFAULT):
            return "peer missing"
        return "ok" if self.ratio >= self.case.promised else "below"


@dataclass(frozen=True)
class Settings:
    """How a race is run; times in seconds, `idle_wait_s` for all rounds of a case together."""

    engines: tuple[str, ...]
    rounds: int
    seconds: float
    idle_wait_s: float
    seed: int
    warm_seconds: float = 0.2
    least: int = 3
    pin: bool = True


Racer = Worker | Executable


def prepare(net: str, batches: list[int]) -> None:
    """Exports the network, in a process of its own so that this one stays small."""
    if missing(net, batches):
        done = subprocess.run([sys.executable, "-m", "peers.export", net, *map(str, batches)], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            raise Failed(f"exporting {net}: {last}")


class Field:
    """The engines of one case, loaded and checked. `rows` lists those that fell out, too."""

    def __init__(self, case: Case, settings: Settings, ours: list[Executable], say: Callable[[str], None]) -> None:
        self.case, self.settings, self.say = case, settings, say
        self.files = Files(case.net, case.batch)
        self.reference = np.load(self.files.reference)
        self.rows: list[Row] = []
        self.racers: dict[str, Racer] = {}
        self.inapplicable: list[str] = []
        try:
            self._enter_all(ours)
        except BaseException:  # an interrupt while engines load must not leave their processes behind
            self.close()
            raise

    def _enter_all(self, ours: list[Executable]) -> None:
        for executable in ours:
            self._enter(Row(executable.name, ours=True), executable, executable.shipped_bytes)
        case = self.case
        for name in self.settings.engines:
            engine = ENGINES[name]
            if reason := engine.refusal(case):
                self.inapplicable.append(f"{name} ({reason})")
            elif reason := absent(engine):
                self.rows.append(Row(name, fault=reason))
            else:
                self._enter(Row(name), Worker(engine, case, self.settings.pin), lambda e=engine: shipped_bytes(e, self.files))

    def _enter(self, row: Row, racer: Racer, size: Callable[[], int]) -> None:
        self.rows.append(row)
        self.racers[row.engine] = racer
        with self.guard(row):
            self.say(f"{self.case.title}: {row.engine}")
            racer.convert()
            for _ in range(UNTIMED_STARTS + 1):
                racer.start()
            row.load_ms = racer.load_ms
            row.shipped_mb = size() / 1e6
            self.check(row)

    def check(self, row: Row) -> None:
        """Compares the last answer with float64; of several checks the worst one counts."""
        y = self.racers[row.engine].answer().astype(np.float64)
        if y.shape != self.reference.shape:
            raise Failed(f"answers with shape {y.shape} instead of {self.reference.shape}")
        error = float(np.linalg.norm(y - self.reference) / np.linalg.norm(self.reference))
        row.rel_l2 = error if row.rel_l2 is None or not error <= row.rel_l2 else row.rel_l2
        same = int((y.argmax(1) == self.reference.argmax(1)).sum())
        row.same_class = f"{same}/{len(y)}"
        if not error < WRONG:
            raise Failed(f"wrong answer: relative L2 {error:.1e}, {same} of {len(y)} classes")

    def guard(self, row: Row) -> "_Guard":
        return _Guard(self, row)

    @property
    def live(self) -> list[Row]:
        return [row for row in self.rows if not row.fault]

    def pids(self) -> list[int]:
        return [r.process.pid for r in self.racers.values() if isinstance(r, Worker) and r.process]

    def burst(self, row: Row) -> dict:
        s = self.settings
        return self.racers[row.engine].burst(s.seconds, s.warm_seconds, s.least)

    def finish(self) -> None:
        """Checks every answer again and decides who may count as the best peer."""
        for row in self.live:
            with self.guard(row):
                self.check(row)
            row.peak_mb = self.racers[row.engine].peak_kib * 1024 / 1e6
        errors = [row.rel_l2 for row in self.live]
        for row in self.live:
            row.eligible = row.rel_l2 <= INEXACT * statistics.median(errors)
            if not row.eligible:
                row.note = f"does not count: {row.rel_l2 / statistics.median(errors):.0f} times the median error"

    def close(self) -> None:
        for racer in self.racers.values():
            racer.close()

    def __enter__(self) -> "Field":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Guard:
    """Turns a failure of one engine into its row's fault, so that the race goes on without it."""

    def __init__(self, field_: Field, row: Row) -> None:
        self.field, self.row = field_, row

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, (Failed, OSError, ValueError, KeyError)):
            return False
        self.row.fault = str(error) or type(error).__name__
        self.field.racers[self.row.engine].close()
        self.field.say(f"{self.field.case.title}: {self.row.engine} is out: {self.row.fault}")
        return True


def run(case: Case, settings: Settings, ours: list[Executable], say: Callable[[str], None]) -> Result:
    """The whole race of one case. A round that others disturbed is repeated, up to as often as there are rounds."""
    with Field(case, settings, ours, say) as entrants:
        result = Result(case, entrants.rows, inapplicable=entrants.inapplicable)
        shuffle = random.Random(f"{settings.seed} {case.title}")
        probe = machine.Probe(case.threads)
        clean: list[dict[str, dict]] = []
        disturbed: list[dict[str, dict]] = []
        patience_s = settings.idle_wait_s
        while len(clean) < settings.rounds and len(disturbed) <= settings.rounds:
            share, waited_s = machine.wait_idle(patience_s)
            patience_s -= waited_s
            if share >= machine.BUSY:
                say(f"WARNING: the machine is busy, others take {share:.0%} of it")
            result.probe_gflops.append(probe.gflops())
            times, share = _round(entrants, shuffle)
            result.others = max(result.others, share)
            slow = result.probe_gflops[-1] < machine.SLOW * max(result.probe_gflops)
            (disturbed if slow or share >= machine.BUSY else clean).append(times)
            say(f"{case.title}: round {len(clean)} of {settings.rounds}, others took {share:.1%}"
                + (", disturbed" if slow or share >= machine.BUSY else ""))
            if not entrants.live:
                break
        result.rounds, result.disturbed = len(clean), len(disturbed)
        # Rounds that were disturbed count only where too few were not; the table says so.
        result.idle = len(clean) == settings.rounds
        for times in clean if result.idle else clean + disturbed:
            for row in entrants.live:
                row.rounds.append(times[row.engine])
        result.rounds += 0 if result.idle else result.disturbed
        entrants.finish()
    return result


def _round(entrants: Field, shuffle: random.Random) -> tuple[dict[str, dict], float]:
    """One burst of every engine, in a new order. Gives the replies, and the share of the machine that others took."""
    order = entrants.live
    shuffle.shuffle(order)
    times: dict[str, dict] = {}
    watch = machine.Watch(entrants.pids())
    for row in order:
        with entrants.guard(row):
            times[row.engine] = entrants.burst(row)
    return times, watch.others()
