"""Write predictions, correlations, clusters and attributions of one picture into a folder."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.cli import given
from inception_viz.text import LANGUAGES, Text

if TYPE_CHECKING:
    from inception_viz.analysis import Analysis
    from inception_viz.clusters import Clusters
    from inception_viz.evidence import Evidence
    from inception_viz.images import Picture
    from inception_viz.models import Model

FEWEST, MOST = 20, 999  # random sets: with fewer no p reaches 0.05, and more say little more
TRANSFORMS = {"log1p": "log(1 + a)", "spearman": "ranks (Spearman)", "without-mean-map": "without the mean map"}
BASELINES = ("mean", "resample", "zero")
OTHERS = 5  # samples that join the picture, for a mean or another picture


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
    parser.add_argument(
        "--transform", choices=list(TRANSFORMS), help="done to the activations before they are correlated (default: nothing)"
    )
    parser.add_argument("--null", metavar="KINDS", help="test clusters against nulls: shift, untrained, or both with a comma between")
    parser.add_argument("--knockouts", type=int, metavar="N", help="take every cluster out, against N matched random sets (20 or more)")
    parser.add_argument("--pairs", action="store_true", help="with --knockouts: take out every two of the ten largest clusters, too")
    parser.add_argument("--check", metavar="METHODS", help="try methods of attribution: 'gradient x activation,conductance', for example")
    parser.add_argument("--baseline", default="mean", help="what stands in for channels taken out: mean (default), resample, zero")
    parser.add_argument("--flows", action="store_true", help="how much of each cluster comes from each cluster of the block before")
    parser.add_argument("--language", choices=list(LANGUAGES), default="en", help="language of the figures")


def _doubted(
    arguments: argparse.Namespace, model: "Model", picture: "Picture", result: "Analysis", clusters: dict[str, "Clusters"]
) -> dict[str, "Evidence"]:
    """What was asked for with --null, --knockouts and --check, by block; nothing if none was."""
    from inception_viz import evidence, images

    if arguments.null is None and arguments.knockouts is None and arguments.check is None:
        return {}
    kinds, methods = ([name for name in (listed or "").split(",") if name] for listed in (arguments.null, arguments.check))
    evidence.check_kinds(kinds)
    evidence.check_methods(methods)
    samples = [images.decode(entry.read(), name) for name, entry in images.samples().items()]
    others = [sample for sample in samples if sample.sha256 != picture.sha256][:OTHERS]
    found = {}
    asked = kinds, arguments.knockouts or 0, arguments.baseline, arguments.pairs, methods
    for name, one in evidence.gather(model, [picture, *others], result, clusters, *asked):
        found[name] = one
        print(f"{name}: {len(found)} of {len(result.blocks)} blocks tested", file=sys.stderr)
    return found


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import analysis, evidence, flows, images, report
    from inception_viz.activations import Target

    if arguments.against is not None and arguments.target is None:
        arguments.refuse("--against needs --target")
    if arguments.knockouts is not None and not FEWEST <= arguments.knockouts <= MOST:
        arguments.refuse(f"--knockouts needs {FEWEST} to {MOST} random sets")
    if arguments.pairs and arguments.knockouts is None:
        arguments.refuse("--pairs needs --knockouts")
    if arguments.baseline not in BASELINES:
        arguments.refuse(f"--baseline is one of {', '.join(BASELINES)}")
    picture = images.decode(given.read(arguments.picture), arguments.picture.name)
    model = given.model(arguments)
    target = None if arguments.target is None else Target(arguments.target, arguments.against)
    result = analysis.analyze(model, picture, target)
    if arguments.transform:
        result = analysis.transformed(result, TRANSFORMS[arguments.transform])
    clusters = dict(analysis.clustered(result, method=arguments.method, count=arguments.clusters))
    labels = {name: found.labels for name, found in clusters.items()}
    followed = flows.follow(model, model.input(picture), labels, result.target) if arguments.flows else None
    doubted = _doubted(arguments, model, picture, result, clusters)
    numbers = {name: evidence.summary(one, arguments.baseline) for name, one in doubted.items()}
    try:
        more = {} if followed is None else {"flows": flows.summary(followed)}
        told = analysis.write(
            result, clusters, arguments.out, numbers, more, {k: v for n, one in doubted.items() for k, v in evidence.arrays(one, n).items()}
        )
        report.write_figures(result, clusters, Text(arguments.language), arguments.out / "figures", doubted)
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
