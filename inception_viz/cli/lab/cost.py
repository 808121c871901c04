"""What size costs: parameters, multiply-accumulates and measured time against width, depth, reductions, and of well-known networks."""

import argparse
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.measurement import Running

WHAT = ("width", "depth", "factor", "stages", "blocks", "networks")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument(
        "what",
        choices=WHAT,
        help="chains by width or depth, the loaded network by a factor on all widths or as far as each block, blocks, or networks",
    )
    parser.add_argument("--width", type=int, default=128, help="channels: the widest chain, or of all chains of `depth` (default: 128)")
    parser.add_argument("--depth", type=int, help="convolutions: of all chains of `width` (default: 2), or the deepest (default: 16)")
    parser.add_argument("--factor", type=float, help="for `factor`: one more factor on all widths, 0.1 to 3")
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
        points = yield from cost.measure_chains(
            [(w, 2 if arguments.depth is None else arguments.depth) for w in cost.widths_to(arguments.width)], device
        )
        return cost.grown(points)
    if arguments.what == "depth":
        points = yield from cost.measure_chains(
            [(arguments.width, d) for d in cost.depths_to(16 if arguments.depth is None else arguments.depth)], device
        )
        return cost.grown(points, cost.LINEAR, 1)
    if arguments.what == "factor":
        factors = sorted({*cost.FACTORS, *([] if arguments.factor is None else [arguments.factor])})
        return cost.grown((yield from cost.measure_factors(given.model(arguments), factors)))
    if arguments.what == "stages":
        return cost.deeper((yield from cost.measure_stages(given.model(arguments))))
    if arguments.what == "networks":
        return cost.compared((yield from cost.measure_networks(device)))
    blocks = {"own": Widths(*arguments.block)} if arguments.block else GOOGLENET
    return cost.saved((yield from cost.measure_blocks(blocks, device, arguments.five)), blocks, arguments.five)
