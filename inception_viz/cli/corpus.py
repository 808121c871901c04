"""Gather the statistics of every block over a folder or a zip of pictures, in constant memory; a run that was cut goes on with --resume."""

import argparse
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.examples import Collection
    from inception_viz.statistics import Checkpoint, Engine, Progress, Run, State, Statistics

UNFINISHED, EXAMPLES = ".unfinished", ".examples.unfinished"  # what a cut run leaves beside its result
Result = TypeVar("Result")
ENGINES = ("local", "ray")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder or zip of pictures; they are taken in the order of their names")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the statistics go (.npz); the card goes beside it as .json"
    )
    parser.add_argument(
        "--examples",
        action="store_true",
        help="also keep the pictures and patches that excite every channel and cluster most: a second pass, a little longer than the first",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was cut")
    parser.add_argument("--engine", choices=ENGINES, default="local", help="who does the work (ray: pip install -r requirements-ray.txt)")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="Ray workers (default: as many as the cluster has GPUs, else processor cores)"
    )
    parser.add_argument(
        "--classes",
        choices=("auto", "folder", "predicted"),
        default="auto",
        help="what a picture's class is (default: its folder, where all lie in folders)",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N pictures, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="pictures the network sees at once (default: 32)")
    parser.add_argument("--shard", type=int, default=8, metavar="N", help="batches between two chances to checkpoint (default: 8)")
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0, metavar="S", help="time between two checkpoints (default: 30)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processor threads, for Ray of each worker (default: all, shared among workers)"
    )
    given.choose_weights(parser)


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    import torch

    from inception_viz import corpus, statistics

    if arguments.out.suffix != ".npz":
        arguments.refuse("--out must end in .npz")
    for name in ("sample", "batch", "shard", "workers", "threads"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            arguments.refuse(f"--{name} must be at least 1")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pictures = corpus.open_path(arguments.folder)
    by = arguments.classes if arguments.classes != "auto" else statistics.usual_classes(pictures)
    plan = statistics.Plan(arguments.batch, arguments.shard, by, arguments.sample, arguments.seed)
    job = statistics.Run(given.model(arguments), pictures, plan)
    if arguments.examples and not arguments.resume:
        _refuse_cut(arguments, job)
    found = _statistics(arguments, job)
    if arguments.examples:
        found = statistics.with_examples(found, _examples(arguments, job, found))
        statistics.save(found, arguments.out)
        _checkpoint(arguments, job, EXAMPLES).remove()
    for left_out in statistics.unreadable(found.card):
        print(f"left out: {left_out.name}: {left_out.error}", file=sys.stderr)
    print(f"{arguments.out}: {found.pictures} pictures, {len(found.card['unreadable'])} files left out")


def _checkpoint(arguments: argparse.Namespace, job: "Run", ending: str) -> "Checkpoint":
    from inception_viz import statistics

    return statistics.Checkpoint(arguments.out.with_name(arguments.out.name + ending), job, arguments.checkpoint_seconds)


def _refuse_cut(arguments: argparse.Namespace, job: "Run") -> None:
    """Before the first pass begins anew, ask what to do with a second one that was cut. Raises Unfinished."""
    from inception_viz import statistics

    checkpoint = _checkpoint(arguments, job, EXAMPLES)
    if checkpoint.exists():
        raise statistics.Unfinished(name=checkpoint.path.name, done=checkpoint.done(), total=len(job.corpus))


def _begun(arguments: argparse.Namespace, checkpoint: "Checkpoint", total: int) -> "State":
    """Where a pass goes on: at its beginning, or where it was cut if that is wished. Raises Unfinished."""
    from inception_viz import statistics

    state = checkpoint.load() if checkpoint.exists() else statistics.START
    if checkpoint.exists() and not arguments.resume:
        raise statistics.Unfinished(name=checkpoint.path.name, done=state.done, total=total)
    if checkpoint.damaged:
        print(f"{checkpoint.path.name} is damaged: going on from the one before it", file=sys.stderr)
    return state


def _statistics(arguments: argparse.Namespace, job: "Run") -> "Statistics":
    """The first pass; where it is finished and the second was cut, or is yet to come, what it saved."""
    from inception_viz import statistics

    checkpoint = _checkpoint(arguments, job, UNFINISHED)
    if arguments.examples and arguments.resume and not checkpoint.exists() and arguments.out.exists():
        saved = statistics.load(arguments.out, arguments.out.name)
        if statistics.is_of(saved.card, job):
            return saved
    found = _watch(statistics.gather(job, checkpoint, _begun(arguments, checkpoint, len(job.corpus)), _engine(arguments, job)))
    statistics.save(found, arguments.out)
    checkpoint.remove()
    return found


def _examples(arguments: argparse.Namespace, job: "Run", found: "Statistics") -> "Collection":
    """The second pass, for the clusters that the statistics have."""
    from inception_viz import clusters, statistics

    second = statistics.second_pass(job, statistics.clusterings(found))
    checkpoint = _checkpoint(arguments, second, EXAMPLES)
    state = _begun(arguments, checkpoint, len(second.corpus))
    how = {"method": clusters.DEFAULT, "count": None}
    return _watch(statistics.gather_examples(second, how, checkpoint, state, _engine(arguments, job)))


def _engine(arguments: argparse.Namespace, job: "Run") -> "Engine":
    from inception_viz import statistics
    from inception_viz.engine.abreast import abreast

    if arguments.engine == "local":
        return abreast if job.model.device.type == "cpu" else statistics.here
    from inception_viz.engine import ray

    return ray.elsewhere(arguments.workers, arguments.threads)


def _peak() -> int:
    """The most memory that this process has held so far, in MB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1e6 if sys.platform == "darwin" else 1e3))


def _watch(steps: Generator["Progress", None, Result]) -> Result:
    """Drive to the end; progress goes to standard error, and at last the peak memory at every quarter, which grows no more where memory is constant."""
    started, first = time.monotonic(), None
    peaks: dict[int, int] = {}
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            print(file=sys.stderr)
            if peaks:
                print("peak memory: " + ", ".join(f"{peak} MB at {quarter}%" for quarter, peak in peaks.items()), file=sys.stderr)
            return end.value
        peaks.setdefault(int(4 * progress.fraction) * 25, _peak())
        first = progress.done if first is None else first
        rate = (progress.done - first) / max(1e-9, time.monotonic() - started)
        print(f"\r{progress.done} of {progress.total} files, {rate:.0f} a second", end="", file=sys.stderr, flush=True)
