"""Small networks trained on few labels: the gap between their own pictures and others, against parameters and against labels."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inception_viz.measurement import Running


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument(
        "against", choices=("curves", "parameters", "labels"), help="one network's training, or what the gap is looked at against"
    )
    parser.add_argument(
        "--widths", type=int, nargs="+", metavar="N", help="channels of the first convolution (one of them with `labels` and `curves`)"
    )
    parser.add_argument("--labels", type=int, nargs="+", metavar="N", help="training pictures (one number with `parameters` and `curves`)")
    parser.add_argument("--seeds", type=int, default=5, help="how often each is trained (default: 5)")
    parser.add_argument("--steps", type=int, default=300, help="steps of training (default: 300)")
    parser.add_argument("--wrong-labels", type=float, default=0.0, metavar="SHARE", help="share of training labels made wrong, 0 to 0.5")


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    from inception_viz import overfitting

    wide = arguments.against == "parameters"
    widths = arguments.widths or (overfitting.WIDTHS if wide else (16,))
    labels = arguments.labels or (overfitting.LABELS if arguments.against == "labels" else (100,))
    for name, several, meant in (("labels", labels, "labels"), ("widths", widths, "parameters")):
        if len(several) > 1 and arguments.against != meant:
            arguments.refuse(f"one number of {name} at a time")
    found = yield from overfitting.study(widths, labels, arguments.seeds, arguments.wrong_labels, arguments.steps)
    tell = {"curves": overfitting.memorised, "parameters": overfitting.wider, "labels": overfitting.fewer}
    return tell[arguments.against](found)
