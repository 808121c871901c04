"""Write predictions, correlations, clusters and attributions of one picture into a folder."""

import argparse
import json
import sys
from pathlib import Path

from inception_viz.cli import given
from inception_viz.text import LANGUAGES, Text


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for analysis.json, arrays.npz and figures/")
    parser.add_argument("--json", action="store_true", help="print analysis.json too")
    given.choose_weights(parser)
    parser.add_argument("--target", type=int, metavar="CLASS", help="index of the class to explain (default: the likeliest)")
    parser.add_argument("--against", type=int, metavar="CLASS", help="explain the target's logit minus this class's")
    parser.add_argument("--method", default="louvain", help="how clusters are found: 'louvain' (default) or 'average linkage'")
    parser.add_argument("--clusters", type=int, metavar="N", help="clusters a block (default: as the method's own criterion says)")
    parser.add_argument("--flows", action="store_true", help="how much of each cluster comes from each cluster of the block before")
    parser.add_argument("--language", choices=list(LANGUAGES), default="en", help="language of the figures")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import analysis, flows, images, report
    from inception_viz.activations import Target

    if arguments.against is not None and arguments.target is None:
        arguments.refuse("--against needs --target")
    picture = images.decode(given.read(arguments.picture), arguments.picture.name)
    model = given.model(arguments)
    target = None if arguments.target is None else Target(arguments.target, arguments.against)
    result = analysis.analyze(model, picture, target)
    clusters = dict(analysis.clustered(result, method=arguments.method, count=arguments.clusters))
    labels = {name: found.labels for name, found in clusters.items()}
    followed = flows.follow(model, model.input(picture), labels, result.target) if arguments.flows else None
    more = {} if followed is None else {"flows": flows.summary(followed)}
    try:
        told = analysis.write(result, clusters, arguments.out, more)
        report.write_figures(result, clusters, Text(arguments.language), arguments.out / "figures")
        if followed is not None:
            report.write_flows(result, followed, Text(arguments.language), arguments.out / "figures")
    except OSError as error:
        raise given.UnwritableFolder(name=arguments.out.name, reason=error.strerror or "unknown") from None
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False, allow_nan=False))
        return
    for prediction in told["predictions"]:
        print(f"{prediction['probability']:7.2%}  {prediction['name']}")
    print(f"{arguments.out}: analysis.json, arrays.npz, figures/", file=sys.stderr)
