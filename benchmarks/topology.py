"""The trial of topologies at equal multiply-accumulates on scikit-learn's digits and Tiny ImageNet: killed at any moment, it goes on where it was.

    python -m benchmarks topology        (TINY_IMAGENET=DIR, TRIAL=DIR: where the data are, where results are kept; TRIAL_PART=0/2 does every second)

A line of JSON a run goes into TRIAL/results-PART.jsonl; a run that is there is not done again, nor with TRIAL_COMMITTED=1 one that came with the
project. At the end the table is printed, and with TRIAL_EXPORT=1 the results and the winner's weights are written into assets/.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from inception_viz import models, trial
from inception_viz.construction import Measured
from inception_viz.tables import Block, Network, Table, table_of
from inception_viz.trial import Data, Pictures, Run, Task
from scripts import tiny_imagenet

SEEDS, CHOOSING = range(trial.SEEDS), 100  # seeds of the report, and the first of those for choosing
SHIPPED = (trial.HALVED, trial.CLUSTERED)  # the first that is there comes with the project, with its weights
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
        aside = kept.with_suffix(f".{os.getpid()}.npz")
        halved = np.array(large[chosen]).reshape(len(chosen), 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
        np.savez(aside, pictures=halved, labels=labels[chosen] // 4)
        os.replace(aside, kept)
    read = np.load(kept)
    return read["pictures"], read["labels"]


def tensor(values: np.ndarray, labels: np.ndarray) -> Pictures:
    """Pictures as the networks take them."""
    return Pictures((torch.from_numpy(values).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.27, torch.from_numpy(labels))


@cache
def tiny(choosing: bool = False) -> Data:
    """150 pictures of each of 50 classes; tested on the 50 validation pictures of each, or for `choosing` on 50 held out of the training set."""
    every = tensor(*pictures("train"))
    by_class = [np.flatnonzero(every.labels.numpy() == label) for label in range(50)]
    train = every.taken(np.concatenate([index[:EACH] for index in by_class]))
    held = np.concatenate([index[400 : 400 + HELD] for index in by_class])
    return Data(train, every.taken(held) if choosing else tensor(*pictures("val")), 50)


def data(task: Task, seed: int, choosing: bool) -> Data:
    """What a run sees: of the report, or of the choosing before it."""
    return trial.digits(seed, choosing) if task.name == "digits" else tiny(choosing)


Key = tuple[str, int, str, int]


def known() -> dict[Key, dict]:
    """The runs that are there, by task, budget, topology and seed; a line that was cut off is none."""
    there = json.loads(trial.RESULTS.read_text(encoding="utf-8"))["runs"] if os.environ.get("TRIAL_COMMITTED") else []
    found = {(run["task"], run["budget"], run["topology"], run["seed"]): run for run in there}
    for file in sorted(folder().glob("results-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                run = json.loads(line)
            except ValueError:
                continue
            found[(run["task"], run["budget"], run["topology"], run["seed"])] = run
    return found


def keep(run: dict) -> None:
    """Add a run to this part's file, on a line of its own even if the last one was cut off."""
    file = folder() / f"results-{part()[0]}.jsonl"
    torn = file.exists() and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as end:
        end.write("\n" * torn + json.dumps(run) + "\n")
    print(json.dumps(run), flush=True)


def part() -> tuple[int, int]:
    """Which part of how many this process does."""
    number, parts = map(int, os.environ.get("TRIAL_PART", "0/1").split("/"))
    return number, parts


def trained(task: Task, table: Table, seed: int, choosing: bool) -> tuple[Network, float, float]:
    """A network, its accuracy and the seconds of CPU time it took."""
    seen, network, started = data(task, seed, choosing), trial.built(table, seed), time.process_time()
    for _ in trial.train(network, seen.train, task.recipe, seed):
        pass
    return network, trial.accuracy(network, seen.test), round(time.process_time() - started, 2)


def hand(task: Task, budget: int, seed: int, choosing: bool) -> list[Measured]:
    """What the hand-proportioned network of a seed asks for; it is trained on the training pictures only, so the report's may be used for choosing too."""
    table, file = trial.tabled(task, trial.PAPER, budget), folder() / f"hand-{task.name}-{budget}-{seed}.safetensors"
    network = trial.built(table, seed)
    if file.exists():
        network.load_state_dict(load_file(file))
    else:
        network, _, _ = trained(task, table, seed, choosing)
        keep_network(network, file)
    return trial.asked(network, data(task, seed, choosing).train)


def keep_network(network: Network, file: Path) -> None:
    """Write aside, then rename."""
    aside = file.with_suffix(f".{os.getpid()}")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, aside)
    os.replace(aside, file)


def one(task: Task, budget: int, name: str, seed: int) -> dict:
    """One run of the report."""
    found = hand(task, budget, seed, False) if name in (trial.CONSTRUCTED, trial.CLUSTERED) else ()
    won = chosen(task, budget, name) if name in trial.SEARCHED else merged(task, budget, seed) if name == trial.MERGED else ()
    table = trial.tabled(task, trial.rows(name, seed, found, won), budget)
    network, reached, spent = trained(task, table, seed, False)
    if name == "hand":
        keep_network(network, folder() / f"hand-{task.name}-{budget}-{seed}.safetensors")
    if name in SHIPPED and seed == SEEDS[0]:
        keep_network(network, shipped(task, budget, name))
    return {"task": task.name, "budget": budget, "topology": name, "seed": seed, "accuracy": reached, "macs": table.macs, "seconds": spent}


def shipped(task: Task, budget: int, name: str) -> Path:
    """Where the network of the first seed is kept, which comes with the project."""
    return folder() / f"{name}-{task.name}-{budget}.safetensors"


def merged(task: Task, budget: int, seed: int) -> tuple[Block, ...]:
    """What is left of a wide network, trained briefly from this seed on the training pictures, when its redundant channels are merged."""
    table, recipe = trial.wide(task, budget)
    network, pictures = trial.built(table, seed), data(task, seed, False).train
    for _ in trial.train(network, pictures, recipe, seed):
        pass
    return trial.merged(task, budget, trial.redundancy(network, pictures))


def offered(task: Task, budget: int, name: str) -> tuple[str, dict[str, tuple[Block, ...]]]:
    """Under which word the scores of a search are kept, and among which blocks it searches."""
    if name == trial.HALVED:
        return "choosing", trial.candidates(hand(task, budget, CHOOSING, True))
    return f"choosing for {name}", trial.candidates_by_lot(CHOOSING + trial.LOTS.index(name))


def chosen(task: Task, budget: int, searched: str) -> tuple[Block, ...]:
    """The winner of the halving, on pictures held out of the training set and with seeds of its own; every score is kept as a run of its own."""
    word, blocks = offered(task, budget, searched)
    each = 2 if task.name == "digits" else 1

    def score(name: str, turn: int) -> float:
        return float(np.mean([once(name, CHOOSING + turn * each + i) for i in range(each)]))

    def once(name: str, seed: int) -> float:
        topology = f"{word}: {name}"
        run = known().get((task.name, budget, topology, seed))
        if run is None:
            table = trial.tabled(task, blocks[name], budget)
            _, reached, spent = trained(task, table, seed, True)
            run = {
                "task": task.name,
                "budget": budget,
                "topology": topology,
                "seed": seed,
                "accuracy": reached,
                "macs": table.macs,
                "seconds": spent,
            }
            keep(run)
        return run["accuracy"]

    *_, last = trial.halving(list(blocks), score)
    return blocks[next(iter(last))]


def wanted() -> Iterator[tuple[Task, int, str, int]]:
    """All runs, seed by seed, so that whatever is there at any moment is paired."""
    names = os.environ.get("TRIAL_TOPOLOGIES", ",".join(trial.TOPOLOGIES)).split(",")
    for seed in SEEDS:
        for task in (trial.DIGITS, trial.TINY_IMAGENET):
            for budget in task.budgets:
                for name in names:
                    yield task, budget, name, seed


def export() -> None:
    """Write the runs, and the constructed network of the first seed on Tiny ImageNet at the larger budget, into assets/."""
    runs = [run for key, run in sorted(known().items()) if key[2] in trial.TOPOLOGIES]
    trial.RESULTS.write_text(json.dumps({"runs": runs}, indent=0) + "\n", encoding="utf-8")
    task, budget = trial.TINY_IMAGENET, trial.TINY_IMAGENET.budgets[1]
    name = next((name for name in SHIPPED if shipped(task, budget, name).exists()), None)
    if name is None:
        return
    state = {key: value.half() for key, value in load_file(shipped(task, budget, name)).items() if not key.endswith("num_batches_tracked")}
    table = table_of({key: value.shape for key, value in state.items()}, task.skeleton)
    network = trial.built(table, 0)
    network.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    packed = models.CONSTRUCTED_CARD.with_suffix(".safetensors")
    save_file(state, packed)
    facts = {"file": packed.name, "sha256": hashlib.sha256(packed.read_bytes()).hexdigest(), "topology": name,
             "top1": trial.accuracy(network, tiny().test), "macs": table.macs, "table": table.told()}  # fmt: skip
    models.CONSTRUCTED_CARD.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    torch.set_num_threads(1)
    folder().mkdir(parents=True, exist_ok=True)
    number, parts = part()
    for turn, (task, budget, name, seed) in enumerate(wanted()):
        if turn % parts == number and (task.name, budget, name, seed) not in known():
            keep(one(task, budget, name, seed))
    print(table())
    if os.environ.get("TRIAL_EXPORT"):
        export()


def table() -> str:
    """The results as Markdown."""
    results = trial.Results(tuple(Run(**run) for key, run in known().items() if key[2] in trial.TOPOLOGIES))
    rows = [
        "| Data | MACs | Topology | n | Top-1 | minus hand [95%] | minus random [95%] |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task, budget in results.kinds():
        for line in results.lines(task, budget):
            differences = [f"{100 * d.mean:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]" for d in (line.to_hand, line.to_random)]
            rows.append(
                f"| {task} | {budget / 1e6:g} M | {line.topology} | {line.n} | {100 * line.accuracy:.1f} | {differences[0]} | {differences[1]} |"
            )
    return "\n".join(rows)
