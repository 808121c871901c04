"""What Section 3 says, measured: size and cost, waste, overfitting; the figures that the README quotes. Each part tells how long it took.

With INCEPTION_VIZ_TINY_IMAGENET set to the folder of Tiny ImageNet (train-0.zip, val.zip, train.csv, val.csv), waste is looked for on 64 training pictures
and judged by who is right on 1,000 validation pictures; without it, on the samples, by who says the same.
"""

import csv
import os
import time
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from inception_viz import cost, images, models, nulls, overfitting, pruning, waste
from inception_viz.labelled import Labelled, folders
from inception_viz.measurement import Outcome, conditions
from inception_viz.models import Model
from inception_viz.networks import GOOGLENET
from inception_viz.text import Text

FOLDER = "INCEPTION_VIZ_TINY_IMAGENET"
LOOKED_AT, JUDGED = 64, 1000
ANSWERS = {True: "supported", False: "not supported", None: "neither"}
Result = TypeVar("Result")


def driven(running: Generator[float, None, Result]) -> Result:
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def told(outcome: Outcome) -> None:
    for finding in outcome.findings:
        print(f"    “{finding.claim}”\n    {ANSWERS[finding.supported]}: {finding.told(Text('en'))}", flush=True)


def pictures(folder: Path, table: str, most: int) -> tuple[list[images.Picture], list[str]]:
    """The first `most` pictures of a table, and their WordNet ids."""
    found, wnids = [], []
    with (folder / table).open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("shard", "0") == "0"]
    step = max(1, len(rows) // most)  # a table may be sorted by class
    with zipfile.ZipFile(folder / ("val.zip" if table == "val.csv" else "train-0.zip")) as archive:
        for row in rows[::step][:most]:
            found.append(images.decode(archive.read(row["file"]), row["file"]))
            wnids.append(row["wnid"])
    return found, wnids


@contextmanager
def part(name: str) -> Iterator[None]:
    """Its name above, and below how long it took: by the clock, and of processor time."""
    print(f"\n  {name}", flush=True)
    clock, processor = time.perf_counter(), time.process_time()
    yield
    print(f"    {time.perf_counter() - clock:.0f} s ({time.process_time() - processor:.0f} s of processor time)", flush=True)


def costs(model: Model) -> None:
    device = model.device
    with part("chains of two, by width"):
        told(cost.grown(driven(cost.measure_chains([(w, 2) for w in cost.widths_to(256)], device))))
    with part("chains of 64 channels, by depth"):
        told(cost.grown(driven(cost.measure_chains([(64, d) for d in cost.depths_to(32)], device)), cost.LINEAR, 1))
    with part("the loaded network, all widths scaled"):
        told(cost.grown(driven(cost.measure_factors(model))))
    with part("the loaded network, as far as each block"):
        told(cost.deeper(driven(cost.measure_stages(model))))
    with part("blocks with 1x1 reductions and naive"):
        told(cost.saved(driven(cost.measure_blocks(GOOGLENET, device)), GOOGLENET))
    with part("well-known networks"):
        found = driven(cost.measure_networks(device))
        told(cost.compared(found))
        for point, field in found:
            t = point.timing
            print(
                f"    {point.name:20} {point.cost.parameters / 1e6:6.1f} M parameters {point.cost.macs / 1e9:6.2f} G MACs "
                f"{1e3 * t.median:7.1f} ms ({1e3 * t.low:.1f} to {1e3 * t.high:.1f}) field {field}"
            )


def wasted(model: Model) -> None:
    folder = Path(os.environ[FOLDER]) if FOLDER in os.environ else None
    looked = pictures(folder, "train.csv", LOOKED_AT)[0] if folder else [images.decode(s.read()) for s in images.samples().values()]
    known = None
    if folder:
        shown, wnids = pictures(folder, "val.csv", JUDGED)
        named = folders(model)
        views = np.stack([model.weights.preprocessing.view(picture) for picture in shown])
        known = Labelled(views, np.array([named[wnid] for wnid in wnids]), 0, "validation")
    with part("weights near zero"):
        for threshold in (0.05, 0.1, 0.25):
            told(waste.lazy(waste.near_zero(model, threshold), threshold, waste.histogram(model), conditions(model.device)))
    with part(f"wasted channels, on {len(looked)} pictures"):
        seen, twin = (driven(waste.look(one, looked)) for one in (model, nulls.twin(model, 0)))
        told(waste.idle(waste.Idle.of(seen, twin, 0.95), conditions(model.device)))
    for threshold, similar in ((0.1, 0.9), (0.25, 0.8)):
        with part(f"without weights below {threshold} and channels with |r| above {similar}"):
            told(pruning.outcome(driven(pruning.prune(model, looked, threshold, similar, known))))


def overfitted() -> None:
    for noise in (0.0, 0.3):
        with part(f"overfitting against parameters, {noise:.0%} of the training labels wrong"):
            told(overfitting.wider(driven(overfitting.study(noise=noise))))
    with part("overfitting against labels"):
        told(overfitting.fewer(driven(overfitting.study((16,), overfitting.LABELS))))


def main() -> None:
    model = models.load()
    where = conditions(model.device)
    print(
        f"  {where.device}, {where.threads} threads, {where.precision}; {model.architecture}, {model.weights.name} weights; torch {torch.__version__}"
    )
    with part("all of it"):
        costs(model)
        wasted(model)
        overfitted()
