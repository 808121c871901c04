"""What size costs: parameters, multiply-accumulates and measured time of chains, blocks and whole networks (Section 3: "computational cost").

A multiply-accumulate (MAC) is one multiplication and one addition; published "FLOPs" are sometimes MACs and sometimes twice as many.
Biases, batch norm, pooling and activation functions are not counted as MACs, as in the papers compared with.
"""

import math
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from inception_viz.errors import VisitorError
from inception_viz.text import message

MEMORY_LIMIT = 512 * 2**20  # bytes of weights and activations that one measurement may take
REPEATS = 5


class TooLarge(VisitorError):
    """A size whose measurement would take more memory than one visitor may use; refused before anything is allocated."""

    words = message("This would take {found} MB of memory; {allowed} MB are allowed here. Choose a smaller size.")


@dataclass(frozen=True)
class Cost:
    """Parameters (count), multiply-accumulates of one picture, and the values held in weights and activations."""

    parameters: int
    macs: int
    activations: int

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and activations in float32."""
        return 4 * (self.parameters + self.activations)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.macs + other.macs, self.activations + other.activations)


@dataclass(frozen=True)
class Timing:
    """Seconds of one run: median and both ends of `repeats` runs after one that is not counted."""

    median: float
    low: float
    high: float
    repeats: int
    device: str
    threads: int
    dtype: str


def convolution(inputs: int, outputs: int, kernel: int, side: int) -> Cost:
    """Cost of a `kernel` x `kernel` convolution without bias onto a map of `side` x `side`.

    >>> convolution(3, 64, 7, 112).macs
    118013952
    """
    weights = inputs * outputs * kernel**2
    return Cost(weights, weights * side**2, outputs * side**2)


def chain(width: int, depth: int, kernel: int = 3, side: int = 28) -> Cost:
    """Cost of `depth` chained convolutions of `width` channels each: quadratic in width, linear in depth.

    >>> chain(64, 2).macs / chain(32, 2).macs
    4.0
    """
    one = convolution(width, width, kernel, side)
    return Cost(depth * one.parameters, depth * one.macs, (depth + 1) * width * side**2)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of `sizes` with which `values` grow: the slope of a straight line through both logarithms; nan for fewer than two sizes.

    >>> round(exponent([8, 16, 32], [64, 256, 1024]), 6)
    2.0
    """
    if len(set(sizes)) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@dataclass(frozen=True)
class Widths:
    """The six widths of an Inception block, and what it reads: `inputs` channels on a map of `side` x `side` (paper, Table 1)."""

    inputs: int
    side: int
    one: int
    reduce_three: int
    three: int
    reduce_five: int
    five: int
    pool: int

    @property
    def outputs(self) -> int:
        """Channels of the concatenated output."""
        return self.one + self.three + self.five + self.pool


GOOGLENET = {
    "3a": Widths(192, 28, 64, 96, 128, 16, 32, 32),
    "3b": Widths(256, 28, 128, 128, 192, 32, 96, 64),
    "4a": Widths(480, 14, 192, 96, 208, 16, 48, 64),
    "4b": Widths(512, 14, 160, 112, 224, 24, 64, 64),
    "4c": Widths(512, 14, 128, 128, 256, 24, 64, 64),
    "4d": Widths(512, 14, 112, 144, 288, 32, 64, 64),
    "4e": Widths(528, 14, 256, 160, 320, 32, 128, 128),
    "5a": Widths(832, 7, 256, 160, 320, 32, 128, 128),
    "5b": Widths(832, 7, 384, 192, 384, 48, 128, 128),
}


def block(widths: Widths, five: int = 5) -> Cost:
    """Cost of an Inception block with 1x1 reductions (paper, Figure 2b); `five=3` gives torchvision's block, whose "5x5" is a 3x3.

    >>> round(block(GOOGLENET["3a"]).macs / 1e6)
    128
    """
    w, side = widths, widths.side
    return (
        convolution(w.inputs, w.one, 1, side)
        + convolution(w.inputs, w.reduce_three, 1, side)
        + convolution(w.reduce_three, w.three, 3, side)
        + convolution(w.inputs, w.reduce_five, 1, side)
        + convolution(w.reduce_five, w.five, five, side)
        + convolution(w.inputs, w.pool, 1, side)
    )


def naive_block(widths: Widths, five: int = 5) -> Cost:
    """Cost of the naive block (paper, Figure 2a): no reductions, and a pool branch that hands all its input channels on.

    >>> round(naive_block(GOOGLENET["3a"]).macs / 1e6)
    303
    """
    w, side = widths, widths.side
    three = convolution(w.inputs, w.three, 3, side)
    return convolution(w.inputs, w.one, 1, side) + three + convolution(w.inputs, w.five, five, side)


def scaled(widths: Widths, factor: float) -> Widths:
    """All widths, the input's too, times `factor` (at least one channel each)."""
    names = ("inputs", "one", "reduce_three", "three", "reduce_five", "five", "pool")
    return replace(widths, **{name: max(1, round(factor * getattr(widths, name))) for name in names})


def network_in_network(classes: int = 1000) -> nn.Sequential:
    """The ImageNet network of Lin, Chen & Yan, "Network in Network" (2013): convolutions each followed by two 1x1 ones, and global average pooling."""

    def stage(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, last: int | None = None) -> list[nn.Module]:
        convolutions = (
            nn.Conv2d(inputs, outputs, kernel, stride, padding),
            nn.Conv2d(outputs, outputs, 1),
            nn.Conv2d(outputs, last or outputs, 1),
        )
        return [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)

    return nn.Sequential(
        *stage(3, 96, 11, stride=4), pool(),
        *stage(96, 256, 5, padding=2), pool(),
        *stage(256, 384, 3, padding=1), pool(),
        nn.Dropout(0.5),
        *stage(384, 1024, 3, last=classes, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "GoogLeNet": (lambda: torchvision.models.GoogLeNet(aux_logits=False, init_weights=False), 224),
    "Inception v3": (lambda: torchvision.models.Inception3(aux_logits=False, init_weights=False), 299),
    "AlexNet": (torchvision.models.alexnet, 224),
    "VGG-16": (torchvision.models.vgg16, 224),
    "Network in Network": (network_in_network, 224),
}


def counted(network: nn.Module, side: int) -> Cost:
    """Cost of a whole network on one picture of `side` x `side`, counted by PyTorch's FLOP counter; move it to the meta device to compute nothing."""
    parameters = list(network.parameters())
    picture = torch.zeros(1, 3, side, side, device=parameters[0].device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(picture)
    return Cost(sum(p.numel() for p in parameters), counter.get_total_flops() // 2, 0)


def counts() -> dict[str, Cost]:
    """Cost of every network of `NETWORKS`, computed on the meta device: no memory, no arithmetic."""
    result = {}
    for name, (build, side) in NETWORKS.items():
        with torch.device("meta"):
            result[name] = counted(build(), side)
    return result


def allowed(cost: Cost) -> Cost:
    """The same cost, if a measurement of it fits into `MEMORY_LIMIT`; raises TooLarge otherwise."""
    if cost.memory_bytes > MEMORY_LIMIT:
        raise TooLarge(found=round(cost.memory_bytes / 2**20), allowed=MEMORY_LIMIT // 2**20)
    return cost


def timed(run: Callable[[], Tensor], device: torch.device, repeats: int = REPEATS) -> Timing:
    """How long `run` takes on `device`, waiting for the device to finish each time."""
    dtype = str(run().dtype).removeprefix("torch.")
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return Timing(statistics.median(seconds), min(seconds), max(seconds), repeats, str(device), torch.get_num_threads(), dtype)


@dataclass(frozen=True)
class Point:
    """One measured size: the width or depth that was turned, its cost and its time."""

    size: int
    cost: Cost
    timing: Timing


def measure_chains(
    shapes: Sequence[tuple[int, int]], device: torch.device, kernel: int = 3, side: int = 28
) -> Generator[float, None, list[Point]]:
    """Run chains of (width, depth): yields the share done, returns a point for each (its size is the width). Raises TooLarge before running any."""
    costs = [allowed(chain(width, depth, kernel, side)) for width, depth in shapes]
    generator = torch.Generator().manual_seed(0)
    points = []
    for done, ((width, depth), cost) in enumerate(zip(shapes, costs, strict=True)):
        layers = [nn.Conv2d(width, width, kernel, padding=kernel // 2, bias=False, device=device) for _ in range(depth)]
        network = nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)
        picture = torch.randn(1, width, side, side, generator=generator).to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            points.append(Point(width, cost, timed(lambda network=network, picture=picture: network(picture), device)))  # type: ignore[misc]
        yield (done + 1) / len(shapes)
    return points
