"""Results as aligned text, as Markdown, and as data."""

from __future__ import annotations

from dataclasses import asdict

from .engines import ENGINES
from .race import Result, Row

Cells = list[list[str]]


def grid(head: list[str], rows: Cells, markdown: bool) -> str:
    """First column and notes to the left, all others to the right."""
    left = {0} | {i for i, name in enumerate(head) if name == "note"}
    if markdown:
        rule = ["---" if i in left else "--:" for i in range(len(head))]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])
    widths = [max(len(cells[i]) for cells in [head, *rows]) for i in range(len(head))]
    lines = []
    for cells in [head, *rows]:
        padded = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def digits(value: float | None, unit: str = "") -> str:
    """Three significant digits and more before the point."""
    if value is None:
        return ""
    return (f"{value:.0f}" if value >= 100 else f"{value:#.3g}") + unit


def detail(result: Result, markdown: bool) -> str:
    """Every engine of one case, the fastest first, then those that fell out and why."""
    ours = result.ours
    rows = []
    for row in sorted(result.rows, key=lambda r: (r.median_ms is None, r.median_ms)):
        ratio = row.median_ms / ours.median_ms if row.median_ms and ours else None
        rows.append([
            row.engine, digits(row.median_ms), "" if row.spread is None else f"{row.spread:.0%}",
            digits(min((r["min_ms"] for r in row.rounds), default=None) if not row.fault else None),
            digits(ratio), digits(row.load_ms), digits(row.peak_mb), digits(row.shipped_mb),
            "" if row.rel_l2 is None else f"{row.rel_l2:.1e}", row.same_class, row.fault or row.note,
        ])
    head = ["engine", "median ms", "spread", "min ms", "× ours", "load ms", "peak MB", "shipped MB", "rel. L2", "top-1", "note"]
    title = f"{'### ' if markdown else ''}{result.case.title}"
    lines = [title, ""] if markdown else [title]
    lines += [grid(head, rows, markdown), "" if markdown else None, f"{ratio_line(result)}; {idle_line(result)}"]
    if result.inapplicable:
        lines.append(f"Not in this race: {', '.join(result.inapplicable)}.")
    return "\n".join(line for line in lines if line is not None)


def ratio_line(result: Result) -> str:
    if result.ratio is None:
        return f"No ratio: {'no peer that counts is left' if result.ours else 'rescc fell out'}"
    low, high = result.ratio_range
    text = f"Ratio {result.ratio:.2f} against {result.best.engine} (rounds {low:.2f} to {high:.2f})"
    if result.case.promised is None:
        return text
    return f"{text}; promised {result.case.promised:.2f}, aim {result.case.aim:.2f}: {result.verdict}"


def idle_line(result: Result) -> str:
    probes = result.probe_gflops or [0.0]
    state = "idle machine" if result.idle else "NOT AN IDLE MACHINE: disturbed rounds count"
    return (f"{result.rounds} rounds, {result.disturbed} disturbed, others at most {result.others:.0%}, "
            f"probe {min(probes):.0f} to {max(probes):.0f} GFLOP/s a core: {state}")


def summary(results: list[Result], markdown: bool) -> str:
    """One line a case: rescc against the fastest peer whose answers count."""
    rows = []
    for result in results:
        case, ours, best = result.case, result.ours, result.best
        rows.append([
            case.net, str(case.batch), str(case.threads),
            _of(ours, "median_ms"), f"{_of(best, 'median_ms')} {best.engine}" if best else "", digits(result.ratio),
            "" if case.promised is None else f"{case.promised:.2f}", "" if case.aim is None else f"{case.aim:.2f}",
            result.verdict, f"{_percent(ours)} / {_percent(best)}",
            *(f"{_of(ours, key)} / {_of(best, key)}" for key in ("load_ms", "peak_mb", "shipped_mb")),
        ])
    head = ["network", "batch", "threads", "rescc ms", "best peer ms", "ratio", "promised", "aim", "verdict", "spread",
            "load ms", "peak MB", "shipped MB"]
    return grid(head, rows, markdown)


def legend(engines: list[str], versions: dict[str, str], header: str) -> str:
    """What the columns mean, and each engine's settings."""
    lines = [header, "", *(f"{name} {versions.get(name, '')}: {ENGINES[name].settings}" for name in engines)]
    lines += ["", "Weights: He-initialised from a seed, with batch-norm statistics measured on seeded images. Median and "
              "spread (largest − smallest) of the rounds' medians; load: start of the process to its first answer, files "
              "cached; peak: resident memory of the process; shipped: packages as installed, without Python, NumPy and "
              "dependencies, and the model, against the executable; rel. L2: logits against float64. 'x / y' is rescc / best peer."]
    return "\n".join(lines)


def data(results: list[Result], header: str, versions: dict[str, str]) -> dict:
    """For --json: everything that was measured."""
    return {
        "schema": "rescc.peers/1", "machine": header, "versions": versions,
        "cases": [asdict(r) | {
            "ratio": r.ratio, "ratio_range": r.ratio_range, "best": r.best.engine if r.best else None, "verdict": r.verdict,
            "rows": [asdict(row) | {"median_ms": row.median_ms, "spread": row.spread} for row in r.rows],
        } for r in results],
    }


def _of(row: Row | None, key: str) -> str:
    return (digits(getattr(row, key)) if row else "") or "–"


def _percent(row: Row | None) -> str:
    return f"{row.spread:.0%}" if row and row.spread is not None else "–"
