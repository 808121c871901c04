"""Two answers beside each other: two pictures, two classes, two networks, or two states of one training. Prints JSON."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.analysis import Analysis


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    given.choose_weights(parser)
    parser.add_argument("--target", type=int, metavar="CLASS", help="index of the class to explain (default: the likeliest of each side)")
    parser.add_argument("--other-picture", type=Path, metavar="PICTURE", help="the picture of side B (default: the same)")
    parser.add_argument("--other-model", metavar="MODEL", help="the architecture of side B (default: the same)")
    parser.add_argument("--other-weights", metavar="WEIGHTS", help="the weights of side B, such as boxed-untrained (default: the same)")
    parser.add_argument("--other-target", type=int, metavar="CLASS", help="the class of side B (default: --target)")
    parser.add_argument("--method", default="louvain", help="how clusters are found: 'louvain' (default) or 'average linkage'")
    parser.add_argument("--clusters", type=int, metavar="N", help="clusters a block (default: as the method's own criterion says)")


def _sides(arguments: argparse.Namespace) -> "tuple[Analysis, Analysis]":
    from inception_viz import analysis, images, models
    from inception_viz.activations import Target

    found = []
    first = given.model(arguments)
    name, weights = arguments.other_model or arguments.model, arguments.other_weights
    second = models.load(name, weights, arguments.device) if arguments.other_model or weights else first
    own, other = arguments.target, arguments.target if arguments.other_target is None else arguments.other_target
    for path, model, index in ((arguments.picture, first, own), (arguments.other_picture or arguments.picture, second, other)):
        picture = images.decode(given.read(path), path.name)
        found.append(analysis.analyze(model, picture, None if index is None else Target(index)))
    return found[0], found[1]


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import analysis, comparisons

    a, b = _sides(arguments)
    clusters = (dict(analysis.clustered(side, arguments.method, arguments.clusters)) for side in (a, b))
    print(json.dumps(comparisons.summary(a, b, (next(clusters), next(clusters))), ensure_ascii=False, allow_nan=False))
