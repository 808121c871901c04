"""Whether channels of one branch fire together more than channels of different branches, and whether that was learnt (Section 3: clusters as units).

The paper follows Arora et al.: units whose outputs are highly correlated form the clusters of the next layer. Branches were drawn by hand; if they are such
clusters, their channels must correlate more inside than across. Channels of one branch also share a window and what they read, in a network that
has learnt nothing too: so the difference is compared with that of untrained twins, and with labels of branches shuffled among the channels.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from inception_viz import correlations, nulls
from inception_viz.activations import capture
from inception_viz.architecture import Block, describe
from inception_viz.correlations import Correlation, Measure
from inception_viz.measurement import Cell, Conditions, Finding, Outcome, Row
from inception_viz.models import Model
from inception_viz.text import Blank, message

SHUFFLES = 999
MOST_TWINS = 199
TWINS = message("The number of untrained twins")
LEVEL = 0.05
SEED = 0
INSIDE = message("Channels of one branch fire together more than channels of different branches.")
LEARNT = message("That branches hold what fires together was learnt, not built in.")


@dataclass(frozen=True, eq=False)
class Coincidence:
    """One block: mean |r| of pairs inside a branch and across, `gap` their difference, and the same gap by chance.

    `shuffled` (SHUFFLES,): labels of branches shuffled; `twins` (twins,): untrained networks, on the same pictures. `channels` are live ones, in
    `pairs_inside` and `pairs_across`; `n` samples a channel; `spread` is the standard deviation of |r|
    over pairs, within both kinds. nan where no pair is left.
    """

    block: str
    inside: float
    across: float
    shuffled: np.ndarray
    twins: np.ndarray
    channels: int
    pairs_inside: int
    pairs_across: int
    n: int
    spread: float

    @property
    def d(self) -> float:
        """The gap in standard deviations of |r| over all pairs: the effect's size, whatever the number of channels (Cohen's d)."""
        return self.gap / self.spread if self.spread > 0 else float("nan")

    @property
    def gap(self) -> float:
        """How much more channels of one branch correlate."""
        return self.inside - self.across

    @property
    def z(self) -> float:
        """The gap in standard deviations of the shuffled ones: how sure it is, which grows with the number of channels."""
        return _standardised(self.gap, self.shuffled)

    @property
    def z_twins(self) -> float:
        """The gap in standard deviations of the twins', from their mean."""
        return _standardised(self.gap, self.twins)

    @property
    def p(self) -> float:
        """How often shuffled labels have as large a gap."""
        return _share(self.gap, self.shuffled)

    @property
    def middle(self) -> tuple[float, float]:
        """Between which two gaps the middle 95% of the shuffled ones lie; nan without any."""
        low, high = np.quantile(self.shuffled, (0.025, 0.975)) if len(self.shuffled) else (np.nan, np.nan)
        return float(low), float(high)

    @property
    def p_twins(self) -> float:
        """How often an untrained twin has as large a gap."""
        return _share(self.gap, self.twins)

    def row(self) -> dict[str, Cell]:
        """As a row of a table."""
        return {
            "block": self.block, "inside": self.inside, "across": self.across, "gap": self.gap, "d": self.d,
            "z": self.z, "p": self.p, "shuffles": len(self.shuffled), "shuffled_low": self.middle[0], "shuffled_high": self.middle[1],
            "twins_mean": float(np.mean(self.twins)) if len(self.twins) else float("nan"), "z_twins": self.z_twins, "p_twins": self.p_twins,
            "twins": len(self.twins), "channels": self.channels, "pairs_inside": self.pairs_inside, "pairs_across": self.pairs_across, "n": self.n,
        }  # fmt: skip


def _standardised(value: float, null: np.ndarray) -> float:
    spread = float(np.std(null, ddof=1)) if len(null) > 1 else 0.0
    return (value - float(np.mean(null))) / spread if spread > 0 else float("nan")


def _share(value: float, null: np.ndarray) -> float:
    known = null[~np.isnan(null)]
    return float("nan") if np.isnan(value) else float((1 + (known >= value).sum()) / (1 + len(known)))


def _gaps(strength: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Mean strength inside and across for each row of `labels` (draws, channels), and the number of pairs inside and across (equal for all draws)."""
    total, count = strength.sum() / 2, len(strength) * (len(strength) - 1) // 2
    members = (labels[:, None, :] == np.unique(labels)[None, :, None]).astype(np.float32)  # (draws, branches, channels)
    both = (members.reshape(-1, len(strength)) @ strength).reshape(
        members.shape
    )  # one large product: many small ones take ten times as long
    sums = np.einsum("dbc,dbc->d", both, members) / 2
    sizes = members[0].sum(1).astype(int)
    inside = int((sizes * (sizes - 1) // 2).sum())
    across = count - inside
    if not inside or not across:
        none = np.full(len(labels), np.nan)
        return none, none, inside, across
    return sums / inside, (total - sums) / across, inside, across


def compare(correlation: Correlation, block: Block, twins: np.ndarray, shuffles: int = SHUFFLES) -> Coincidence:
    """A block's gap, and that of as many shuffles of its live channels' labels; `twins` are gaps of untrained networks."""
    live = np.flatnonzero(~correlation.constant)
    strength = np.abs(correlation.r[np.ix_(live, live)]).astype(np.float32)
    np.fill_diagonal(strength, 0)
    labels = block.branch_of[live]
    if not len(labels):
        nothing = float("nan")
        return Coincidence(block.name, nothing, nothing, np.empty(0), twins, 0, 0, 0, correlation.n, nothing)
    inside, across, pairs_inside, pairs_across = _gaps(strength, labels[None])
    chance = [np.subtract(*_gaps(strength, drawn)[:2]) for drawn in _shuffled(labels, shuffles)]
    return Coincidence(
        block.name,
        float(inside[0]),
        float(across[0]),
        np.concatenate(chance),
        twins,
        len(live),
        pairs_inside,
        pairs_across,
        correlation.n,
        _within(strength, labels),
    )


def _within(strength: np.ndarray, labels: np.ndarray) -> float:
    """The standard deviation of |r| within pairs inside and pairs across, pooled; nan without both kinds."""
    upper = np.triu_indices(len(labels), 1)
    values, inside = strength[upper].astype(np.float64), (labels[:, None] == labels)[upper]
    if len(values) < 3 or inside.all() or not inside.any():
        return float("nan")
    squares = sum(((part - part.mean()) ** 2).sum() for part in (values[inside], values[~inside]))
    return float(np.sqrt(squares / (len(values) - 2)))


def _shuffled(labels: np.ndarray, count: int, each: int = 100) -> Iterator[np.ndarray]:
    """Orders of the labels, a hundred at a time for memory's sake."""
    generator = np.random.default_rng(SEED)
    for start in range(0, count, each):
        yield generator.permuted(np.tile(labels, (min(each, count - start), 1)), axis=1)


def gap(correlation: Correlation, block: Block) -> float:
    """Mean |r| inside branches less that across; nan where there are no such pairs."""
    return compare(correlation, block, np.empty(0), shuffles=1).gap


def measure(
    model: Model, inputs: Tensor, real: Mapping[str, Correlation], how: Measure, count: int = nulls.DRAWS
) -> Generator[float, None, list[Coincidence]]:
    """Every block's gap beside `count` untrained twins on the same pictures `inputs`: yields the share done.

    `real` holds the loaded network's similarity by block; `how` measures a twin's activations `(C, H, W)` of one picture, `(N, C)` of several.
    """
    blocks = {block.name: block for block in describe(model).blocks}
    gaps: dict[str, list[float]] = {name: [] for name in real}
    for done, activations in enumerate(_untrained(model, inputs, count)):
        for name in real:
            gaps[name].append(gap(how(activations[name].cpu()), blocks[name]))
        yield (done + 1) / (count + 1)
    return [compare(real[name], blocks[name], np.array(gaps[name])) for name in real]


def _untrained(model: Model, inputs: Tensor, count: int) -> Iterator[dict[str, Tensor]]:
    """What `nulls.untrained` gives, in a fifth of the time: each twin's weights go into the first one, whose graph is known already."""
    first = nulls.twin(model, 0)
    for seed in range(count):
        first.network.load_state_dict(nulls.twin(model, seed).network.state_dict())
        taken = capture(first, inputs, gradients=False).activations
        yield {name: a[0] if len(a) == 1 else a.mean((2, 3)) for name, a in taken.items()}


def of_pictures(model: Model, inputs: Tensor, count: int = nulls.DRAWS) -> Generator[float, None, list[Coincidence]]:
    """The same from pictures `(N, 3, S, S)` alone: over the positions of one, over several pictures' mean activations. Raises TooFewPictures for two."""
    how = correlations.measure("spatial" if len(inputs) == 1 else "image")
    taken = capture(model, inputs, gradients=False).activations
    real = {name: how(a[0] if len(a) == 1 else a.mean((2, 3))) for name, a in taken.items()}
    return (yield from measure(model, inputs, real, how, count))


def answered(found: list[Coincidence], where: Conditions, level: float = LEVEL) -> Outcome:
    """In how many blocks the gap is beyond shuffled labels (p adjusted after Benjamini & Hochberg), and whether the mean gap is beyond the twins'.

    A row for each block, then one for each of its twins.

    One test of the mean over blocks, since so few twins can't tell single blocks from chance once p is adjusted for their number.
    """
    shuffled = nulls.adjusted(np.array([c.p for c in found]))
    beyond, mean, twins = int((shuffled <= level).sum()), _mean(found), _mean_twins(found)
    facts: dict[str, Blank] = {
        "beyond": beyond,
        "blocks": len(found),
        "gap": f"{mean:.3f}",
        "d": f"{np.nanmedian([c.d for c in found]):.2f}",
        "z": f"{np.nanmedian([c.z for c in found]):.1f}",
    }
    first = message(
        "in {beyond} of {blocks} blocks beyond shuffled labels; mean |r| is {gap} higher inside on average: Cohen's d {d}, and {z} standard deviations "
        "of shuffled labels (medians)."
    )
    p = _share(mean, twins)
    more: dict[str, Blank] = {
        "gap": f"{mean:.3f}", "twins": f"{np.mean(twins):.3f}", "z": f"{_standardised(mean, twins):.1f}", "p": f"{p:.2f}", "n": len(twins),
    }  # fmt: skip
    second = message(
        "over all blocks the gap is {gap}, in untrained twins {twins}: {z} of their standard deviations, p = {p} (n = {n} twins)."
    )
    rows: list[Row] = [{**c.row(), "p_adjusted": float(a), **where.row()} for c, a in zip(found, shuffled, strict=True)]
    rows += [{"block": c.block, "twin": seed, "gap": float(one), **where.row()} for c in found for seed, one in enumerate(c.twins)]
    return Outcome((Finding(INSIDE, first, _most(beyond, len(found)), facts), Finding(LEARNT, second, p <= level, more)), tuple(rows))


def _mean(found: list[Coincidence]) -> float:
    return float(np.nanmean([c.gap for c in found]))


def _mean_twins(found: list[Coincidence]) -> np.ndarray:
    """Each twin's mean gap over the blocks `(twins,)`."""
    return np.nanmean([c.twins for c in found], axis=0)


def _most(count: int, of: int) -> bool | None:
    """True for more than half of the blocks, False for none, else neither."""
    return True if count > of / 2 else None if count else False
