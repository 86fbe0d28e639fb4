"""The command `neighbour`: the same engines, alone and beside a process that occupies processor 0, in turn.

With two threads on two processors a neighbour that gets its fair half of one leaves three quarters of the machine, so
4/3 of the time is the least possible; an engine that splits work into fixed halves needs twice the time, and one whose
threads wait for each other by spinning can need many times more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from . import machine  # first: it keeps numpy to one thread
from . import options, race, table
from .cases import NETWORKS, case
from .ours import Executable
from .worker import Failed

SPIN = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@contextmanager
def busy(processor: int) -> Iterator[None]:
    """A process of usual priority that spins on one processor; it ends with its parent, too."""
    process = subprocess.Popen([sys.executable, "-c", SPIN, str(processor)])
    try:
        yield
        if process.poll() is not None:
            raise Failed(f"the neighbour ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="benches/peers/neighbour", description="Time of one inference alone, and beside a busy process on one processor.")
    parser.add_argument("--net", default="resnet50", choices=NETWORKS)
    parser.add_argument("--batch", type=options.positive(int), default=1)
    parser.add_argument("--threads", type=options.positive(int), default=2)
    parser.add_argument("--idle-wait", type=float, default=60, metavar="S", help="wait so long for an idle machine (default: 60)")
    options.add_common(parser, rounds=5)
    return parser, parser.parse_args()


def bursts(entrants: race.Field, shuffle: random.Random) -> None:
    """One burst of every engine, added to its row."""
    order = entrants.live
    shuffle.shuffle(order)
    for row in order:
        with entrants.guard(row):
            row.rounds.append(entrants.burst(row))


def main() -> int:
    parser, a = arguments()
    rescc = options.check(parser, a, (a.net,), a.threads)
    chosen = case(a.net, a.batch, a.threads)
    # Threads bound to a core that is taken could not move away, so nothing is bound here.
    settings = race.Settings(a.engines, a.rounds, a.seconds, a.idle_wait, a.seed, pin=False)
    processor = min(os.sched_getaffinity(0))
    try:
        race.prepare(a.net, [a.batch])
    except Failed as error:
        options.say(f"{error}. `pip install -r benches/peers/requirements.txt` installs what exporting needs.")
        return 2
    shuffle = random.Random(a.seed)
    disturbed = 0
    patience_s = a.idle_wait
    with race.Field(chosen, settings, [Executable(a.rescc, chosen)], options.say) as entrants:
        for index in range(a.rounds):
            share, waited_s = machine.wait_idle(patience_s)
            patience_s -= waited_s
            watch = machine.Watch(entrants.pids())
            bursts(entrants, shuffle)
            disturbed += share >= machine.BUSY or watch.others() >= machine.BUSY
            with busy(processor):
                bursts(entrants, shuffle)
            options.say(f"round {index + 1} of {a.rounds}")
        entrants.finish()
        rows = [measured(row) for row in entrants.rows]
    rows.sort(key=lambda r: (r["growth"] is None, r["growth"]))
    if a.json:
        a.json.write_text(json.dumps({
            "schema": "rescc.neighbour/1", "machine": options.header(rescc), "versions": options.versions(a.engines, rescc),
            "net": a.net, "batch": a.batch, "threads": a.threads, "disturbed": disturbed, "rows": rows}, indent=1) + "\n")
    print(f"{chosen.title}, alone and beside a process that spins on processor {processor}")
    head = ["engine", "alone ms", "beside ms", "growth", "slowest round ms", "note"]
    print(table.grid(head, [[
        r["engine"], table.digits(r["alone_ms"]), table.digits(r["beside_ms"]),
        "" if r["growth"] is None else f"{r['growth']:.2f}", table.digits(r["worst_ms"]), r["fault"]] for r in rows], a.markdown))
    print(f"Medians of {a.rounds} rounds of each, in turn. With all time shared fairly 1.33 would be the least growth on two threads.")
    if disturbed:
        print(f"NOT AN IDLE MACHINE in {disturbed} of {a.rounds} rounds: these figures are not to be published.")
    return 0


def measured(row: race.Row) -> dict:
    """Rounds alternate, alone first."""
    alone, beside = row.medians[0::2], row.medians[1::2]
    whole = bool(alone and beside and not row.fault)
    quiet, loaded = (statistics.median(alone), statistics.median(beside)) if whole else (None, None)
    return {"engine": row.engine, "alone_ms": quiet, "beside_ms": loaded, "growth": loaded / quiet if whole else None,
            "worst_ms": max(beside) if whole else None, "fault": row.fault, "rounds": row.rounds}


if __name__ == "__main__":
    sys.exit(main())
