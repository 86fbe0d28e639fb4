"""The flags that the commands share, checked before anything heavy begins."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import machine
from .cases import NETWORKS
from .engines import DEFAULT, ENGINES
from .files import ROOT
from .worker import absent, version


def names(known: tuple[str, ...]) -> object:
    """A type for argparse: a list with commas, of these words."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(word for word in text.split(",") if word)
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are {', '.join(known)}")
        return words

    return parse


def numbers(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(word) for word in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of positive numbers such as 1,2")
    return values


def positive(kind: type) -> object:
    def parse(text: str) -> int | float:
        value = kind(text)
        if value <= 0:
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def add_common(parser: argparse.ArgumentParser, rounds: int, engines: tuple[str, ...] = DEFAULT) -> None:
    parser.add_argument("--engines", type=names(tuple(ENGINES)), default=engines, metavar="A,B",
                        help=f"of {', '.join(ENGINES)} (default: {','.join(engines)})")
    add_rescc(parser)
    parser.add_argument("--rounds", type=positive(int), default=rounds, help=f"bursts of each engine (default: {rounds})")
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="length of a burst (default: 0.5)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of engines in each round (default: 1)")
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")


def add_rescc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rescc", type=Path, default=os.environ.get("RESCC") or None, metavar="PATH",
                        help="the compiler (default: $RESCC, else this repository's, built now)")


def find_rescc(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Builds rescc unless one is named, as what lies in `target` may be older or lack LLVM. Ends with status 2 without one."""
    if arguments.rescc is None:
        try:
            subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            parser.error(f"rescc cannot be built: {error}; name one by --rescc PATH")
        arguments.rescc = ROOT / "target" / "release" / "rescc"
    if not arguments.rescc.is_file():
        parser.error(f"there is no {arguments.rescc}: name a file by --rescc PATH")


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace, networks: tuple[str, ...], threads: int) -> str:
    """Ends with status 2 and what to do where something is missing; gives rescc's version."""
    assert set(networks) <= set(NETWORKS)
    available = len(os.sched_getaffinity(0))
    if threads > available:
        parser.error(f"{threads} threads are asked for, and this process may use {available} processors")
    find_rescc(parser, arguments)
    rescc = arguments.rescc
    try:
        return subprocess.run([rescc, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        parser.error(f"{rescc} does not run: {error}")


def versions(engines: tuple[str, ...], rescc: str) -> dict[str, str]:
    known = {"rescc": rescc.removeprefix("rescc ")}
    return known | {name: version(ENGINES[name]) for name in engines if not absent(ENGINES[name])}


def header(rescc: str) -> str:
    return f"{rescc}; {machine.describe()}; Python {sys.version.split()[0]}"


def say(text: str) -> None:
    """Progress goes to standard error, so that standard output holds the tables alone."""
    print(f"peers: {text}", file=sys.stderr, flush=True)
