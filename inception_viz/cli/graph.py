"""Print the module graph of a network."""

import argparse

from inception_viz.cli import given


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    given.choose_model(parser)
    parser.add_argument("--format", choices=("graphml", "json"), default="graphml")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import architecture, models

    described = architecture.describe(models.load(arguments.model, weights="random", device="cpu"))
    print(architecture.EXPORTS[arguments.format](described))
