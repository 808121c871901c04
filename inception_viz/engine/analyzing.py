"""The work that is asked for most, as a thing of its own: an engine may see what it is of, and join several."""

from dataclasses import dataclass

from inception_viz import analysis
from inception_viz.activations import Target
from inception_viz.analysis import Analysis
from inception_viz.engine.local import Progress
from inception_viz.images import Picture
from inception_viz.models import Model


@dataclass(frozen=True, eq=False)
class Analyzing:
    """What an analysis does to a model; several of one model can be done in one pass."""

    picture: Picture
    target: Target | None = None

    def __call__(self, model: Model, progress: Progress) -> Analysis:
        """Do one alone."""
        return analysis.analyze(model, self.picture, self.target)
