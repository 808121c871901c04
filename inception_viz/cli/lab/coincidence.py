"""Principle or coincidence: whether channels of one branch fire together more than across, than in untrained twins, than under shuffled labels."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.measurement import Running


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE", help="one: over its positions; three or more: over pictures")
    parser.add_argument("--twins", type=int, default=39, help="untrained networks (default: 39)")
    given.choose_weights(parser)


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    import torch

    from inception_viz import coincidence, images
    from inception_viz.measurement import conditions, within

    within(coincidence.TWINS, arguments.twins, 1, coincidence.MOST_TWINS)
    model = given.model(arguments)
    inputs = torch.cat([model.input(images.decode(given.read(path), path.name)) for path in arguments.pictures])
    found = yield from coincidence.of_pictures(model, inputs, arguments.twins)
    return coincidence.answered(found, conditions(model.device, model.dtype))
