"""How fast the machine is just now, printed beside every figure: one that is lent may have half its speed another day."""

import statistics
from collections.abc import Callable

import torch

from inception_viz import measurement, models

ADDITIONS, BATCH, ROUNDS = 10_000_000, 32, 5
CPU = torch.device("cpu")


def _median(work: Callable[[], object]) -> float:
    return statistics.median(measurement.seconds(work, CPU) for _ in range(ROUNDS))


def _add() -> None:
    total = 0
    for number in range(ADDITIONS):
        total += number


def told() -> str:
    """Median seconds of ten million additions in Python, and milliseconds a picture of the boxed network's bare forward pass."""
    model = models.load(device="cpu")
    side = model.weights.preprocessing.crop
    batch = torch.zeros(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        model.network(batch)
        forward = _median(lambda: model.network(batch))
    return (
        f"  machine now: {_median(_add):.2f} s for ten million additions in Python, {1e3 * forward / BATCH:.1f} ms a picture "
        f"for the bare forward pass ({BATCH} at once, {torch.get_num_threads()} threads); medians of {ROUNDS}"
    )
