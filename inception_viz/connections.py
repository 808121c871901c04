"""Connection tables: which inputs each output reads, from LeNet-5's sparse table over full connection to groups and Inception's branches (Section 3).

The paper: "ConvNets have traditionally used random and sparse connection tables in the feature dimensions ... in order to break the symmetry and
improve learning, the trend changed back to full connections ... in order to better optimize parallel computing". What a table saves is counted; what
it saves in time depends on how it is run: as a full convolution with zeros in it, in groups, or with the inputs that are read gathered first.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inception_viz.errors import VisitorError
from inception_viz.measurement import Cell, Finding, Outcome, Timing, allow, within
from inception_viz.races import ROUNDS, Ratio, digits, racing
from inception_viz.sparsity import SEED, of_ratio, told_percent
from inception_viz.text import Blank, message

LENET = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5),
    (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # the S2 maps that each C3 map reads: LeCun et al. 1998, table I  # fmt: skip
MOST_TIMES = 32  # channels for each map of LeNet-5
MOST_GROUPS = 8
MOST_MACS = 4_000_000_000  # of full connection: about a tenth of a second on one thread, a hundred times over
LARGEST_KERNEL, LARGEST_SIDE = 11, 56
BRANCHES = (("1x1", 1), ("3x3", 3), ("5x5", 5), ("pool", 1))
TIMES, GROUPS, KERNEL, SIDE = (
    message("Channels for each map of LeNet-5"),
    message("The number of groups"),
    message("The kernel"),
    message("The side of the map"),
)
OPERATIONS = message("The number of multiply-accumulates")
TABLE, RANDOM, FULL, GROUPED, INCEPTION = (
    message("LeNet-5's table"), message("random table"), message("full connection"), message("groups"), message("Inception's branches"),
)  # fmt: skip
MASKED, GATHERED, IN_GROUPS, AS_IT_IS = (
    message("with zeros in it"),
    message("gathered"),
    message("grouped convolution"),
    message("as it is built"),
)
PARALLEL = message("Connection went back from sparse tables to full because that makes better use of parallel computing.")
BETTER = message("Inception's branches approximate a sparse structure with dense parts, which computers do fast.")


class EvenKernel(VisitorError):
    """A kernel without a middle: PyTorch would pad the map on one side first, and the copy would be timed as well."""

    words = message("The kernel is {found}; it needs a middle: choose an odd number.")


@dataclass(frozen=True)
class Layer:
    """What is connected: `times` channels for each of LeNet-5's 6 inputs and 16 outputs, with a kernel, on a map of `side` x `side`."""

    times: int
    kernel: int
    side: int
    groups: int = 2

    @property
    def inputs(self) -> int:
        """Channels that are read."""
        return 6 * self.times

    @property
    def outputs(self) -> int:
        """Channels that are made."""
        return 16 * self.times

    @property
    def memory_bytes(self) -> int:
        """Bytes that measuring it takes: five wirings' weights, masked and gathered, and their maps."""
        return 4 * (8 * self.inputs * self.outputs * self.kernel**2 + 20 * (self.inputs + self.outputs) * (self.side + self.kernel) ** 2)


LENET_LAYER = Layer(1, 5, 10)


def allowed(layer: Layer) -> Layer:
    """The same layer, if it may be measured. Raises OutOfRange, EvenKernel or TooLarge, before anything is allocated."""
    within(TIMES, layer.times, 1, MOST_TIMES)
    within(KERNEL, layer.kernel, 1, LARGEST_KERNEL)
    if layer.kernel % 2 == 0:
        raise EvenKernel(found=layer.kernel)
    within(SIDE, layer.side, 1, LARGEST_SIDE)
    within(GROUPS, layer.groups, 1, MOST_GROUPS)
    within(OPERATIONS, layer.inputs * layer.outputs * layer.kernel**2 * layer.side**2, 1, MOST_MACS)
    allow(layer.memory_bytes)
    return layer


def lenet_table(times: int = 1) -> np.ndarray:
    """LeNet-5's table `(outputs, inputs)` bool, `times` channels for each map.

    >>> int(lenet_table().sum())
    60
    """
    table = np.zeros((16, 6), bool)
    for output, read in enumerate(LENET):
        table[output, list(read)] = True
    return np.kron(table, np.ones((times, times), bool))


def random_table(inputs: int, outputs: int, connections: int, seed: int = SEED) -> np.ndarray:
    """A table `(outputs, inputs)` with so many connections in all, as even over the outputs as can be, each output's inputs at random."""
    generator = np.random.default_rng(seed)
    each = np.full(outputs, connections // outputs)
    each[generator.choice(outputs, connections % outputs, replace=False)] += 1
    order = generator.permuted(np.tile(np.arange(inputs), (outputs, 1)), axis=1).argsort(1)
    return order < each[:, None]


def group_table(inputs: int, outputs: int, groups: int) -> np.ndarray:
    """A table `(outputs, inputs)` in which each group of outputs reads its own group of inputs; sizes that don't divide give groups that differ by one."""
    return (np.arange(outputs) * groups // outputs)[:, None] == (np.arange(inputs) * groups // inputs)[None, :]


def whole_groups(layer: Layer) -> int:
    """The number of groups asked for, or the next lower that divides inputs and outputs, as a grouped convolution needs."""
    return next(g for g in range(layer.groups, 0, -1) if layer.inputs % g == 0 and layer.outputs % g == 0)


def branch_widths(layer: Layer) -> dict[str, tuple[int, int]]:
    """For each branch of an Inception block between as many channels: what it reduces the inputs to (0: nothing), and its outputs.

    The proportions are about those of GoogLeNet's blocks: outputs 1 : 2 : 0.5 : 0.5 of four, reductions to a half and to a twelfth of the inputs.
    """
    eighth = max(1, layer.outputs // 8)
    half, twelfth = max(1, layer.inputs // 2), max(1, layer.inputs // 12)
    return {"1x1": (0, 2 * eighth), "3x3": (half, layer.outputs - 4 * eighth), "5x5": (twelfth, eighth), "pool": (0, eighth)}


def branch_table(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Inception's last stage as a table `(outputs, channels it reads)`, and the branch of each output, index into BRANCHES.

    What it reads are the inputs themselves (for 1x1), both reductions, and the pooled inputs, side by side.
    """
    widths = branch_widths(layer)
    read = [reduced or layer.inputs for reduced, _ in widths.values()]
    made = [outputs for _, outputs in widths.values()]
    of_output, of_input = np.repeat(np.arange(4), made), np.repeat(np.arange(4), read)
    return of_output[:, None] == of_input[None, :], of_output


@dataclass(frozen=True, eq=False)
class Wiring:
    """One way to connect: its table `(outputs, inputs)`, the branch of each output or -1, weights (count), and MACs of one map."""

    name: str
    table: np.ndarray
    branch: np.ndarray
    parameters: int
    macs: int


def wirings(layer: Layer) -> dict[str, Wiring]:
    """All wirings of the same inputs and outputs, by name. Raises OutOfRange or TooLarge."""
    allowed(layer)
    sparse = lenet_table(layer.times)
    tables = {
        TABLE: sparse,
        RANDOM: random_table(layer.inputs, layer.outputs, int(sparse.sum())),
        FULL: np.ones_like(sparse),
        GROUPED: group_table(layer.inputs, layer.outputs, whole_groups(layer)),
    }
    none, area = np.full(layer.outputs, -1), layer.side**2
    found = {}
    for name, table in tables.items():
        weights = int(table.sum()) * layer.kernel**2
        found[name] = Wiring(name, table, none, weights, weights * area)
    table, of_output = branch_table(layer)
    weights = _branch_weights(layer)
    return found | {INCEPTION: Wiring(INCEPTION, table, of_output, weights, weights * area)}


def _branch_weights(layer: Layer) -> int:
    widths, kernels = branch_widths(layer), dict(BRANCHES)
    return sum(
        layer.inputs * reduced + (reduced or layer.inputs) * outputs * kernels[name] ** 2 for name, (reduced, outputs) in widths.items()
    )


def _weights(shape: tuple[int, ...], seed: int = SEED) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / max(1, int(np.prod(shape[1:]))) ** 0.5


Run = Callable[[], Tensor]


def masked(weights: Tensor, inputs: Tensor) -> Run:
    """A full convolution with weights `(outputs, inputs, k, k)`, zeros and all."""
    return lambda: functional.conv2d(inputs, weights, padding="same")


def in_groups(weights: Tensor, inputs: Tensor, groups: int) -> Run:
    """A grouped convolution: of the full weights only those inside the groups are used."""
    outputs, read = len(weights), weights.shape[1] // groups
    own = torch.cat([part[:, g * read : (g + 1) * read] for g, part in enumerate(weights.split(outputs // groups))]).contiguous()
    return lambda: functional.conv2d(inputs, own, padding="same", groups=groups)


def gathered(weights: Tensor, table: np.ndarray, inputs: Tensor) -> Run:
    """One convolution for all outputs that read the same inputs, which are gathered for it; the outputs are put back in their order."""
    sets, member = np.unique(table, axis=0, return_inverse=True)
    member = member.reshape(-1)
    parts = []
    for index, read in enumerate(sets):
        rows = torch.from_numpy(np.flatnonzero(member == index)).to(inputs.device)
        columns = torch.from_numpy(np.flatnonzero(read)).to(inputs.device)
        parts.append((columns, weights[rows][:, columns].contiguous()))
    back = torch.from_numpy(np.argsort(np.argsort(member, kind="stable"), kind="stable")).to(inputs.device)

    def run() -> Tensor:
        made = torch.cat([functional.conv2d(inputs.index_select(1, columns), own, padding="same") for columns, own in parts], 1)
        return made.index_select(1, back)

    return run


def branches(layer: Layer, inputs: Tensor, seed: int = SEED) -> Run:
    """An Inception block without its activation functions: 1x1, reduced 3x3, reduced 5x5, and pooled 1x1 side by side."""
    kernels, parts = dict(BRANCHES), []
    for name, (reduced, outputs) in branch_widths(layer).items():
        first = _weights((reduced, layer.inputs, 1, 1), seed).to(inputs.device) if reduced else None
        kernel = kernels[name]
        parts.append((name, first, _weights((outputs, reduced or layer.inputs, kernel, kernel), seed).to(inputs.device)))

    def run() -> Tensor:
        made = []
        for name, first, last in parts:
            read = functional.max_pool2d(inputs, 3, 1, 1) if name == "pool" else inputs
            read = read if first is None else functional.conv2d(read, first)
            made.append(functional.conv2d(read, last, padding="same"))
        return torch.cat(made, 1)

    return run


def runs(layer: Layer, device: torch.device) -> dict[tuple[str, str], Run]:
    """Every wiring in every way that it can be run, by wiring and way."""
    wired = wirings(layer)
    inputs = _weights((1, layer.inputs, layer.side, layer.side)).to(device, memory_format=torch.channels_last)
    full = _weights((layer.outputs, layer.inputs, layer.kernel, layer.kernel)).to(device)

    def zeroed(name: str) -> Tensor:
        return full * torch.from_numpy(wired[name].table).to(device)[:, :, None, None]

    ways = {(FULL, AS_IT_IS): masked(full, inputs)}
    for name in (TABLE, RANDOM, GROUPED):
        ways[name, MASKED] = masked(zeroed(name), inputs)
        ways[name, GATHERED] = gathered(zeroed(name), wired[name].table, inputs)
    ways[GROUPED, IN_GROUPS] = in_groups(zeroed(GROUPED), inputs, whole_groups(layer))
    ways[INCEPTION, AS_IT_IS] = branches(layer, inputs)
    return ways


@dataclass(frozen=True)
class Wired:
    """One wiring, run in one way: its cost, its time, and how many times as fast as full connection it is."""

    wiring: str
    way: str
    parameters: int
    macs: int
    timing: Timing
    speedup: Ratio

    @property
    def rate(self) -> float:
        """Multiply-accumulates that it needs, a second."""
        return self.macs / self.timing.median

    def row(self) -> dict[str, Cell]:
        """As a row of a table."""
        told: dict[str, Cell] = {
            "wiring": self.wiring,
            "way": self.way,
            "parameters": self.parameters,
            "macs": self.macs,
            "macs_per_second": self.rate,
        }
        return told | self.speedup.row("over_full") | self.timing.row()


@dataclass(frozen=True)
class Comparison:
    """All wirings of a layer in all ways."""

    layer: Layer
    found: tuple[Wired, ...]

    def fastest(self, wiring: str) -> Wired:
        """The fastest way to run a wiring."""
        return min((w for w in self.found if w.wiring == wiring), key=lambda w: w.timing.median)


def measure(layer: Layer, device: torch.device, rounds: int = ROUNDS) -> Generator[float, None, Comparison]:
    """Run every wiring in every way, by turns: yields the share done. Raises OutOfRange or TooLarge before running any."""
    wired, ready = wirings(layer), runs(layer, device)
    names = {" / ".join(key): key for key in ready}
    race = yield from racing({name: ready[key] for name, key in names.items()}, device, rounds)
    full = " / ".join((FULL, AS_IT_IS))
    found = [
        Wired(wiring, way, wired[wiring].parameters, wired[wiring].macs, race.times[name], race.speedup(name, full))
        for name, (wiring, way) in names.items()
    ]
    return Comparison(layer, tuple(found))


def _table(table: Wired, full: Wired) -> Finding:
    """Whether full connection does more multiply-accumulates a second than the table at its best."""
    share = table.macs / full.macs
    facts: dict[str, Blank] = {
        "macs": told_percent(share), "time": told_percent(1 / table.speedup.median), "rate": digits(table.rate / 1e9), "full": digits(full.rate / 1e9),
    }  # fmt: skip
    words = message(
        "LeNet-5's table needs {macs} of the operations of full connection and at best {time} of its time: {rate} against {full} billion MACs a second."
    )
    slower, faster = table.speedup.high < 1 / share, table.speedup.low > 1 / share
    return Finding(PARALLEL, words, True if slower else False if faster else None, facts)


def _parts(inception: Wired, random: Wired, full: Wired) -> Finding:
    """Whether Inception's branches do more multiply-accumulates a second than a random table."""
    ours, theirs = (w.macs / full.macs for w in (inception, random))
    low, high = [ours * inception.speedup.low, theirs * random.speedup.low], [ours * inception.speedup.high, theirs * random.speedup.high]
    facts: dict[str, Blank] = {
        "macs": told_percent(ours), **of_ratio(inception.speedup), "rate": digits(inception.rate / 1e9), "random": digits(random.rate / 1e9),
    }  # fmt: skip
    words = message(
        "the branches need {macs} of the operations and are x {speedup} as fast ({low} to {high}): {rate} billion MACs a second, a random table {random}."
    )
    return Finding(BETTER, words, True if low[0] > high[1] else False if high[0] < low[1] else None, facts)


def answered(comparison: Comparison) -> Outcome:
    """Both findings, and a row for each wiring in each way."""
    best = {name: comparison.fastest(name) for name in (TABLE, RANDOM, FULL, INCEPTION)}
    findings = (_table(best[TABLE], best[FULL]), _parts(best[INCEPTION], best[RANDOM], best[FULL]))
    layer = comparison.layer
    where: dict[str, Cell] = {
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "kernel": layer.kernel,
        "side": layer.side,
        "groups": whole_groups(layer),
    }
    return Outcome(findings, tuple(where | w.row() for w in comparison.found))
