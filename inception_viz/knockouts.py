"""What the prediction loses without a cluster: do(a_S = b) at a block's output, against random sets of channels that are as many and as strong.

Only what comes after the block is run again, all sets in batches. An attribution says what a cluster
gave; a knock-out says what happens when it is gone, which is less where others stand in for it.

The network never saw a picture without these channels: zero is the farthest from what it knows, the channels of another picture the nearest. So the
random sets matter more than any single number.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from inception_viz.activations import Target, Tick, capture, no_tick
from inception_viz.architecture import Block, describe
from inception_viz.attributions import after
from inception_viz.clusters import Clusters
from inception_viz.errors import VisitorError
from inception_viz.models import Model, at_once
from inception_viz.nulls import adjusted
from inception_viz.text import message

CONTROLS = 20
NEAR = 8  # channels of one branch, nearest in mean activation, that a control is drawn from
PAIRED = 10  # largest clusters whose pairs are knocked out together
BATCH = 32
SEED = 0
ZERO, MEAN, RESAMPLE = "zero", "mean", "resample"
BASELINES = {
    MEAN: message("each channel's mean over the pictures"),
    RESAMPLE: message("the same channels on another picture"),
    ZERO: message("zero"),
}


class NeedsAnotherPicture(VisitorError):
    """Channels are to come from another picture, and there is none."""

    words = message("To take the channels from another picture, at least {allowed} pictures are needed; there are {found}.")


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture at one block: what the block gives, `activation` (1, C, H, W), what stands in for it, `instead`, and the untouched `logits` (K,)."""

    block: Block
    activation: Tensor
    instead: Tensor
    logits: np.ndarray
    target: Target

    @cached_property
    def strength(self) -> np.ndarray:
        """Mean activation of every channel, `(C,)`."""
        return self.activation[0].float().mean((1, 2)).cpu().numpy()

    @property
    def value(self) -> float:
        """The target before anything goes."""
        target = self.target
        return float(self.logits[target.index] - (0 if target.against is None else self.logits[target.against]))


def scene(model: Model, inputs: Tensor, block: str, target: Target | None = None, baseline: str = MEAN) -> Scene:
    """The first of the pictures `inputs` (N, 3, S, S) at a block; `baseline` is one of BASELINES, over all pictures.

    The mean is over pictures and positions; the other picture is the second. Raises UnknownChoice, NoSuchClass, NeedsAnotherPicture.
    """
    where = describe(model).block(block)
    if baseline == RESAMPLE and len(inputs) < 2:
        raise NeedsAnotherPicture(found=len(inputs), allowed=2)
    taken = capture(model, inputs, target, gradients=False)
    activation = taken.activations[where.name]
    instead = {
        ZERO: lambda: torch.zeros_like(activation[:1]),
        MEAN: lambda: activation.mean((0, 2, 3), keepdim=True).expand_as(activation[:1]),
        RESAMPLE: lambda: activation[1:2],
    }[baseline]()
    return Scene(where, activation[:1], instead, taken.logits[0].float().cpu().numpy(), taken.targets[0])


def run(model: Model, scene: Scene, gone: np.ndarray, tick: Tick = no_tick) -> np.ndarray:
    """The logits `(sets, K)` without each set of channels, `gone` (sets, C) bool; equal sets are run once."""
    rest = after(model, scene.block.name)
    places: dict[bytes, int] = {}
    which = [places.setdefault(row.tobytes(), len(places)) for row in np.packbits(gone, 1)]
    different = gone[np.unique(which, return_index=True)[1]]
    found, batch = [], at_once(BATCH)
    with torch.inference_mode():
        for some in np.split(different, range(batch, len(different), batch)):
            tick()
            mask = torch.from_numpy(some).to(scene.activation.device)[:, :, None, None]
            changed = torch.where(mask, scene.instead, scene.activation).contiguous(memory_format=torch.channels_last)
            found.append(rest(changed).float().cpu().numpy())
    return np.concatenate(found)[which]


@dataclass(frozen=True, eq=False)
class Effect:
    """What sets of channels gave, each array `(sets,)`: how far the target's logit falls (`fall`) and the log-odds of its class (`odds`) without them.

    `kl` is how far the probabilities move, KL(before || after) in nats; `rank` is the target class's new rank, 1 for the likeliest.
    """

    fall: np.ndarray
    odds: np.ndarray
    kl: np.ndarray
    rank: np.ndarray


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _log_odds(logits: np.ndarray, index: int) -> np.ndarray:
    rest = np.delete(logits.astype(np.float64), index, axis=-1)
    most = rest.max(-1)
    return logits[..., index] - most - np.log(np.exp(rest - most[..., None]).sum(-1))


def effect(scene: Scene, logits: np.ndarray) -> Effect:
    """What changed from the scene's own logits to `logits` (sets, K)."""
    target = scene.target
    value = logits[:, target.index] - (0 if target.against is None else logits[:, target.against])
    before, now = _log_probabilities(scene.logits), _log_probabilities(logits)
    return Effect(
        scene.value - value,
        _log_odds(scene.logits, target.index) - _log_odds(logits, target.index),
        (np.exp(before) * (before - now)).sum(-1),
        1 + (logits > logits[:, [target.index]]).sum(1),
    )


def matched(
    members: np.ndarray, block: Block, strength: np.ndarray, live: np.ndarray, draws: int = CONTROLS, seed: int = SEED
) -> np.ndarray:
    """Random stand-ins `(draws, members)` int for each of `members`: of its branch, near it in mean activation, none twice in a draw.

    For every member one of the NEAR unused `live` channels (C,) of its branch nearest in `strength` (C,), from outside the set as long as there are any:
    a cluster that fills most of a branch overlaps with its controls. Constant channels would make any cluster look important: they take no part.
    """
    generator = np.random.default_rng(seed)
    inside = np.zeros(len(strength), bool)
    inside[members] = True
    ranked = {}
    for member in members.tolist():
        same = np.flatnonzero((block.branch_of == block.branch_of[member]) & (live | inside))
        same = same[np.argsort(np.abs(strength[same] - strength[member]), kind="stable")]
        ranked[member] = same[~inside[same]], same[inside[same]]
    found = np.zeros((draws, len(members)), int)
    for drawn in found:
        free = np.ones(len(strength), bool)
        for place in generator.permutation(len(members)):
            outside, own = ranked[int(members[place])]
            near = outside[free[outside]][:NEAR]
            drawn[place] = generator.choice(near if len(near) else own[free[own]][:NEAR])
            free[drawn[place]] = False
    return found


def _sets(channels: np.ndarray, count: int) -> np.ndarray:
    """Lists of channels `(sets, size)` as `(sets, count)` bool."""
    sets = np.zeros((len(channels), count), bool)
    np.put_along_axis(sets, channels, True, 1)
    return sets


@dataclass(frozen=True, eq=False)
class Trial:
    """One number of a cluster against the same number of its `controls` (draws,): z and p = (1 + controls that reach it) / (1 + draws).

    With `least` a smaller value is the stronger one.
    """

    value: float
    controls: np.ndarray
    least: bool = False

    @property
    def z(self) -> float:
        """Standard deviations of the controls above their mean; nan if the controls are all alike."""
        spread = self.controls.std(ddof=1) if len(self.controls) > 1 else 0.0
        return float((self.value - self.controls.mean()) / spread) if spread > 0 else float("nan")

    @property
    def p(self) -> float:
        """The chance that a random set does as much."""
        reached = self.controls <= self.value if self.least else self.controls >= self.value
        return float((1 + reached.sum()) / (1 + len(self.controls)))


@dataclass(frozen=True, eq=False)
class Knockout:
    """A cluster taken out (`necessity`: fall of the target; `shift`: KL in nats) and kept alone (`sufficiency`: fall of the target, small is strong).

    `odds` is the fall of the class's log-odds and `rank` its new rank when the cluster is out; `strength` is the controls' summed mean activation over
    the cluster's own, 1 for a perfect match, and `overlap` the share of the controls' channels that are the cluster's.
    """

    size: int
    necessity: Trial
    shift: Trial
    sufficiency: Trial
    odds: float
    rank: int
    strength: float
    overlap: float


@dataclass(frozen=True, eq=False)
class Knockouts:
    """Every cluster of a block taken out and kept alone, each against `draws` matched random sets.

    `whole` is the target's fall when all of the block goes, `value` the target and `rank` the class's rank before. `q` (k,) are the p of necessity adjusted
    over the clusters (Benjamini-Hochberg): no p is below 1 / (1 + draws), so few draws can leave nothing after adjustment.
    """

    outcomes: tuple[Knockout, ...]
    q: np.ndarray
    whole: float
    value: float
    rank: int
    draws: int


def evaluations(clusters: int, draws: int = CONTROLS) -> int:
    """How many batches `knock_out` runs, at most."""
    return -(-(1 + 2 * clusters * (1 + draws)) // BATCH)


def knock_out(model: Model, scene: Scene, found: Clusters, draws: int = CONTROLS, tick: Tick = no_tick) -> Knockouts:
    """Every cluster out, and every one alone, each against `draws` matched random sets."""
    live, size = found.labels >= 0, len(found.labels)
    gone = np.zeros((found.count, 1 + draws, size), bool)
    for k, sets in enumerate(gone):
        members = found.members(k)
        sets[0, members] = True
        sets[1:] = _sets(matched(members, scene.block, scene.strength, live, draws, SEED + k), size)
    flat = gone.reshape(-1, size)
    logits = run(model, scene, np.concatenate([np.ones((1, size), bool), flat, ~flat]), tick)
    out, alone = logits[1:].reshape(2, found.count, 1 + draws, logits.shape[1])
    outcomes = tuple(_knockout(scene, g, o, a) for g, o, a in zip(gone, out, alone, strict=True))
    q = adjusted(np.array([one.necessity.p for one in outcomes]))
    before, nothing = effect(scene, scene.logits[None]), effect(scene, logits[:1])
    return Knockouts(outcomes, q, float(nothing.fall[0]), scene.value, int(before.rank[0]), draws)


def _knockout(scene: Scene, gone: np.ndarray, out: np.ndarray, alone: np.ndarray) -> Knockout:
    without, kept = effect(scene, out), effect(scene, alone)
    sums = gone @ scene.strength
    return Knockout(
        int(gone[0].sum()),
        Trial(float(without.fall[0]), without.fall[1:]),
        Trial(float(without.kl[0]), without.kl[1:]),
        Trial(float(kept.fall[0]), kept.fall[1:], least=True),
        float(without.odds[0]),
        int(without.rank[0]),
        float(sums[1:].mean() / sums[0]) if sums[0] else float("nan"),
        float((gone[1:] & gone[0]).sum() / max(1, gone[1:].sum())),
    )


@dataclass(frozen=True, eq=False)
class Interactions:
    """Joint fall of the target less both single falls, for each pair of clusters: `joint` (k, k), symmetric, nan on the diagonal.

    Above zero: together they are missed more than one by one, so each stands in for the other (redundant). Below: what needs both falls with the first
    (synergistic). `p` (k, k) is two-sided: (1 + matched pairs of random sets, disjoint as the clusters are, as far from 0) / (1 + `draws`).
    """

    joint: np.ndarray
    p: np.ndarray
    draws: int


def pairs(found: Clusters, most: int = PAIRED) -> list[tuple[int, int]]:
    """The pairs of the `most` largest clusters."""
    return list(combinations(range(min(most, found.count)), 2))


def interaction_evaluations(clusters: int, draws: int = CONTROLS, most: int = PAIRED) -> int:
    """How many batches `interactions` runs, at most."""
    few = min(most, clusters)
    return few * (few - 1) // 2 * -(-3 * (1 + draws) // BATCH)


def _joint(model: Model, scene: Scene, first: np.ndarray, second: np.ndarray, tick: Tick) -> np.ndarray:
    """Fall of the target without both sets less the falls without each, `(sets,)`, for `first` and `second` (sets, C) bool."""
    falls = effect(scene, run(model, scene, np.concatenate([first | second, first, second]), tick)).fall
    both, one, other = np.split(falls, 3)
    return both - one - other


def interactions(
    model: Model, scene: Scene, found: Clusters, draws: int = CONTROLS, most: int = PAIRED, tick: Tick = no_tick
) -> Interactions:
    """What the `most` largest clusters do to the target two by two, each pair against `draws` pairs of matched random sets."""
    k, live, size = min(most, found.count), found.labels >= 0, len(found.labels)
    joint, p = np.full((k, k), np.nan), np.full((k, k), np.nan)
    for a, b in pairs(found, most):
        one, other = found.members(a), found.members(b)
        drawn = matched(np.concatenate([one, other]), scene.block, scene.strength, live, draws, SEED + a * k + b)
        first = _sets(np.concatenate([one[None], drawn[:, : len(one)]]), size)
        second = _sets(np.concatenate([other[None], drawn[:, len(one) :]]), size)
        value, *chance = _joint(model, scene, first, second, tick)
        joint[a, b] = joint[b, a] = value
        p[a, b] = p[b, a] = (1 + (np.abs(chance) >= abs(value)).sum()) / (1 + draws)
    return Interactions(joint, p, draws)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _trial(trial: Trial) -> dict[str, float | None]:
    numbers = {"value": trial.value, "controls_mean": float(trial.controls.mean()), "z": trial.z, "p": trial.p}
    return {name: _number(value) for name, value in numbers.items()}


def summary(found: Knockouts, baseline: str) -> dict[str, object]:
    """The outcomes as plain numbers, one entry a cluster."""
    return {
        "baseline": baseline,
        "controls": found.draws,
        "target_logits": found.value,
        "rank_before": found.rank,
        "whole_block_logits": found.whole,
        "clusters": [
            {
                "size": one.size,
                "necessity_logits": _trial(one.necessity) | {"q": _number(q)},
                "kl_nats": _trial(one.shift),
                "sufficiency_logits": _trial(one.sufficiency),
                "log_odds": one.odds,
                "rank": one.rank,
                "controls_strength": _number(one.strength),
                "controls_overlap": one.overlap,
            }
            for one, q in zip(found.outcomes, found.q, strict=True)
        ],
    }
