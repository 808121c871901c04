"""How often a map that was never taught places finds them: pointing game and CorLoc, beside boxes and points that look at nothing.

Right is a box whose intersection over union with the true one is at least a half (CorLoc, Deselaers et al. 2010), or a summit that lies in the true
box (the pointing game, Zhang et al. 2016). Both are easy on photographs whose thing is large and in the middle: no number stands without its baseline.
Every picture is asked for its true class. What is chosen (block, threshold, size) is chosen on other pictures than those measured.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import sqrt

import numpy as np
import torch
from scipy import stats

from inception_viz import boxes, clusters, images
from inception_viz.activations import Capture, Target, Tick, capture, no_tick
from inception_viz.architecture import describe
from inception_viz.boxes import Case
from inception_viz.corpus import Corpus
from inception_viz.correlations import correlate
from inception_viz.errors import VisitorError
from inception_viz.grids import enlarged, grid
from inception_viz.images import MAX_BYTES, Picture, PictureError
from inception_viz.localisation import CAM, CLUSTER, GRAD_CAM, Head, best_cluster, class_map, given_map, grad_map, head
from inception_viz.models import ASSETS, Model, at_once
from inception_viz.nulls import adjusted
from inception_viz.text import message

RESULTS = ASSETS / "localisation.json"
RIGHT = 0.5  # intersection over union from where on a box is right
THRESHOLDS = tuple(round(0.05 * n, 2) for n in range(1, 20))
SHARES = tuple(round(0.05 * n, 2) for n in range(2, 21))  # sides of the box in the middle that are tried
BATCH = 25
SEED = 0
BOOTSTRAPS = 10_000
HALF = 2  # pictures at least: one to choose on, one to measure
MIDDLE, WHOLE, MEAN, BORROWED, RANDOM = (
    "best box in the middle",
    "whole picture",
    "mean box in the middle",
    "box of another picture",
    "random box",
)
BASELINES: Mapping[str, str] = {
    message("best box in the middle"): message("A box in the middle, of the size that is right most often on the pictures for choosing."),
    message("mean box in the middle"): message("A box in the middle, as large as the true boxes for choosing are on average."),
    message("whole picture"): message("The whole picture is the box."),
    message("box of another picture"): message("The true box of another picture, drawn at random."),
    message("random box"): message("A box between two corners drawn at random."),
}


class NothingToMeasure(VisitorError):
    """Too few pictures of a table were found."""

    words = message("Of the {asked} pictures in the table {found} could be read; at least {allowed} are needed.")


@dataclass(frozen=True)
class Variant:
    """A method at a block."""

    method: str
    block: str


def variants(model: Model) -> tuple[Variant, ...]:
    """What is tried: the class activation map, Grad-CAM at every block, the best cluster at the middle block and the last of every size after it."""
    found = describe(model).blocks
    later = found[len(found) // 2 :]
    ends = [b for b, after in zip(later, (*later[1:], None), strict=True) if after is None or after.height != b.height]
    chosen = dict.fromkeys([later[0].name, *(b.name for b in ends)])
    return (
        Variant(CAM, found[-1].name),
        *(Variant(GRAD_CAM, b.name) for b in found),
        *(Variant(CLUSTER, name) for name in chosen),
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """The pictures of a table that could be read: their cases, the size (width, height) of each, and what stands for it: `(N, 2)` int."""

    cases: tuple[Case, ...]
    sizes: np.ndarray
    read: Callable[[int], Picture]

    def __len__(self) -> int:
        return len(self.cases)

    def part(self, chosen: np.ndarray) -> "Seen":
        """Those at the places `chosen`."""
        return Seen(tuple(self.cases[i] for i in chosen), self.sizes[chosen], lambda number: self.read(int(chosen[number])))


def seen(cases: Sequence[Case], corpus: Corpus, most: int | None = None, seed: int = SEED, tick: Tick = no_tick) -> Seen:
    """The cases whose picture lies in the corpus and can be read, all or `most` drawn by `seed`, in the order of the table. Raises NothingToMeasure.

    Pictures are decoded here for their size, and again when they are looked at: a large table does not fit into memory.
    """
    numbers = {entry.name: number for number, entry in enumerate(corpus.entries)}
    order = np.random.default_rng(seed).permutation(len(cases))
    found: list[tuple[int, int, tuple[int, int]]] = []
    for i in order:
        if most is not None and len(found) >= most:
            break
        tick()
        number = numbers.get(cases[i].picture)
        try:
            if number is not None:
                picture = _decoded(corpus, number)
                found.append((int(i), number, (picture.width, picture.height)))
        except PictureError:
            continue
    if len(found) < HALF:
        raise NothingToMeasure(asked=len(cases), found=len(found), allowed=HALF)
    found.sort()
    return Seen(tuple(cases[i] for i, _, _ in found), np.array([size for _, _, size in found]), lambda n: _decoded(corpus, found[n][1]))


def _decoded(corpus: Corpus, number: int) -> Picture:
    entry = corpus.entries[number]
    if entry.size > MAX_BYTES:
        raise images.TooManyBytes(found=round(entry.size / 1e6, 1), allowed=MAX_BYTES // 1_000_000)
    return images.decode(corpus.read(number), entry.name)


@dataclass(frozen=True, eq=False)
class Scores:
    """How a variant fared on N pictures: its summits' `hits` (N,) bool, and its boxes' `overlaps` (N, thresholds)."""

    hits: np.ndarray
    overlaps: np.ndarray


def _batches(cases: Sequence[Case]) -> Iterator[np.ndarray]:
    """Places of pictures of one class: one pass explains one class."""
    order = np.argsort([case.index for case in cases], kind="stable")
    kinds = np.array([cases[i].index for i in order])
    for same in np.split(order, np.flatnonzero(np.diff(kinds)) + 1):
        yield from np.split(same, range(BATCH, len(same), BATCH))


def _values(taken: Capture, own: Head, wanted: Sequence[Variant], i: int) -> dict[Variant, np.ndarray]:
    """The map of every variant for picture `i` of a capture."""
    found = {}
    for variant in wanted:
        activation, gradient = (t[variant.block][i].float().cpu() for t in (taken.activations, taken.gradients))
        if variant.method == CAM:
            found[variant] = class_map(activation.numpy(), own, taken.targets[i])
        elif variant.method == GRAD_CAM:
            found[variant] = grad_map(activation.numpy(), gradient.numpy())
        else:
            labels = clusters.find(correlate(activation)).labels
            best = best_cluster(activation.numpy(), gradient.numpy(), labels)
            members = np.flatnonzero(labels == (-2 if best is None else best))  # none: a map of zeros
            found[variant] = given_map(activation.numpy(), gradient.numpy(), members)
    return found


def score(
    model: Model, pictures: Seen, wanted: Sequence[Variant], thresholds: Sequence[float] = THRESHOLDS, tick: Tick = no_tick
) -> Generator[float, None, dict[Variant, Scores]]:
    """How every variant fares on every picture, each asked for its true class; yields the share done."""
    own, preprocessing, count = head(model), model.weights.preprocessing, len(pictures)
    cells = {v: grid(describe(model).block(v.block), preprocessing.crop) for v in wanted}
    hits = {v: np.zeros(count, bool) for v in wanted}
    overlaps = {v: np.zeros((count, len(thresholds))) for v in wanted}
    done = 0
    for batch in _batches(pictures.cases):
        for some in np.split(batch, range(at_once(BATCH), len(batch), at_once(BATCH))):
            tick()
            inputs = torch.cat([model.input(pictures.read(int(n))) for n in some])
            taken = capture(model, inputs, Target(pictures.cases[some[0]].index))
            for i, number in enumerate(some):
                case, (width, height) = pictures.cases[number], pictures.sizes[number]
                for variant, values in _values(taken, own, wanted, i).items():
                    large = enlarged(values, preprocessing.crop, cells[variant])
                    point = boxes.summit(values, cells[variant])
                    hits[variant][number] = case.hit(point and boxes.point_on_picture(point, preprocessing, width, height))
                    for column, threshold in enumerate(thresholds):
                        box = boxes.largest(large, threshold)
                        overlaps[variant][number, column] = case.overlap(box and boxes.on_picture(box, preprocessing, width, height))
            done += len(some)
            yield done / count
    return {v: Scores(hits[v], overlaps[v]) for v in wanted}


@dataclass(frozen=True)
class Choice:
    """What was chosen for a method: its block and threshold, by CorLoc on the pictures for choosing."""

    variant: Variant
    threshold: float
    found: float


def choose(scores: Mapping[Variant, Scores], thresholds: Sequence[float] = THRESHOLDS) -> tuple[Choice, ...]:
    """For every method the block and the threshold that are right most often; of equally good ones the first."""
    best: dict[str, Choice] = {}
    for variant, found in scores.items():
        right = (found.overlaps >= RIGHT).mean(0)
        column = int(np.argmax(right))
        choice = Choice(variant, thresholds[column], float(right[column]))
        if variant.method not in best or choice.found > best[variant.method].found:
            best[variant.method] = choice
    return tuple(best.values())


def _middle(pictures: Seen, share: float) -> np.ndarray:
    return np.array([c.overlap(boxes.in_the_middle(w, h, share)) for c, (w, h) in zip(pictures.cases, pictures.sizes, strict=True)])


def middle_share(choosing: Seen) -> float:
    """The box in the middle that is right most often: its share of both sides."""
    return max(SHARES, key=lambda share: (_middle(choosing, share) >= RIGHT).mean())


def mean_share(choosing: Seen) -> float:
    """The share of both sides of a box in the middle as large as the true boxes are on average."""
    areas = [true.area / (w * h) for c, (w, h) in zip(choosing.cases, choosing.sizes, strict=True) for true in c.boxes]
    return sqrt(float(np.mean(areas)))


def baselines(choosing: Seen, pictures: Seen, seed: int = SEED) -> dict[str, Scores]:
    """What boxes and points reach that look at nothing; those drawn at random are drawn once a picture by `seed`."""
    middle = np.array([c.hit((w / 2, h / 2)) for c, (w, h) in zip(pictures.cases, pictures.sizes, strict=True)])
    shares = {MIDDLE: middle_share(choosing), MEAN: mean_share(choosing), WHOLE: 1.0}
    found = {name: Scores(middle, _middle(pictures, share)[:, None]) for name, share in shares.items()}
    generator = np.random.default_rng(seed)
    borrowed, drawn = [], []
    for case, (width, height) in zip(pictures.cases, pictures.sizes, strict=True):
        other = int(generator.integers(len(choosing)))
        box = choosing.cases[other].boxes[0].scaled(width / choosing.sizes[other][0], height / choosing.sizes[other][1])
        borrowed.append((case.hit(box.centre), case.overlap(box)))
        point = generator.random(2) * (width, height)
        drawn.append((case.hit((float(point[0]), float(point[1]))), case.overlap(boxes.at_random(width, height, generator))))
    for name, pairs in ((BORROWED, borrowed), (RANDOM, drawn)):
        found[name] = Scores(np.array([hit for hit, _ in pairs]), np.array([[overlap] for _, overlap in pairs]))
    return found


@dataclass(frozen=True)
class Share:
    """`found` of n, with the 95% interval of Wilson (1927)."""

    found: float
    low: float
    high: float


def share(right: np.ndarray) -> Share:
    """How many of `right` (N,) are true."""
    interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(0.95, "wilson")
    return Share(float(right.mean()), float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Difference:
    """How much more often one was right than the other on the same pictures; 95% interval (bootstrap over pictures), p of McNemar's exact test."""

    found: float
    low: float
    high: float
    p: float


def difference(one: np.ndarray, other: np.ndarray, seed: int = SEED) -> Difference:
    """`one` less `other`, both `(N,)` bool. Only pictures where they disagree say anything (McNemar 1947)."""
    n, ahead, behind = len(one), int((one & ~other).sum()), int((other & ~one).sum())
    drawn = np.random.default_rng(seed).multinomial(n, [ahead / n, behind / n, 1 - (ahead + behind) / n], BOOTSTRAPS)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [0.025, 0.975])
    p = float(stats.binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0
    return Difference((ahead - behind) / n, float(low), float(high), p)


@dataclass(frozen=True)
class Row:
    """One way to find the class: pointing game and CorLoc on the measured pictures; a method's differences are to the best box in the middle.

    The q are the p of all methods and both measures, adjusted (Benjamini & Hochberg). `threshold` is a share of the map's maximum, for a box in the
    middle its share of both sides.
    """

    name: str
    block: str | None
    threshold: float | None
    pointing: Share
    corloc: Share
    mean_overlap: float
    pointing_gain: Difference | None = None
    corloc_gain: Difference | None = None
    pointing_q: float | None = None
    corloc_q: float | None = None


@dataclass(frozen=True)
class Measured:
    """The table, and on what it was measured: `n` pictures, none of the `chosen_on` for choosing among them, halves drawn by `seed`."""

    rows: tuple[Row, ...]
    n: int
    chosen_on: int
    seed: int
    architecture: str
    weights: str
    weights_sha256: str

    @cached_property
    def by_name(self) -> dict[str, Row]:
        """The rows by name."""
        return {row.name: row for row in self.rows}


def _shift(start: float, end: float, steps: Generator[float, None, dict[Variant, Scores]]) -> Generator[float, None, dict[Variant, Scores]]:
    while True:
        try:
            yield start + (end - start) * next(steps)
        except StopIteration as last:
            return last.value


def measure(
    model: Model, choosing: Seen, measured: Seen, seed: int = SEED, wanted: Sequence[Variant] | None = None, tick: Tick = no_tick
) -> Generator[float, None, Measured]:
    """Blocks, thresholds and sizes chosen on some pictures, everything measured on others; yields the share done."""
    tried = variants(model) if wanted is None else wanted
    border = len(choosing) / (len(choosing) + len(measured))
    chosen = choose((yield from _shift(0, border, score(model, choosing, tried, tick=tick))))
    thresholds = sorted({c.threshold for c in chosen})
    found = yield from _shift(border, 1, score(model, measured, [c.variant for c in chosen], thresholds, tick))
    plain = baselines(choosing, measured, seed)
    middle = plain[MIDDLE]
    gains, rows = [], []
    for choice in chosen:
        scores = found[choice.variant]
        right = scores.overlaps[:, thresholds.index(choice.threshold)]
        pair = difference(scores.hits, middle.hits, seed), difference(right >= RIGHT, middle.overlaps[:, 0] >= RIGHT, seed)
        gains += [gain.p for gain in pair]
        rows.append((choice, scores.hits, right, pair))
    q = adjusted(np.array(gains)).tolist()
    methods = [
        Row(
            c.variant.method,
            c.variant.block,
            c.threshold,
            share(hits),
            share(right >= RIGHT),
            float(right.mean()),
            *pair,
            q[2 * i],
            q[2 * i + 1],
        )
        for i, (c, hits, right, pair) in enumerate(rows)
    ]
    shares = {MIDDLE: middle_share(choosing), MEAN: mean_share(choosing), WHOLE: 1.0}
    others = [
        Row(name, None, shares.get(name), share(s.hits), share(s.overlaps[:, 0] >= RIGHT), float(s.overlaps.mean()))
        for name, s in plain.items()
    ]
    weights = model.weights
    return Measured((*methods, *others), len(measured), len(choosing), seed, model.architecture, weights.name, weights.sha256)


def halves(pictures: Seen, seed: int = SEED) -> tuple[Seen, Seen]:
    """Two halves drawn by `seed`: one to choose on, one to measure on."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    half = len(order) // 2
    return pictures.part(np.sort(order[:half])), pictures.part(np.sort(order[half:]))


def as_plain(found: Measured) -> dict:
    """The table as plain numbers and names, for JSON."""
    return asdict(found)


def from_plain(told: Mapping) -> Measured:
    """What `as_plain` made."""

    def row(one: Mapping) -> Row:
        kinds = {"pointing": Share, "corloc": Share, "pointing_gain": Difference, "corloc_gain": Difference}
        return Row(**{key: kinds[key](**value) if key in kinds and value else value for key, value in one.items()})

    return Measured(**(dict(told) | {"rows": tuple(row(one) for one in told["rows"])}))


def results() -> tuple[Measured, str] | None:
    """What was measured of the boxed network and the command that repeats it; None where it has not been."""
    if not RESULTS.exists():
        return None
    told = json.loads(RESULTS.read_text(encoding="utf-8"))
    return from_plain({key: value for key, value in told.items() if key not in ("command", "data")}), told["command"]


def _interval(found: Share) -> str:
    return f"{found.found:.1%} ({found.low:.1%} to {found.high:.1%})"


def _gain(found: Difference | None, q: float | None) -> str:
    return "" if found is None or q is None else f"{100 * found.found:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}), q {q:.2g}"


def _where(row: Row) -> str:
    parts = [row.name, *([row.block] if row.block else []), *([] if row.threshold is None else [f"{row.threshold:.0%}"])]
    return ", ".join(parts)


def table(found: Measured) -> Iterator[str]:
    """The lines of the table in Markdown, in English, with its n: what the command line prints and the README shows."""
    yield (
        f"n = {found.n} pictures, blocks, thresholds and sizes chosen on {found.chosen_on} others; seed {found.seed}; "
        f"{found.architecture}, {found.weights} weights"
    )
    yield ""
    yield "| | pointing game | to the middle | CorLoc (IoU at least 0.5) | to the best box in the middle | mean IoU |"
    yield "|---|---|---|---|---|---|"
    for row in found.rows:
        gains = _gain(row.pointing_gain, row.pointing_q), _gain(row.corloc_gain, row.corloc_q)
        yield f"| {_where(row)} | {_interval(row.pointing)} | {gains[0]} | {_interval(row.corloc)} | {gains[1]} | {row.mean_overlap:.3f} |"
