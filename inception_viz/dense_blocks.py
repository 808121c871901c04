"""Dense blocks in sparse matrices: rows and columns reordered so that most non-zeros fall into blocks, which are then multiplied as dense ones.

The paper builds on this (its reference [3], Çatalyürek, Aykanat & Uçar 2010). A block here is a set of rows and a set of columns; no row or column is
in two. What lies inside a block is held dense, with its zeros; the rest stays scattered, in CSR.
"""

import importlib.util
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import ModuleType

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import KMeans, SpectralCoclustering
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from inception_viz import communities
from inception_viz.activations import Tick, no_tick
from inception_viz.errors import VisitorError
from inception_viz.measurement import Cell, Finding, Outcome, Timing, within
from inception_viz.races import ROUNDS, Race, Ratio, raced
from inception_viz.sparsity import DENSITY, SEED, Shape, allowed, milliseconds, of_ratio, pruned, quiet, scattered, told_percent
from inception_viz.text import Blank, message

SIZES = {"192 x 576": Shape(192, 576, 196), "384 x 1152": Shape(384, 1152, 196), "640 x 1920": Shape(640, 1920, 196)}
DENSEST = 0.2  # of the matrices that are clustered: denser ones are no sparse ones, and take long
MOST_BLOCKS = 64
MOST_NONZEROS = 200_000  # for Louvain's sake
DRAWS = 19  # the fewest that allow p = 0.05
LEVEL = 0.05
PLANTED, PRUNED, RANDOM = "planted", "pruned", "random"
KINDS = {PLANTED: message("planted blocks"), PRUNED: message("pruned weights of the loaded network"), RANDOM: message("random")}
BLOCKS, NOISE, NONZEROS = message("The number of blocks"), message("The share of non-zeros outside"), message("The number of non-zeros")
GIVEN, ANSWER, CSR, DENSE = message("in the order given"), message("the planted order"), "CSR", message("dense")
COMPETITIVE = message("Clustering sparse matrices into relatively dense submatrices tends to give competitive performance.")
STRUCTURED = message("The non-zeros can be gathered into blocks better than as many scattered ones could.")


class NoPartitioner(VisitorError):
    """The package that partitions hypergraphs is not installed."""

    words = message("Hypergraph partitioning needs the package mtkahypar, which is not installed here (it exists for Linux on x86-64).")


class TooFull(VisitorError):
    """The non-zeros that are to lie inside the planted blocks are more than these have room for."""

    words = message(
        "{found} blocks have room for {room} of the matrix, but {wanted} of it is to lie inside them. Choose fewer blocks or a lower density."
    )


@dataclass(frozen=True, eq=False)
class Partition:
    """The block of every row `(rows,)` and of every column `(columns,)`, int; -1 for those in none."""

    rows: np.ndarray
    columns: np.ndarray

    def blocks(self) -> list[int]:
        """The blocks that have both rows and columns."""
        return sorted(set(self.rows[self.rows >= 0].tolist()) & set(self.columns[self.columns >= 0].tolist()))

    def order(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns by block, those in none last; equal ones stay in their order."""
        return tuple(np.argsort(np.where(of < 0, of.max(initial=0) + 1, of), kind="stable") for of in (self.rows, self.columns))  # type: ignore[return-value]

    def area(self) -> int:
        """How many places of the matrix lie inside blocks."""
        return sum(int((self.rows == b).sum()) * int((self.columns == b).sum()) for b in self.blocks())


Find = Callable[[sparse.csr_array, int, Tick], Partition]


def _strips(size: int, count: int) -> np.ndarray:
    return np.arange(size) * count // size


def given(matrix: sparse.csr_array, count: int, tick: Tick = no_tick) -> Partition:
    """Equal strips in the order given: what lies on the diagonal anyway."""
    return Partition(_strips(matrix.shape[0], count), _strips(matrix.shape[1], count))


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)


def _columns_of(pattern: sparse.csr_array, rows: np.ndarray, count: int) -> np.ndarray:
    """For every column the block whose rows hold the largest share of non-zeros in it, given their number; -1 for empty columns."""
    member = sparse.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(count, len(rows)))
    held = (member @ pattern).toarray() / np.maximum(np.bincount(rows, minlength=count), 1)[:, None]
    return np.where(held.sum(0) > 0, held.argmax(0), -1)


def co_clustering(matrix: sparse.csr_array, count: int, tick: Tick = no_tick) -> Partition:
    """Spectral co-clustering (Dhillon 2001): k-means on singular vectors of the matrix scaled by both degrees; empty rows and columns are in no block."""
    pattern = _pattern(matrix)
    rows, columns = np.flatnonzero(pattern.sum(1)), np.flatnonzero(pattern.sum(0))
    found = Partition(np.full(pattern.shape[0], -1), np.full(pattern.shape[1], -1))
    few = min(count, len(rows), len(columns))
    if few < 2:
        found.rows[rows], found.columns[columns] = 0, 0
        return found
    model = SpectralCoclustering(few, random_state=SEED, n_init=3).fit(sparse.csr_matrix(pattern[rows][:, columns]))
    found.rows[rows], found.columns[columns] = model.row_labels_, model.column_labels_
    return found


def singular_vectors(matrix: sparse.csr_array, count: int, tick: Tick = no_tick) -> Partition:
    """k-means on the rows of the leading left singular vectors times their values; each column goes where most of its non-zeros are."""
    pattern = _pattern(matrix)
    few = min(count, min(pattern.shape) - 1)
    if few < 2:
        return given(matrix, 1)
    left, values, _ = sparse.linalg.svds(pattern, few, rng=np.random.default_rng(SEED))
    rows = KMeans(few, n_init=2, random_state=SEED).fit_predict(left * values)
    return Partition(rows.astype(int), _columns_of(pattern, rows, few))


def louvain(matrix: sparse.csr_array, count: int, tick: Tick = no_tick) -> Partition:
    """Communities of the bipartite graph of rows and columns by Louvain's method, which chooses their number itself."""
    rows, columns = matrix.shape
    of = np.arange(rows + columns)
    for level in communities.louvain(communities.graph_of(_bipartite(matrix)), seed=SEED):
        tick()
        of = level
    more = np.bincount(of) > 1
    of = np.where(more, np.cumsum(more) - 1, -1)[of]
    return Partition(of[:rows], of[rows:])


def _bipartite(matrix: sparse.csr_array) -> sparse.csr_array:
    pattern = _pattern(matrix)
    return sparse.csr_array(sparse.block_array([[None, pattern], [pattern.T, None]]))


def cuthill_mckee(matrix: sparse.csr_array, count: int, tick: Tick = no_tick) -> Partition:
    """Reverse Cuthill-McKee on the bipartite graph, which draws the non-zeros to the diagonal; then equal strips of the rows."""
    order = sparse.csgraph.reverse_cuthill_mckee(_bipartite(matrix), symmetric_mode=True)
    rows = np.empty(matrix.shape[0], int)
    rows[order[order < len(rows)]] = _strips(len(rows), count)
    return Partition(rows, _columns_of(_pattern(matrix), rows, count))


@lru_cache(maxsize=1)
def _partitioner() -> tuple[ModuleType, object]:
    """The package and its initialised threads: once a process, one thread. Raises NoPartitioner."""
    try:
        import mtkahypar
    except ImportError:
        raise NoPartitioner() from None
    return mtkahypar, mtkahypar.initialize(1)


def hypergraph(matrix: sparse.csr_array, count: int, tick: Tick = no_tick) -> Partition:
    """Hypergraph partitioning, as reference [3] has it: rows are vertices, columns are nets, cut as few times as can be (Mt-KaHyPar). Raises NoPartitioner."""
    package, threads = _partitioner()
    nets = sparse.csc_array(matrix)
    pins = [net.tolist() for net in np.split(nets.indices, nets.indptr[1:-1]) if len(net) > 1]
    count = max(2, min(count, matrix.shape[0]))
    context = threads.context_from_preset(package.PresetType.DETERMINISTIC)  # type: ignore[attr-defined]
    context.set_partitioning_parameters(count, 0.1, package.Objective.KM1)
    context.logging = False
    package.set_seed(SEED)
    graph = threads.create_hypergraph(context, matrix.shape[0], len(pins), pins)  # type: ignore[attr-defined]
    rows = np.array(graph.partition(context).get_partition())
    return Partition(rows, _columns_of(_pattern(matrix), rows, count))


METHODS: Mapping[str, Find] = {
    message("spectral co-clustering"): co_clustering,
    message("k-means on singular vectors"): singular_vectors,
    message("Louvain on the bipartite graph"): louvain,
    message("reverse Cuthill-McKee"): cuthill_mckee,
    message("hypergraph partitioning"): hypergraph,
}


def methods() -> dict[str, Find]:
    """The methods that can be had here: hypergraph partitioning needs a package that is not everywhere."""
    here = importlib.util.find_spec("mtkahypar") is not None
    return {name: find for name, find in METHODS.items() if here or find is not hypergraph}


def inside(matrix: sparse.csr_array, partition: Partition) -> float:
    """The share of the non-zeros that lie inside blocks; nan without any."""
    coordinates = matrix.tocoo()
    row, column = partition.rows[coordinates.row], partition.columns[coordinates.col]
    return float(((row == column) & (row >= 0)).mean()) if matrix.nnz else float("nan")


def storage(matrix: sparse.csr_array, partition: Partition) -> float:
    """Bytes of blocks and rest over those of plain CSR: a value takes 4 bytes, a column index 4 more."""
    pointers = 4 * (matrix.shape[0] + 1)
    rest = matrix.nnz - round(inside(matrix, partition) * matrix.nnz) if matrix.nnz else 0
    return (4 * partition.area() + 8 * rest + pointers) / (8 * matrix.nnz + pointers)


@dataclass(frozen=True, eq=False)
class Blocked:
    """A matrix in the order of its blocks: each block dense with its first row and column, the rest in CSR (None if nothing is left).

    The order costs nothing in a network: rows and columns are channels, whose order the layers before and after can take over.
    """

    rows: np.ndarray
    columns: np.ndarray
    blocks: tuple[tuple[int, int, Tensor], ...]
    rest: Tensor | None

    def product(self, inputs: Tensor) -> Tensor:
        """Inputs `(columns, positions)` in this order to outputs `(rows, positions)` in this order."""
        outputs = inputs.new_zeros(len(self.rows), inputs.shape[1]) if self.rest is None else self.rest @ inputs
        for row, column, values in self.blocks:
            outputs[row : row + len(values)].addmm_(values, inputs[column : column + values.shape[1]])
        return outputs

    def multiply(self, inputs: Tensor) -> Tensor:
        """The same with inputs and outputs in the order of the matrix as it was given."""
        ordered = self.product(inputs[torch.from_numpy(self.columns).to(inputs.device)])
        outputs = torch.empty_like(ordered)
        outputs[torch.from_numpy(self.rows).to(inputs.device)] = ordered
        return outputs


def _csr(matrix: sparse.csr_array, device: torch.device) -> Tensor:
    return quiet(torch.from_numpy(matrix.toarray()).to_sparse_csr).to(device)


def blocked(matrix: sparse.csr_array, partition: Partition, device: torch.device) -> Blocked:
    """The matrix as dense blocks and a rest: nothing is lost, nothing is in both."""
    rows, columns = partition.order()
    rest, blocks = matrix[rows][:, columns].tolil(), []
    for block in partition.blocks():
        down, across = np.flatnonzero(partition.rows[rows] == block), np.flatnonzero(partition.columns[columns] == block)
        place = slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1)
        blocks.append((int(down[0]), int(across[0]), torch.from_numpy(rest[place].toarray()).to(device)))
        rest[place] = 0
    left = sparse.csr_array(rest)
    left.eliminate_zeros()
    return Blocked(rows, columns, tuple(blocks), _csr(left, device) if left.nnz else None)


def planted(shape: Shape, count: int, density: float, noise: float, seed: int = SEED) -> tuple[sparse.csr_array, Partition]:
    """A matrix whose non-zeros lie in `count` equal blocks but for a share `noise`, its rows and columns shuffled; and the blocks. Raises TooFull."""
    generator = np.random.default_rng(seed)
    truth = Partition(*(generator.permutation(_strips(size, count)) for size in (shape.outputs, shape.inputs)))
    places = truth.rows[:, None] == truth.columns[None, :]
    wanted = round(density * places.size)
    within_blocks = round((1 - noise) * wanted)
    if within_blocks > places.sum():
        room, share = told_percent(places.mean()), told_percent(within_blocks / places.size)
        raise TooFull(found=count, room=room, wanted=share)
    chosen = [
        generator.choice(np.flatnonzero(where), number, replace=False)
        for where, number in ((places, within_blocks), (~places, wanted - within_blocks))
    ]
    weights = np.zeros(places.size, np.float32)
    weights[np.concatenate(chosen)] = generator.standard_normal(wanted, np.float32) + 3  # no zero among them
    return sparse.csr_array(weights.reshape(places.shape)), truth


def shuffled(matrix: sparse.csr_array, seed: int) -> sparse.csr_array:
    """Non-zeros at other places, with as many in every row and every column: what block structure is measured against.

    Curveball trades (Strona et al. 2014): two rows put the columns that only one of them has into a hat and draw as many as they gave.
    """
    generator = np.random.default_rng(seed)
    rows = [set(part.tolist()) for part in np.split(matrix.indices, matrix.indptr[1:-1])]
    for _ in range(5 * len(rows)):
        a, b = generator.choice(len(rows), 2, replace=False)
        common = rows[a] & rows[b]
        hat = generator.permutation(sorted(rows[a] ^ rows[b])).tolist()
        mine = len(rows[a]) - len(common)
        rows[a], rows[b] = common | set(hat[:mine]), common | set(hat[mine:])
    indices = np.concatenate([np.array(sorted(row), np.int32) for row in rows])
    return sparse.csr_array((matrix.data.copy(), indices, matrix.indptr.copy()), shape=matrix.shape)


@dataclass(frozen=True, eq=False)
class Gathered:
    """What one method found: its partition, the share inside, storage over CSR's, seconds to find it, and the blocked product against CSR and dense.

    `agreement` is the adjusted Rand index of its rows' blocks with the planted ones, nan where nothing was planted.
    """

    method: str
    partition: Partition
    inside: float
    density: float
    storage: float
    found_in: float
    agreement: float
    timing: Timing
    over_csr: Ratio
    over_dense: Ratio

    def row(self) -> dict[str, Cell]:
        """As a row of a table."""
        told: dict[str, Cell] = {
            "method": self.method, "blocks": len(self.partition.blocks()), "inside": self.inside, "density_inside": self.density,
            "storage_over_csr": self.storage, "seconds_to_find": self.found_in, "adjusted_rand": self.agreement,
        }  # fmt: skip
        return told | self.over_csr.row("over_csr") | self.over_dense.row("over_dense") | self.timing.row()


@dataclass(frozen=True, eq=False)
class Clustering:
    """A matrix of a kind (of KINDS), its non-zeros' places `pattern` (2, non-zeros), what every method made of it, and plain CSR and dense.

    `real` is the share that k-means on singular vectors brings inside, `null` `(draws,)` the same for shuffled non-zeros.
    """

    kind: str
    shape: Shape
    pattern: np.ndarray
    found: tuple[Gathered, ...]
    csr: Timing
    dense: Timing
    csr_over_dense: Ratio
    real: float
    null: np.ndarray

    @property
    def density(self) -> float:
        """The share of non-zeros."""
        return self.pattern.shape[1] / (self.shape.outputs * self.shape.inputs)

    @property
    def p(self) -> float:
        """How often shuffled non-zeros can be gathered as well."""
        return float((1 + (self.null >= self.real).sum()) / (1 + len(self.null)))

    @property
    def best(self) -> Gathered:
        """The fastest that a method found: neither the given order nor the answer."""
        return max((g for g in self.found if g.method in METHODS), key=lambda g: g.over_csr.median)


def matrix_of(kind: str, shape: Shape, density: float, blocks: int, noise: float = 0.0) -> tuple[sparse.csr_array, Partition | None]:
    """A planted or random matrix, and its blocks if it has any. Raises OutOfRange, TooLarge, TooFull."""
    _check(shape, density, blocks)
    within(NOISE, noise, 0, 1)
    if kind == PLANTED:
        return planted(shape, blocks, density, noise)
    return sparse.csr_array(scattered(shape, density, np.random.default_rng(SEED))), None


def pruned_matrix(weights: np.ndarray, density: float, blocks: int) -> sparse.csr_array:
    """The largest of `weights` (rows, columns), a share `density` of them. Raises OutOfRange or TooLarge."""
    _check(Shape(weights.shape[0], weights.shape[1], 1), density, blocks)
    return sparse.csr_array(pruned(weights, density))


def _check(shape: Shape, density: float, blocks: int) -> None:
    allowed(shape)
    within(DENSITY, density, 1e-4, DENSEST)
    within(BLOCKS, blocks, 2, MOST_BLOCKS)
    within(NONZEROS, round(density * shape.outputs * shape.inputs), 2, MOST_NONZEROS)


def measure(
    kind: str,
    matrix: sparse.csr_array,
    positions: int,
    blocks: int,
    device: torch.device,
    truth: Partition | None = None,
    tick: Tick = no_tick,
    rounds: int = ROUNDS,
    draws: int = DRAWS,
) -> Generator[float, None, Clustering]:
    """Gather the non-zeros by every method and time all products by turns: yields the share done. Raises OutOfRange or TooLarge before."""
    shape = Shape(matrix.shape[0], matrix.shape[1], positions)
    _check(shape, matrix.nnz / (shape.outputs * shape.inputs), blocks)
    tried, steps = methods(), len(methods()) + draws + 1
    partitions, took = {GIVEN: given(matrix, blocks)} | ({ANSWER: truth} if truth else {}), {GIVEN: 0.0, ANSWER: 0.0}
    for done, (name, find) in enumerate(tried.items()):
        started = time.perf_counter()
        partitions[name] = find(matrix, blocks, tick)
        took[name] = time.perf_counter() - started
        yield (done + 1) / steps
    null = []
    for seed in range(draws):
        other = shuffled(matrix, seed)
        null.append(inside(other, singular_vectors(other, blocks)))
        yield (len(tried) + seed + 1) / steps
    race = _race(matrix, partitions, positions, device, rounds)
    found = tuple(_gathered(name, partition, matrix, truth, took[name], race) for name, partition in partitions.items())
    coordinates = matrix.tocoo()
    pattern = np.stack([coordinates.row, coordinates.col]).astype(np.int32)
    real = next(g.inside for g in found if METHODS.get(g.method) is singular_vectors)
    yield 1.0
    return Clustering(kind, shape, pattern, found, race.times[CSR], race.times[DENSE], race.speedup(CSR, DENSE), real, np.array(null))


def _race(matrix: sparse.csr_array, partitions: Mapping[str, Partition], positions: int, device: torch.device, rounds: int) -> Race:
    """CSR, dense, and the blocked product of every partition, by turns."""
    inputs = torch.randn(matrix.shape[1], positions, generator=torch.Generator().manual_seed(SEED)).to(device)
    scattered_, full = _csr(matrix, device), torch.from_numpy(matrix.toarray()).to(device)
    runs: dict[str, Callable[[], object]] = {CSR: lambda: scattered_ @ inputs, DENSE: lambda: full @ inputs}
    runs |= {name: partial(blocked(matrix, partition, device).product, inputs) for name, partition in partitions.items()}
    return raced(runs, device, rounds)


def _gathered(name: str, partition: Partition, matrix: sparse.csr_array, truth: Partition | None, seconds: float, race: Race) -> Gathered:
    share = inside(matrix, partition)
    agreement = float(adjusted_rand_score(truth.rows, partition.rows)) if truth else float("nan")
    return Gathered(
        name, partition, share, share * matrix.nnz / max(1, partition.area()), storage(matrix, partition), seconds, agreement,
        race.times[name], race.speedup(name, CSR), race.speedup(name, DENSE),
    )  # fmt: skip


def _speed(clustering: Clustering) -> Finding:
    best = clustering.best
    facts: dict[str, Blank] = {
        "inside": told_percent(best.inside), "blocks": len(best.partition.blocks()),
        "blocked": milliseconds(best.timing), "csr": milliseconds(clustering.csr), "dense": milliseconds(clustering.dense), **of_ratio(best.over_csr),
    }  # fmt: skip
    words = message(
        "the fastest order has {inside} in {blocks} blocks: {blocked} ms, CSR {csr} ms, dense {dense} ms; x {speedup} ({low} to {high}) against CSR."
    )
    return Finding(COMPETITIVE, words, best.over_csr.faster, facts)


def _structure(clustering: Clustering) -> Finding:
    facts: dict[str, Blank] = {
        "inside": f"{clustering.real:.1%}", "null": f"{clustering.null.mean():.1%}", "n": len(clustering.null), "p": f"{clustering.p:.2f}",
    }  # fmt: skip
    words = message(
        "k-means gathers {inside} of the non-zeros; of shuffled ones, as many in every row and column, {null} (n = {n}, p = {p})."
    )
    return Finding(STRUCTURED, words, clustering.p <= LEVEL, facts)


def answered(clustering: Clustering) -> Outcome:
    """Both findings, and a row for each method, for CSR and for dense."""
    where: dict[str, Cell] = {"matrix": clustering.kind, **clustering.shape.row(), "density": clustering.density}
    plain: dict[str, Cell] = {"method": CSR}
    rows = [where | g.row() for g in clustering.found]
    rows += [where | plain | clustering.csr_over_dense.row("over_dense") | clustering.csr.row()]
    rows += [where | {"method": DENSE} | clustering.dense.row()]
    chance = where | {"method": "shuffled", "p": clustering.p} | clustering.csr.conditions.row()
    rows += [chance | {"inside": float(share)} for share in clustering.null]
    return Outcome((_speed(clustering), _structure(clustering)), tuple(rows))
