"""Small networks of growing width, trained on few labels: how far what they know of their own pictures runs ahead of what they know of others.

The pictures are the 1797 handwritten digits, 8 x 8 pixels, that come with scikit-learn. Everything is drawn from the seed: which pictures are for training,
which labels are wrong, the first weights, and the order of the batches. All widths see the same pictures under the same seed, so they are compared in pairs.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from inception_viz.measurement import Cell, Conditions, Finding, Outcome, conditions, within
from inception_viz.text import Blank, message

CLASSES, SIDE = 10, 8
HELD_OUT = 500  # pictures for testing
BATCH = 50
RATE = 3e-3
STEPS = 300
SEEDS = 5
POINTS = 16  # of a curve
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
LABELS = (20, 50, 100, 200, 500, 1000)
WIDEST, MOST_LABELS, MOST_SEEDS, MOST_STEPS, MOST_NOISE = 128, 1200, 20, 2000, 0.5
THE_WIDTH, THE_LABELS, THE_SEEDS = message("The width"), message("The number of labels"), message("The number of seeds")
THE_STEPS, THE_NOISE = message("The number of steps"), message("The share of wrong labels")
LARGER = message("A larger number of parameters makes the enlarged network more prone to overfitting.")
PRONE = message("With few labels a network overfits: it knows its own pictures better than others.")
FEWER = message("Overfitting is worse if the number of labelled examples in the training set is limited.")


@dataclass(frozen=True, eq=False)
class Run:
    """One network trained: after each of `steps` (T,) its loss (cross-entropy, nats) and accuracy on its own pictures and on held-out ones, each (T,).

    Its own labels may be wrong in part; the held-out ones are right.
    """

    width: int
    labels: int
    seed: int
    parameters: int
    steps: np.ndarray
    own_loss: np.ndarray
    other_loss: np.ndarray
    own_accuracy: np.ndarray
    other_accuracy: np.ndarray

    @property
    def gap(self) -> float:
        """Accuracy on its own pictures less that on others, at the end."""
        return float(self.own_accuracy[-1] - self.other_accuracy[-1])

    def scores(self, point: int = -1) -> dict[str, float]:
        """What a table holds of one point of the curves; of the end, if none is named."""
        own, other = float(self.own_accuracy[point]), float(self.other_accuracy[point])
        losses = {"training_loss": float(self.own_loss[point]), "test_loss": float(self.other_loss[point])}
        return {"training_accuracy": own, "test_accuracy": other, "gap": own - other, **losses}


@dataclass(frozen=True, eq=False)
class Study:
    """All runs of one question, what share of the training labels was wrong, and how it was measured."""

    runs: tuple[Run, ...]
    noise: float
    conditions: Conditions

    def of(self, width: int, labels: int) -> tuple[Run, ...]:
        """The runs of one size, in the order of their seeds."""
        return tuple(run for run in self.runs if (run.width, run.labels) == (width, labels))


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor]:
    """Pictures `(1797, 1, 8, 8)` from 0 to 1, and what they show `(1797,)`."""
    found = load_digits()
    return torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target).long()


def network(width: int, generator: torch.Generator) -> nn.Sequential:
    """Two 3x3 convolutions of `width` and twice `width` channels, a pool between them, and a linear layer."""
    with torch.device("meta"):
        layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(2 * width * (SIDE // 2) ** 2, CLASSES),
        ).to_empty(device="cpu")  # fmt: skip
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layers


def split(labels: int, noise: float, seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pictures and labels to train on, `labels` of them, as many of each digit as can be, and HELD_OUT others; a share `noise` of the first is wrong."""
    pictures, truth = digits()
    generator = np.random.default_rng([seed, 1])
    order = generator.permutation(len(truth))
    rest, held = order[HELD_OUT:], order[:HELD_OUT]
    place = np.empty(len(rest), int)  # how many of the same digit come before
    for digit in range(CLASSES):
        same = np.flatnonzero(truth.numpy()[rest] == digit)
        place[same] = np.arange(len(same))
    own = rest[np.argsort(place, kind="stable")[:labels]]
    told = truth.numpy()[own].copy()
    wrong = generator.permutation(labels)[: round(noise * labels)]
    told[wrong] = (told[wrong] + generator.integers(1, CLASSES, len(wrong))) % CLASSES
    return (pictures[own], torch.from_numpy(told)), (pictures[held], truth[held])


def _score(layers: nn.Module, pictures: Tensor, truth: Tensor) -> tuple[float, float]:
    with torch.inference_mode():
        logits = layers(pictures)
        return float(functional.cross_entropy(logits, truth)), float((logits.argmax(1) == truth).float().mean())


def moments_of(steps: int) -> list[int]:
    """After which steps a curve has its points: close together first, the last one at the end."""
    return sorted({0, *(round(steps ** (i / (POINTS - 2))) for i in range(POINTS - 1))})


def train(width: int, labels: int, seed: int = 0, noise: float = 0.0, steps: int = STEPS) -> Run:
    """Train one network by Adam, in batches of BATCH, without any regularisation. Raises OutOfRange."""
    check([width], [labels], 1, noise, steps)
    generator = torch.Generator().manual_seed(seed)
    layers = network(width, generator)
    (own, told), (others, truth) = split(labels, noise, seed)
    optimiser = torch.optim.Adam(layers.parameters(), RATE)
    points, scores = moments_of(steps), []
    for step in range(steps + 1):
        if step in points:
            scores.append((*_score(layers, own, told), *_score(layers, others, truth)))
        batch = torch.randperm(labels, generator=generator)[:BATCH]
        optimiser.zero_grad()
        functional.cross_entropy(layers(own[batch]), told[batch]).backward()
        optimiser.step()
    own_loss, own_accuracy, other_loss, other_accuracy = np.array(scores).T
    count = sum(p.numel() for p in layers.parameters())
    return Run(width, labels, seed, count, np.array(points), own_loss, other_loss, own_accuracy, other_accuracy)


def check(widths: Sequence[int], labels: Sequence[int], seeds: int, noise: float, steps: int) -> None:
    """Raises OutOfRange for what would take too long, or cannot be."""
    for width in widths:
        within(THE_WIDTH, width, 1, WIDEST)
    for count in labels:
        within(THE_LABELS, count, CLASSES, MOST_LABELS)
    within(THE_SEEDS, seeds, 1, MOST_SEEDS)
    within(THE_NOISE, noise, 0, MOST_NOISE)
    within(THE_STEPS, steps, 1, MOST_STEPS)


def study(
    widths: Sequence[int] = WIDTHS, labels: Sequence[int] = (100,), seeds: int = SEEDS, noise: float = 0.0, steps: int = STEPS
) -> Generator[float, None, Study]:
    """Train every width with every number of labels, `seeds` times: yields the share done, after every run. Raises OutOfRange before any."""
    check(widths, labels, seeds, noise, steps)
    wanted = [(width, count, seed) for width in widths for count in labels for seed in range(seeds)]
    effort = np.cumsum([4 + width**1.5 for width, *_ in wanted])  # about how long a run takes
    runs = []
    for done, (width, count, seed) in enumerate(wanted):
        runs.append(train(width, count, seed, noise, steps))
        yield float(effort[done] / effort[-1])
    return Study(tuple(runs), noise, conditions(torch.device("cpu")))


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean, and the ends of its 95% interval (Student's t); both nan for a single value.

    >>> interval([1.0, 1.0, 1.0])
    (1.0, 1.0, 1.0)
    """
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def _told(found: tuple[float, float, float], scale: float = 100) -> tuple[str, str]:
    mean, low, high = (scale * value for value in found)
    return f"{mean:+.1f}", f"{low:+.1f} … {high:+.1f}"


def _verdict(found: tuple[float, float, float]) -> bool | None:
    """Whether a change is above zero; None if its interval holds zero, or if there is none."""
    _, low, high = found
    return None if math.isnan(low) or low <= 0 <= high else low > 0


def memorised(found: Study) -> Outcome:
    """Whether networks of one size know their own pictures better than others."""
    gap = interval([run.gap for run in found.runs])
    words = message("{parameters} parameters, {labels} labels: the gap is {gap} points ({gap_range}); n = {n}.")
    mean, ends = _told(gap)
    run = found.runs[0]
    facts: dict[str, Blank] = {
        "parameters": f"{run.parameters:,}", "labels": run.labels, "gap": mean, "gap_range": ends, "n": len(found.runs),
    }  # fmt: skip
    return Outcome((Finding(PRONE, words, _verdict(gap), facts),), _rows(found, range(len(run.steps))))


def wider(found: Study) -> Outcome:
    """Whether the gap grows from the narrowest network to the widest."""
    sizes = sorted({run.width for run in found.runs})
    labels = found.runs[0].labels
    first, last = found.of(sizes[0], labels), found.of(sizes[-1], labels)
    gap = interval([b.gap - a.gap for a, b in zip(first, last, strict=True)])
    best = interval([b.other_accuracy[-1] - a.other_accuracy[-1] for a, b in zip(first, last, strict=True)])
    words = message(
        "From {few} to {many} parameters the gap changes by {gap} points ({gap_range}), accuracy on other pictures by {test} points ({test_range}); n = {n}."
    )
    (gap_mean, gap_ends), (test_mean, test_ends) = _told(gap), _told(best)
    facts: dict[str, Blank] = {
        "few": f"{first[0].parameters:,}", "many": f"{last[0].parameters:,}", "gap": gap_mean, "gap_range": gap_ends,
        "test": test_mean, "test_range": test_ends, "n": len(first),
    }  # fmt: skip
    return Outcome((Finding(LARGER, words, _verdict(gap), facts),), _rows(found))


def fewer(found: Study) -> Outcome:
    """Whether the gap grows from the most labels to the fewest."""
    counts = sorted({run.labels for run in found.runs})
    width = found.runs[0].width
    gap = interval([a.gap - b.gap for a, b in zip(found.of(width, counts[0]), found.of(width, counts[-1]), strict=True)])
    words = message("With {few} labels instead of {many} the gap changes by {gap} points ({gap_range}); n = {n}.")
    mean, ends = _told(gap)
    facts: dict[str, Blank] = {
        "few": counts[0], "many": counts[-1], "gap": mean, "gap_range": ends, "n": len(found.of(width, counts[0])),
    }  # fmt: skip
    return Outcome((Finding(FEWER, words, _verdict(gap), facts),), _rows(found))


def _rows(found: Study, points: Sequence[int] = (-1,)) -> tuple[dict[str, Cell], ...]:
    """Of every run the `points` of its curves, by its seed; then, for each size, the mean over the seeds and its 95% interval, by their number."""
    rows: list[dict[str, Cell]] = []
    for run in found.runs:
        rows += [{**_size(run, point), "seed": run.seed, **run.scores(point)} for point in points]
    for size in dict.fromkeys((run.width, run.labels) for run in found.runs):
        runs = found.of(*size)
        for point in points:
            rows.append(_size(runs[0], point) | {"seeds": len(runs)} | _means([run.scores(point) for run in runs]))
    return tuple({**row, "wrong_labels": found.noise, **found.conditions.row()} for row in rows)


def _size(run: Run, point: int) -> dict[str, Cell]:
    return {"width": run.width, "labels": run.labels, "parameters": run.parameters, "steps": int(run.steps[point])}


def _means(scores: Sequence[dict[str, float]]) -> dict[str, Cell]:
    """Mean and both ends of its interval, in columns side by side."""
    cells: dict[str, Cell] = {}
    for name in scores[0]:
        cells[name], cells[f"{name}_low"], cells[f"{name}_high"] = interval([one[name] for one in scores])
    return cells
