"""Plant a random sparse network, sample it, and recover it layer by layer from nothing but the samples (Arora et al. 2013)."""

import argparse
import json
import math


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--units", type=int, default=500, metavar="N", help="units a layer (default: 500)")
    parser.add_argument("--degree", type=int, default=6, metavar="D", help="connections of a unit to the layer below (default: 6)")
    parser.add_argument("--layers", type=int, default=2, metavar="L", help="layers of connections (default: 2)")
    parser.add_argument("--density", type=float, default=0.003, metavar="RHO", help="share of units that fire at the top (default: 0.003)")
    parser.add_argument("--samples", type=int, default=10_000, metavar="S", help="samples of the lowest layer (default: 10000)")
    parser.add_argument("--weights", default="signs", help="'signs' (plus or minus one, default) or 'uniform' (from -1 to 1)")
    parser.add_argument(
        "--wiring", default="regular", help="'regular' (as many for as against at every unit, default) or 'free' (a coin for each)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="K")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import topology

    names = ("units", "degree", "layers", "density", "samples", "weights", "wiring", "seed")
    setting = topology.Setting(**{name: getattr(arguments, name) for name in names})
    told = topology.rows(topology.experiment(setting))
    if arguments.json:
        plain = [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in told]
        print(json.dumps({"setting": vars(setting), "layers": plain}, allow_nan=False))
        return
    for row in told:
        print(
            f"layer {row['layer']}: positive edges precision {row['positive_precision']:.3f} recall {row['positive_recall']:.3f},"
            f" negative edges {row['negative_precision']:.3f} {row['negative_recall']:.3f},"
            f" exact parent sets {row['exact_parent_sets']:.3f}, {row['seconds']:.1f} s"
        )
