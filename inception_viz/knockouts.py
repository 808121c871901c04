"""What the prediction loses without a cluster: do(a_S = b) at a block's output, against random sets of channels that are as many and as strong.

Only what comes after the block is run again, all sets in batches. An attribution says what a cluster
gave; a knock-out says what happens when it is gone, which is less where others stand in for it.

The network never saw a picture without these channels: zero is the farthest from what it knows, the channels of another picture the nearest. So the
random sets matter more than any single number.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inception_viz.activations import Target, Tick, capture, no_tick
from inception_viz.architecture import Block, describe
from inception_viz.attributions import after
from inception_viz.clusters import Clusters
from inception_viz.errors import VisitorError
from inception_viz.models import Model, at_once
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
    different, which = np.unique(gone, axis=0, return_inverse=True)
    found, batch = [], at_once(BATCH)
    with torch.inference_mode():
        for some in np.split(different, range(batch, len(different), batch)):
            tick()
            mask = torch.from_numpy(some).to(scene.activation.device)[:, :, None, None]
            changed = torch.where(mask, scene.instead, scene.activation).contiguous(memory_format=torch.channels_last)
            found.append(rest(changed).float().cpu().numpy())
    return np.concatenate(found)[which.reshape(-1)]


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
    own = scene.logits[target.index] - (0 if target.against is None else scene.logits[target.against])
    before, now = _log_probabilities(scene.logits), _log_probabilities(logits)
    return Effect(
        own - value,
        _log_odds(scene.logits, target.index) - _log_odds(logits, target.index),
        (np.exp(before) * (before - now)).sum(-1),
        1 + (logits > logits[:, [target.index]]).sum(1),
    )


def controls(members: np.ndarray, block: Block, strength: np.ndarray, draws: int = CONTROLS, seed: int = SEED) -> np.ndarray:
    """Random sets `(draws, C)` bool to hold a cluster against: as many channels of each branch, each near one of the cluster in mean activation.

    For every member one of the NEAR unused channels of its branch nearest in `strength` (C,), from outside the cluster as long as there are any: a
    cluster that fills most of a branch overlaps with its controls.
    """
    generator = np.random.default_rng(seed)
    inside = np.zeros(len(strength), bool)
    inside[members] = True
    sets = np.zeros((draws, len(strength)), bool)
    for chosen in sets:
        for member in generator.permutation(members):
            free = (block.branch_of == block.branch_of[member]) & ~chosen
            outside = np.flatnonzero(free & ~inside)
            candidates = outside if len(outside) else np.flatnonzero(free)
            near = candidates[np.argsort(np.abs(strength[candidates] - strength[member]), kind="stable")[:NEAR]]
            chosen[generator.choice(near)] = True
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


def evaluations(clusters: int, draws: int = CONTROLS) -> int:
    """How many batches `knock_out` runs, at most."""
    return -(-2 * clusters * (1 + draws) // BATCH)


def knock_out(model: Model, scene: Scene, found: Clusters, draws: int = CONTROLS, tick: Tick = no_tick) -> list[Knockout]:
    """Every cluster out, and every one alone, each against `draws` matched random sets."""
    if not found.count:
        return []
    strength = scene.activation[0].float().mean((1, 2)).cpu().numpy()
    sets = []
    for k in range(found.count):
        own = np.zeros((1, len(strength)), bool)
        own[0, found.members(k)] = True
        sets.append(np.concatenate([own, controls(found.members(k), scene.block, strength, draws, SEED + k)]))
    gone = np.stack(sets)  # (clusters, 1 + draws, C)
    logits = run(model, scene, np.concatenate([gone, ~gone]).reshape(-1, len(strength)), tick)
    out, alone = logits.reshape(2, found.count, 1 + draws, -1)
    return [_knockout(scene, g, o, a, strength) for g, o, a in zip(gone, out, alone, strict=True)]


def _knockout(scene: Scene, gone: np.ndarray, out: np.ndarray, alone: np.ndarray, strength: np.ndarray) -> Knockout:
    without, kept = effect(scene, out), effect(scene, alone)
    sums = gone @ strength
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


def interactions(model: Model, scene: Scene, found: Clusters, most: int = PAIRED, tick: Tick = no_tick) -> np.ndarray:
    """Joint fall of the target less both single falls, for each pair of the `most` largest clusters: `(k, k)`, symmetric, nan on the diagonal.

    Above zero: together they are missed more than one by one, so each stands in for the other (redundant). Below: what needs both falls with the first
    (synergistic).
    """
    k = min(most, found.count)
    single = np.stack([found.labels == i for i in range(k)]) if k else np.zeros((0, len(found.labels)), bool)
    both = single[:, None] | single[None]
    if not k:
        return np.zeros((0, 0))
    falls = effect(scene, run(model, scene, both.reshape(k * k, -1), tick)).fall.reshape(k, k)
    joint = falls - falls.diagonal()[:, None] - falls.diagonal()
    np.fill_diagonal(joint, np.nan)
    return joint


def _trial(trial: Trial) -> dict[str, float | None]:
    numbers = {"value": trial.value, "controls_mean": float(trial.controls.mean()), "z": trial.z, "p": trial.p}
    return {name: None if np.isnan(value) else float(value) for name, value in numbers.items()}


def summary(outcomes: Sequence[Knockout]) -> list[Mapping]:
    """The outcomes as plain numbers, one entry a cluster."""
    return list(_summaries(outcomes))


def _summaries(outcomes: Sequence[Knockout]) -> Iterator[Mapping]:
    for one in outcomes:
        yield {
            "size": one.size,
            "necessity_logits": _trial(one.necessity),
            "kl_nats": _trial(one.shift),
            "sufficiency_logits": _trial(one.sufficiency),
            "log_odds": one.odds,
            "rank": one.rank,
            "controls_strength": None if np.isnan(one.strength) else one.strength,
            "controls_overlap": one.overlap,
        }
