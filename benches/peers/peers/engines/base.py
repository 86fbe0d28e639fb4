"""What an engine is: something that loads a network once and then runs it again and again on the same input."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cases import Case
from ..files import Files


class Engine:
    """Subclasses live in a child process of their own; class attributes and class methods are used by the parent too."""

    name = ""
    # What pip calls the packages that the engine needs beyond NumPy; the first one gives the version.
    packages: tuple[str, ...] = ()
    # One line for the table: what was set to make it as fast as it goes.
    settings = ""
    # Whether `convert` has to run, in a process of its own and untimed, before the first load.
    converts = False

    def __init__(self, case: Case, pin: bool) -> None:
        """`pin`: bind threads to cores, which helps on an idle machine and hurts beside a busy neighbour."""
        self.case = case
        self.files = Files(case.net, case.batch)
        self.pin = pin

    @classmethod
    def refusal(cls, case: Case) -> str:
        """Why this engine has no place in the case, or nothing."""
        return ""

    @classmethod
    def environment(cls, threads: int, pin: bool) -> dict[str, str]:
        """Variables of the child process, for what must be known before a package is imported."""
        return {}

    @classmethod
    def model_files(cls, files: Files) -> list[Path]:
        """What is shipped beside the packages."""
        return [files.onnx]

    def convert(self) -> None:
        """Writes the engine's own form of the network, if that is missing."""

    def load(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        """One inference of the whole batch."""
        raise NotImplementedError

    def output(self) -> np.ndarray:
        """float32 (batch, classes) of the last run."""
        raise NotImplementedError

    def images(self) -> np.ndarray:
        return np.load(self.files.x)


def openmp(threads: int, pin: bool) -> dict[str, str]:
    """Waiting threads spin, and stay on their cores where `pin` says so."""
    variables = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "active", "OMP_DYNAMIC": "false"}
    return variables | {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"} if pin else variables
