"""The trial of topologies at equal multiply-accumulates on scikit-learn's digits and Tiny ImageNet: killed at any moment, it goes on where it was.

    python -m benchmarks topology        (TINY_IMAGENET=DIR, TRIAL=DIR: where the data are, where results are kept; TRIAL_PART=0/2 does every second)

A line of JSON a run goes into TRIAL/results-PART.jsonl; a run that is there is not done again. At the end the table is printed.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from inception_viz import trial
from inception_viz.trial import Data, Pictures, Task
from scripts import tiny_imagenet

SEEDS = range(10)
EACH, HELD = 150, 50  # training pictures of a class, and those held out for choosing


def folder() -> Path:
    """Where results are kept."""
    return Path(os.environ.get("TRIAL", "build/trial"))


def pictures(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Every fourth class of Tiny ImageNet at 32 x 32 pixels: `(n, 32, 32, 3)` uint8 and labels 0 to 49."""
    kept = folder() / f"{split}-32.npz"
    if not kept.exists():
        large, labels = tiny_imagenet.load(Path(os.environ["TINY_IMAGENET"]), split, folder() / "data")
        chosen = np.flatnonzero(labels % 4 == 0)
        halved = np.array(large[chosen]).reshape(len(chosen), 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
        np.savez(kept.with_suffix(".partial.npz"), pictures=halved, labels=labels[chosen] // 4)
        os.replace(kept.with_suffix(".partial.npz"), kept)
    read = np.load(kept)
    return read["pictures"], read["labels"]


def tensor(values: np.ndarray, labels: np.ndarray) -> Pictures:
    """Pictures as the networks take them."""
    return Pictures((torch.from_numpy(values).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.27, torch.from_numpy(labels))


def tiny(choosing: bool = False) -> Data:
    """150 pictures of each of 50 classes; tested on the 50 validation pictures of each, or for `choosing` on 50 held out of the training set."""
    every = tensor(*pictures("train"))
    by_class = [np.flatnonzero(every.labels.numpy() == label) for label in range(50)]
    train = every.taken(np.concatenate([index[:EACH] for index in by_class]))
    held = np.concatenate([index[400 : 400 + HELD] for index in by_class])
    return Data(train, every.taken(held) if choosing else tensor(*pictures("val")), 50)


def data(task: Task, seed: int) -> Data:
    """What a run of the report sees."""
    return trial.digits(seed) if task.name == "digits" else tiny()


def done() -> dict[tuple, dict]:
    """The runs that are there, by task, budget, topology and seed."""
    lines = [line for file in sorted(folder().glob("results-*.jsonl")) for line in file.read_text().splitlines() if line.endswith("}")]
    runs = [json.loads(line) for line in lines]
    return {(run["task"], run["budget"], run["topology"], run["seed"]): run for run in runs}


def wanted(topologies: list[str]) -> Iterator[tuple[Task, int, str, int]]:
    """All runs, seed by seed, so that whatever is there at any moment is paired."""
    for seed in SEEDS:
        for task in (trial.DIGITS, trial.TINY_IMAGENET):
            for budget in task.budgets:
                for name in topologies:
                    yield task, budget, name, seed


def one(task: Task, budget: int, name: str, seed: int) -> dict:
    """One run; the hand-proportioned network is kept, because constructors look at it."""
    seen = data(task, seed)
    table = trial.tabled(task, trial.BASELINES[name](seed), budget)
    network = trial.built(table, seed)
    started = time.process_time()
    for _ in trial.train(network, seen.train, task.recipe, seed):
        pass
    if name == "hand":
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder() / f"hand-{task.name}-{budget}-{seed}.safetensors")
    reached = trial.accuracy(network, seen.test)
    spent = round(time.process_time() - started, 2)
    return {"task": task.name, "budget": budget, "topology": name, "seed": seed, "accuracy": reached, "macs": table.macs, "seconds": spent}


def main() -> None:
    torch.set_num_threads(1)
    part, parts = map(int, os.environ.get("TRIAL_PART", "0/1").split("/"))
    folder().mkdir(parents=True, exist_ok=True)
    names = os.environ.get("TRIAL_TOPOLOGIES", ",".join(trial.BASELINES)).split(",")
    for number, (task, budget, name, seed) in enumerate(wanted(names)):
        if number % parts == part and (task.name, budget, name, seed) not in done():
            line = json.dumps(one(task, budget, name, seed))
            with (folder() / f"results-{part}.jsonl").open("a") as file:
                file.write(line + "\n")
            print(line, flush=True)
