"""The command `step`: how exact a compiled training step is, beside PyTorch's.

From the same weights, momenta, pictures and labels one step of SGD is taken by PyTorch in float64 and in float32, and by
rescc. The error of a tensor is |t − t64| / |t64| (Euclidean norms; root mean square over several batches, as rounding is
a matter of luck). Its ratio is rescc's error over PyTorch's float32 error, or over FLOOR where that is larger. Promised
are the ratios of all tensors: of the loss, of each gradient, and of what the step makes of each parameter, momentum and
running statistic.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import kinks, networks, options, table
from .files import HOME
from .library import Library
from .ours import call
from .worker import Failed

LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4
# Half a unit in the last place: what rounding the true value to float32 can cost.
FLOOR = 2.0**-24
PROMISED = {"off": 2.0, "on": 10.0}  # by --winograd
SEED = 53

# Tensors by kind, then by name.
Tensors = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Case:
    net: str
    option: str  # shortcut A, B or C
    batch: int

    @property
    def name(self) -> str:
        return f"{self.net}-{self.option}"


CASES = {c.name: c for c in (
    Case("cifar-resnet20", "A", 128), Case("cifar-resnet20", "B", 128), Case("cifar-resnet20", "C", 128),
    Case("resnet18", "B", 4), Case("resnet50", "B", 4))}


@dataclass(frozen=True)
class Start:
    """What a step begins with."""

    model: nn.Module  # float32, with its weights and statistics
    momenta: dict[str, np.ndarray]
    x: np.ndarray
    labels: np.ndarray


def starts(case: Case, draws: int) -> list[Start]:
    """The seeded network, each time with other pictures, labels and momenta, and away from its kinks for them."""
    rng = np.random.default_rng(SEED)
    weights = networks.state(networks.seeded(case.net, case.option))
    pictures = kinks.pictures(case.net, networks.load(case.net, weights, case.option).double())
    out = []
    for _ in range(draws):
        x = np.stack(list(islice(pictures, case.batch)))
        model = networks.load(case.net, weights, case.option).double().train()
        margin = kinks.settle(model, torch.from_numpy(x).double())
        options.say(f"{case.name}: the inputs of ReLUs are {margin:.0e} deviations from 0, at least")
        momenta = {name: 0.01 * rng.standard_normal(p.shape).astype(np.float32) for name, p in model.named_parameters()}
        classes = list(model.children())[-1].out_features
        out.append(Start(model.float(), momenta, x, rng.integers(0, classes, case.batch, np.int32)))
    return out


def by_torch(start: Start, dtype: torch.dtype) -> Tensors:
    model = copy.deepcopy(start.model).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    parameters = dict(model.named_parameters())
    for name, p in parameters.items():
        optimizer.state[p]["momentum_buffer"] = torch.tensor(start.momenta[name], dtype=dtype)
    loss = functional.cross_entropy(model(torch.from_numpy(start.x).to(dtype)), torch.from_numpy(start.labels).long())
    loss.backward()
    gradients = {name: p.grad.numpy().copy() for name, p in parameters.items()}
    optimizer.step()
    return {
        "loss": {"loss": np.array(loss.item())},
        "gradients": gradients,
        "parameters": {name: p.detach().numpy() for name, p in parameters.items()},
        "momenta": {name: optimizer.state[p]["momentum_buffer"].numpy() for name, p in parameters.items()},
        "statistics": {name: b.numpy() for name, b in model.named_buffers() if "running" in name},
    }


def by_rescc(start: Start, library: Library) -> Tensors:
    state = networks.state(start.model)
    for name, value in state.items():
        library.now(name)[...] = value.numpy()
    for name, value in start.momenta.items():
        library.now(f"{name}.momentum")[...] = value
    loss = library.step(start.x, start.labels, LR)
    return {
        "loss": {"loss": np.array(loss)},
        "gradients": {name: library.gradient(name).copy() for name in start.momenta},
        "parameters": {name: library.now(name).copy() for name in start.momenta},
        "momenta": {name: library.now(f"{name}.momentum").copy() for name in start.momenta},
        "statistics": {name: library.now(name).copy() for name in state.keys() - start.momenta.keys()},
    }


def compiled(rescc: Path, case: Case, winograd: str) -> Library:
    folder = HOME / "step"
    folder.mkdir(parents=True, exist_ok=True)
    model, path = folder / f"{case.name}.rir", folder / f"{case.name}-winograd-{winograd}"
    call([rescc, "new", case.net, "--shortcut", case.option, "-o", model, "--quiet"])
    call([rescc, "compile", model, "--train", "--batch", case.batch, "--momentum", MOMENTUM, "--wd", WEIGHT_DECAY,
          "--winograd", winograd, "--target", "native", "--emit", "so,header", "--linker", "cc", "--prefix", "net", "-o", path,
          "--quiet"])
    return Library(path.with_suffix(".so"))


def errors(found: list[Tensors], true: list[Tensors]) -> dict[str, dict[str, float]]:
    """Root mean square over the batches of |t − t64| / |t64|, by kind and name."""
    def of(t: np.ndarray, t64: np.ndarray) -> float:
        return float(np.linalg.norm((t.astype(np.float64) - t64).ravel()) / np.linalg.norm(t64.ravel()))

    return {kind: {name: float(np.sqrt(np.mean([of(f[kind][name], t[kind][name]) ** 2 for f, t in zip(found, true)])))
                   for name in names} for kind, names in true[0].items()}


def compare(case: Case, rescc: Path, draws: int) -> list[dict]:
    """A row for each kind of tensor, without and with Winograd."""
    libraries = {winograd: compiled(rescc, case, winograd) for winograd in PROMISED}
    begun = starts(case, draws)
    true = [by_torch(start, torch.float64) for start in begun]
    torch_errors = errors([by_torch(start, torch.float32) for start in begun], true)
    rows = []
    for winograd, library in libraries.items():
        our_errors = errors([by_rescc(start, library) for start in begun], true)
        for kind, ours in our_errors.items():
            peers = torch_errors[kind]
            ratios = {name: error / max(peers[name], FLOOR) for name, error in ours.items()}
            # What is no number is the worst of all.
            worst = max(ratios, key=lambda name: (math.isnan(ratios[name]), ratios[name]))
            rows.append({
                "case": case.name, "batch": case.batch, "winograd": winograd, "kind": kind, "tensors": len(ratios),
                "median": float(np.median(list(ratios.values()))), "worst": ratios[worst], "tensor": worst,
                "ours": float(np.max(list(ours.values()))), "torch": float(np.max(list(peers.values()))),
                "promised": PROMISED[winograd], "holds": all(r <= PROMISED[winograd] for r in ratios.values())})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benches/peers/step", description="One training step of rescc and of PyTorch in float32, both against float64.")
    parser.add_argument("--cases", type=options.names(tuple(CASES)), default=tuple(CASES), metavar="A,B",
                        help=f"of {', '.join(CASES)}")
    parser.add_argument("--draws", type=options.positive(int), default=4, help="batches of pictures (default: 4)")
    parser.add_argument("--threads", type=options.positive(int), default=2, help="of PyTorch (default: 2)")
    options.add_rescc(parser)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    a = parser.parse_args()
    options.find_rescc(parser, a)
    torch.set_num_threads(a.threads)
    kept = True
    for name in a.cases:
        try:
            rows = compare(CASES[name], a.rescc, a.draws)
        except Failed as error:
            options.say(f"{name}: {error}")
            kept = False
            continue
        print(report(rows, a.markdown), flush=True)
        kept &= all(r["holds"] for r in rows)
    return 0 if kept else 1


def report(rows: list[dict], markdown: bool) -> str:
    head = ["network", "batch", "Winograd", "what", "tensors", "median ratio", "worst ratio", "promised", "", "of",
            "largest error", "PyTorch's"]
    return table.grid(head, [[
        r["case"], str(r["batch"]), r["winograd"], r["kind"], str(r["tensors"]), f"{r['median']:.2f}", f"{r['worst']:.2f}",
        f"{r['promised']:.0f}", "holds" if r["holds"] else "FAILS", r["tensor"], f"{r['ours']:.1e}", f"{r['torch']:.1e}"]
        for r in rows], markdown) + "\n"


if __name__ == "__main__":
    sys.exit(main())
