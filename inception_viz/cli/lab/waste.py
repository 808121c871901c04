"""What the loaded network computes for nothing: near-zero weights, wasted channels, and what removing them does."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from inception_viz.cli import given

if TYPE_CHECKING:
    from inception_viz.measurement import Running


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument(
        "what", choices=("weights", "channels", "removal"), help="near zero by layer, wasted by block, or what removing does"
    )
    parser.add_argument("pictures", type=Path, nargs="*", metavar="PICTURE", help="pictures to look at (default: the samples)")
    parser.add_argument(
        "--labelled", type=Path, metavar="PATH", help="folder or zip of folders named after classes: judge `removal` by them"
    )
    parser.add_argument("--most", type=int, default=500, metavar="N", help="labelled pictures at most, drawn at random (default: 500)")
    parser.add_argument(
        "--threshold", type=float, default=0.25, help="weights below this share of their layer's root mean square count as near zero"
    )
    parser.add_argument("--similar", type=float, default=0.95, help="channels correlated above this are copies (default: 0.95)")
    given.choose_weights(parser)


def measure(arguments: argparse.Namespace) -> "Running":
    """Do it."""
    from inception_viz import corpus, images, labelled, nulls, pruning, waste
    from inception_viz.measurement import conditions, within

    waste.check(arguments.similar, arguments.threshold)
    within(labelled.PICTURES, arguments.most, 1, labelled.MOST_ASKED)
    model = given.model(arguments)
    where = conditions(model.device, model.dtype)
    if arguments.what == "weights":
        yield 0.0
        few = waste.near_zero(model, arguments.threshold)
        return waste.lazy(few, arguments.threshold, waste.histogram(model), where)
    samples = [sample.read() for sample in images.samples().values()]
    pictures = [images.decode(given.read(path), path.name) for path in arguments.pictures] or [images.decode(data) for data in samples]
    if arguments.what == "channels":
        seen = yield from waste.look(model, pictures)
        chance = yield from waste.look(nulls.twin(model, waste.SEED), pictures)
        return waste.idle(waste.Idle.of(seen, chance, arguments.similar), where)
    known = labelled.labelled(model, corpus.open_path(arguments.labelled), arguments.most) if arguments.labelled else None
    return pruning.outcome((yield from pruning.prune(model, pictures, arguments.threshold, arguments.similar, known)))
