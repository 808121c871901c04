"""Connection tables: LeNet-5's, random ones, full connection, groups and Inception's branches, run in every way."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inception_viz.measurement import Running


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument("--times", type=int, default=16, help="channels for each of LeNet-5's 6 inputs and 16 outputs (default: 16)")
    parser.add_argument("--kernel", type=int, default=5)
    parser.add_argument("--side", type=int, default=14, help="of the map (default: 14; LeNet-5: 10)")
    parser.add_argument("--groups", type=int, default=2, help="default: 2, as in AlexNet")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: $INCEPTION_VIZ_DEVICE, else the fastest that is here)")


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    from inception_viz import connections, models

    layer = connections.Layer(arguments.times, arguments.kernel, arguments.side, arguments.groups)
    return connections.answered((yield from connections.measure(layer, models.choose_device(arguments.device))))
