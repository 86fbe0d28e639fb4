"""The command `run`: choose cases, race them, print the tables."""

from __future__ import annotations

import argparse
import json
import sys

from . import machine  # noqa: F401  first: it keeps numpy to one thread
from . import options, race, table
from .cases import NETWORKS, TABLE, Case, case, default_batches
from .ours import Executable
from .worker import Failed


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="benches/peers/run", description="Races executables made by rescc against other inference engines.",
        epilog="Exit status: 0 done, 1 with --check: a promise was not kept or has no ratio, 2 usage or something missing.")
    parser.add_argument("--table", action="store_true", help="the cases of the README (default without --nets)")
    parser.add_argument("--nets", type=options.names(NETWORKS), metavar="A,B", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--batches", type=options.numbers, metavar="N,M", help="default: 1,8, and 1,128 for CIFAR")
    parser.add_argument("--threads", type=options.numbers, metavar="N,M", default=(1, 2), help="default: 1,2")
    parser.add_argument("--winograd-off", action="store_true", help="race rescc without Winograd too, as a row of its own")
    parser.add_argument("--idle-wait", type=float, default=60, metavar="S", help="wait so long for an idle machine (default: 60)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promised ratio is not reached")
    options.add_common(parser, rounds=7)
    return parser, parser.parse_args()


def cases(a: argparse.Namespace) -> list[Case]:
    if a.table or not a.nets:
        return [c for c in TABLE if not a.nets or c.net in a.nets]
    return [case(net, batch, threads) for net in a.nets for batch in a.batches or default_batches(net) for threads in a.threads]


def main() -> int:
    parser, a = arguments()
    chosen = cases(a)
    if not chosen:
        parser.error("no case is left of the table")
    rescc = options.check(parser, a, tuple({c.net for c in chosen}), max(c.threads for c in chosen))
    settings = race.Settings(a.engines, a.rounds, a.seconds, a.idle_wait, a.seed)
    results: list[race.Result] = []
    for chosen_case in chosen:
        ours = [Executable(a.rescc, chosen_case)]
        if a.winograd_off:
            ours.append(Executable(a.rescc, chosen_case, winograd="off"))
        try:
            race.prepare(chosen_case.net, [chosen_case.batch])
        except Failed as error:
            options.say(f"{error}. `pip install -r benches/peers/requirements.txt` installs what exporting needs.")
            return 2
        results.append(race.run(chosen_case, settings, ours, options.say))
        print(table.detail(results[-1], a.markdown), end="\n\n", flush=True)
    versions, header = options.versions(a.engines, rescc), options.header(rescc)
    if a.json:
        a.json.write_text(json.dumps(table.data(results, header, versions), indent=1) + "\n")
    print(table.summary(results, a.markdown), end="\n\n")
    print(table.legend(list(a.engines), versions, header))
    if busy := [r.case.title for r in results if not r.idle]:
        options.say(f"WARNING: the machine was not idle, these figures are not to be published: {'; '.join(busy)}")
    failed = any(r.case.promised is not None and r.verdict != "ok" for r in results)
    return 1 if a.check and failed else 0


if __name__ == "__main__":
    sys.exit(main())
