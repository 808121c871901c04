"""Download torchvision's ImageNet weights into the local cache; a broken download goes on where it stopped."""

import argparse
import sys

from inception_viz.cli import given


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("weights", choices=("imagenet",))
    given.choose_model(parser)
    parser.add_argument("--url", help="fetch from here instead (a mirror); the hash is checked all the same")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import models

    for progress in models.fetch_imagenet(arguments.model, url=arguments.url):
        share = f"{progress.received / progress.total:4.0%}" if progress.total else f"{progress.received / 1e6:.1f} MB"
        print(f"\r{share}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
