"""Measure Section 3 of the paper on this machine: `lab EXPERIMENT`, one module an experiment."""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from inception_viz.cli import given
from inception_viz.cli.lab import cost, overfitting, waste
from inception_viz.text import Text

if TYPE_CHECKING:
    from inception_viz.measurement import Finding, Outcome, Row, Running

EXPERIMENTS: dict[str, ModuleType] = {"cost": cost, "waste": waste, "overfitting": overfitting}
ANSWERS = {True: "supported", False: "refuted", None: "undecided"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    experiments = parser.add_subparsers(required=True, metavar="EXPERIMENT")
    for name, module in EXPERIMENTS.items():
        added = experiments.add_parser(name, help=module.__doc__, description=module.__doc__)
        added.add_argument("--json", action="store_true", help="print findings and rows as JSON")
        added.add_argument("--csv", type=Path, metavar="FILE", help="write the rows as comma-separated values too")
        module.arguments(added)
        added.set_defaults(measure=module.measure, refuse=added.error)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    outcome = _driven(arguments.measure(arguments))
    if arguments.csv:
        _write(outcome, arguments.csv)
    if arguments.json:
        told = {"findings": [_finding(f) for f in outcome.findings], "rows": [_plain(row) for row in outcome.rows]}
        print(json.dumps(told, ensure_ascii=False, allow_nan=False))
        return
    for line in _table(outcome.rows):
        print(line)
    for finding in outcome.findings:
        print(f"\n“{finding.claim}”\n{ANSWERS[finding.supported]}: {finding.told(Text('en'))}")


def _driven(running: "Running") -> "Outcome":
    """The outcome, with the share done on standard error."""
    try:
        while True:
            print(f"\r{next(running):4.0%}", end="", file=sys.stderr, flush=True)
    except StopIteration as end:
        return end.value
    finally:
        print("\r     \r", end="", file=sys.stderr)


def _write(outcome: "Outcome", path: Path) -> None:
    from inception_viz.measurement import as_csv

    aside = path.with_name(path.name + ".partial")
    try:
        aside.write_text(as_csv(outcome.rows), encoding="utf-8", newline="")
        os.replace(aside, path)
    except OSError as error:
        raise given.UnwritableFolder(name=path.name, reason=error.strerror or "unknown") from None
    finally:
        aside.unlink(missing_ok=True)


def _finding(finding: "Finding") -> dict[str, Any]:
    return {"claim": finding.claim, "found": finding.told(Text("en")), "supported": finding.supported}


def _plain(row: "Row") -> dict[str, Any]:
    """A row for JSON, which knows neither nan nor infinity."""
    return {key: None if isinstance(cell, float) and not math.isfinite(cell) else cell for key, cell in row.items()}


def _cell(cell: object) -> str:
    return "" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _table(rows: "Iterable[Row]") -> Iterable[str]:
    """Lines of a table; what is the same in all rows stands above it, once."""
    listed = list(rows)
    keys = list(dict.fromkeys(key for row in listed for key in row))
    same = [key for key in keys if len(listed) > 1 and len({row.get(key) for row in listed}) == 1]
    yield from (f"{key}: {_cell(listed[0].get(key))}" for key in same)
    shown = [key for key in keys if key not in same]
    lines = [shown, *([_cell(row.get(key)) for key in shown] for row in listed)]
    wide = [max(len(line[i]) for line in lines) for i in range(len(shown))]
    yield from ("  ".join(word.rjust(w) for word, w in zip(line, wide, strict=True)) for line in lines)
