"""What each channel of a block gives to the prediction, and where on the picture it comes from; by Captum.

All values are signed, in units of the target's logit (or of the difference of two logits). Baselines are a picture of the mean colour (zeros after
normalisation): the least surprising picture that shows nothing.

Not offered: GuidedBackprop and Deconvolution (both networks hold no nn.ReLU module, so Captum would silently return the plain gradient) and
DeepLift (in Captum 0.9 its sums are wrong on Inception blocks). Captum's Layer methods put hooks on the network they explain: run these functions
in the engine's owner thread only.

Whether an attribution is to be believed is tried, not assumed: `faithfulness` takes the channels that it calls important away, `sensitivity` nudges
the picture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import captum.attr
import captum.metrics
import numpy as np
import torch
from torch import Tensor, fx, nn

from inception_viz.activations import Capture, Target, Tick, capture, check_target, no_tick
from inception_viz.architecture import Block, describe, traced
from inception_viz.errors import UnknownChoice
from inception_viz.grids import enlarged, grid
from inception_viz.models import Model, at_once, once_per_model
from inception_viz.nulls import LEVEL
from inception_viz.text import message

STEPS = 24
BATCH = 8
NOISE = 0.15  # of the range of the normalised picture, for SmoothGrad
NOISE_SAMPLES = 16
SEED = 0
ORDERS = 19  # random orders that a ranking is held against
CUTS = 10  # steps of an insertion or deletion curve
SUBSETS, GONE = 64, 0.2  # random subsets for infidelity, and the chance of each piece to be in one
GRID = 14  # places a side for the curves of a pixel map
NUDGES, RADIUS = 4, 0.02  # nudged pictures for sensitivity, and how far a value may move (in deviations of the training pictures)


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each channel of a block gives: `channels` (C,), summed over positions; `maps` (C, H, W), or None where the method has no positions.

    `completeness_delta` is how far the sum of all values misses f(x) - f(baseline), for methods that promise to add up; None for others.
    """

    method: str
    channels: np.ndarray
    maps: np.ndarray | None
    completeness_delta: float | None = None

    def without_maps(self) -> "Attribution":
        """The sums alone: what is kept when many blocks are."""
        return replace(self, maps=None)

    def by_cluster(self, labels: np.ndarray) -> np.ndarray:
        """Sums over the channels of each cluster, `(clusters,)`; constant channels (-1) belong to none."""
        live = labels >= 0
        return np.bincount(labels[live], weights=self.channels[live], minlength=int(labels.max(initial=-1)) + 1)

    def by_branch(self, block: Block) -> np.ndarray:
        """Sums over the channels of each branch, `(branches,)`."""
        return np.array([self.channels[b.start : b.stop].sum() for b in block.branches])


def _attribution(method: str, maps: Tensor, delta: float | None = None) -> Attribution:
    array = maps.detach().float().cpu().numpy()
    array.setflags(write=False)
    channels = array.sum((1, 2))
    channels.setflags(write=False)
    return Attribution(method, channels, array, delta)


def from_capture(capture: Capture, index: int) -> dict[str, Attribution]:
    """Gradient x activation of all blocks for one picture of a capture: what Captum's LayerGradientXActivation computes, from one pass.

    It says what a small change of the activation would do, not what removing it would: for that, ablate.
    """
    return {
        name: _attribution("gradient x activation", capture.activations[name][index] * gradient[index])
        for name, gradient in capture.gradients.items()
    }


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Whatever happens inside, no hook stays on the network: Captum leaves some behind when a pass raises."""
    stores = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    before = {(module, store): dict(getattr(module, store)) for module in network.modules() for store in stores}
    try:
        yield
    finally:
        for (module, store), hooks in before.items():
            current = getattr(module, store)
            for key in [k for k in current if k not in hooks]:
                del current[key]


def _forward(model: Model, target: Target, tick: Tick) -> Callable[[Tensor], Tensor]:
    def value(inputs: Tensor) -> Tensor:
        tick()
        return target.of(model.network(inputs))

    return value


def _layer(model: Model, block: str) -> nn.Module:
    return model.network.get_submodule(describe(model).block(block).module)


LayerMethod = Callable[[Callable[[Tensor], Tensor], nn.Module, Tensor, np.ndarray | None], Attribution]


def _gradient_x_activation(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    return _attribution("gradient x activation", captum.attr.LayerGradientXActivation(forward, layer).attribute(inputs)[0])


def _delta(forward: Callable, inputs: Tensor, given: Tensor) -> float:
    with torch.no_grad():
        return float(given.cpu().double().sum() - (forward(inputs) - forward(torch.zeros_like(inputs))).cpu().double().sum())


def _integrated_gradients(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    method = captum.attr.LayerIntegratedGradients(forward, layer)
    maps = method.attribute(inputs, torch.zeros_like(inputs), n_steps=STEPS, internal_batch_size=at_once(BATCH))[0]
    return _attribution("integrated gradients", maps, _delta(forward, inputs, maps))


def _conductance(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    method = captum.attr.LayerConductance(forward, layer)
    maps = method.attribute(inputs, torch.zeros_like(inputs), n_steps=STEPS, internal_batch_size=at_once(BATCH))[0]
    return _attribution("conductance", maps, _delta(forward, inputs, maps))


def _grad_cam(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    maps = captum.attr.LayerGradCam(forward, layer).attribute(inputs, attr_dim_summation=False)[0]
    return _attribution("grad-cam", maps)


def _groups(labels: np.ndarray) -> np.ndarray:
    """The cluster of every channel; the constant ones (-1) become one more, the last."""
    return np.where(labels < 0, labels.max() + 1, labels)


def _ablation(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    """The target's fall when a cluster is set to zero, shared equally among its channels so that sums by cluster give it back."""
    assert labels is not None
    groups = _groups(labels)
    with torch.no_grad():
        shape = captum.attr.LayerActivation(forward, layer).attribute(inputs).shape
    mask = torch.from_numpy(groups).to(inputs.device).view(1, -1, 1, 1).expand(shape).contiguous()
    given = captum.attr.LayerFeatureAblation(forward, layer).attribute(inputs, layer_mask=mask, perturbations_per_eval=at_once(BATCH))
    falls = (given[0, :, 0, 0].cpu().double().numpy() / np.bincount(groups)[groups]).astype(np.float32)
    falls.setflags(write=False)
    return Attribution("ablation by cluster", falls, None)


@dataclass(frozen=True)
class Method:
    """A way to attribute to the channels of a block, what it does in one sentence, and how many evaluations it takes about."""

    explained: str
    run: LayerMethod
    evaluations: int
    needs_clusters: bool = False


METHODS: dict[str, Method] = {
    message("gradient x activation"): Method(
        message(
            "How fast the target would change if each activation grew a little, times the activation. One pass; exact for the last block."
        ),
        _gradient_x_activation,
        1,
    ),
    message("integrated gradients"): Method(
        message("The same, averaged on the straight way from a picture of the mean colour; its values add up to the change of the target."),
        _integrated_gradients,
        STEPS // BATCH + 4,
    ),
    message("conductance"): Method(
        message("How much of the integrated gradients of the pixels flows through each channel; its values add up as well."),
        _conductance,
        STEPS // BATCH + 3,
    ),
    message("grad-cam"): Method(
        message("Each channel's activation times its mean gradient: what the channel as a whole speaks for, where it fires."),
        _grad_cam,
        1,
    ),
    message("ablation by cluster"): Method(
        message(
            "How far the target falls when a whole cluster is set to zero: nothing is linearised, but the network sees what it never saw."
        ),
        _ablation,
        6,
        needs_clusters=True,
    ),
}


def attribute(
    model: Model, inputs: Tensor, target: Target, block: str, method: str, labels: np.ndarray | None = None, tick: Tick = no_tick
) -> Attribution:
    """What the channels of `block` give to `target` on one picture, `inputs` (1, 3, S, S), by one of METHODS.

    `labels` (C,) are the clusters, for methods that need them. Raises UnknownChoice, NoSuchClass, and whatever `tick` raises to stop it.
    """
    if method not in METHODS:
        raise UnknownChoice(found=method, kind=message("method"), allowed=", ".join(METHODS))
    check_target(target, model.classes)
    with untouched(model.network):
        return METHODS[method].run(_forward(model, target, tick), _layer(model, block), inputs.detach().clone(), labels)


def cluster_map(maps: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Where a cluster looks: the sum of its channels' maps `(C, H, W)`, be they activations or attributions: `(H, W)`."""
    return maps[members].sum(0)


PixelMethod = Callable[[Model, Target, Tensor, Tick], Tensor]


def _pixel_integrated_gradients(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    method = captum.attr.IntegratedGradients(_forward(model, target, tick))
    return method.attribute(inputs, torch.zeros_like(inputs), n_steps=STEPS, internal_batch_size=at_once(BATCH))[0].sum(0)


def _smoothgrad(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    """Saliency averaged over noisy copies (Smilkov et al. 2017). The noise is ours: Captum's NoiseTunnel draws from the global generator."""
    generator = torch.Generator().manual_seed(SEED)
    spread = NOISE * float(inputs.max() - inputs.min())
    method = captum.attr.Saliency(_forward(model, target, tick))
    total = torch.zeros_like(inputs)
    for _ in range(NOISE_SAMPLES // BATCH):
        for noise in torch.randn(BATCH, *inputs.shape[1:], generator=generator).split(at_once(BATCH)):
            noisy = (inputs + noise.to(inputs) * spread).requires_grad_()
            total += method.attribute(noisy, abs=True).sum(0, keepdim=True)
    return total[0].amax(0) / NOISE_SAMPLES


def _occlusion(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    """The target's fall when a square of the mean colour covers a place, averaged over the squares that cover it."""
    side = inputs.shape[-1]
    window, stride = side // 6, side // 12
    method = captum.attr.Occlusion(_forward(model, target, tick))
    return method.attribute(inputs, (3, window, window), strides=(3, stride, stride), baselines=0, perturbations_per_eval=at_once(BATCH))[
        0
    ].mean(0)


def _pixel_grad_cam(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    layer = _layer(model, describe(model).blocks[-1].name)
    given = captum.attr.LayerGradCam(_forward(model, target, tick), layer).attribute(inputs, relu_attributions=True)
    cells = grid(describe(model).blocks[-1], inputs.shape[-1])
    return torch.from_numpy(enlarged(given[0, 0].detach().float().cpu().numpy(), inputs.shape[-1], cells))


@dataclass(frozen=True)
class PixelMap:
    """A way to attribute to pixels: what it does in one sentence, and whether its values have a sign."""

    explained: str
    run: PixelMethod
    signed: bool
    evaluations: int


PIXEL_METHODS: dict[str, PixelMap] = {
    message("grad-cam"): PixelMap(message("Where the last block fires for the target; coarse, but steady."), _pixel_grad_cam, False, 1),
    message("integrated gradients"): PixelMap(
        message("Which pixels moved the target on the way from the mean colour; sharp and noisy."),
        _pixel_integrated_gradients,
        True,
        STEPS // BATCH,
    ),
    message("saliency (SmoothGrad)"): PixelMap(
        message("Which pixels would change the target fastest, averaged over noisy copies; it has no sign."),
        _smoothgrad,
        False,
        NOISE_SAMPLES // BATCH,
    ),
    message("occlusion"): PixelMap(
        message("How far the target falls when a square is covered; slow and easy to believe."), _occlusion, True, 19
    ),
}


def attribute_pixels(model: Model, inputs: Tensor, target: Target, method: str, tick: Tick = no_tick) -> np.ndarray:
    """What each place of the picture gives to the target, `(S, S)` float32, by one of PIXEL_METHODS. Raises UnknownChoice, NoSuchClass."""
    if method not in PIXEL_METHODS:
        raise UnknownChoice(found=method, kind=message("method"), allowed=", ".join(PIXEL_METHODS))
    check_target(target, model.classes)
    with untouched(model.network):
        found = PIXEL_METHODS[method].run(model, target, inputs.detach().clone(), tick)
    array = found.detach().float().cpu().numpy()
    array.setflags(write=False)
    return array


@once_per_model
def _rests(model: Model) -> dict[str, fx.GraphModule]:
    """By block, the network from the block's output on: the same parameters, no hook."""
    module, names = traced(model.network)
    nodes = list(module.graph.nodes)
    rests = {}
    for block in describe(model).blocks:
        start = next(i for i, node in enumerate(nodes) if names[node.name] == block.node)
        graph = fx.Graph()
        copied = {nodes[start]: graph.placeholder("activation")}
        for node in nodes[start + 1 :]:
            copied[node] = graph.node_copy(node, copied.__getitem__)
        rests[block.name] = fx.GraphModule(model.network, graph)
    return rests


def after(model: Model, block: str) -> fx.GraphModule:
    """The network from a block's output `(N, C, H, W)` on, to the logits `(N, K)`: what comes before need not be run again. Raises UnknownChoice."""
    return _rests(model)[describe(model).block(block).name]


@dataclass(frozen=True, eq=False)
class Curve:
    """The target's `values` when a `share` of all pieces (channels, clusters or places) has gone, or has come back; both `(points,)`, share from 0 to 1."""

    share: np.ndarray
    values: np.ndarray

    @property
    def area(self) -> float:
        """The mean height of the curve (trapezoids), in units of the target."""
        return float(np.trapezoid(self.values, self.share))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How an attribution fares when what it calls important really goes (its place is set to zero, the mean colour for pixels).

    `deletion` takes the most important away first, `insertion` starts from nothing and puts it back first (Petsiuk et al. 2018, RISE). A good ranking
    falls early and rises early. The network sees what it never saw, so only the comparison counts: `chance` (ORDERS,) are the gaps of random orders,
    `chance_deletion` and `chance_insertion` their mean curves.
    `infidelity` is the mean squared miss when random subsets go (Yeh et al. 2019; Captum's `infidelity` with a binary perturbation), `silence` the same
    for an attribution that says nothing. With `scaled` the values were first multiplied by what suits them best: a map has no units.
    """

    deletion: Curve
    insertion: Curve
    chance_deletion: Curve
    chance_insertion: Curve
    chance: np.ndarray
    infidelity: float
    silence: float
    scaled: bool

    @cached_property
    def gap(self) -> float:
        """Area under insertion less area under deletion, in units of the target: larger is better, about 0 by chance."""
        return self.insertion.area - self.deletion.area

    @property
    def p(self) -> float:
        """The chance that a random order does as well: (1 + random orders with at least this gap) / (1 + all of them)."""
        return float((1 + (self.chance >= self.gap).sum()) / (1 + len(self.chance)))

    @property
    def unexplained(self) -> float:
        """Infidelity over silence: 0 if every fall was foretold, 1 if no better than saying nothing; nan if nothing that goes matters."""
        return self.infidelity / self.silence if self.silence > 0 else float("nan")


FAITHFULNESS_EVALUATIONS = -(-(2 + 2 * (1 + ORDERS) * (CUTS - 1) + SUBSETS) // BATCH)  # at most
Values = Callable[[np.ndarray], np.ndarray]  # which pieces are there (n, pieces) bool -> the target (n,)


def _values(forward: Callable[[Tensor], Tensor], whole: Tensor, pieces: np.ndarray, tick: Tick) -> Values:
    """What the target is when only some pieces of `whole` (1, ...) are there; `pieces` says which piece each value of its last axes belongs to."""

    @torch.no_grad()
    def values(there: np.ndarray) -> np.ndarray:
        places: dict[bytes, int] = {}
        which = [places.setdefault(row.tobytes(), len(places)) for row in np.packbits(there, 1)]
        different = there[np.unique(which, return_index=True)[1]]
        found = []
        batch = at_once(BATCH)
        for some in np.split(different, range(batch, len(different), batch)):
            tick()
            found.append(forward(whole * torch.from_numpy(some[:, pieces]).to(whole)).cpu().double().numpy())
        return np.concatenate(found)[which]

    return values


def _infidelity(there: np.ndarray, falls: np.ndarray, scores: np.ndarray, scaled: bool) -> float:
    """The mean square of (what was foretold - the fall) over subsets `there` (n, pieces)."""
    foretold = ~there @ scores
    if scaled and foretold.any():
        foretold *= (foretold @ falls) / (foretold @ foretold)
    return float(((foretold - falls) ** 2).mean())


def _faithfulness(values: Values, scores: np.ndarray, scaled: bool) -> Faithfulness:
    """Curves in the order of `scores` (pieces,) and in random ones, and infidelity; pieces count alike, whatever their size, since scores are sums."""
    count = len(scores)
    chance = np.random.default_rng(SEED)
    orders = np.stack([np.argsort(-scores, kind="stable"), *(chance.permutation(count) for _ in range(ORDERS))])
    cuts = np.unique(np.linspace(0, count, CUTS + 1).round().astype(int))
    gone = np.argsort(orders, 1)[:, None, :] < cuts[None, :, None]  # (orders, cuts, pieces): the rank of a piece lies before the cut
    subsets = chance.random((SUBSETS, count)) >= GONE
    asked = np.concatenate([~gone.reshape(-1, count), gone.reshape(-1, count), subsets])
    deleted, inserted, left = np.split(values(asked), [gone[..., 0].size, 2 * gone[..., 0].size])
    shares = gone.mean(2)
    curves = [[Curve(s, v) for s, v in zip(shares, found.reshape(shares.shape), strict=True)] for found in (deleted, inserted)]
    gaps = np.array([insertion.area - deletion.area for deletion, insertion in zip(*curves, strict=True)])
    chance_deletion, chance_insertion = (Curve(shares[1:].mean(0), v.reshape(shares.shape)[1:].mean(0)) for v in (deleted, inserted))
    falls = deleted[0] - left
    return Faithfulness(
        curves[0][0],
        curves[1][0],
        chance_deletion,
        chance_insertion,
        gaps[1:],
        _infidelity(subsets, falls, scores, scaled),
        _infidelity(subsets, falls, np.zeros(count), False),
        scaled,
    )


def faithfulness(
    model: Model, inputs: Tensor, target: Target, block: str, given: Attribution, labels: np.ndarray | None = None, tick: Tick = no_tick
) -> Faithfulness:
    """How the attribution `given` to the channels of `block` fares when channels go, one by one or by the clusters `labels` (C,).

    Only what comes after the block is run again, without hooks. What goes is set to zero, while integrated gradients and conductance start from what
    the baseline picture fires: their infidelity is not 0 even where they add up. Raises UnknownChoice, NoSuchClass, and whatever `tick` raises to stop it.
    """
    rest = after(model, block)
    whole = capture(model, inputs, target, gradients=False).activations[block]
    pieces = np.arange(len(given.channels)) if labels is None else _groups(labels)
    values = _values(lambda activation: target.of(rest(activation)), whole, pieces[:, None, None], tick)
    return _faithfulness(values, np.bincount(pieces, given.channels), False)


def pixel_faithfulness(model: Model, inputs: Tensor, target: Target, given: np.ndarray, tick: Tick = no_tick) -> Faithfulness:
    """How a map `given` (S, S) of one of PIXEL_METHODS fares when places of a GRID x GRID raster go.

    Single pixels would favour smooth maps: pixels in random order look like noise to the network, and noise hurts it most.
    Raises NoSuchClass, and whatever `tick` raises to stop it.
    """
    check_target(target, model.classes)
    rows = np.arange(len(given)) * GRID // len(given)
    pieces = rows[:, None] * GRID + rows
    values = _values(lambda picture: target.of(model.network(picture)), inputs, pieces[None], tick)
    return _faithfulness(values, np.bincount(pieces.ravel(), given.ravel()), True)


def sensitivity(explain: Callable[[Tensor], np.ndarray], inputs: Tensor) -> float:
    """The largest relative change of `explain(inputs)` over NUDGES pictures that differ by at most RADIUS everywhere (Captum's `sensitivity_max`).

    `explain` makes an array from one picture, for example `lambda x: attribute(model, x, target, "4c", "conductance").channels`. Small means steady,
    not right: an explanation that ignores the picture has 0. The nudges come from a generator of their own.
    """
    generator = torch.Generator().manual_seed(SEED)

    def nudged(pictures: Tensor, radius: float) -> Tensor:
        return pictures + radius * (2 * torch.rand(pictures.shape, generator=generator) - 1).to(pictures)

    def explained(pictures: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
        several = pictures[0] if isinstance(pictures, tuple) else pictures  # Captum's first call has a tuple, the later ones a tensor
        return (torch.stack([torch.tensor(explain(picture[None])) for picture in several]).to(several.device),)

    found = captum.metrics.sensitivity_max(explained, inputs, nudged, perturb_radius=RADIUS, n_perturb_samples=NUDGES)
    return float(found)


MOST_MISSED = 0.1  # of the target's change from the baseline, that a sum may miss
MOST_MOVED = 0.5  # relative change of the values, when no pixel moved by more than RADIUS


@dataclass(frozen=True, eq=False)
class Check:
    """Whether a method is to be believed on this network and picture; `delta` is relative to the target's change, None where no sum was promised."""

    faithfulness: Faithfulness
    sensitivity: float
    delta: float | None

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong, as marked messages; empty if nothing is."""
        tests = {
            message("its ranking cannot be told from a random order"): self.faithfulness.p > LEVEL,
            message("foretells no better than saying nothing"): self.faithfulness.unexplained >= 1,
            message("does not add up"): self.delta is not None and abs(self.delta) > MOST_MISSED,
            message("unsteady"): self.sensitivity > MOST_MOVED,
        }
        return tuple(words for words, failed in tests.items() if failed)


def check_evaluations(kind: Method | PixelMap) -> int:
    """About how many evaluations a check of one method takes."""
    return (2 + NUDGES) * kind.evaluations + FAITHFULNESS_EVALUATIONS


def check(model: Model, inputs: Tensor, target: Target, block: str, method: str, labels: np.ndarray, tick: Tick = no_tick) -> Check:
    """One method of METHODS at a block, tried on one picture; channels go by the clusters `labels` (C,). Raises as `attribute` does."""

    def explain(pictures: Tensor) -> np.ndarray:
        return attribute(model, pictures, target, block, method, labels, tick).channels

    with torch.inference_mode():
        whole = float(target.of(model.network(inputs)) - target.of(model.network(torch.zeros_like(inputs))))
    given = attribute(model, inputs, target, block, method, labels, tick)
    delta = None if given.completeness_delta is None else given.completeness_delta / (abs(whole) or 1)
    return Check(faithfulness(model, inputs, target, block, given, labels, tick), sensitivity(explain, inputs), delta)


def check_pixels(model: Model, inputs: Tensor, target: Target, method: str, tick: Tick = no_tick) -> Check:
    """One method of PIXEL_METHODS, tried on one picture. Raises as `attribute_pixels` does."""

    def explain(pictures: Tensor) -> np.ndarray:
        return attribute_pixels(model, pictures, target, method, tick)

    given = attribute_pixels(model, inputs, target, method, tick)
    return Check(pixel_faithfulness(model, inputs, target, given, tick), sensitivity(explain, inputs), None)
