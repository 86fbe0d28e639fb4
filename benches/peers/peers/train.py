"""The command `train`: how long a training step takes, and how much memory, beside PyTorch's.

A step is forwards, mean cross-entropy, backwards and SGD with momentum and weight decay, on one batch again and again:
feeding costs nothing on either side. A round is one burst of each, in an order drawn anew. PyTorch is eager in both
layouts and compiled by Inductor; the ratio is the fastest one's median over ours.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from pathlib import Path

from . import machine  # first: it keeps numpy to one thread
from . import options, race, table
from .cases import Case
from .engines import TRAINERS
from .files import HOME, Files
from .ours import call, watched
from .race import Row
from .worker import Failed, Worker, absent, version

CASES = {f"{c.net}-{c.batch}": c for c in (
    Case("cifar-resnet20", 128, 2, 2.5, 3.5), Case("cifar-resnet110", 128, 2, 2.0, 3.0),
    Case("resnet18", 16, 2, 1.8, 2.5), Case("resnet50", 16, 2, 1.6, 2.2))}
# The most of the fastest peer's memory.
MEMORY = 0.5


class Step:
    """`rescc bench --train`, with the interface of `worker.Worker`. Started anew for each burst: it compiles the step first."""

    def __init__(self, rescc: Path, case: Case) -> None:
        self.rescc, self.case = rescc, case
        self.model = HOME / "train" / f"{case.net}.rir"
        self.peak_kib = 0
        self.run_ms = 0.0

    def convert(self) -> None:
        self.model.parent.mkdir(parents=True, exist_ok=True)
        call([self.rescc, "new", self.case.net, "-o", self.model, "--quiet"])

    def start(self) -> None:
        self.run_ms = self._bench(warmup=1, iterations=1)["median_us"] / 1e3

    def burst(self, seconds: float, warm_seconds: float, least: int) -> dict:
        run = self._bench(warmup=max(2, math.ceil(warm_seconds * 1e3 / self.run_ms)),
                          iterations=max(least, math.ceil(seconds * 1e3 / self.run_ms)))
        self.run_ms = run["median_us"] / 1e3
        return {"median_ms": self.run_ms, "min_ms": run["min_us"] / 1e3, "p90_ms": run["p90_us"] / 1e3, "iterations": run["n"]}

    def close(self) -> None:
        pass

    def _bench(self, warmup: int, iterations: int) -> dict:
        said, peak_kib = watched([
            self.rescc, "bench", self.model, "--train", "--batch", self.case.batch, "--threads", self.case.threads,
            "--target", "native", "--warmup", warmup, "--iterations", iterations, "--json"], every_s=0.05)
        self.peak_kib = max(self.peak_kib, peak_kib)
        reply = json.loads(said)
        if not reply["ok"]:
            raise Failed(reply["diagnostics"][0]["message"])
        return reply["result"]["runs"][0]


def measure(case: Case, rescc: Path, a: argparse.Namespace) -> dict:
    """Every engine of one case, and whether others disturbed a round."""
    race.prepare(case.net, [case.batch])
    racers: dict[str, Step | Worker] = {"rescc": Step(rescc, case)}
    rows = [Row("rescc", ours=True)]
    for name in a.engines:
        rows.append(Row(name, fault=absent(TRAINERS[name])))
        if not rows[-1].fault:
            racers[name] = Worker(TRAINERS[name], case, pin=True)
    disturbed = 0
    try:
        for row in rows:
            attempt(row, lambda: begin(racers[row.engine], f"{case.net}: {row.engine}"))
        shuffle = random.Random(f"{a.seed} {case.title}")
        for index in range(a.rounds):
            share, _ = machine.wait_idle(a.idle_wait)
            watch = machine.Watch(r.process.pid for r in racers.values() if isinstance(r, Worker) and r.process)
            for row in shuffle.sample(rows, len(rows)):
                attempt(row, lambda: row.rounds.append(racers[row.engine].burst(a.seconds, a.seconds / 4, 3)))
            disturbed += share >= machine.BUSY or watch.others() >= machine.BUSY
            options.say(f"{case.title}: round {index + 1} of {a.rounds}")
    finally:
        for racer in racers.values():
            racer.close()
    for row in rows:
        if not row.fault:
            row.peak_mb = racers[row.engine].peak_kib * 1024 / 1e6
    return judged(case, rows, disturbed)


def begin(racer: Step | Worker, what: str) -> None:
    options.say(what)
    racer.convert()
    racer.start()


def attempt(row: Row, do: object) -> None:
    """Turns a failure of one engine into its row's fault."""
    if not row.fault:
        try:
            do()
        except (Failed, OSError, ValueError, KeyError) as error:
            row.fault = str(error) or type(error).__name__
            options.say(f"{row.engine} is out: {row.fault}")


def judged(case: Case, rows: list[Row], disturbed: int) -> dict:
    whole = [row for row in rows if not row.fault]
    ours = next((row for row in whole if row.ours), None)
    best = min((row for row in whole if not row.ours), key=lambda row: row.median_ms, default=None)
    both = ours is not None and best is not None
    ratios = [b / o for b, o in zip(best.medians, ours.medians)] if both else []
    return {"case": case, "rows": rows, "disturbed": disturbed, "best": best.engine if best else None, "ratios": ratios,
            "ratio": best.median_ms / ours.median_ms if both else None,
            "memory": ours.peak_mb / best.peak_mb if both else None}


def kept(result: dict) -> bool:
    """Whether what is promised of a case holds; not where a peer is missing, or the machine was busy."""
    case, whole = result["case"], all(not row.fault for row in result["rows"])
    return whole and not result["disturbed"] and result["ratio"] >= case.promised and result["memory"] <= MEMORY


def report(result: dict, markdown: bool) -> str:
    case, ours = result["case"], next(row for row in result["rows"] if row.ours)
    head = ["engine", "median ms", "spread", "min ms", "× ours", "images/s", "peak MB", "note"]
    rows = []
    for row in sorted(result["rows"], key=lambda row: (row.median_ms is None, row.median_ms)):
        ms = row.median_ms
        ratio = ms / ours.median_ms if ms and ours.median_ms else None
        rows.append([
            row.engine, table.digits(ms), "" if ms is None else f"{row.spread:.0%}",
            table.digits(min((r["min_ms"] for r in row.rounds), default=None) if ms else None), table.digits(ratio),
            table.digits(1e3 * case.batch / ms if ms else None), table.digits(row.peak_mb), row.fault])
    lines = [f"{'### ' if markdown else ''}A step of {case.title}", table.grid(head, rows, markdown)]
    if result["ratio"] is not None:
        low, high = min(result["ratios"]), max(result["ratios"])
        lines.append(f"Ratio {result['ratio']:.2f} against {result['best']} (rounds {low:.2f} to {high:.2f}); promised "
                     f"{case.promised}, aim {case.aim}. Memory {result['memory']:.2f} of its, promised at most {MEMORY}.")
    if result["disturbed"]:
        lines.append(f"NOT AN IDLE MACHINE in {result['disturbed']} rounds: these figures are not to be published.")
    return ("\n\n" if markdown else "\n").join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benches/peers/train", description="Times a training step of rescc beside PyTorch's.",
        epilog="Exit status: 0 done, 1 with --check: a promise was not kept, 2 usage or something missing.")
    parser.add_argument("--cases", type=options.names(tuple(CASES)), default=tuple(CASES), metavar="A,B",
                        help=f"of {', '.join(CASES)}")
    parser.add_argument("--engines", type=options.names(tuple(TRAINERS)), default=tuple(TRAINERS), metavar="A,B",
                        help=f"of {', '.join(TRAINERS)}")
    parser.add_argument("--rounds", type=options.positive(int), default=3, help="bursts of each engine (default: 3)")
    parser.add_argument("--seconds", type=options.positive(float), default=2.0, help="length of a burst (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of engines in each round (default: 1)")
    parser.add_argument("--idle-wait", type=float, default=60, metavar="S",
                        help="wait so long for an idle machine before each round (default: 60)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise is not kept")
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    options.add_rescc(parser)
    a = parser.parse_args()
    threads = max(CASES[name].threads for name in a.cases)
    rescc = options.check(parser, a, tuple({CASES[name].net for name in a.cases}), threads)
    results = []
    for name in a.cases:
        try:
            results.append(measure(CASES[name], a.rescc, a))
        except Failed as error:
            options.say(f"{error}. `pip install -r benches/peers/requirements.txt` installs what exporting needs.")
            return 2
        print(report(results[-1], a.markdown), flush=True)
    present = [name for name in a.engines if not absent(TRAINERS[name])]
    print("\n".join([options.header(rescc), *(f"{n}, PyTorch {version(TRAINERS[n])}: {TRAINERS[n].settings}" for n in present)]))
    return 1 if a.check and not all(map(kept, results)) else 0


if __name__ == "__main__":
    sys.exit(main())
