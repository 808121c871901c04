"""What statistics over many pictures cost: throughput against the bare forward pass, memory, and two Ray workers against one.

The bare pass runs the network as it was loaded on the same batches; ours decodes, runs the network with folded batch norms, and gathers all moments of
all blocks; with several threads a shard in each. Rounds alternate, so that a busy machine slows both; ratios are taken within each round, and the median told.
The moments are products of every channel with every other at every position. What no program could beat is told beside: the folded pass alone, and
these products at the speed at which the device multiplies large matrices.
"""

import io
import resource
import statistics as median_of
import time
import zipfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import nn

from inception_viz import corpus, models, statistics
from inception_viz.architecture import describe
from inception_viz.corpus import Batch
from inception_viz.engine.abreast import abreast
from inception_viz.models import Model, folded
from inception_viz.statistics import Plan, Run

PICTURES = 512
ROUNDS = 5
ON_RAY, RAY_ROUNDS = 1024, 2
PLAN = Plan()
SIDE = 2048


def pictures(count: int) -> corpus.Corpus:
    """Photograph-like noise (1/f) of 64 pixels a side as WebP, as Tiny ImageNet is stored."""
    generator = np.random.default_rng(0)
    frequency = np.fft.fftfreq(64)
    fall = 1 / np.maximum(np.hypot(frequency[:, None], frequency), 1 / 64)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for number in range(count):
            maps = [np.fft.ifft2(np.fft.fft2(generator.normal(size=(64, 64))) * fall).real for _ in range(3)]
            pixels = np.stack([np.interp(m, (m.min(), m.max()), (0, 255)) for m in maps], -1).astype(np.uint8)
            data = io.BytesIO()
            Image.fromarray(pixels).save(data, "WEBP", quality=80)
            packed.writestr(f"{number:05}.webp", data.getvalue())
    return corpus.archive(out.getvalue(), "noise.zip")


def timed(work: Callable[[], object], model: Model) -> float:
    started = time.perf_counter()
    work()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def products(run: Run) -> int:
    """Multiply-accumulates a picture of the moments: half of each block's channels with themselves, and all between neighbours on the coarser grid."""
    blocks = run.setting.blocks
    within = sum(b.channels * (b.channels + 1) // 2 * b.height * b.width for b in blocks)
    return within + sum(a.channels * b.channels * min(a.height, b.height) * min(a.width, b.width) for a, b in pairwise(blocks))


def matrix_speed(model: Model) -> float:
    """Multiply-accumulates a second of a product of large float32 matrices, at best."""
    a = torch.rand(SIDE, SIDE, device=model.device)
    return SIDE**3 / min(timed(lambda: a @ a, model) for _ in range(10))


class Ready(Run):
    """The same run over batches that are decoded already."""

    ready: tuple[Batch, ...] = ()

    def batches(self, places: range) -> Iterable[Batch]:
        return self.ready[places.start // self.plan.batch :]


def throughput(threads: int) -> None:
    torch.set_num_threads(threads)
    model, taken = models.load(), pictures(PICTURES)
    run, ready = Run(model, taken, PLAN), Ready(model, taken, PLAN)
    ready.ready = tuple(run.batches(range(len(taken))))

    def bare(network: nn.Module = model.network) -> None:
        with torch.inference_mode():
            for batch in ready.ready:
                network(batch.inputs.to(model.device, memory_format=torch.channels_last))

    def drive(which: Run) -> None:
        for _ in statistics.gather(which, engine=abreast if model.device.type == "cpu" else statistics.here):
            pass

    works: tuple[Callable[[], None], ...] = (bare, lambda: drive(ready), lambda: drive(run), lambda: bare(folded(model).network))
    for work in works:
        work()
    times = [[timed(work, model) for work in works] for _ in range(ROUNDS)]
    rates = [PICTURES / median_of.median(column) for column in zip(*times, strict=True)]
    ratios = [median_of.median(one[0] / one[i] for one in times) for i in (1, 2)]
    least = PICTURES * products(run) / matrix_speed(model)
    most = median_of.median(one[0] / (one[3] + least) for one in times)
    where = models.device_facts(model.device).name
    print(
        f"| {where} | {threads} | {rates[0]:.0f} | {rates[1]:.0f} ({ratios[0]:.2f} x) | {rates[2]:.0f} ({ratios[1]:.2f} x) | {most:.2f} x |",
        flush=True,
    )


def told() -> None:
    run = Run(models.load(), pictures(1), PLAN)
    network, moments = describe(run.model).macs, products(run)
    print(
        f"{run.model.architecture}, {run.model.weights.preprocessing.crop} px, batch {PLAN.batch}, {PICTURES} pictures, medians of {ROUNDS} rounds."
    )
    print(
        f"A picture is {network / 1e6:.0f} million multiply-accumulates of the network, and at least {moments / 1e6:.0f} million of its moments: "
        f"at equal speed no ratio above {network / (network + moments):.2f} x could be had.\n"
    )
    print("| device | threads | bare forward, pictures a second | statistics | statistics with decoding | at most |")
    print("| --- | --- | --- | --- | --- | --- |")


def rate(run: Run, count: int) -> float:
    """Pictures a second of so many workers, once each has its network."""
    from inception_viz.engine import ray as engine

    steps = statistics.gather(run, engine=engine.elsewhere(count, threads=1))
    first = next(step for step in steps if step.done >= count * 2 * PLAN.batch)
    started = time.perf_counter()
    for _ in steps:
        pass
    return (len(run.corpus) - first.done) / (time.perf_counter() - started)


def workers() -> None:
    if find_spec("ray") is None:
        print("Ray is not installed")
        return
    import ray

    from inception_viz.engine import ray as engine

    torch.set_num_threads(1)
    engine.start(2)
    run = Run(models.load(device="cpu"), pictures(ON_RAY), Plan(shard=2))
    rates = [(rate(run, 1), rate(run, 2)) for _ in range(RAY_ROUNDS)]
    ray.shutdown()
    one, two = (median_of.median(column) for column in zip(*rates, strict=True))
    ratio = median_of.median(b / a for a, b in rates)
    print(
        f"Ray workers of one thread each, medians of {RAY_ROUNDS} rounds: {one:.0f} pictures a second with one, {two:.0f} with two: {ratio:.2f} x"
    )


def main() -> None:
    told()
    for threads in sorted({1, torch.get_num_threads()}):
        throughput(threads)
    print(f"\nPeak memory of all that: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    workers()
