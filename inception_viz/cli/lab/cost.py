"""What size costs: parameters, multiply-accumulates and measured time against width, depth, reductions, and of well-known networks."""

import argparse
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.measurement import Running

WHAT = ("width", "depth", "factor", "blocks", "networks")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument(
        "what", choices=WHAT, help="chains by width or depth, the loaded network by a factor on all widths, blocks, or networks"
    )
    parser.add_argument("--width", type=int, default=128, help="channels: the widest chain, or of all chains of `depth` (default: 128)")
    parser.add_argument("--depth", type=int, help="convolutions: of all chains of `width` (default: 2), or the deepest (default: 16)")
    parser.add_argument(
        "--block", type=int, nargs=8, metavar="N", help="for `blocks`: inputs, side, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool"
    )
    parser.add_argument("--five", type=int, choices=(3, 5), default=5, help="kernel of the 5x5 branch: 3 as torchvision builds it")
    given.choose_weights(parser)


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    from inception_viz import cost, models
    from inception_viz.networks import GOOGLENET, Widths

    device = models.choose_device(arguments.device)
    if arguments.what == "width":
        points = yield from cost.measure_chains([(w, arguments.depth or 2) for w in cost.widths_to(arguments.width)], device)
        return cost.grown(points)
    if arguments.what == "depth":
        points = yield from cost.measure_chains([(arguments.width, d) for d in cost.depths_to(arguments.depth or 16)], device)
        return cost.grown(points, cost.LINEAR, 1)
    if arguments.what == "factor":
        points = yield from cost.measure_factors(given.model(arguments))
        return cost.grown(points)
    if arguments.what == "networks":
        return cost.compared((yield from cost.measure_networks(device)))
    blocks = {"own": Widths(*arguments.block)} if arguments.block else GOOGLENET
    return cost.saved((yield from cost.measure_blocks(blocks, device, arguments.five)))
