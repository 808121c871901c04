"""Write one self-contained report of a picture, in every language, and the data to repeat it."""

import argparse
import sys
from pathlib import Path

from inception_viz.cli import given
from inception_viz.text import LANGUAGES


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for report.html, report.json and arrays.npz")
    given.choose_weights(parser)
    parser.add_argument("--target", type=int, metavar="CLASS", help="index of the class to explain (default: the likeliest)")
    parser.add_argument("--against", type=int, metavar="CLASS", help="explain the target's logit minus this class's")
    parser.add_argument("--method", default="louvain", help="how clusters are found: 'louvain' (default) or 'average linkage'")
    parser.add_argument("--clusters", type=int, metavar="N", help="clusters a block (default: as the method's own criterion says)")
    parser.add_argument("--block", help="whose clusters are tested against chance (default: the middle one)")
    parser.add_argument("--language", choices=list(LANGUAGES), default="en", help="language that is shown first")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import analysis, images, report
    from inception_viz.activations import Target

    if arguments.against is not None and arguments.target is None:
        arguments.refuse("--against needs --target")
    picture = images.decode(given.read(arguments.picture), arguments.picture.name)
    model = given.model(arguments)
    target = None if arguments.target is None else Target(arguments.target, arguments.against)
    result = analysis.analyze(model, picture, target)
    names = list(result.blocks)
    made = report.make(result, arguments.method, arguments.clusters, arguments.block or names[len(names) // 2])
    try:
        report.write(made, arguments.out, arguments.language)
    except OSError as error:
        raise given.UnwritableFolder(name=arguments.out.name, reason=error.strerror or "unknown") from None
    print(f"{arguments.out}: report.html, report.json, arrays.npz", file=sys.stderr)
