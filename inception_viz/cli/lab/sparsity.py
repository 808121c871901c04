"""Sparse against dense: one layer's product at densities from 50% to 0.5% in every format, with the density at which each breaks even."""

import argparse
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.measurement import Running


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument(
        "--layer", default="4e 3x3", help="block and branch of the loaded network, whose weights are pruned (default: '4e 3x3')"
    )
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        metavar=("OUTPUTS", "INPUTS", "POSITIONS"),
        help="a product of these sizes instead, with random non-zeros",
    )
    given.choose_weights(parser)


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    from inception_viz import models, sparsity

    if arguments.shape:
        points = yield from sparsity.measure(sparsity.Shape(*arguments.shape), models.choose_device(arguments.device))
        return sparsity.answered(points)
    model = given.model(arguments)
    weights = sparsity.layer_weights(model, arguments.layer)
    points = yield from sparsity.measure(sparsity.layers(model)[arguments.layer], model.device, weights=weights)
    return sparsity.answered(points)
