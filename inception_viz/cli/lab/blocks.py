"""Dense blocks in a sparse matrix: its non-zeros gathered by every method, and the blocked product timed against CSR and dense."""

import argparse
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.measurement import Running


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument("matrix", choices=("planted", "pruned", "random"))
    parser.add_argument("--layer", default="4e 3x3", help="for `pruned`: block and branch of the loaded network (default: '4e 3x3')")
    parser.add_argument(
        "--shape", type=int, nargs=3, metavar=("ROWS", "COLUMNS", "POSITIONS"), default=(384, 1152, 196), help="for the others"
    )
    parser.add_argument("--density", type=float, default=0.05, help="share of non-zeros (default: 0.05)")
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--noise", type=float, default=0.1, help="for `planted`: share of the non-zeros outside the blocks (default: 0.1)")
    given.choose_weights(parser)


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    from inception_viz import dense_blocks, models, sparsity

    kind, density, count = arguments.matrix, arguments.density, arguments.blocks
    if kind == dense_blocks.PRUNED:
        model = given.model(arguments)
        matrix, truth = dense_blocks.pruned_matrix(sparsity.layer_weights(model, arguments.layer), density, count), None
        shape, device = sparsity.layers(model)[arguments.layer], model.device
    else:
        shape, device = sparsity.Shape(*arguments.shape), models.choose_device(arguments.device)
        matrix, truth = dense_blocks.matrix_of(kind, shape, density, count, arguments.noise)
    found = yield from dense_blocks.measure(kind, matrix, shape.positions, count, device, truth)
    return dense_blocks.answered(found)
