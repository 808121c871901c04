"""How often maps find the true boxes of Tiny ImageNet, which the network was never shown: the README's table, and the numbers of the page.

INCEPTION_VIZ_TINY_IMAGENET names the folder of Tiny ImageNet. Blocks, thresholds and sizes are chosen on CHOSEN_ON training pictures that were held out when
the boxed network was trained; everything is measured on MEASURED validation pictures. The numbers go into assets/localisation.json. About twenty
minutes on two quiet cores. On a table of your own: `python -m inception_viz localise TABLE`.
"""

import csv
import io
import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.laboratory import FOLDER, driven
from inception_viz import boxes, corloc, corpus, labelled, models
from inception_viz.architecture import describe
from inception_viz.corloc import Seen, Variant
from inception_viz.localisation import CAM
from inception_viz.models import Model

CHOSEN_ON, MEASURED, SEED = 1000, 4000, 0
COMMAND = f"{FOLDER}=FOLDER python -m benchmarks localisation"


def held_out(folder: Path, model: Model) -> Seen:
    """Training pictures that the network was not trained on, CHOSEN_ON of them drawn by the seed."""
    recipe, named = json.loads(models.CARD.read_text(encoding="utf-8"))["recipe"], labelled.folders(model)
    rows = list(csv.DictReader((folder / "train.csv").open(encoding="utf-8")))
    classes = np.array([named[row["wnid"]] for row in rows])
    order = np.random.default_rng(recipe["seed"]).permutation(len(rows))  # as scripts/train_boxed.py holds out
    held = np.concatenate([order[classes[order] == c][: recipe["held_out_per_class"]] for c in range(recipe["classes"])])
    chosen = [rows[i] for i in np.sort(np.random.default_rng(SEED).permutation(held)[:CHOSEN_ON])]
    archives = {shard: zipfile.ZipFile(folder / f"train-{shard}.zip") for shard in sorted({row["shard"] for row in chosen})}
    pictures = corpus.listed("held out", [(row["file"], archives[row["shard"]].read(row["file"])) for row in chosen])
    written = io.StringIO()
    table = csv.DictWriter(written, list(chosen[0]))
    table.writeheader()
    table.writerows(chosen)
    return corloc.seen(boxes.read(written.getvalue().encode(), "train.csv", labelled.class_of(model)), pictures)


def validation(folder: Path, model: Model) -> Seen:
    cases = boxes.read((folder / "val.csv").read_bytes(), "val.csv", labelled.class_of(model))
    return corloc.seen(cases, corpus.open_path(folder / "val.zip"), MEASURED, SEED)


def by_size(model: Model, pictures: Seen) -> None:
    """The pointing game of the class activation map and of the middle, for small and large things: most of Tiny ImageNet's are large and in the middle."""
    variant = Variant(CAM, describe(model).blocks[-1].name)
    hits = driven(corloc.score(model, pictures, [variant], [0.5]))[variant].hits
    middle = corloc.baselines(pictures, pictures)[corloc.MIDDLE].hits
    areas = np.array([c.boxes[0].area / (w * h) for c, (w, h) in zip(pictures.cases, pictures.sizes, strict=True)])
    print("\n| true box, share of the picture | n | class activation map | middle | gain, points | p |\n|---|---|---|---|---|---|")
    for low, high in zip((0, 0.1, 0.25, 0.5), (0.1, 0.25, 0.5, 1.01), strict=True):
        here = (areas >= low) & (areas < high)
        gain = corloc.difference(hits[here], middle[here], SEED)
        told = f"{100 * gain.found:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}) | {gain.p:.2g}"
        print(f"| {low:.0%} to {min(high, 1):.0%} | {here.sum()} | {hits[here].mean():.1%} | {middle[here].mean():.1%} | {told} |")


def main() -> None:
    if FOLDER not in os.environ:
        print(f"  {FOLDER} does not name the folder of Tiny ImageNet: nothing is measured")
        return
    folder, model = Path(os.environ[FOLDER]), models.load(weights=models.BOXED)
    started = time.perf_counter()
    pictures = validation(folder, model)
    by_size(model, pictures)
    found = driven(corloc.measure(model, held_out(folder, model), pictures, SEED))
    print()
    for line in corloc.table(found):
        print(line)
    told = {"command": COMMAND, "data": "Tiny ImageNet"} | corloc.as_plain(found)
    corloc.RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"\n  {time.perf_counter() - started:.0f} s; written: {corloc.RESULTS.name}")
