#!/usr/bin/env python3
"""Inspects the inner loops of the convolution templates for CPUs that are not at hand.

    tools/mca.py [--rescc FILE] [--mca FILE]      prints a Markdown table

For each register tile of each CPU level a small network whose channels lead to that tile is compiled to assembly, as
it ships, and the innermost loop of the full tile is taken from each kind of kernel. The table says how many of its
instructions are multiply-adds, how many use the stack, and at which share of the peak llvm-mca expects it to run on
some processors of the level: by ports and latencies alone, with all data in L1. The peak is llvm-mca's own rate of
independent multiply-adds, so it needs no data sheet.

Exits with 1 if a loop uses the stack, or if its code is not understood.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# For each level: processors, the vector register that multiply-adds use and its lanes, as many as a block has
# channels, and the width of a ResNet-50 that leads to each tile (`tiles` in ir/src/target.rs; a tile's blocks divide
# the channels' and those of no earlier tile do).
LEVELS = {
    "x86-64-v3": (["znver3", "haswell"], "ymm", 8, {"6x2": 16, "4x3": 24, "8x1": 8}),
    "x86-64-v4": (["skylake-avx512", "icelake-server", "znver4"], "zmm", 16, {"12x2": 32, "8x3": 48, "28x1": 16}),
}
# Kernels of such a network: what, its name for W channels and images of E pixels, how Winograd's method is chosen,
# and the unrolled filter taps. Names are regular expressions: small images have the transform in the same kernel.
KERNELS = [
    ("3x3", "conv3x3s1_{e}x{e}_{w}_{w}", "off", 3),
    ("1x1", "conv1x1s1_{e}x{e}_{w4}_{w}", "off", 1),
    ("Winograd", "winograd(?:_conv)?4_{e}x{e}_{w}_{w}", "on", 1),
]
RUNS = 200


class Loop:
    """An innermost loop as lines of assembly."""

    def __init__(self, lines):
        self.lines = [l for l in lines if not l.endswith(":")]
        self.fmas = [l for l in self.lines if l.startswith("vfmadd")]

    def on_stack(self):
        return sum(bool(re.search(r"\(%rsp\b|\bpush|\bpop", l)) for l in self.lines)


def inner_loops(text, kernel):
    """Innermost loops of the function that does a task of `kernel` (with whatever epilogue)."""
    body = re.search(rf"^k_{kernel}[a-z_]*\.task:\n(.*?)\n\.Lfunc_end", text, re.M | re.S)
    if not body:
        sys.exit(f"there is no kernel {kernel}")
    code = [l.split("#")[0].strip() for l in body[1].split("\n")]
    code = [l for l in code if l and (not l.startswith(".") or l.endswith(":"))]
    at = {l[:-1]: i for i, l in enumerate(code) if l.endswith(":")}
    jumps = [(at[m[1]], i) for i, l in enumerate(code) if (m := re.match(r"j\w+\s+(\.\w+)$", l)) and m[1] in at]
    back = [(a, b) for a, b in jumps if a < b]
    inner = [(a, b) for a, b in back if not any((c, d) != (a, b) and a <= c and d <= b for c, d in back)]
    return [Loop(code[a : b + 1]) for a, b in inner]


def cycles(mca, cpu, lines):
    """Cycles of one iteration where iterations follow one another."""
    # A jump would need its label, and the loop's is that of the first line.
    lines = [re.sub(r"^(j\w+)\s+\..*", r"\1 .Lagain", l) for l in lines]
    source = ".Lagain:\n" + "\n".join(lines) + "\n"
    command = [mca, "-mtriple=x86_64-linux-gnu", f"-mcpu={cpu}", f"-iterations={RUNS}", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if not found:
        sys.exit(f"{mca} does not understand a loop:\n{done.stderr}")
    return int(found[1]) / RUNS


def compile_(rescc, folder, width, edge, target, winograd):
    model, out = folder / f"w{width}.rir", folder / f"w{width}-{winograd}.s"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    image = f"3x{4 * edge}x{4 * edge}"
    subprocess.run([rescc, "new", "resnet50", "--width", str(width), "--input", image, "-o", model], **quiet)
    options = ["--emit", "asm", "--target", target, "--winograd", winograd, "-o", out]
    subprocess.run([rescc, "compile", model, *options], **quiet)
    return out.read_text()


def main():
    root = Path(__file__).resolve().parent.parent
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--rescc", help="default: target/release/rescc, built now")
    args.add_argument("--mca", default="llvm-mca-22")
    args = args.parse_args()
    if not args.rescc:
        # What lies there may be older, or lack LLVM.
        subprocess.run(["cargo", "build", "--release"], cwd=root, check=True)
        args.rescc = root / "target/release/rescc"
    spilled = False
    with tempfile.TemporaryDirectory() as folder:
        for target, (cpus, register, lanes, widths) in LEVELS.items():
            peak = {}
            for cpu in cpus:
                # As many independent sums as cover any latency.
                sums = [f"vfmadd231ps %{register}14, %{register}15, %{register}{i}" for i in range(12)]
                peak[cpu] = len(sums) / cycles(args.mca, cpu, sums)
            columns = ["tile", "kernel", "instructions", "multiply-adds", "on the stack", *cpus]
            print(f"{target}\n\n| " + " | ".join(columns) + " |\n|---|---|" + "--:|" * (len(columns) - 2))
            for tile, width in widths.items():
                pixels, blocks = map(int, tile.split("x"))
                # Rows of whole tiles, in Winograd's transformed images too: 4 pixels each, at least 12 in a strip.
                edge = 4 * pixels * -(-12 // pixels)
                texts = {w: compile_(args.rescc, Path(folder), width, edge, target, w) for w in ("off", "on")}
                for what, pattern, winograd, taps in KERNELS:
                    name = pattern.format(w=width, w4=4 * width, e=edge)
                    steps = taps * lanes
                    full = [l for l in inner_loops(texts[winograd], name) if len(l.fmas) == pixels * blocks * steps]
                    if not full:
                        sys.exit(f"{target}: no loop of {name} has a tile of {tile}")
                    # A transform in the same kernel may happen to have as many.
                    best = max(full, key=lambda loop: len(loop.fmas) / len(loop.lines))
                    spilled |= best.on_stack() > 0
                    share = len(best.fmas) / len(best.lines)
                    rates = [len(best.fmas) / cycles(args.mca, c, best.lines) / peak[c] for c in cpus]
                    cells = [tile, what, len(best.lines), f"{share:.0%}", best.on_stack(), *(f"{r:.0%}" for r in rates)]
                    print("| " + " | ".join(map(str, cells)) + " |")
            print()
    return int(spilled)


if __name__ == "__main__":
    sys.exit(main())
