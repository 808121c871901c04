"""What sparse products cost on this machine: one layer's product dense, with scattered non-zeros, with non-zero blocks, and in groups (Section 3).

The paper holds that computers do sparse arithmetic so badly that "even if the number of arithmetic operations is reduced by 100x" it would not pay
off. A layer is the product of its weights (outputs, inputs) and its unrolled input (inputs, positions), as convolutions by im2col are computed.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from inception_viz.architecture import describe
from inception_viz.errors import UnknownChoice
from inception_viz.measurement import Cell, Finding, Outcome, Row, Timing, allow, within
from inception_viz.models import Model
from inception_viz.networks import GOOGLENET
from inception_viz.races import ROUNDS, Ratio, digits, raced
from inception_viz.text import Blank, message

DENSITIES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
HUNDREDTH = 0.01  # "even if the number of arithmetic operations is reduced by 100x"
TILE = 16  # side of a block of BSR
LARGEST = 8192  # rows, columns or positions
SEED = 0
DENSE = message("dense")
SCIPY_CSR, TORCH_CSR = message("scattered, CSR (SciPy)"), message("scattered, CSR (PyTorch)")
SCIPY_BSR, TORCH_BSR = message("in tiles, BSR (SciPy)"), message("in tiles, BSR (PyTorch)")
SCATTERED_BSR = message("scattered, BSR (PyTorch)")
GROUPS = message("in groups, batched")
LAYER = message("layer")
ROWS, COLUMNS, POSITIONS, DENSITY = (
    message("The number of outputs"),
    message("The number of inputs"),
    message("The number of positions"),
    message("The density"),
)
NOT_PAID = message("Even if the number of arithmetic operations is reduced by 100x, switching to sparse matrices would not pay off.")
DENSE_PARTS = message("Non-zeros that lie together in dense parts are computed faster than as many scattered ones.")


class NoSparseKernel(RuntimeError):
    """This device has no kernel for the format: the format is left out, and said to be."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a product: weights `(outputs, inputs)` times unrolled input `(inputs, positions)`."""

    outputs: int
    inputs: int
    positions: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense product."""
        return self.outputs * self.inputs * self.positions

    @property
    def memory_bytes(self) -> int:
        """Bytes that measuring it takes: weights dense and in the formats (with their indices), input, and outputs."""
        return 4 * (8 * self.outputs * self.inputs + self.inputs * self.positions + 3 * self.outputs * self.positions)

    def row(self) -> dict[str, Cell]:
        """As cells of a table."""
        return {"outputs": self.outputs, "inputs": self.inputs, "positions": self.positions}


LAYERS = {f"{name} 3x3": Shape(w.three, 9 * w.reduce_three, w.side**2) for name, w in GOOGLENET.items()}


def _layer_nodes(model: Model) -> dict[str, str]:
    """The graph node of the largest convolution of every branch, by block and branch."""
    found: dict[str, tuple[int, str]] = {}
    for node, facts in describe(model).graph.nodes(data=True):
        if facts["operation"] == "convolution" and facts["branch"]:
            name = f"{facts['block']} {facts['branch']}"
            found[name] = max(found.get(name, (0, "")), (facts["parameters"], node))
    return {name: node for name, (_, node) in found.items()}


def layers(model: Model) -> dict[str, Shape]:
    """The largest convolution of every branch of a loaded network as a product, by block and branch."""
    found = {}
    for name, node in _layer_nodes(model).items():
        weights = model.network.get_parameter(f"{node}.weight")
        _, height, width = describe(model).graph.nodes[node]["shape"]
        found[name] = Shape(len(weights), weights[0].numel(), height * width)
    return found


def layer_weights(model: Model, layer: str) -> np.ndarray:
    """Weights `(outputs, inputs)` float32 of a layer of `layers`; raises UnknownChoice for another."""
    nodes = _layer_nodes(model)
    if layer not in nodes:
        raise UnknownChoice(kind=LAYER, found=layer, allowed=", ".join(nodes))
    return model.network.get_parameter(f"{nodes[layer]}.weight").detach().flatten(1).float().cpu().numpy()


def allowed(shape: Shape) -> Shape:
    """The same shape, if it may be measured. Raises OutOfRange or TooLarge, before anything is allocated."""
    for name, value in ((ROWS, shape.outputs), (COLUMNS, shape.inputs), (POSITIONS, shape.positions)):
        within(name, value, 1, LARGEST)
    allow(shape.memory_bytes)
    return shape


def scattered(shape: Shape, density: float, generator: np.random.Generator) -> np.ndarray:
    """Weights `(outputs, inputs)` float32 with a share `density` of non-zeros, at random places; at least one."""
    weights = np.zeros(shape.outputs * shape.inputs, np.float32)
    count = max(1, round(density * weights.size))
    weights[generator.choice(weights.size, count, replace=False)] = _values(count, generator)
    return weights.reshape(shape.outputs, shape.inputs)


def pruned(weights: np.ndarray, density: float) -> np.ndarray:
    """The share `density` of `weights` with the largest absolute values, at least one; the others zero."""
    count = max(1, round(density * weights.size))
    kept = np.zeros(weights.size, bool)
    kept[np.argpartition(-np.abs(weights), count - 1, axis=None)[:count]] = True
    return np.where(kept.reshape(weights.shape), weights, 0).astype(np.float32)


def tiled(shape: Shape, density: float, generator: np.random.Generator) -> np.ndarray:
    """Weights whose non-zeros fill tiles of 16 x 16 at random places, about a share `density` of them; sizes are rounded up to whole tiles."""
    down, across = -(-shape.outputs // TILE), -(-shape.inputs // TILE)
    count = max(1, round(density * down * across))
    chosen = np.zeros(down * across, bool)
    chosen[generator.choice(chosen.size, count, replace=False)] = True
    mask = np.kron(chosen.reshape(down, across), np.ones((TILE, TILE), bool))
    return np.where(mask, _values(mask.size, generator).reshape(mask.shape), 0).astype(np.float32)


def grouped(shape: Shape, density: float, generator: np.random.Generator) -> np.ndarray:
    """Weights of about 1 / `density` groups `(groups, outputs of one, inputs of one)`; sizes are rounded up to equal groups.

    With few outputs there can't be more groups than these, so that the least density is 1 / outputs.
    """
    each = max(1, round(shape.outputs * density))
    groups = -(-shape.outputs // each)
    return _values(groups * each * -(-shape.inputs // groups), generator).reshape(groups, each, -1)


def _values(count: int, generator: np.random.Generator) -> np.ndarray:
    drawn = generator.standard_normal(count, np.float32)
    return np.where(drawn == 0, np.float32(1), drawn)


@dataclass(frozen=True, eq=False)
class Product:
    """A product ready to be run again and again: `run()` gives outputs `(outputs, positions)`; `nonzeros` of `size` weights, `stored` of them kept."""

    run: Callable[[], object]
    nonzeros: int
    stored: int
    size: int


def _to_torch(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)


def _inputs(rows: int, positions: int, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal((rows, positions), np.float32)


def scipy_csr(weights: np.ndarray, inputs: np.ndarray, device: torch.device) -> Product:
    """Compressed sparse rows in SciPy: one thread, whatever PyTorch may use."""
    matrix = sparse.csr_array(weights)
    return Product(lambda: matrix @ inputs, matrix.nnz, matrix.nnz, weights.size)


def scipy_bsr(weights: np.ndarray, inputs: np.ndarray, device: torch.device) -> Product:
    """Rows of dense tiles in SciPy."""
    matrix = sparse.bsr_array(weights, blocksize=(TILE, TILE))
    return Product(lambda: matrix @ inputs, int(np.count_nonzero(weights)), matrix.data.size, weights.size)


def quiet(make: Callable[[], Tensor]) -> Tensor:
    """What `make` returns, without PyTorch's warning that its sparse formats are in beta: it is for us, not for visitors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR|BSR)", category=UserWarning)
        return make()


def torch_csr(weights: np.ndarray, inputs: np.ndarray, device: torch.device) -> Product:
    """Compressed sparse rows in PyTorch: MKL on CPUs that have it, cuSPARSE on GPUs. Raises NoSparseKernel."""
    dense, right = _to_torch(weights, device), _to_torch(inputs, device)
    matrix = _sparse(dense.to_sparse_csr, right)
    return Product(lambda: matrix @ right, int(np.count_nonzero(weights)), matrix.values().numel(), weights.size)


def torch_bsr(weights: np.ndarray, inputs: np.ndarray, device: torch.device) -> Product:
    """Rows of dense tiles in PyTorch: MKL on CPUs that have it, Triton on GPUs. Raises NoSparseKernel."""
    dense, right = _to_torch(weights, device), _to_torch(inputs, device)
    matrix = _sparse(lambda: dense.to_sparse_bsr((TILE, TILE)), right)
    return Product(lambda: matrix @ right, int(np.count_nonzero(weights)), matrix.values().numel(), weights.size)


def _sparse(make: Callable[[], Tensor], right: Tensor) -> Tensor:
    """The sparse matrix, after it has been seen to multiply here; raises NoSparseKernel if this build or device can't."""
    try:
        matrix = quiet(make)
        _ = matrix @ right
    except (RuntimeError, NotImplementedError, ImportError, TypeError) as error:
        raise NoSparseKernel(str(error)) from None
    return matrix


def dense(weights: np.ndarray, inputs: np.ndarray, device: torch.device) -> Product:
    """One dense matrix product."""
    left, right = _to_torch(weights, device), _to_torch(inputs, device)
    return Product(lambda: left @ right, int(np.count_nonzero(weights)), weights.size, weights.size)


def batched(weights: np.ndarray, inputs: np.ndarray, device: torch.device) -> Product:
    """Groups `(groups, outputs, inputs)` as one batch of small dense products; `inputs` are those of all groups, one after the other."""
    left, right = _to_torch(weights, device), _to_torch(inputs, device).view(len(weights), weights.shape[2], -1)
    return Product(lambda: torch.bmm(left, right), weights.size, weights.size, weights.size * len(weights))


def whole(weights: np.ndarray) -> np.ndarray:
    """The groups `(groups, outputs, inputs)` as the one block-diagonal matrix that they are."""
    groups, rows, columns = weights.shape
    out = np.zeros((groups, rows, groups, columns), weights.dtype)
    out[np.arange(groups), :, np.arange(groups)] = weights
    return out.reshape(groups * rows, groups * columns)


Draw = Callable[[Shape, float, np.random.Generator], np.ndarray]
Prepare = Callable[[np.ndarray, np.ndarray, torch.device], Product]


@dataclass(frozen=True)
class Format:
    """A way to hold and multiply weights: how they are drawn, how they are multiplied, and whether that is on the CPU only."""

    draw: Draw
    prepare: Prepare
    cpu_only: bool = False


FORMATS: Mapping[str, Format] = {
    SCIPY_CSR: Format(scattered, scipy_csr, True),
    TORCH_CSR: Format(scattered, torch_csr),
    SCATTERED_BSR: Format(lambda shape, density, generator: _rounded(scattered(shape, density, generator)), torch_bsr),
    SCIPY_BSR: Format(tiled, scipy_bsr, True),
    TORCH_BSR: Format(tiled, torch_bsr),
    GROUPS: Format(grouped, batched),
}


def _rounded(weights: np.ndarray) -> np.ndarray:
    """With rows and columns of zeros up to whole tiles."""
    return np.pad(weights, [(0, -size % TILE) for size in weights.shape])


@dataclass(frozen=True)
class Point:
    """One format at one density: the share of non-zeros and of what is stored, its time, that of the dense product, and how many times as fast it is."""

    format: str
    shape: Shape
    asked: float
    density: float
    stored: float
    timing: Timing
    dense: Timing
    speedup: Ratio

    def row(self) -> dict[str, Cell]:
        """As a row of a table."""
        told: dict[str, Cell] = {"format": self.format, **self.shape.row(), "density": self.density, "stored": self.stored}
        return told | {"dense_seconds": self.dense.median} | self.speedup.row() | self.timing.row()


@dataclass(frozen=True)
class BreakEven:
    """The density below which a format beats dense: in the middle, and at both ends of the speed-ups' intervals.

    0 where it never won in the range that was measured, infinity where it always did.
    """

    format: str
    density: float
    low: float
    high: float

    def row(self) -> dict[str, Cell]:
        """As cells of a table."""
        return {"format": self.format, "break_even": self.density, "break_even_low": self.low, "break_even_high": self.high}


def crossing(densities: Sequence[float], speedups: Sequence[float]) -> float:
    """The density up to which the speed-up stays above 1, seen from the sparse end; between two densities on straight lines between logarithms.

    0 if it is not above 1 even at the least density, infinity if it is everywhere.

    >>> round(crossing([0.01, 0.1, 1.0], [10.0, 2.0, 0.5]), 3)
    0.316
    """
    points = sorted(zip(densities, speedups, strict=True))
    if not points or points[0][1] <= 1:
        return 0.0
    for (below, fast), (above, slow) in itertools.pairwise(points):
        if slow <= 1:
            share = math.log(fast) / (math.log(fast) - math.log(slow))
            return math.exp(math.log(below) + share * (math.log(above) - math.log(below)))
    return math.inf


def break_even(points: Sequence[Point]) -> list[BreakEven]:
    """For each format the density at which it is as fast as dense."""
    found = []
    for name in dict.fromkeys(p.format for p in points):
        own = [p for p in points if p.format == name]
        densities = [p.density for p in own]
        ends = [(p.speedup.median, p.speedup.low, p.speedup.high) for p in own]
        found.append(BreakEven(name, *(crossing(densities, speedups) for speedups in zip(*ends, strict=True))))
    return found


def usable(device: torch.device) -> dict[str, Format]:
    """The formats that this device can multiply, tried on one tile."""
    one, right = np.eye(TILE, dtype=np.float32), np.ones((TILE, TILE), np.float32)
    found = {}
    for name, form in FORMATS.items():
        if form.cpu_only and device.type != "cpu":
            continue
        try:
            form.prepare(one if form.draw is not grouped else one[None], right, device)
        except NoSparseKernel:
            continue
        found[name] = form
    return found


def measure(
    shape: Shape,
    device: torch.device,
    densities: Sequence[float] = DENSITIES,
    weights: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> Generator[float, None, list[Point]]:
    """Run every format at every density: yields the share done, returns a point for each. Raises OutOfRange or TooLarge before running any.

    The scattered non-zeros are the largest of `weights` (outputs, inputs), if given, else at random places. Tiles and groups have theirs at
    places of their own: the same number of non-zeros, which is the point.
    """
    allowed(shape)
    for density in densities:
        within(DENSITY, density, 1e-4, 1)
    generator, points = np.random.default_rng(SEED), list[Point]()
    formats = usable(device)
    right = _inputs(shape.inputs, shape.positions, generator)
    full = dense(scattered(shape, 1, generator) if weights is None else weights, right, device)
    for done, density in enumerate(densities):
        products = {name: _drawn(form, shape, density, weights, generator, device) for name, form in formats.items()}
        race = raced({DENSE: full.run} | {name: p.run for name, p in products.items()}, device, rounds)
        points += [
            Point(
                name, shape, density, p.nonzeros / p.size, p.stored / p.size, race.times[name], race.times[DENSE], race.speedup(name, DENSE)
            )
            for name, p in products.items()
        ]
        yield (done + 1) / len(densities)
    return points


def _drawn(
    form: Format, shape: Shape, density: float, weights: np.ndarray | None, generator: np.random.Generator, device: torch.device
) -> Product:
    own = form.draw is scattered and weights is not None
    left = pruned(weights, density) if own and weights is not None else form.draw(shape, density, generator)
    width = left.shape[0] * left.shape[2] if left.ndim == 3 else left.shape[1]
    return form.prepare(left, _inputs(width, shape.positions, generator), device)


def told_percent(share: float) -> str:
    """A share as a percentage with two digits, or all before the point.

    >>> told_percent(0.0093), told_percent(1.234)
    ('0.93%', '123%')
    """
    return f"{digits(100 * share)}%"


def at(points: Sequence[Point], name: str, density: float = HUNDREDTH) -> Point | None:
    """The point of a format whose asked density is nearest to `density`; None if the format was not measured."""
    own = [p for p in points if p.format == name]
    return min(own, key=lambda p: abs(math.log(p.asked / density)), default=None)


def csr_at(points: Sequence[Point], density: float = HUNDREDTH) -> Point | None:
    """The faster of both CSR at a density."""
    here = [p for name in (SCIPY_CSR, TORCH_CSR) if (p := at(points, name, density)) is not None]
    return min(here, key=lambda p: p.timing.median, default=None)


def milliseconds(timing: Timing) -> str:
    """A median time in milliseconds, three significant digits."""
    return f"{1e3 * timing.median:.3g}"


def of_ratio(ratio: Ratio) -> dict[str, Blank]:
    """A speed-up and its interval as blanks of a sentence."""
    return {"speedup": ratio.told, "low": digits(ratio.low), "high": digits(ratio.high)}


def _paid(best: Point) -> Finding:
    """Whether 1% of the operations, scattered, takes less time than all of them."""
    facts: dict[str, Blank] = {
        "density": told_percent(best.density), "sparse": milliseconds(best.timing), "dense": milliseconds(best.dense),
        **of_ratio(best.speedup), "ideal": f"{1 / best.density:.3g}",
    }  # fmt: skip
    words = message(
        "with {density} of the weights, CSR takes {sparse} ms, dense {dense} ms: x {speedup} ({low} to {high}); the operations would allow x {ideal}."
    )
    return Finding(NOT_PAID, words, None if best.speedup.faster is None else not best.speedup.faster, facts)


def _together(loose: Point, groups: Point) -> Finding:
    """Whether groups are computed faster than CSR."""
    facts: dict[str, Blank] = {
        "density": told_percent(groups.density), "groups": milliseconds(groups.timing), "scattered": milliseconds(loose.timing),
        "fast": groups.speedup.told, "slow": loose.speedup.told,
    }  # fmt: skip
    words = message("at {density}, groups take {groups} ms (x {fast} against dense), scattered non-zeros {scattered} ms (x {slow}).")
    faster, slower = groups.speedup.low > loose.speedup.high, groups.speedup.high < loose.speedup.low
    return Finding(DENSE_PARTS, words, True if faster else False if slower else None, facts)


def answered(points: Sequence[Point]) -> Outcome:
    """Both findings, and every number: a row for each point, then one for each break-even density."""
    loose, groups = csr_at(points), at(points, GROUPS)
    findings = ([_paid(loose)] if loose else []) + ([_together(loose, groups)] if loose and groups else [])
    where = {**points[0].shape.row(), **points[0].timing.conditions.row()}
    rows: tuple[Row, ...] = (*(p.row() for p in points), *(b.row() | where for b in break_even(points)))
    return Outcome(tuple(findings), rows)
