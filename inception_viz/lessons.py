"""Seven lessons through Section 3 of "Going Deeper with Convolutions": a question, a prediction, and the number that the loaded network gives.

Nothing is hard-coded: each lesson measures on the network and the picture that are on show, so that its answer may differ from the book's.
"""

import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from torch import Tensor

from inception_viz import clusters, nulls
from inception_viz.analysis import Analysis
from inception_viz.correlations import correlate
from inception_viz.models import Model
from inception_viz.text import Blank, Text, message

BLOCK = "4c"
PICTURES = 100_000  # that the boxed network was trained on
STRONG = 0.5  # |r| of a pair that is called strongly correlated
SIDE, ZEROS, REPEATS, SEED = 768, 0.9, 5, 0


@dataclass(frozen=True)
class Measured:
    """What a lesson found: the `value` that decides between the answers, and the `facts` that fill its sentence."""

    value: float
    facts: Mapping[str, Blank]


@dataclass(frozen=True)
class Lesson:
    """One step: `answers` stand in rising order, parted by `bounds`; `found` is told with the facts of `measure(model, inputs, analysis)`.

    `pages` are the pages that show it, the best first; `view` is the exact view to open there.
    """

    title: str
    story: str
    question: str
    answers: tuple[str, ...]
    bounds: tuple[float, ...]
    found: str
    meaning: str
    pages: tuple[str, ...]
    view: Mapping[str, str]
    measure: Callable[[Model, Tensor, Analysis], Measured]

    def right(self, measured: Measured) -> int:
        """The index of the answer that the measured value falls into."""
        return bisect_right(self.bounds, measured.value)

    def told(self, text: Text, measured: Measured) -> str:
        """The finding as a sentence."""
        return text(self.found, **measured.facts)


def size(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """Parameters for every training picture of the boxed network."""
    parameters = analysis.architecture.parameters
    each = parameters / PICTURES
    return Measured(each, {"parameters": f"{parameters:,}", "pictures": f"{PICTURES:,}", "each": round(each)})


def widened(analysis: Analysis, times: int = 2) -> int:
    """Multiply-accumulates if every layer had `times` as many channels; the picture's colours and the classes stay as many."""
    weighted = [facts["macs"] for _, facts in analysis.architecture.graph.nodes(data=True) if facts["macs"]]
    return times * (weighted[0] + weighted[-1]) + times**2 * sum(weighted[1:-1])  # the first layer reads colours, the last gives classes


def cost(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """How many times as many multiply-accumulates twice as many channels need."""
    before, after = analysis.architecture.macs, widened(analysis)
    return Measured(after / before, {"before": round(before / 1e6), "after": round(after / 1e6), "times": f"{after / before:.2f}"})


def sparse_hope(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """The share of activations of a block that are exactly zero."""
    activation = analysis.blocks[BLOCK].activation
    share = float((activation == 0).mean())
    return Measured(share, {"share": f"{share:.0%}", "n": activation.size, "block": BLOCK})


def _median_seconds(run: Callable[[], object]) -> float:
    run()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def dense_hardware(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """How many times as fast a product with a matrix of nine tenths zeros is when the zeros are left out, on the CPU, float32."""
    generator = np.random.default_rng(SEED)
    matrix = generator.standard_normal((SIDE, SIDE), dtype=np.float32) * (generator.random((SIDE, SIDE)) >= ZEROS)
    other, compressed = generator.standard_normal((SIDE, SIDE), dtype=np.float32), scipy.sparse.csr_array(matrix)
    dense, sparse = _median_seconds(lambda: matrix @ other), _median_seconds(lambda: compressed @ other)
    facts: dict[str, Blank] = {
        "dense": f"{dense * 1e3:.1f}",
        "sparse": f"{sparse * 1e3:.1f}",
        "times": f"{dense / sparse:.1f}",
        "side": SIDE,
        "n": REPEATS,
    }
    return Measured(dense / sparse, facts)


def hebb(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """Mean |r| of pairs inside a branch over mean |r| of pairs from two branches."""
    block = analysis.blocks[BLOCK]
    branch = block.block.branch_of
    above = np.triu_indices(len(branch), 1)
    strength, inside = np.abs(block.correlation.r[above]), branch[above[0]] == branch[above[1]]
    same, other = float(np.nanmean(strength[inside])), float(np.nanmean(strength[~inside]))
    return Measured(same / other, {"same": f"{same:.2f}", "other": f"{other:.2f}", "block": BLOCK, "n": block.correlation.n})


def mixed_clusters(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """The share of a block's clusters that hold channels of all branches."""
    block = analysis.blocks[BLOCK]
    table = clusters.branch_table(clusters.find(block.correlation), block.block)
    mixed = int((table > 0).all(1).sum())
    return Measured(mixed / len(table), {"mixed": mixed, "count": len(table), "block": BLOCK})


def coincidence(model: Model, inputs: Tensor, analysis: Analysis) -> Measured:
    """Strongly correlated pairs of the same network before any training, for each one of the trained network."""
    (twin,) = nulls.untrained(model, inputs, 1)
    trained = float((np.abs(analysis.blocks[BLOCK].correlation.pairs()) > STRONG).mean())
    untrained = float((np.abs(correlate(twin[BLOCK].cpu()).pairs()) > STRONG).mean())
    facts: dict[str, Blank] = {"trained": f"{trained:.1%}", "untrained": f"{untrained:.1%}", "block": BLOCK, "strong": STRONG}
    return Measured(untrained / trained if trained else np.inf, facts)


LESSONS: dict[str, Lesson] = {
    "size": Lesson(
        message("Size"),
        message(
            "The straight way to a better network is a bigger one. But every parameter has to be learned from pictures, and pictures are few."
        ),
        message("How many parameters does the boxed network have for every picture that it was trained on?"),
        (message("less than one"), message("one to twenty"), message("twenty to a hundred"), message("more than a hundred")),
        (1, 20, 100),
        message("{parameters} parameters for {pictures} training pictures: about {each} for each picture."),
        message(
            "With so many, a network can learn its training pictures by heart: that is overfitting. The paper calls it the first price of size."
        ),
        ("overfitting", "architecture"),
        {"colour": "parameters"},
        size,
    ),
    "cost": Lesson(
        message("Cost"),
        message(
            "The second price is arithmetic. Where two convolutions follow each other, each channel of one is joined to each channel of the other."
        ),
        message("All layers get twice as many channels. How many times as many multiply-accumulates does a picture need?"),
        (message("about twice"), message("about three times"), message("about four times"), message("five times or more")),
        (2.5, 3.5, 4.5),
        message("From {before} to {after} million multiply-accumulates: {times} times, counted layer by layer."),
        message("Cost grows with the square of the width. If many of the new weights end near zero, most of that arithmetic is wasted."),
        ("cost", "architecture"),
        {"colour": "multiply-accumulates"},
        cost,
    ),
    "hope": Lesson(
        message("The sparse hope"),
        message("The cure would be sparse: join only what needs to be joined. And is not most of a network silent most of the time?"),
        message("How many of the activations of block 4c are exactly zero on your picture?"),
        (
            message("less than a quarter"),
            message("a quarter to a half"),
            message("a half to three quarters"),
            message("more than three quarters"),
        ),
        (0.25, 0.5, 0.75),
        message("{share} of the {n} activations of block {block} are exactly zero."),
        message(
            "So much of the arithmetic multiplies by zero. Arora and others show how, under assumptions, a sparse network could be built."
        ),
        ("sparsity", "activations"),
        {"block": BLOCK},
        sparse_hope,
    ),
    "dense": Lesson(
        message("Dense hardware"),
        message("Leave out the zeros, then! A matrix with nine tenths zeros needs only a tenth of the multiplications."),
        message("How many times as fast is the product on this computer when the zeros are left out?"),
        (
            message("it is slower"),
            message("up to three times as fast"),
            message("three to eight times as fast"),
            message("eight times as fast, or more"),
        ),
        (1, 3, 8),
        message("{dense} ms dense, {sparse} ms sparse: {times} times as fast (median of {n}, {side} x {side}, this server's processor)."),
        message("A tenth of the arithmetic is rarely a tenth of the time: finding the values costs more than multiplying them."),
        ("sparsity", "dense_blocks", "architecture"),
        {},
        dense_hardware,
    ),
    "hebb": Lesson(
        message("Hebb"),
        message("Which units belong together? Hebb's rule: what fires together, wires together. The theory groups units that correlate."),
        message("In block 4c, do two channels of one branch fire together more strongly than two of different branches?"),
        (message("less strongly"), message("about equally"), message("more strongly")),
        (0.9, 1.1),
        message("Mean |r| is {same} inside a branch and {other} between branches (block {block}, n = {n} positions)."),
        message(
            "If it is about equal, what a channel answers to is not decided by the size of its window: likeness runs across the branches."
        ),
        ("correlations",),
        {"block": BLOCK, "order": "branch"},
        hebb,
    ),
    "clusters": Lesson(
        message("Clusters"),
        message(
            "Group the channels that fire together, and look where each group comes from. If the design were right to the letter, windows would matter."
        ),
        message("How many of the clusters of block 4c hold channels of all four branches?"),
        (message("less than a quarter"), message("a quarter to three quarters"), message("more than three quarters")),
        (0.25, 0.75),
        message("{mixed} of {count} clusters of block {block} hold channels of all branches."),
        message(
            "Inception covers a sparse structure with dense parts: a cluster draws on several sizes of window, for small and large patterns."
        ),
        ("clusters",),
        {"block": BLOCK},
        mixed_clusters,
    ),
    "coincidence": Lesson(
        message("Is it coincidence?"),
        message("The paper itself warns: that the design works does not prove its reasons. So ask a network that has learned nothing."),
        message(
            "The same network with random weights sees the same picture. How many strongly correlated pairs has it, for each one of the trained network?"
        ),
        (message("fewer than half as many"), message("fewer, but more than half as many"), message("as many or more")),
        (0.5, 1),
        message("|r| above {strong} in {untrained} of the pairs without training, and in {trained} after it (block {block})."),
        message(
            "Correlation alone is no evidence of learning: neighbouring places are alike, and random filters see that too. Compare with a null."
        ),
        ("coincidence", "correlations"),
        {"block": BLOCK},
        coincidence,
    ),
}
