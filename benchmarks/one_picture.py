"""What looking inside costs: all blocks' activations, branch correlations and channel attributions, against a bare forward and backward pass.

Two bare passes, because "backward" can mean either: down to the picture (parameters frozen, as in an attribution), and down to all
parameters (as in training). The stricter is the first; both are printed.
"""

import statistics
import time
from collections.abc import Callable

import torch

from inception_viz import images, models
from inception_viz.activations import capture
from inception_viz.architecture import describe
from inception_viz.attributions import from_capture
from inception_viz.correlations import correlate

ROUNDS = 15


def main() -> None:
    model = models.load()
    picture = images.decode(next(iter(images.samples().values())).read())
    for side in (model.weights.preprocessing.crop, 224):
        tensor = torch.nn.functional.interpolate(model.weights.preprocessing.tensor(picture), size=(side, side), mode="bilinear")
        compare(model, tensor.to(model.device, model.dtype))


def compare(model: models.Model, inputs: torch.Tensor) -> None:
    blocks = describe(model).blocks

    def bare() -> None:
        x = inputs.clone().requires_grad_()
        model.network(x).amax(1).sum().backward()

    def bare_with_parameters() -> None:
        model.network.requires_grad_(True)
        model.network(inputs).amax(1).sum().backward()
        model.network.zero_grad()
        model.network.requires_grad_(False)

    def ours() -> None:
        taken = capture(model, inputs)
        given = from_capture(taken, 0)
        for block in blocks:
            found = correlate(taken.activations[block.name][0])
            for branch in block.branches:
                found.part(branch.start, branch.stop)
            assert given[block.name].channels.shape == (block.channels,)

    def timed(work: Callable[[], None]) -> float:
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    for work in (bare, bare_with_parameters, ours):
        work()
    times = [(timed(bare), timed(bare_with_parameters), timed(ours)) for _ in range(ROUNDS)]
    strict = statistics.median(o / b for b, _, o in times)
    loose = statistics.median(o / p for _, p, o in times)
    milliseconds = [1e3 * statistics.median(column) for column in zip(*times, strict=True)]
    print(
        f"{model.architecture}, {model.weights.name} weights, {tuple(inputs.shape)}, {model.device}, {torch.get_num_threads()} threads, n = {ROUNDS}"
    )
    print(f"  bare forward + backward to the picture     {milliseconds[0]:7.1f} ms")
    print(f"  bare forward + backward to the parameters  {milliseconds[1]:7.1f} ms")
    print(f"  {len(blocks)} activations, correlations, attributions {milliseconds[2]:7.1f} ms: {strict:.2f} x and {loose:.2f} x")
