"""Branches against chance as the engine computes it for the pages."""

from collections.abc import Generator

import torch

from inception_viz import coincidence
from inception_viz.analysis import Analysis
from inception_viz.coincidence import Coincidence
from inception_viz.correlations import DEFINITIONS, measure
from inception_viz.engine.local import Progress
from inception_viz.measurement import Conditions, conditions
from inception_viz.models import Model
from inception_viz.text import Text
from pages.shell import controls, results, session


def definition(text: Text) -> str:
    """How firing together is measured; over several pictures where there are."""
    enough = len(session.current().pictures) >= 3
    return controls.choice("definition", text("Firing together"), {k: text(w) for k, w in DEFINITIONS.items() if enough or k != "image"})


def where(text: Text) -> Conditions:
    """On which device the network and its twins are."""
    used = results.model(text)
    return conditions(used.device, used.dtype)


def compared(text: Text, analysis: Analysis, kind: str, twins: int) -> list[Coincidence]:
    """Every block's gap, beside shuffled labels and untrained twins."""
    used, how = results.model(text), measure(kind)
    chosen = session.current()
    pictures = chosen.pictures if kind == "image" else [chosen.picture]
    real = {name: results.similarity(text, analysis, name, kind) for name in analysis.blocks}

    def work(on: Model, progress: Progress) -> Generator[float, None, list[Coincidence]]:
        return coincidence.measure(on, torch.cat([on.input(picture) for picture in pictures]), real, how, twins)

    here, smaller = results.here_or_on_cpu(used, work)
    key = ("coincidence", results.similarity_key(analysis, kind), kind, twins)
    return results.compute(text, used, "coincidence", key, here, smaller=smaller, in_turns=True)
