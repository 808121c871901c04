"""A picture made to excite a channel or a cluster: activation maximisation, in a Fourier basis, under random transformations.

It shows what the channels can be driven by, not what they answer to in photographs: many different pictures excite a channel as much, and none of
those made has been seen in training. Read it beside real pictures. (Erhan et al., 2009; Olah, Mordvintsev & Schubert, "Feature Visualization",
Distill, 2017: the Fourier basis and the transformations.)
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from inception_viz.activations import answers
from inception_viz.architecture import describe
from inception_viz.errors import VisitorError
from inception_viz.models import Model
from inception_viz.text import message

STEPS, RATE = 64, 0.05
SHIFT, ZOOM, NOISE = 0.06, 0.12, 0.02  # of the side, of the size, of the range of pixels
BEGINNINGS = (0.01, 0.1, 0.4)  # deviations of the spectrum that is begun with: where all is silent there is no slope to climb
CONTRAST = 0.3
OPPONENTS = (
    (0.58, 0.58, 0.58),
    (0.25, 0.0, -0.25),
    (0.06, -0.12, 0.06),
)  # light, blue to yellow, green to red: as strong as in photographs


class NoChannels(VisitorError):
    """Nothing to excite: no channel was named, or one that the block lacks."""

    words = message("Block {block} has the channels 0 to {allowed}; a picture is made for one of them or more.")


@dataclass(frozen=True, eq=False)
class Feature:
    """The `picture` made, `(S, S, 3)` uint8; the mean activation of the `channels` over it, and of what it began with, noise of the same spectrum.

    `course` `(steps,)` is the mean activation at every step, under the transformations of that step.
    """

    block: str
    channels: tuple[int, ...]
    picture: np.ndarray
    reached: float
    begun: float
    course: np.ndarray
    seed: int


def _decay(side: int) -> Tensor:
    """The weight of every frequency, `(side, side // 2 + 1)`: one over it, as in photographs, so that no step is all fine grain."""
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    return 1 / torch.clamp((down**2 + across**2).sqrt(), min=1 / side)


def _pixels(spectrum: Tensor, decay: Tensor, side: int) -> Tensor:
    """The picture of a spectrum `(1, 3, side, side // 2 + 1, 2)`: `(1, 3, side, side)` from 0 to 1."""
    waves = torch.fft.irfft2(torch.view_as_complex(spectrum) * decay, s=(side, side), norm="ortho")  # (1, opponents, H, W)
    return torch.sigmoid(CONTRAST * torch.einsum("nohw,oc->nchw", waves, torch.tensor(OPPONENTS).to(waves)))


def _transformed(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """The picture shifted, zoomed and with noise, a little and at random: what survives that is not made for single pixels."""
    side = pixels.shape[-1]
    most = max(1, round(SHIFT * side))
    down, across = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    larger = pad(pixels, (most,) * 4, mode="reflect")[..., down : down + side, across : across + side]
    zoom = 1 + ZOOM * (2 * torch.rand((), generator=generator).item() - 1)
    inner = min(side, max(8, round(side / zoom)))
    start = (side - inner) // 2
    zoomed = interpolate(larger[..., start : start + inner, start : start + inner], size=side, mode="bilinear", align_corners=False)
    noise = torch.randn(pixels.shape, generator=generator).to(pixels)
    return zoomed + NOISE * noise


def _strength(model: Model, pixels: Tensor, block: str, chosen: Tensor) -> Tensor:
    """Mean activation of the chosen channels over all positions."""
    preprocessing = model.weights.preprocessing
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1).to(pixels) for v in (preprocessing.mean, preprocessing.deviation))
    inputs = ((pixels - mean) / deviation).to(model.dtype, memory_format=torch.channels_last)
    return answers(model, inputs)[block][:, chosen].float().mean()


def maximise(model: Model, block: str, channels: Sequence[int], seed: int = 0, steps: int = STEPS) -> Generator[float, None, Feature]:
    """Climb `steps` steps (Adam) towards a picture that excites `channels` of a block; yields the share done. Raises UnknownChoice, NoChannels.

    The same seed gives the same picture on the same machine. Nothing of the model is changed.
    """
    size = describe(model).block(block).channels
    if not channels or not all(0 <= c < size for c in channels):
        raise NoChannels(block=block, allowed=size - 1)
    side, generator = model.weights.preprocessing.crop, torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 3, side, side // 2 + 1, 2, generator=generator).to(model.device)
    decay, chosen = _decay(side).to(model.device), torch.tensor(list(channels), device=model.device)
    with torch.no_grad():
        for deviation in BEGINNINGS:
            begun = float(_strength(model, _pixels(deviation * noise, decay, side), block, chosen))
            if begun > 0:
                break
    spectrum = (deviation * noise).requires_grad_()
    climber, course = torch.optim.Adam([spectrum], lr=RATE), []
    for step in range(steps):
        with torch.enable_grad():
            strength = _strength(model, _transformed(_pixels(spectrum, decay, side), generator), block, chosen)
            (spectrum.grad,) = torch.autograd.grad(-strength, [spectrum])
        climber.step()
        course.append(float(strength.detach()))
        yield (step + 1) / (steps + 1)
    with torch.no_grad():
        pixels = _pixels(spectrum, decay, side)
        reached = float(_strength(model, pixels, block, chosen))
    picture = (pixels[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()  # (H, W, C)
    return Feature(block, tuple(int(c) for c in channels), picture, reached, begun, np.array(course, np.float32), seed)
