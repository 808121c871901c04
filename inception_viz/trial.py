"""The trial of Section 3's last claim: small networks of different topologies, equal in multiply-accumulates, data, recipe and seeds.

A run is one topology trained from one seed on one task; seeds are paired: all topologies of a seed see the same pictures, in the same order, cut
and mirrored alike. What is chosen, is chosen on pictures held out of the training set (`choosing=True`); what is reported was looked at once.
"""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from inception_viz.construction import Measured, measured
from inception_viz.correlations import correlate
from inception_viz.models import ASSETS, initialise
from inception_viz.networks import GOOGLENET
from inception_viz.tables import WIDTHS, Block, Network, Table, fitted
from inception_viz.text import message

RESULTS = ASSETS / "topology-trial.json"
SEEDS = 10  # paired seeds that a verdict needs


@dataclass(frozen=True)
class Recipe:
    """How every network of a trial is trained: SGD with Nesterov momentum, one cosine after a linear warm-up over a tenth of the steps."""

    epochs: int
    batch: int
    rate: float
    shift: int
    mirror: bool
    momentum: float = 0.9
    decay: float = 5e-4
    smoothing: float = 0.1


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures `(n, colours, side, side)` float32, standardised, and their labels `(n,)` int64."""

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, chosen: np.ndarray) -> "Pictures":
        """Those at the positions `chosen`."""
        index = torch.from_numpy(np.asarray(chosen, dtype=np.int64))
        return Pictures(self.values[index], self.labels[index])


@dataclass(frozen=True, eq=False)
class Data:
    """Pictures to train on, and pictures to test on that no training sees."""

    train: Pictures
    test: Pictures
    classes: int

    @property
    def side(self) -> int:
        """Pixels along a side of a picture."""
        return self.train.values.shape[-1]


def rate(progress: float, recipe: Recipe) -> float:
    """The learning rate at `progress` from 0 to 1."""
    warm = 0.1
    return recipe.rate * (progress / warm if progress < warm else 0.5 * (1 + np.cos(np.pi * (progress - warm) / (1 - warm))))


def varied(pictures: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Each picture shifted by up to `shift` pixels (zeros come in) and, if the recipe says so, mirrored half the time."""
    n, _, side, _ = pictures.shape
    reach = recipe.shift
    padded = functional.pad(pictures, (reach,) * 4)
    offsets = torch.randint(2 * reach + 1, (2, n, 1), generator=generator)
    rows, columns = (offsets + torch.arange(side)).unbind()
    if recipe.mirror:
        columns = torch.where(torch.rand(n, 1, generator=generator) < 0.5, columns, columns.flip(1))
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # NHWC in memory


def train(network: nn.Module, pictures: Pictures, recipe: Recipe, seed: int) -> Iterator[float]:
    """Train in place, yielding the share of the steps that are done; what is drawn depends on `seed` and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict] = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain}]
    optimizer = torch.optim.SGD(
        groups,
        lr=0.0,
        momentum=recipe.momentum,
        nesterov=True,
        foreach=True,
    )
    network.train()
    steps = len(pictures) // recipe.batch
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(pictures), generator=generator)
        for step in range(steps):
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            for group in optimizer.param_groups:
                group["lr"] = rate((epoch + step / steps) / recipe.epochs, recipe)
            logits = network(varied(pictures.values[chosen], recipe, generator))
            loss = functional.cross_entropy(logits, pictures.labels[chosen], label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            yield (epoch + (step + 1) / steps) / recipe.epochs


@torch.inference_mode()
def accuracy(network: nn.Module, pictures: Pictures, batch: int = 500) -> float:
    """The share of pictures whose class the network names first."""
    network.eval()
    right = sum(
        int((network(v.contiguous(memory_format=torch.channels_last)).argmax(1) == y).sum())
        for v, y in zip(pictures.values.split(batch), pictures.labels.split(batch), strict=True)
    )
    return right / len(pictures)


def built(table: Table, seed: int) -> Network:
    """The network of a table with weights drawn from `seed`."""
    network = Network(table)
    initialise(network, seed)
    return network.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Interval:
    """A mean of `n` paired differences and its 95% interval by Student's t; nan for fewer than two."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.low > 0


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of `values` and its interval."""
    found = np.asarray(values, dtype=float)
    n = len(found)
    if n < 2:
        return Interval(float(found.mean()) if n else float("nan"), float("nan"), float("nan"), n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * found.std(ddof=1) / np.sqrt(n))
    mean = float(found.mean())
    return Interval(mean, mean - half, mean + half, n)


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Interval:
    """The interval of the differences a - b over the seeds that both have."""
    return interval([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


@dataclass(frozen=True)
class Task:
    """What a trial is about: the skeleton that all its networks share, its recipe, and budgets in multiply-accumulates of one picture."""

    name: str
    skeleton: Table
    recipe: Recipe
    budgets: tuple[int, int]


def _stages(rows: Sequence[Block]) -> tuple[tuple[Block, ...], ...]:
    """Two stages with half of the rows each."""
    half = len(rows) // 2
    return tuple(rows[:half]), tuple(rows[half:])


PAPER = tuple(
    Block(w.one, w.reduce_three, w.three, w.reduce_five, w.five, w.pool) for w in (GOOGLENET[name] for name in ("3a", "3b", "4a", "4e"))
)
DIGITS = Task(
    "digits",
    Table(_stages(PAPER), 8, 10, stem=16, stem_stride=1, stem_pool=False, colours=1),
    Recipe(epochs=20, batch=20, rate=0.2, shift=1, mirror=False),
    (200_000, 600_000),
)
TINY_IMAGENET = Task(
    "tiny-imagenet",
    Table(_stages(PAPER), 32, 50, stem=16),
    Recipe(epochs=4, batch=100, rate=0.3, shift=2, mirror=True),
    (500_000, 1_500_000),
)


def uniform_chain() -> tuple[Block, ...]:
    """A 3x3 convolution where the others have a block, as wide as the paper's block gives channels."""
    return tuple(Block(three=row.outputs) for row in PAPER)


def network_in_network() -> tuple[Block, ...]:
    """A 3x3 convolution and a 1x1 one of the same width where the others have a block (Lin, Chen & Yan 2013)."""
    return tuple(block for row in PAPER for block in (Block(three=row.outputs), Block(one=row.outputs)))


def uniform_branches() -> tuple[Block, ...]:
    """Four branches of equal width with reductions of half of it; each block gives as many channels as the paper's."""
    return tuple(Block(w, w // 2, w, w // 2, w, w) for w in (row.outputs // 4 for row in PAPER))


def random_widths(seed: int, spread: float = 4.0) -> tuple[Block, ...]:
    """Uniform branches with every width times a factor of its own between 1 / `spread` and `spread`, drawn evenly in its logarithm."""
    generator = np.random.default_rng([seed, 4])
    factors = np.exp(generator.uniform(-np.log(spread), np.log(spread), (len(PAPER), len(WIDTHS))))
    return tuple(
        replace(row, **{name: max(1, round(getattr(row, name) * f)) for name, f in zip(WIDTHS, own, strict=True)})
        for row, own in zip(uniform_branches(), factors.tolist(), strict=True)
    )


def tabled(task: Task, rows: Sequence[Block], budget: int) -> Table:
    """The task's network with these rows, scaled to the budget."""
    return fitted(replace(task.skeleton, stages=_stages(rows)), budget)


BASELINES: Mapping[str, Callable[[int], tuple[Block, ...]]] = {
    "chain": lambda seed: uniform_chain(),
    "network in network": lambda seed: network_in_network(),
    "hand": lambda seed: PAPER,
    "uniform": lambda seed: uniform_branches(),
    "random": random_widths,
}


def digits(seed: int, choosing: bool = False, each: int = 20) -> Data:
    """scikit-learn's digits: `each` of every class, drawn by `seed` from 500 pictures; tested on 897 others, or for `choosing` on 400 more."""
    read = load_digits()
    values = torch.from_numpy(read.images).float()[:, None]
    labels = torch.from_numpy(read.target).long()
    every = Pictures((values - values.mean()) / values.std(), labels)
    order = np.random.default_rng(7).permutation(len(labels))
    pool = np.random.default_rng(seed).permutation(order[:500])
    chosen = np.concatenate([pool[read.target[pool] == label][:each] for label in range(10)])
    return Data(every.taken(chosen), every.taken(order[500:900] if choosing else order[900:]), 10)


@torch.inference_mode()
def seen_by_blocks(network: Network, pictures: Pictures, count: int = 200) -> list[Tensor]:
    """What each block reads, `(count, C, H, W)`, on the first pictures of every class."""
    order = torch.argsort(pictures.labels, stable=True)
    chosen = order[:: max(1, len(order) // count)][:count]
    x, taken = network.eval().conv1(pictures.values[chosen]), []
    for name in network.order:
        if name.startswith("inception"):
            taken.append(x)
        x = getattr(network, name)(x)
    return taken


def asked(network: Network, pictures: Pictures) -> list[Measured]:
    """What the channels that each block of a trained network reads ask of that block."""
    return [measured(activation) for activation in seen_by_blocks(network, pictures)]


def plainly_constructed(found: Sequence[Measured]) -> tuple[Block, ...]:
    """The widths of the plain reading of Section 3; each block gives as many channels as the paper's."""
    rows = []
    for one, paper in zip(found, PAPER, strict=True):
        large = replace(one.plan, inputs=1000 * one.plan.inputs).block  # so large that rounding does not matter
        rows.append(large.scaled(paper.outputs / large.outputs))
    return tuple(rows)


def grouped(rows: Sequence[Block], groups: Sequence[int], kept: float = 1.0) -> tuple[Block, ...]:
    """Blocks whose 3x3 and 5x5 convolutions work in groups (0: every channel is one) behind a reduction to the share `kept` of their width.

    What groups save, `tabled` spends on width.
    """
    result = []
    for row, g in zip(rows, groups, strict=True):
        unit = max(g, 1)
        widths = {name: max(1, round(getattr(row, name) / unit)) * unit for name in ("three", "five")}
        reduced = {f"reduce_{name}": max(1, round(kept * width / unit)) * unit if g else width for name, width in widths.items()}
        result.append(replace(row, **widths, **reduced, groups_three=g, groups_five=g))
    return tuple(result)


def clusters_read(found: Sequence[Measured]) -> list[int]:
    """How many clusters the channels form that each block reads."""
    return [max(1, one.clusters.count) for one in found]


def clustered(found: Sequence[Measured]) -> tuple[Block, ...]:
    """The paper's proportions with one group of filters a cluster: a cluster of the channels that a block reads becomes a unit of its 3x3 and 5x5."""
    return grouped(PAPER, clusters_read(found))


def groups_by_lot(seed: int, most: int = 16) -> list[int]:
    """Numbers of groups drawn evenly in their logarithm from 2 to `most`, where `clusters_read` looks them up in the statistics."""
    generator = np.random.default_rng([seed, 5])
    return np.exp(generator.uniform(np.log(2), np.log(most), len(PAPER))).round().astype(int).tolist()


def randomly_grouped(seed: int) -> tuple[Block, ...]:
    """The control of `clustered`: the number of groups is drawn by lot."""
    return grouped(PAPER, groups_by_lot(seed))


def candidates(found: Sequence[Measured]) -> dict[str, tuple[Block, ...]]:
    """Blocks seeded by the statistics, for `halving`: three proportions of the widths, and groups from the number of clusters."""
    return _candidates(clusters_read(found), "plain", plainly_constructed(found))


def candidates_by_lot(seed: int) -> dict[str, tuple[Block, ...]]:
    """The control of `candidates`: as many, made alike, but numbers of groups and the third proportions are drawn and nothing is looked up."""
    return _candidates(groups_by_lot(seed), "random", random_widths(seed))


def _candidates(count: Sequence[int], third: str, proportions: Sequence[Block]) -> dict[str, tuple[Block, ...]]:
    twice = [2 * g for g in count]
    alone = [0] * len(count)
    shapes = {"paper": PAPER, "uniform": uniform_branches(), third: tuple(proportions)}
    made = {
        f"{shape} {name}": grouped(rows, groups)
        for shape, rows in shapes.items()
        for name, groups in (("K", count), ("2K", twice), ("alone", alone))
    }
    halves = {
        f"{shape} {name} half": grouped(shapes[shape], groups, 0.5)
        for shape in ("paper", "uniform")
        for name, groups in (("K", count), ("2K", twice))
    }
    return made | halves


WIDE, BRIEF = 3, 4  # the network that is merged has three times the budget and is trained for a quarter of the epochs


def wide(task: Task, budget: int) -> tuple[Table, Recipe]:
    """The network of uniform branches whose redundant channels are merged, and the brief recipe that it is trained by."""
    return tabled(task, uniform_branches(), WIDE * budget), replace(task.recipe, epochs=task.recipe.epochs // BRIEF)


@torch.inference_mode()
def redundancy(network: Network, pictures: Pictures, count: int = 200) -> list[dict[str, np.ndarray]]:
    """For each block and width, at which distances 1 - r (average linkage) the channels of that convolution merge, ascending; constant ones are left out."""
    order = torch.argsort(pictures.labels, stable=True)
    shown = pictures.values[order[:: max(1, len(order) // count)][:count]]
    blocks = [module for name, module in network.named_children() if name.startswith("inception")]
    taken: list[dict[str, np.ndarray]] = [{} for _ in blocks]

    def keep(row: dict[str, np.ndarray], width: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            row[width] = merges(output)

        return hook

    hooks = [
        block.get_submodule(branch).register_forward_hook(keep(row, width))
        for block, row in zip(blocks, taken, strict=True)
        for width, branch in BRANCHES.items()
    ]
    network.eval()(shown)
    for hook in hooks:
        hook.remove()
    return taken


BRANCHES = dict(zip(WIDTHS, ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"), strict=True))


def merges(activation: Tensor) -> np.ndarray:
    """The distances 1 - r at which the channels of `(N, C, H, W)` merge by average linkage, ascending: one fewer than channels that are not constant."""
    similar = correlate(activation)
    live = np.flatnonzero(~similar.constant)
    if len(live) < 2:
        return np.empty(0)
    distances = 1 - similar.r[np.ix_(live, live)].astype(np.float64)
    np.fill_diagonal(distances, 0)
    return np.sort(linkage(squareform(distances, checks=False), "average")[:, 2])


def merged(task: Task, budget: int, found: Sequence[Mapping[str, np.ndarray]]) -> tuple[Block, ...]:
    """What is left of each width when all channels closer than one distance have become one; the least such distance within the budget."""

    def at(distance: float) -> tuple[Block, ...]:
        return tuple(Block(**{width: 1 + int((heights > distance).sum()) for width, heights in row.items()}) for row in found)

    def cost(distance: float) -> int:
        return replace(task.skeleton, stages=_stages(at(distance))).macs

    steps = np.unique(np.concatenate([heights for row in found for heights in row.values()]))
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(steps[middle]) <= budget else (middle + 1, high)
    return at(steps[low])


def halving(names: Sequence[str], score: Callable[[str, int], float]) -> Iterator[dict[str, float]]:
    """Successive halving: every round adds one `score(name, round)` to each that is left, and the better half by the mean so far goes on.

    Yields the means of each round, best first; the last holds the winner first (Jamieson & Talwalkar 2016; a round here is another seed).
    """
    left, scores = list(names), {name: list[float]() for name in names}
    for turn in range(len(names)):
        for name in left:
            scores[name].append(score(name, turn))
        ranked = sorted(left, key=lambda name: -float(np.mean(scores[name])))
        yield {name: float(np.mean(scores[name])) for name in ranked}
        left = ranked[: len(ranked) // 2]
        if len(left) < 2:
            return


CONSTRUCTED, CLUSTERED, MERGED, HALVED, RANDOM_GROUPS = "constructed", "clustered", "merged", "halved", "random groups"
LOTS = ("halved by lot", "halved by lot again")  # the control of HALVED, twice: each is another draw and another search
TOPOLOGIES: Mapping[str, str] = {
    "chain": message("uniform chain"),
    "network in network": message("Network in Network"),
    "hand": message("hand-proportioned Inception"),
    "uniform": message("uniform branches"),
    "random": message("random widths"),
    CONSTRUCTED: message("widths from correlations"),
    CLUSTERED: message("a group a cluster"),
    RANDOM_GROUPS: message("random number of groups"),
    MERGED: message("redundant channels merged"),
    HALVED: message("statistics, then halving"),
    LOTS[0]: message("by lot, then halving (control)"),
    LOTS[1]: message("by lot again, then halving (control)"),
}
SEARCHED = (HALVED, *LOTS)  # whose proportions a search has found


def rows(name: str, seed: int, found: Sequence[Measured] = (), won: Sequence[Block] = ()) -> tuple[Block, ...]:
    """The proportions of one of TOPOLOGIES; `found` is needed by those that look at statistics, `won` is what a search or the merging has found."""
    if name in BASELINES:
        return BASELINES[name](seed)
    if name in (*SEARCHED, MERGED):
        return tuple(won)
    return {CONSTRUCTED: plainly_constructed, CLUSTERED: clustered, RANDOM_GROUPS: lambda found: randomly_grouped(seed)}[name](found)


@dataclass(frozen=True)
class Run:
    """One network that was trained and tested: what it reached, and what it cost."""

    task: str
    budget: int
    topology: str
    seed: int
    accuracy: float
    macs: int
    seconds: float


@dataclass(frozen=True)
class Line:
    """One topology at one budget: mean accuracy over `n` seeds, and the paired differences to hand-proportioned and to random widths."""

    topology: str
    n: int
    accuracy: float
    to_hand: Interval
    to_random: Interval


@dataclass(frozen=True)
class Results:
    """All runs of a trial."""

    runs: tuple[Run, ...]

    def kinds(self) -> list[tuple[str, int]]:
        """Tasks and budgets that there are runs of."""
        return list(dict.fromkeys((run.task, run.budget) for run in self.runs))

    def accuracies(self, task: str, budget: int, topology: str) -> dict[int, float]:
        """Accuracy by seed."""
        return {r.seed: r.accuracy for r in self.runs if (r.task, r.budget, r.topology) == (task, budget, topology)}

    def lines(self, task: str, budget: int) -> list[Line]:
        """The table of a task at a budget, in the order of TOPOLOGIES."""
        hand, random = (self.accuracies(task, budget, name) for name in ("hand", "random"))
        result = []
        for name in TOPOLOGIES:
            own = self.accuracies(task, budget, name)
            if own:
                result.append(Line(name, len(own), float(np.mean(list(own.values()))), paired(own, hand), paired(own, random)))
        return result

    def difference(self, task: str, budget: int, topology: str, other: str) -> Interval:
        """How much better a topology is than another, over the seeds that both have."""
        return paired(self.accuracies(task, budget, topology), self.accuracies(task, budget, other))

    def better(self, topology: str) -> list[tuple[str, int]]:
        """Where a topology beats both hand and random: both intervals wholly above zero."""
        lines = {kind: {line.topology: line for line in self.lines(*kind)} for kind in self.kinds()}
        return [k for k, own in lines.items() if topology in own and own[topology].to_hand.above and own[topology].to_random.above]


def committed() -> Results:
    """The runs that came with the project, as `python -m benchmarks topology` wrote them."""
    return Results(tuple(Run(**run) for run in json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]))


def live(names: Sequence[str], seeds: Sequence[int], budget: int) -> Generator[float, None, Results]:
    """A small trial on the digits, here and now: yields how far it is, returns its results. Topologies that look at statistics see a hand-proportioned
    network of the same seed, trained first."""
    done: list[Run] = []
    total = len(seeds) * len(names)
    for seed in seeds:
        data = digits(seed)
        found: tuple[Measured, ...] = ()
        for name in sorted(names, key=lambda name: name != "hand"):
            network, spent = built(tabled(DIGITS, rows(name, seed, found), budget), seed), time.process_time()
            for share in train(network, data.train, DIGITS.recipe, seed):
                yield (len(done) + share) / total
            reached = accuracy(network, data.test)
            if name == "hand":
                found = tuple(asked(network, data.train))
            macs = tabled(DIGITS, rows(name, seed, found), budget).macs
            done.append(Run(DIGITS.name, budget, name, seed, reached, macs, time.process_time() - spent))
    return Results(tuple(done))
