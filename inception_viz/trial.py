"""The trial of Section 3's last claim: small networks of different topologies, equal in multiply-accumulates, data, recipe and seeds.

A run is one topology trained from one seed on one task; seeds are paired: all topologies of a seed see the same pictures, in the same order, cut
and mirrored alike. What is chosen, is chosen on pictures held out of the training set (`choosing=True`); what is reported was looked at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from inception_viz.construction import Measured, measured
from inception_viz.cost import GOOGLENET
from inception_viz.models import initialise
from inception_viz.networks import WIDTHS, Block, Network, Table, fitted


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


def built(table: Table, seed: int) -> nn.Module:
    """The network of a table with weights drawn from `seed`."""
    return initialise(Network(table), seed).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Interval:
    """A mean of `n` paired differences and its 95 % interval by Student's t; nan for fewer than two."""

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


def grouped(rows: Sequence[Block], groups: Sequence[int]) -> tuple[Block, ...]:
    """Blocks whose 3x3 and 5x5 convolutions work in groups and are not narrowed before: what groups save, pays for that."""
    result = []
    for row, g in zip(rows, groups, strict=True):
        three, five = (max(1, round(width / g)) * g for width in (row.three, row.five))
        result.append(replace(row, reduce_three=three, three=three, reduce_five=five, five=five, groups_three=g, groups_five=g))
    return tuple(result)


def clustered(found: Sequence[Measured]) -> tuple[Block, ...]:
    """The paper's proportions with one group of filters a cluster: a cluster of the channels that a block reads becomes a unit of its 3x3 and 5x5."""
    return grouped(PAPER, [max(1, one.clusters.count) for one in found])


def randomly_grouped(seed: int, most: int = 16) -> tuple[Block, ...]:
    """The control of `clustered`: the number of groups is drawn evenly in its logarithm from 2 to `most` instead of looked up in the statistics."""
    generator = np.random.default_rng([seed, 5])
    return grouped(PAPER, np.exp(generator.uniform(np.log(2), np.log(most), len(PAPER))).round().astype(int).tolist())
