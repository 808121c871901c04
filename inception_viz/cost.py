"""What size costs: parameters, multiply-accumulates and measured time of chains, blocks and whole networks (Section 3: "computational cost").

A multiply-accumulate (MAC) is one multiplication and one addition; published "FLOPs" are sometimes MACs and sometimes twice as many.
Biases, batch norm, pooling and activation functions are not counted as MACs, as in the papers compared with.
"""

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from inception_viz import networks
from inception_viz.architecture import Architecture, describe, describe_network
from inception_viz.measurement import MEMORY_LIMIT, Cell, Finding, Outcome, Row, Timing, allow, by_turns, within
from inception_viz.models import Model
from inception_viz.networks import NETWORKS, Widths
from inception_viz.text import Blank, message

KERNEL, SIDE = 3, 28  # of the chains
WIDEST, DEEPEST = 512, 32
FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
CHOICES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)  # to choose a factor from
LEAST_FACTOR, MOST_FACTOR = 0.1, 3.0
LEAST_WIDEST, LEAST_DEEPEST = 8, 2  # with less there is nothing to compare
WIDEST_BLOCK, LARGEST_MAP = 1024, 112
WIDTH, DEPTH, FACTOR, CHANNELS = message("The width"), message("The depth"), message("The factor"), message("The number of channels")
MAP_SIDE = message("The side of the map")
TOLERANCE = 0.3  # how far from 2 (or 1) a fitted exponent of time may lie and still be called quadratic (or linear)
QUADRATIC = message(
    "If two convolutional layers are chained, any uniform increase in the number of their filters results in a quadratic increase of computation."
)
LINEAR = message("Each further layer of the same width costs as much as the one before: cost grows linearly with depth.")
DEEPER = message(
    "A deeper network costs what its further blocks compute: time grows along with the multiply-accumulates, whatever they are for."
)
STEM, WHOLE = message("up to the first block"), message("to the classes")
REDUCE = message("1x1 convolutions before the expensive ones keep the computational requirements from blowing up.")
FEWER = message("GoogLeNet uses 12 times fewer parameters than the network of Krizhevsky et al. (AlexNet).")


@dataclass(frozen=True)
class Cost:
    """Parameters (count), multiply-accumulates of one picture, and the values held in activations."""

    parameters: int
    macs: int
    activations: int

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and activations in float32."""
        return 4 * (self.parameters + self.activations)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.macs + other.macs, self.activations + other.activations)

    def row(self) -> dict[str, Cell]:
        """As cells of a table."""
        return {"parameters": self.parameters, "macs": self.macs}


@dataclass(frozen=True)
class Point:
    """One measured size: what it is called, the number that was turned (width, depth, factor, side ...), its cost and its time."""

    name: str
    size: float
    cost: Cost
    timing: Timing

    def row(self) -> dict[str, Cell]:
        """As a row of a table."""
        return {"name": self.name, "size": self.size, **self.cost.row(), **self.timing.row()}


Measuring = Generator[float, None, list[Point]]  # yields the share done, 0 to 1


def convolution(inputs: int, outputs: int, kernel: int, side: int) -> Cost:
    """Cost of a `kernel` x `kernel` convolution without bias onto a map of `side` x `side`.

    >>> convolution(3, 64, 7, 112).macs
    118013952
    """
    weights = inputs * outputs * kernel**2
    return Cost(weights, weights * side**2, outputs * side**2)


def chain(width: int, depth: int, kernel: int = KERNEL, side: int = SIDE) -> Cost:
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


def interval(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Both ends of the 95% interval of `exponent` (Student's t, for the straight line through the logarithms); nan for fewer than three sizes.

    >>> tuple(round(end, 6) for end in interval([8, 16, 32], [64, 256, 1024]))
    (2.0, 2.0)
    """
    if len(set(sizes)) < 3:
        return math.nan, math.nan
    line = stats.linregress(np.log(sizes), np.log(values))
    half = float(stats.t.ppf(0.975, len(sizes) - 2) * line.stderr)
    return float(line.slope) - half, float(line.slope) + half


def by_branch(widths: Widths, five: int = 5) -> dict[str, Cost]:
    """Cost of each branch of an Inception block with 1x1 reductions (paper, Figure 2b); `five=3` gives torchvision's, whose "5x5" is a 3x3."""
    w, side = widths, widths.side
    return {
        "1x1": convolution(w.inputs, w.one, 1, side),
        "3x3": convolution(w.inputs, w.reduce_three, 1, side) + convolution(w.reduce_three, w.three, 3, side),
        "5x5": convolution(w.inputs, w.reduce_five, 1, side) + convolution(w.reduce_five, w.five, five, side),
        "pool": convolution(w.inputs, w.pool, 1, side),
    }


def naive_by_branch(widths: Widths, five: int = 5) -> dict[str, Cost]:
    """Cost of each branch of the naive block (paper, Figure 2a): no reductions, and a pool branch that hands all its input channels on for nothing."""
    w, side = widths, widths.side
    return {
        "1x1": convolution(w.inputs, w.one, 1, side),
        "3x3": convolution(w.inputs, w.three, 3, side),
        "5x5": convolution(w.inputs, w.five, five, side),
        "pool": Cost(0, 0, w.inputs * side**2),
    }


def block(widths: Widths, five: int = 5) -> Cost:
    """Cost of a whole Inception block.

    >>> round(block(networks.GOOGLENET["3a"]).macs / 1e6)
    128
    """
    return sum(by_branch(widths, five).values(), Cost(0, 0, 0))


def naive_block(widths: Widths, five: int = 5) -> Cost:
    """Cost of a whole naive block.

    >>> round(naive_block(networks.GOOGLENET["3a"]).macs / 1e6)
    303
    """
    return sum(naive_by_branch(widths, five).values(), Cost(0, 0, 0))


def counted(network: nn.Module, side: int) -> Cost:
    """Cost of a whole network on one picture of `side` x `side`, counted by PyTorch's FLOP counter; move it to the meta device to compute nothing."""
    parameters = list(network.parameters())
    picture = torch.zeros(1, 3, side, side, device=parameters[0].device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(picture)
    return Cost(sum(p.numel() for p in parameters), counter.get_total_flops() // 2, 0)


def counts() -> dict[str, Cost]:
    """Cost of every network of `NETWORKS`, computed on the meta device: no memory, no arithmetic."""
    return {name: counted(networks.hollow(build), side) for name, (build, side) in NETWORKS.items()}


def receptive_field(described: Architecture) -> int:
    """Side of the square of input pixels that one position of the last convolution or pooling sees; what pools globally sees all."""
    local = ("convolution", "max pool", "average pool")
    return max(facts["receptive_field"] for _, facts in described.graph.nodes(data=True) if facts["operation"] in local)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is to be timed: a hollow network, its cost, and the channels and the side of its input."""

    name: str
    size: float
    cost: Cost
    network: nn.Module
    channels: int
    side: int


def _run(plan: _Plan, device: torch.device) -> Callable[[], object]:
    """The network with random values in it on one random input `(1, channels, side, side)`, ready to be run."""
    real = networks.filled(plan.network, device)
    generator = torch.Generator().manual_seed(networks.SEED)
    inputs = torch.randn(1, plan.channels, plan.side, plan.side, generator=generator).to(device, memory_format=torch.channels_last)

    def run() -> object:
        with torch.inference_mode():
            return real(inputs)

    return run


def _measured(plans: Sequence[_Plan], device: torch.device) -> Measuring:
    """Time all plans, once it is clear that each may take its memory: by turns, or, if they don't fit into it together, one after the other.

    Raises TooLarge.
    """
    for plan in plans:
        allow(plan.cost.memory_bytes)
    together = sum(plan.cost.memory_bytes for plan in plans) <= MEMORY_LIMIT
    points: list[Point] = []
    for group in [plans] if together else [[plan] for plan in plans]:
        timing = by_turns([_run(plan, device) for plan in group], device)
        done = len(points)
        try:
            while True:
                yield (done + next(timing) * len(group)) / len(plans)
        except StopIteration as end:
            points += [Point(p.name, p.size, p.cost, taken) for p, taken in zip(group, end.value, strict=True)]
    return points


def measure_chains(shapes: Sequence[tuple[int, int]], device: torch.device, kernel: int = KERNEL, side: int = SIDE) -> Measuring:
    """Time chains of (width, depth); the size of a point is the width, or the depth where all are equally wide. Raises TooLarge, OutOfRange before any."""
    for width, depth in shapes:
        within(WIDTH, width, 1, WIDEST)
        within(DEPTH, depth, 1, DEEPEST)
        allow(chain(width, depth, kernel, side).memory_bytes)
    deep = len({width for width, _ in shapes}) == 1
    plans = []
    for width, depth in shapes:
        network = networks.hollow(partial(networks.chain, width, depth, kernel))
        plans.append(_Plan(f"{width} x {depth}", depth if deep else width, chain(width, depth, kernel, side), network, width, side))
    return _measured(plans, device)


def widths_to(widest: int) -> list[int]:
    """Seven widths up to `widest`, each about 1.4 times the one before. Raises OutOfRange.

    >>> widths_to(128)
    [16, 23, 32, 45, 64, 91, 128]
    """
    within(WIDTH, widest, LEAST_WIDEST, WIDEST)
    return sorted({max(1, round(widest / 2 ** (step / 2))) for step in range(7)})


def depths_to(deepest: int) -> list[int]:
    """At most eight depths up to `deepest`, evenly apart. Raises OutOfRange."""
    within(DEPTH, deepest, LEAST_DEEPEST, DEEPEST)
    return sorted({max(1, round(deepest * step / 8)) for step in range(1, 9)})


def measure_factors(model: Model, factors: Sequence[float] = FACTORS) -> Measuring:
    """Time the loaded network with all its widths times each factor, random values in it. Raises TooLarge, OutOfRange before any."""
    described, side = describe(model), model.weights.preprocessing.crop
    for factor in factors:
        within(FACTOR, factor, LEAST_FACTOR, MOST_FACTOR)
    made = [networks.wider(model.network, described, factor) for factor in factors]
    plans = [_Plan(f"x {f:g}", f, counted(network, side), network, 3, side) for f, network in zip(factors, made, strict=True)]
    return _measured(plans, model.device)


def measure_stages(model: Model) -> Measuring:
    """Time the loaded network as far as its first block, each block, and its classes, random values in it; the size of a point is its place, 1 first.

    Each point holds all that comes before it too. Raises TooLarge before any.
    """
    described, side = describe(model), model.weights.preprocessing.crop
    ends = {STEM: described.blocks[0].source} | {block.name: block.node for block in described.blocks} | {WHOLE: described.logits_node}
    plans = []
    for place, (name, node) in enumerate(ends.items(), start=1):
        part = networks.up_to(model.network, node)
        plans.append(_Plan(name, place, counted(part, side), part, 3, side))
    return _measured(plans, model.device)


def measure_networks(device: torch.device) -> Generator[float, None, list[tuple[Point, int]]]:
    """Time all of NETWORKS, random values in them, one after the other; the size of a point is the picture's side. With each its receptive field."""
    made = {name: (networks.hollow(build), side) for name, (build, side) in NETWORKS.items()}
    points = yield from _measured([_Plan(n, side, counted(network, side), network, 3, side) for n, (network, side) in made.items()], device)
    return [(point, field(point.name)) for point in points]


def field(name: str) -> int:
    """The receptive field of one of NETWORKS, pixels."""
    build, side = NETWORKS[name]
    network = networks.hollow(build).to_empty(device="cpu")  # whatever values: the graph is looked at, nothing is computed
    return receptive_field(describe_network(network, side))


def check(widths: Widths) -> Widths:
    """The same widths, if they can be measured. Raises OutOfRange or TooLarge."""
    for name, value in vars(widths).items():
        if name == "side":
            within(MAP_SIDE, value, 1, LARGEST_MAP)
        else:
            within(CHANNELS, value, 1, WIDEST_BLOCK)
    allow(max(block(widths).memory_bytes, naive_block(widths).memory_bytes))
    return widths


def measure_blocks(
    blocks: Mapping[str, Widths], device: torch.device, five: int = 5
) -> Generator[float, None, dict[str, tuple[Point, Point]]]:
    """Time each block with 1x1 reductions, and the naive one. Raises TooLarge, OutOfRange before any."""
    plans = []
    for name, w in blocks.items():
        check(w)
        for cost, build in ((block, networks.block), (naive_block, networks.naive_block)):
            plans.append(_Plan(name, w.inputs, cost(w, five), networks.hollow(partial(build, w, five)), w.inputs, w.side))
    points = yield from _measured(plans, device)
    return dict(zip(blocks, zip(points[::2], points[1::2], strict=True), strict=True))


@dataclass(frozen=True)
class Growth:
    """The powers of the size with which parameters, MACs and time grow, and the 95% interval of time's.

    `late` is time's over the larger half of the sizes, where overhead weighs less.
    """

    parameters: float
    macs: float
    seconds: float
    late: float
    low: float
    high: float

    def row(self) -> dict[str, Cell]:
        """As cells of a table."""
        return {
            "power_parameters": self.parameters, "power_macs": self.macs, "power_seconds": self.seconds, "power_seconds_low": self.low,
            "power_seconds_high": self.high, "power_seconds_larger_half": self.late,
        }  # fmt: skip


def growth(points: Sequence[Point]) -> Growth:
    """How cost and time grow with the size."""
    sizes = [p.size for p in points]
    seconds = [p.timing.median for p in points]
    half = len(points) // 2
    return Growth(
        exponent(sizes, [p.cost.parameters for p in points]), exponent(sizes, [p.cost.macs for p in points]),
        exponent(sizes, seconds), exponent(sizes[half:], seconds[half:]), *interval(sizes, seconds),
    )  # fmt: skip


GREW = message(
    "MACs grow with power {macs}, measured time with power {seconds} (95%: {low} to {high}; over the larger half of the sizes {late})."
)


def steady(points: Iterable[Point]) -> bool:
    """Whether all times are worth a conclusion."""
    return all(point.timing.steady for point in points)


def grown(points: Sequence[Point], claim: str = QUADRATIC, power: int = 2) -> Outcome:
    """Whether time grew with the `power` of the size that the claim says, over the larger half of the sizes."""
    grew = growth(points)
    sure = steady(points) and not math.isnan(grew.late)
    supported = None if not sure else abs(grew.late - power) <= TOLERANCE
    facts = {
        "macs": f"{grew.macs:.2f}",
        "seconds": f"{grew.seconds:.2f}",
        "late": f"{grew.late:.2f}",
        "low": f"{grew.low:.2f}",
        "high": f"{grew.high:.2f}",
    }
    return Outcome((Finding(claim, GREW, supported, facts),), (*(p.row() for p in points), _power(points, grew.row())))


def _power(points: Sequence[Point], powers: Row) -> Row:
    """What was fitted through all points, as one more row of their table."""
    return {"name": "fitted"} | dict(powers) | points[0].timing.conditions.row()


def deeper(points: Sequence[Point]) -> Outcome:
    """Whether time grew with the multiply-accumulates from stage to stage of one network, and where half of each is reached."""
    macs, seconds = [p.cost.macs for p in points], [p.timing.median for p in points]
    power, (low, high) = exponent(macs, seconds), interval(macs, seconds)
    words = message(
        "time grows with power {power} of the MACs ({low} to {high}); half of the parameters lie before the end of {parameters}, half of the MACs of {macs}, "
        "half of the time of {time}."
    )
    facts: dict[str, Blank] = {
        "power": f"{power:.2f}", "low": f"{low:.2f}", "high": f"{high:.2f}", "parameters": _half(points, [p.cost.parameters for p in points]),
        "macs": _half(points, macs), "time": _half(points, seconds),
    }  # fmt: skip
    supported = abs(power - 1) <= TOLERANCE if steady(points) else None
    fitted = _power(points, {"power_seconds_of_macs": power, "power_low": low, "power_high": high})
    return Outcome((Finding(DEEPER, words, supported, facts),), (*(p.row() for p in points), fitted))


def _half(points: Sequence[Point], values: Sequence[float]) -> str:
    """The first stage that holds half of what all of it takes."""
    return next(p.name for p, value in zip(points, values, strict=True) if value >= values[-1] / 2)


def saved(pairs: Mapping[str, tuple[Point, Point]], blocks: Mapping[str, Widths], five: int = 5) -> Outcome:
    """What 1x1 reductions save, block by block; supported if every block is measured to be faster with them. The table holds all widths."""
    macs = [naive.cost.macs / reduced.cost.macs for reduced, naive in pairs.values()]
    times = [naive.timing.median / reduced.timing.median for reduced, naive in pairs.values()]
    sure = steady(point for pair in pairs.values() for point in pair)
    one = message("With reductions {low} times fewer MACs and {fast_low} times less time than naive.")
    several = message(
        "With reductions {low} to {high} times fewer MACs, and {fast_low} to {fast_high} times less time (median {fast}), over {n} blocks."
    )
    facts: dict[str, Blank] = {"low": f"{min(macs):.1f}", "high": f"{max(macs):.1f}", "fast_low": f"{min(times):.1f}", "fast_high": f"{max(times):.1f}",
             "fast": f"{np.median(times):.1f}", "n": len(pairs)}  # fmt: skip
    rows: list[Row] = []
    for name, pair in pairs.items():
        widths = blocks[name]
        for kind, point, branches in zip(("reduced", "naive"), pair, (by_branch(widths, five), naive_by_branch(widths, five)), strict=True):
            parts: dict[str, Cell] = {f"macs_{branch}": part.macs for branch, part in branches.items()}
            rows.append(
                {"kind": kind} | point.row() | parts | {f"width_{which}": n for which, n in vars(widths).items()} | {"kernel_5x5": five}
            )
    return Outcome((Finding(REDUCE, one if len(pairs) == 1 else several, min(times) > 1 if sure else None, facts),), tuple(rows))


def compared(found: Sequence[tuple[Point, int]]) -> Outcome:
    """The well-known networks side by side: GoogLeNet's parameters against AlexNet's. "12 times" is the paper's figure; it is taken to hold from 11 to 13."""
    by_name = {point.name: point for point, _ in found}
    google, alex = by_name["GoogLeNet"], by_name["AlexNet"]
    fewer = alex.cost.parameters / google.cost.parameters
    words = message(
        "AlexNet has {fewer} times GoogLeNet's parameters ({alex} against {google} million); GoogLeNet takes {macs} times its MACs, {time} times its time."
    )
    facts = {"fewer": f"{fewer:.1f}", "alex": f"{alex.cost.parameters / 1e6:.1f}", "google": f"{google.cost.parameters / 1e6:.1f}",
             "macs": f"{google.cost.macs / alex.cost.macs:.1f}", "time": f"{google.timing.median / alex.timing.median:.1f}"}  # fmt: skip
    rows = [point.row() | {"receptive_field": field} for point, field in found]
    return Outcome((Finding(FEWER, words, 11 <= fewer <= 13, facts),), tuple(rows))
