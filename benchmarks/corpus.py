"""What statistics over many pictures cost: throughput against the bare forward pass, memory, and two Ray workers against one.

The bare pass runs the network as it was loaded on the same batches; ours decodes, runs the network with folded batch norms, and gathers all moments of
all blocks. Rounds alternate, so that a busy machine slows both.
"""

import io
import resource
import statistics as median_of
import time
import zipfile
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image

from inception_viz import corpus, models, statistics
from inception_viz.corpus import Batch
from inception_viz.models import Model
from inception_viz.statistics import Plan, Run

PICTURES = 512
ROUNDS = 5
PLAN = Plan()


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


class Ready(Run):
    """The same run over batches that are decoded already."""

    ready: tuple[Batch, ...] = ()

    def batches(self, places: range) -> Iterable[Batch]:
        return self.ready


def throughput(threads: int) -> None:
    torch.set_num_threads(threads)
    model, taken = models.load(), pictures(PICTURES)
    run, ready = Run(model, taken, PLAN), Ready(model, taken, PLAN)
    ready.ready = tuple(run.batches(range(len(taken))))

    def bare() -> None:
        with torch.inference_mode():
            for batch in ready.ready:
                model.network(batch.inputs.to(model.device, memory_format=torch.channels_last))

    def drive(which: Run) -> None:
        for _ in statistics.gather(which):
            pass

    for work in (bare, lambda: drive(ready), lambda: drive(run)):
        work()
    times = [(timed(bare, model), timed(lambda: drive(ready), model), timed(lambda: drive(run), model)) for _ in range(ROUNDS)]
    rates = [PICTURES / median_of.median(column) for column in zip(*times, strict=True)]
    ratios = [median_of.median(b / t for b, *ts in times for t in [ts[i]]) for i in range(2)]
    side = model.weights.preprocessing.crop
    print(
        f"  {model.architecture}, {side} px, batch {PLAN.batch}, {model.device}, {threads} threads, {PICTURES} pictures, n = {ROUNDS} rounds"
    )
    print(
        f"    bare forward {rates[0]:6.0f} a second, statistics {rates[1]:6.0f} ({ratios[0]:.2f} x), with decoding {rates[2]:6.0f} ({ratios[1]:.2f} x)"
    )


def workers() -> None:
    try:
        from inception_viz.engine import ray as engine
    except ImportError:
        print("  Ray is not installed")
        return
    import ray

    torch.set_num_threads(1)
    run = Run(models.load(device="cpu"), pictures(2 * PICTURES), Plan(shard=2))
    rates = {}
    for count in (1, 2):
        steps = statistics.gather(run, engine=engine.elsewhere(count, threads=1))
        first = next(step for step in steps if step.done > 0)  # workers have loaded by now
        started = time.perf_counter()
        for _ in steps:
            pass
        rates[count] = (len(run.corpus) - first.done) / (time.perf_counter() - started)
    ray.shutdown()
    print(f"  Ray, one thread a worker: {rates[1]:.0f} a second with one, {rates[2]:.0f} with two: {rates[2] / rates[1]:.2f} x")


def main() -> None:
    for threads in sorted({1, torch.get_num_threads()}):
        throughput(threads)
    print(f"  peak memory of all that: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    workers()
