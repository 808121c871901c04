"""The same job without a browser: `python -m inception_viz analyze | graph | models | fetch`.

Results go to standard output, progress and notices to standard error; bad input ends with exit code 2 and one clear line.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.errors import VisitorError
from inception_viz.text import LANGUAGES, Text, message

if TYPE_CHECKING:
    from inception_viz.models import Model  # imported late, as all that needs torch: `--help` should not wait for it

BAD_INPUT = 2


class UnreadableFile(VisitorError):
    """A file named on the command line is not there or may not be read."""

    words = message("The file “{name}” cannot be read: {reason}.")


class UnwritableFolder(VisitorError):
    """The results could not be written; what was there before is unharmed."""

    words = message("Nothing could be written to “{name}”: {reason}.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(name=path.name, reason=error.strerror or "unknown") from None


def _model(arguments: argparse.Namespace) -> "Model":
    from inception_viz import models

    file = (_bytes(arguments.weights_file), arguments.weights_file.name) if arguments.weights_file else None
    names = _bytes(arguments.class_names) if arguments.class_names else None
    return models.load(arguments.model, weights=arguments.weights, device=arguments.device, file=file, class_names=names)


def analyze(arguments: argparse.Namespace) -> None:
    """Write predictions, correlations, clusters and attributions of one picture into a folder."""
    from inception_viz import analysis, images, report
    from inception_viz.activations import Target

    picture = images.decode(_bytes(arguments.picture), arguments.picture.name)
    model = _model(arguments)
    target = None if arguments.target is None else Target(arguments.target, arguments.against)
    result = analysis.analyze(model, picture, target)
    clusters = dict(analysis.clustered(result, method=arguments.method, count=arguments.clusters))
    try:
        told = analysis.write(result, clusters, arguments.out)
        report.write_figures(result, clusters, Text(arguments.language), arguments.out / "figures")
    except OSError as error:
        raise UnwritableFolder(name=arguments.out.name, reason=error.strerror or "unknown") from None
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False, allow_nan=False))
        return
    for prediction in told["predictions"]:
        print(f"{prediction['probability']:7.2%}  {prediction['name']}")
    print(f"{arguments.out}: analysis.json, arrays.npz, figures/", file=sys.stderr)


def graph(arguments: argparse.Namespace) -> None:
    """Print the module graph of a network."""
    from inception_viz import architecture, models

    described = architecture.describe(models.load(arguments.model, weights="random", device="cpu"))
    print(architecture.EXPORTS[arguments.format](described))


def models_(arguments: argparse.Namespace) -> None:
    """List what can be loaded here, with which weights, on which device."""
    from inception_viz import models

    facts = models.device_facts(models.choose_device(arguments.device))
    listed = {name: [models.card(name, weights) for weights in models.choices(name)] for name in models.ARCHITECTURES}
    if arguments.json:
        device = {"name": facts.name, "memory_bytes": facts.memory_bytes, "precision": facts.precision}
        print(json.dumps({"device": device, "models": listed}, ensure_ascii=False, allow_nan=False))
        return
    print(f"device: {facts.name}, {facts.precision}")
    for name, cards in listed.items():
        for weights in cards:
            accuracy = "" if weights["top1"] is None else f"  top-1 {weights['top1']:.1%} on {weights['measured_on']}"
            print(f"{name}  {weights['name']}  {weights['classes']} classes{accuracy}")


def fetch(arguments: argparse.Namespace) -> None:
    """Download torchvision's ImageNet weights into the local cache; a broken download goes on where it stopped."""
    from inception_viz import models

    for progress in models.fetch_imagenet(arguments.model, url=arguments.url):
        share = f"{progress.received / progress.total:4.0%}" if progress.total else f"{progress.received / 1e6:.1f} MB"
        print(f"\r{share}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _choose_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="googlenet", help="architecture: googlenet or inception_v3 (default: googlenet)")


def _choose_weights(parser: argparse.ArgumentParser) -> None:
    _choose_model(parser)
    parser.add_argument("--weights", help="imagenet, boxed, random ... (default: the best that is here; see `models`)")
    parser.add_argument("--weights-file", type=Path, metavar="FILE", help="your own weights, .safetensors or .pth")
    parser.add_argument("--class-names", type=Path, metavar="FILE", help="names for your own weights: one a line, or a JSON list")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: $INCEPTION_VIZ_DEVICE, else the fastest that is here)")


def parser() -> argparse.ArgumentParser:
    """The command line as argparse sees it."""
    root = argparse.ArgumentParser(prog="python -m inception_viz", description="Look inside Inception networks.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    one = command("analyze", analyze)
    one.add_argument("picture", type=Path, metavar="PICTURE")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for analysis.json, arrays.npz and figures/")
    one.add_argument("--json", action="store_true", help="print analysis.json too")
    _choose_weights(one)
    one.add_argument("--target", type=int, metavar="CLASS", help="index of the class to explain (default: the likeliest)")
    one.add_argument("--against", type=int, metavar="CLASS", help="explain the target's logit minus this class's")
    one.add_argument("--method", default="louvain", help="how clusters are found: 'louvain' (default) or 'average linkage'")
    one.add_argument("--clusters", type=int, metavar="N", help="clusters a block (default: as the method's own criterion says)")
    one.add_argument("--language", choices=list(LANGUAGES), default="en", help="language of the figures")

    two = command("graph", graph)
    _choose_model(two)
    two.add_argument("--format", choices=("graphml", "json"), default="graphml")

    three = command("models", models_)
    three.add_argument("--json", action="store_true")
    three.add_argument("--device")

    four = command("fetch", fetch)
    four.add_argument("weights", choices=("imagenet",))
    _choose_model(four)
    four.add_argument("--url", help="fetch from here instead (a mirror); the hash is checked all the same")
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    root = parser()
    arguments = root.parse_args(argv)
    if getattr(arguments, "against", None) is not None and arguments.target is None:
        root.error("--against needs --target")
    try:
        arguments.run(arguments)
    except VisitorError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130
    return 0
