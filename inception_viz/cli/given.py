"""What commands have in common: files and folders named on the command line, and the choice of a network."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.errors import VisitorError
from inception_viz.text import message

if TYPE_CHECKING:
    from inception_viz.models import Model  # imported late, as all that needs torch: `--help` should not wait for it


class UnreadableFile(VisitorError):
    """A file named on the command line is not there or may not be read."""

    words = message("The file “{name}” cannot be read: {reason}.")


class UnwritableFolder(VisitorError):
    """The results could not be written; what was there before is unharmed."""

    words = message("Nothing could be written to “{name}”: {reason}.")


def read(path: Path) -> bytes:
    """The bytes of a file. Raises UnreadableFile."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableFile(name=path.name, reason=error.strerror or "unknown") from None


def choose_model(parser: argparse.ArgumentParser) -> None:
    """Options that name an architecture."""
    parser.add_argument("--model", default="googlenet", help="architecture: googlenet or inception_v3 (default: googlenet)")


def choose_weights(parser: argparse.ArgumentParser) -> None:
    """Options that name an architecture, its weights and a device; `model` reads them."""
    choose_model(parser)
    parser.add_argument("--weights", help="imagenet, boxed, random ... (default: the best that is here; see `models`)")
    parser.add_argument(
        "--weights-file", type=Path, metavar="FILE", help="your own weights, .safetensors or .pth; or a network described in .json"
    )
    parser.add_argument("--class-names", type=Path, metavar="FILE", help="names for your own weights: one a line, or a JSON list")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: $INCEPTION_VIZ_DEVICE, else the fastest that is here)")


def model(arguments: argparse.Namespace) -> "Model":
    """The network that the options of `choose_weights` name."""
    from inception_viz import models

    file = (read(arguments.weights_file), arguments.weights_file.name) if arguments.weights_file else None
    names = read(arguments.class_names) if arguments.class_names else None
    return models.load(arguments.model, weights=arguments.weights, device=arguments.device, file=file, class_names=names)
