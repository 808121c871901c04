"""What each channel of a block gives to the prediction, and where on the picture it comes from; by Captum.

All values are signed, in units of the target's logit (or of the difference of two logits). Baselines are a picture of the mean colour (zeros after
normalisation): the least surprising picture that shows nothing.

Not offered: GuidedBackprop and Deconvolution (both networks hold no nn.ReLU module, so Captum would silently return the plain gradient) and
DeepLift (in Captum 0.9 its sums are wrong on Inception blocks). Captum's Layer methods put hooks on the network they explain: run these functions
in the engine's owner thread only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import captum.attr
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from inception_viz.activations import Capture, Target
from inception_viz.architecture import Block, describe
from inception_viz.errors import UnknownChoice
from inception_viz.models import Model
from inception_viz.text import message

STEPS = 24
BATCH = 8
NOISE = 0.15  # of the range of the normalised picture, for SmoothGrad
NOISE_SAMPLES = 16
SEED = 0

Tick = Callable[[], None]  # called before every evaluation of the network; it may raise to stop


def _no_tick() -> None:
    pass


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
        return float(given.double().sum() - (forward(inputs) - forward(torch.zeros_like(inputs))).double().sum())


def _integrated_gradients(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    method = captum.attr.LayerIntegratedGradients(forward, layer)
    maps = method.attribute(inputs, torch.zeros_like(inputs), n_steps=STEPS, internal_batch_size=BATCH)[0]
    return _attribution("integrated gradients", maps, _delta(forward, inputs, maps))


def _conductance(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    method = captum.attr.LayerConductance(forward, layer)
    maps = method.attribute(inputs, torch.zeros_like(inputs), n_steps=STEPS, internal_batch_size=BATCH)[0]
    return _attribution("conductance", maps, _delta(forward, inputs, maps))


def _grad_cam(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    maps = captum.attr.LayerGradCam(forward, layer).attribute(inputs, attr_dim_summation=False)[0]
    return _attribution("grad-cam", maps)


def _ablation(forward: Callable, layer: nn.Module, inputs: Tensor, labels: np.ndarray | None) -> Attribution:
    """The target's fall when a cluster is set to zero, shared equally among its channels so that sums by cluster give it back."""
    assert labels is not None
    groups = np.where(labels < 0, labels.max() + 1, labels)
    with torch.no_grad():
        shape = captum.attr.LayerActivation(forward, layer).attribute(inputs).shape
    mask = torch.from_numpy(groups).to(inputs.device).view(1, -1, 1, 1).expand(shape).contiguous()
    given = captum.attr.LayerFeatureAblation(forward, layer).attribute(inputs, layer_mask=mask, perturbations_per_eval=BATCH)
    falls = given[0, :, 0, 0].float().cpu().numpy() / np.bincount(groups)[groups]
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
    model: Model, inputs: Tensor, target: Target, block: str, method: str, labels: np.ndarray | None = None, tick: Tick = _no_tick
) -> Attribution:
    """What the channels of `block` give to `target` on one picture, `inputs` (1, 3, S, S), by one of METHODS.

    `labels` (C,) are the clusters, for methods that need them. Raises UnknownChoice, and whatever `tick` raises to stop it.
    """
    if method not in METHODS:
        raise UnknownChoice(found=method, kind=message("method"), allowed=", ".join(METHODS))
    with untouched(model.network):
        return METHODS[method].run(_forward(model, target, tick), _layer(model, block), inputs.detach().clone(), labels)


def cluster_map(maps: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Where a cluster looks: the sum of its channels' maps `(C, H, W)`, be they activations or attributions: `(H, W)`."""
    return maps[members].sum(0)


PixelMethod = Callable[[Model, Target, Tensor, Tick], Tensor]


def _pixel_integrated_gradients(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    method = captum.attr.IntegratedGradients(_forward(model, target, tick))
    return method.attribute(inputs, torch.zeros_like(inputs), n_steps=STEPS, internal_batch_size=BATCH)[0].sum(0)


def _smoothgrad(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    """Saliency averaged over noisy copies (Smilkov et al. 2017). The noise is ours: Captum's NoiseTunnel draws from the global generator."""
    generator = torch.Generator().manual_seed(SEED)
    spread = NOISE * float(inputs.max() - inputs.min())
    method = captum.attr.Saliency(_forward(model, target, tick))
    total = torch.zeros_like(inputs)
    for _ in range(NOISE_SAMPLES // BATCH):
        noise = torch.randn(BATCH, *inputs.shape[1:], generator=generator).to(inputs) * spread
        total += method.attribute((inputs + noise).requires_grad_(), abs=True).sum(0, keepdim=True)
    return total[0].amax(0) / NOISE_SAMPLES


def _occlusion(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    """The target's fall when a square of the mean colour covers a place, averaged over the squares that cover it."""
    side = inputs.shape[-1]
    window, stride = side // 6, side // 12
    method = captum.attr.Occlusion(_forward(model, target, tick))
    return method.attribute(inputs, (3, window, window), strides=(3, stride, stride), baselines=0, perturbations_per_eval=BATCH)[0].mean(0)


def _pixel_grad_cam(model: Model, target: Target, inputs: Tensor, tick: Tick) -> Tensor:
    layer = _layer(model, describe(model).blocks[-1].name)
    given = captum.attr.LayerGradCam(_forward(model, target, tick), layer).attribute(inputs, relu_attributions=True)
    return functional.interpolate(given, size=inputs.shape[-2:], mode="bilinear", align_corners=False)[0, 0]


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
        message("How far the target falls when a square is covered; slow and easy to believe."), _occlusion, True, 17
    ),
}


def attribute_pixels(model: Model, inputs: Tensor, target: Target, method: str, tick: Tick = _no_tick) -> np.ndarray:
    """What each place of the picture gives to the target, `(S, S)` float32, by one of PIXEL_METHODS. Raises UnknownChoice."""
    if method not in PIXEL_METHODS:
        raise UnknownChoice(found=method, kind=message("method"), allowed=", ".join(PIXEL_METHODS))
    with untouched(model.network):
        found = PIXEL_METHODS[method].run(model, target, inputs.detach().clone(), tick)
    array = found.detach().float().cpu().numpy()
    array.setflags(write=False)
    return array
