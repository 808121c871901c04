"""What tells the real from chance: nulls, p, stability, knock-outs and checks of attributions, computed by the engine for the pages."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inception_viz import attributions, correlations, images, knockouts, nulls, validation
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.attributions import Check
from inception_viz.clusters import Clusters
from inception_viz.correlations import PLAIN, Correlation, Measure, measure
from inception_viz.engine.local import Progress
from inception_viz.images import Picture
from inception_viz.knockouts import Interactions, Knockouts, Scene
from inception_viz.models import Model
from inception_viz.nulls import Null, PairTests
from inception_viz.text import Text
from inception_viz.validation import ClusterTests, Specialisation, Stability
from pages.shell import results, session

OTHERS = 5  # samples that join a single picture, where a mean or another picture is asked for


@dataclass(frozen=True, eq=False)
class Subject:
    """What is doubted: how alike the channels of one block fire, in one definition of it, after one transform of the activations."""

    analysis: Analysis
    block: str
    definition: str = "spatial"
    transform: str = PLAIN

    @property
    def key(self) -> tuple[str, ...]:
        """Names the similarity: two subjects with one key are equal."""
        return (results.similarity_key(self.analysis, self.definition), self.block, self.definition, self.transform)

    @property
    def measure(self) -> Measure:
        """How similarity is measured."""
        return measure(self.definition, self.transform)

    def values(self, text: Text) -> Tensor:
        """What is correlated, before any transform: `(C, H, W)`, or pooled over pictures `(N, C)`."""
        given = results.pooled(text, self.block) if self.definition == "image" else self.analysis.blocks[self.block].activation
        return torch.from_numpy(np.array(given))


def similarity(text: Text, subject: Subject) -> Correlation:
    """The similarity that is doubted."""
    return results.similarity(text, subject.analysis, subject.block, subject.definition, subject.transform)


def order(subject: Subject, similar: Correlation, by: str) -> np.ndarray:
    """The order of the channels for drawing: by "similarity", or by "branch"."""
    if by == "branch":
        return np.arange(len(similar.constant))
    return results.order(similar)


def clustered(text: Text, subject: Subject, similar: Correlation, method: str, count: int | None) -> Clusters:
    """The clusters of the similarity that is doubted."""
    plain = (subject.definition, subject.transform) == ("spatial", PLAIN)  # then the other pages find the same clusters
    key = subject.analysis.without_target if plain else "/".join(subject.key)
    return results.clustered(text, key, subject.block, similar, method, count, subject.definition)


def _digest(found: Clusters) -> str:
    return hashlib.sha256(found.labels.tobytes()).hexdigest()


def _pictures(definition: str) -> list[Picture]:
    """Asked on the page's own thread: the owner's knows no session."""
    chosen = session.current()
    return list(chosen.pictures) if definition == "image" else [chosen.picture]


def _inputs(on: Model, shown: list[Picture]) -> Tensor:
    return torch.cat([on.input(picture) for picture in shown])


def _draws(on: Model, shown: list[Picture], subject: Subject, kind: str, values: Tensor, count: int) -> Iterator[Correlation]:
    twins = (taken[subject.block].cpu() for taken in nulls.untrained(on, _inputs(on, shown), count))
    return nulls.draws(kind, values, subject.definition, subject.transform, twins, count)


def null(text: Text, subject: Subject, kind: str, count: int = nulls.DRAWS) -> Null:
    """A block's similarity as one of the nulls has it, in `count` draws."""
    used, values, shown = results.model(text), subject.values(text), _pictures(subject.definition)

    def work(on: Model, progress: Progress) -> Null:
        def watched() -> Iterator[Correlation]:
            for draw in _draws(on, shown, subject, kind, values, count):
                progress.tick()
                yield draw

        return nulls.drawn(kind, watched())

    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "null", ("null", *subject.key, kind, count), here, count, smaller)


def by_shifts(subject: Subject, kind: str) -> bool:
    """Whether the p of pairs come from all shifts, or from draws of the null."""
    return kind == nulls.SHIFT and subject.definition == "spatial"


def pair_tests(text: Text, subject: Subject, similar: Correlation, against: Null) -> PairTests:
    """Every pair of a block against a null; p from all shifts of all pairs, else by rank among the pairs of the null."""
    used, shifts = results.model(text), by_shifts(subject, against.kind)
    values = subject.values(text)

    def work(progress: Progress) -> PairTests:
        if shifts:
            return nulls.pair_tests(nulls.shift_p(correlations.transformed(values, transform=subject.transform)))
        return nulls.pair_tests(nulls.rank_p(similar.r, against.pairs))

    return results.compute(text, used, "pair tests", ("pair tests", *subject.key, against.kind), work)


def cluster_tests(text: Text, subject: Subject, found: Clusters, similar: Correlation, kind: str) -> ClusterTests:
    """p of every cluster under a null that is clustered in the same way."""
    used, values, shown = results.model(text), subject.values(text), _pictures(subject.definition)

    def work(on: Model, progress: Progress) -> ClusterTests:
        return validation.cluster_tests(found, similar, _draws(on, shown, subject, kind, values, validation.DRAWS), progress.tick)

    key = ("cluster tests", *subject.key, kind, found.method, _digest(found))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "cluster tests", key, here, validation.DRAWS, smaller)


def stability(text: Text, subject: Subject, found: Clusters) -> tuple[Stability, Stability]:
    """Whether the clusters are found again in resampled positions or pictures; and the same for clusters of shifted maps or permuted pictures."""
    used, values = results.model(text), subject.values(text)
    key = ("stability", *subject.key, found.method, _digest(found))

    def work(progress: Progress) -> tuple[Stability, Stability]:
        real = validation.stability(found, values, subject.measure, tick=progress.tick)
        return real, validation.chance_stability(found, values, subject.definition, subject.transform, tick=progress.tick)

    return results.compute(text, used, "stability", key, work, 2 * validation.RESAMPLES)


def specialisation(text: Text, block: BlockAnalysis, found: Clusters) -> Specialisation:
    """Whether the clusters keep to the block's branches."""
    used = results.model(text)
    key = ("specialisation", used.architecture, block.block.name, _digest(found))
    return results.compute(text, used, "specialisation", key, lambda progress: validation.specialisation(found, block.block))


def several() -> list[Picture]:
    """The picture on show first, then the session's others, then samples if it is alone."""
    chosen = session.current()
    rest = [p for p in chosen.pictures if p.sha256 != chosen.picture.sha256]
    samples = [session.sample(name) for name in list(images.samples())[: OTHERS + 1]]
    others = rest or [s for s in samples if s.sha256 != chosen.picture.sha256][:OTHERS]
    return [chosen.picture, *others]


def _picture_set() -> str:
    return "".join(p.sha256 for p in session.current().pictures)


def _scene(on: Model, shown: list[Picture], analysis: Analysis, block: str, baseline: str) -> Scene:
    return knockouts.scene(on, _inputs(on, shown), block, analysis.target, baseline)


def knocked_out(text: Text, analysis: Analysis, block: str, found: Clusters, baseline: str, draws: int) -> Knockouts:
    """Every cluster out and alone, against matched random sets."""
    used, shown = results.model(text), several()

    def work(on: Model, progress: Progress) -> Knockouts:
        return knockouts.knock_out(on, _scene(on, shown, analysis, block, baseline), found, draws, progress.tick)

    key = ("knock-outs", analysis.key, _picture_set(), block, baseline, draws, _digest(found))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "knock-outs", key, here, knockouts.evaluations(found.count, draws), smaller)


def interactions(text: Text, analysis: Analysis, block: str, found: Clusters, baseline: str) -> Interactions:
    """What two clusters out together do beyond each alone."""
    used, shown = results.model(text), several()

    def work(on: Model, progress: Progress) -> Interactions:
        return knockouts.interactions(on, _scene(on, shown, analysis, block, baseline), found, tick=progress.tick)

    key = ("interactions", analysis.key, _picture_set(), block, baseline, _digest(found))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "interactions", key, here, knockouts.interaction_evaluations(found.count), smaller)


def checked(
    text: Text,
    analysis: Analysis,
    block: str,
    labels: np.ndarray,
    method: str,
    model: Model | None = None,
    on_picture: Picture | None = None,
) -> Check:
    """Whether what an attribution method says of a block is to be believed; of the session's model and picture, or of others."""
    used, picture, target = model or results.model(text), on_picture or session.current().picture, analysis.target

    def work(on: Model, progress: Progress) -> Check:
        return attributions.check(on, on.input(picture), target, block, method, labels, progress.tick)

    key = ("checked", analysis.key, block, method, hashlib.sha256(labels.tobytes()).hexdigest())
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "checked", key, here, attributions.check_evaluations(attributions.METHODS[method]), smaller)


def checked_pixels(text: Text, analysis: Analysis, method: str) -> Check:
    """Whether what a pixel map says is to be believed."""
    used, picture, target = results.model(text), session.current().picture, analysis.target

    def work(on: Model, progress: Progress) -> Check:
        return attributions.check_pixels(on, on.input(picture), target, method, progress.tick)

    key = ("checked pixels", analysis.key, method)
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(
        text, used, "checked pixels", key, here, attributions.check_evaluations(attributions.PIXEL_METHODS[method]), smaller
    )
