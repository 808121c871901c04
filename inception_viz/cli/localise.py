"""Measure how often maps of a network that was taught classes only find the true boxes of pictures, beside boxes that look at nothing."""

import argparse
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.corloc import Measured

TABLE = "boxes.csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "table", type=Path, metavar="TABLE",
        help="CSV with the columns picture (or file), class (or wnid), x0, y0, x1, y1: first and last column and row of pixels in the box, from 0; "
        f"or a folder that holds it as {TABLE}",
    )  # fmt: skip
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder or zip that the pictures lie in (default: the table's folder)")
    parser.add_argument("--sample", type=int, metavar="N", help="only N pictures, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing, of the halves and of random boxes (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    given.choose_weights(parser)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import boxes, corloc, corpus, labelled

    if arguments.sample is not None and arguments.sample < corloc.HALF:
        arguments.refuse(f"--sample must be at least {corloc.HALF}")
    if arguments.seed < 0:
        arguments.refuse("--seed must be at least 0")
    table = arguments.table / TABLE if arguments.table.is_dir() else arguments.table
    data = given.read(table)
    model = given.model(arguments)
    cases = boxes.read(data, table.name, labelled.class_of(model), labelled.examples(model))
    pictures = corloc.seen(cases, corpus.open_path(arguments.pictures or table.parent), arguments.sample, arguments.seed)
    choosing, measured = corloc.halves(pictures, arguments.seed)
    found = _watch(corloc.measure(model, choosing, measured, arguments.seed))
    if arguments.json:
        told = corloc.as_plain(found) | {"in_the_table": len(cases)}
        print(json.dumps(told, ensure_ascii=False, allow_nan=False))
        return
    for line in corloc.table(found):
        print(line)


def _watch(steps: Generator[float, None, "Measured"]) -> "Measured":
    """Drive to the end; the share done goes to standard error."""
    try:
        while True:
            print(f"\r{next(steps):4.0%}", end="", file=sys.stderr, flush=True)
    except StopIteration as end:
        return end.value
    finally:
        print("\r     \r", end="", file=sys.stderr)
