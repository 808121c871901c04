"""Races: several ways to compute something, timed in turns, and how many times as fast one is as another, with an interval.

Taken one after the other, two ways meet two states of the machine; in turns, what slows it down for a while slows all of them. So the ratio is taken
within each round, and its median told. On a CPU all run on one thread: SciPy knows no more, and many threads on a busy machine wait for each other.
"""

import statistics
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from scipy.stats import binom

from inception_viz.measurement import Cell, Timing, conditions, seconds

ROUNDS = 15  # the median's interval then reaches from the 4th to the 12th
LEVEL = 0.95


def digits(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


@dataclass(frozen=True)
class Ratio:
    """How many times as fast: the median over the rounds, and an interval that holds it with a probability of 95%."""

    median: float
    low: float
    high: float

    @property
    def told(self) -> str:
        """The median in few digits.

        >>> Ratio(123.4, 1, 1).told, Ratio(0.123, 0, 1).told
        ('123', '0.12')
        """
        return digits(self.median)

    @property
    def faster(self) -> bool | None:
        """Whether it is faster: None if the interval holds 1."""
        return True if self.low > 1 else False if self.high < 1 else None

    def row(self, name: str = "speedup") -> dict[str, Cell]:
        """As cells of a table, each column beginning with `name`."""
        return {name: self.median, f"{name}_low": self.low, f"{name}_high": self.high}


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Both ends of an interval for the median, whatever the distribution: the order statistics that hold it with probability `level` at least.

    Below six values none do: then from the least to the greatest.

    >>> interval([float(v) for v in range(1, 16)])
    (4.0, 12.0)
    """
    ordered, cut = sorted(values), 0
    while 1 - 2 * binom.cdf(cut + 1, len(ordered), 0.5) >= level:
        cut += 1
    return ordered[cut], ordered[-1 - cut]


@dataclass(frozen=True)
class Race:
    """Seconds of every round `(rounds,)` of each way, by its name."""

    seconds: Mapping[str, tuple[float, ...]]
    times: Mapping[str, Timing]

    def speedup(self, name: str, against: str) -> Ratio:
        """How many times as fast `name` is as `against`."""
        ratios = [b / a for a, b in zip(self.seconds[name], self.seconds[against], strict=True)]
        return Ratio(statistics.median(ratios), *interval(ratios))


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread of the CPU inside, and on as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def racing(runs: Mapping[str, Callable[[], object]], device: torch.device, rounds: int = ROUNDS) -> Generator[float, None, Race]:
    """How long each of `runs` takes, in `rounds` rounds after one that is not counted; yields the share done after each round."""
    counted: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        with one_thread(), torch.inference_mode():
            took = {name: seconds(run, device) for name, run in runs.items()}
            where = conditions(device)
        if turn:
            for name, each in took.items():
                counted[name].append(each)
        yield (turn + 1) / (rounds + 1)
    times = {name: Timing(statistics.median(s), min(s), max(s), rounds, where) for name, s in counted.items()}
    return Race({name: tuple(s) for name, s in counted.items()}, times)


def raced(runs: Mapping[str, Callable[[], object]], device: torch.device, rounds: int = ROUNDS) -> Race:
    """The race of `racing`, without a stop between its rounds."""
    running = racing(runs, device, rounds)
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value
