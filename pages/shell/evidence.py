"""What tells the real from chance: nulls, p, stability, knock-outs and checks of attributions, computed by the engine for the pages."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from inception_viz import attributions, images, knockouts, nulls, validation
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.attributions import Check
from inception_viz.clusters import Clusters
from inception_viz.correlations import PLAIN, Correlation, Measure, measure
from inception_viz.engine.local import Progress
from inception_viz.images import Picture
from inception_viz.knockouts import Knockout, Scene
from inception_viz.models import Model
from inception_viz.nulls import Null
from inception_viz.text import Text
from inception_viz.validation import ClusterTests, Specialisation, Stability
from pages.shell import results, session

OTHERS = 5  # samples that join a single picture, where a mean or another picture is asked for


def kinds(definition: str) -> list[str]:
    """The nulls that suit a definition of firing together."""
    return [nulls.PICTURES, nulls.UNTRAINED] if definition == "image" else [nulls.SHIFT, nulls.UNTRAINED]


def _digest(found: Clusters) -> str:
    return hashlib.sha256(found.labels.tobytes()).hexdigest()


def _values(text: Text, analysis: Analysis, block: str, definition: str) -> Tensor:
    given = results.pooled(text, block) if definition == "image" else analysis.blocks[block].activation
    return torch.from_numpy(np.array(given))


def _pictures(definition: str) -> list[Picture]:
    """Asked on the page's own thread: the owner's knows no session."""
    chosen = session.current()
    return list(chosen.pictures) if definition == "image" else [chosen.picture]


def _inputs(on: Model, pictures: list[Picture]) -> Tensor:
    return torch.cat([on.input(picture) for picture in pictures])


def _draws(on: Model, inputs: Tensor, kind: str, values: Tensor, how: Measure, block: str, count: int) -> Iterator[Correlation]:
    twins = (activations[block].cpu() for activations in nulls.untrained(on, inputs, count))
    return nulls.draws(kind, values, how, twins, count)


def null(text: Text, analysis: Analysis, block: str, kind: str, definition: str = "spatial", transform: str = PLAIN) -> Null:
    """A block's similarity as one of the nulls has it."""
    used, how, values = results.model(text), measure(definition, transform), _values(text, analysis, block, definition)
    count, pictures = 1 if exact(kind, definition) else nulls.DRAWS, _pictures(definition)

    def work(on: Model, progress: Progress) -> Null:
        def watched() -> Iterator[Correlation]:
            for draw in _draws(on, _inputs(on, pictures), kind, values, how, block, count):
                progress.tick()
                yield draw

        return nulls.drawn(kind, watched())

    key = ("null", results.similarity_key(analysis, definition), block, kind, definition, transform)
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "null", key, here, count, smaller)


def exact(kind: str, definition: str) -> bool:
    """Whether p comes from all shifts instead of from draws."""
    return kind == nulls.SHIFT and definition == "spatial"


def pair_p(text: Text, analysis: Analysis, block: str, similar: Correlation, against: Null, definition: str, transform: str) -> np.ndarray:
    """p of every pair of a block's channels under a null, `(C, C)`."""
    if not exact(against.kind, definition):
        return nulls.rank_p(similar.r, against.pairs)
    return results.shift_p(analysis, block, transform)


def cluster_tests(text: Text, analysis: Analysis, block: str, found: Clusters, similar: Correlation, kind: str) -> ClusterTests:
    """p of every cluster under a null that is clustered in the same way."""
    used, how, values = results.model(text), measure(found.definition), _values(text, analysis, block, found.definition)
    pictures = _pictures(found.definition)

    def work(on: Model, progress: Progress) -> ClusterTests:
        draws = _draws(on, _inputs(on, pictures), kind, values, how, block, nulls.DRAWS)
        return validation.cluster_tests(found, similar, draws, progress.tick)

    key = ("cluster tests", results.similarity_key(analysis, found.definition), block, kind, found.method, found.definition, _digest(found))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "cluster tests", key, here, nulls.DRAWS, smaller)


def stability(text: Text, analysis: Analysis, block: str, found: Clusters) -> Stability:
    """Whether the clusters are found again in resampled positions or pictures."""
    used, how, values = results.model(text), measure(found.definition), _values(text, analysis, block, found.definition)
    key = ("stability", results.similarity_key(analysis, found.definition), block, found.method, found.definition, _digest(found))
    return results.compute(
        text, used, "stability", key,
        lambda progress: validation.stability(found, values, how, tick=progress.tick), validation.RESAMPLES,
    )  # fmt: skip


def specialisation(text: Text, block: BlockAnalysis, found: Clusters) -> Specialisation:
    """Whether the clusters keep to the block's branches."""
    used = results.model(text)
    key = ("specialisation", used.architecture, block.block.name, _digest(found))
    return results.compute(text, used, "specialisation", key, lambda progress: validation.specialisation(found, block.block))


def _several() -> list[Picture]:
    """The picture on show first, then the session's others, then samples if it is alone."""
    chosen = session.current()
    rest = [p for p in chosen.pictures if p.sha256 != chosen.picture.sha256]
    samples = [session.sample(name) for name in list(images.samples())[: OTHERS + 1]]
    others = rest or [s for s in samples if s.sha256 != chosen.picture.sha256][:OTHERS]
    return [chosen.picture, *others]


def _picture_set() -> str:
    return "".join(p.sha256 for p in session.current().pictures)


def _scene(on: Model, pictures: list[Picture], analysis: Analysis, block: str, baseline: str) -> Scene:
    return knockouts.scene(on, _inputs(on, pictures), block, analysis.target, baseline)


def knocked_out(text: Text, analysis: Analysis, block: str, found: Clusters, baseline: str) -> list[Knockout]:
    """Every cluster out and alone, against matched random sets."""
    used, pictures = results.model(text), _several()

    def work(on: Model, progress: Progress) -> list[Knockout]:
        return knockouts.knock_out(on, _scene(on, pictures, analysis, block, baseline), found, tick=progress.tick)

    key = ("knock-outs", analysis.key, _picture_set(), block, baseline, _digest(found))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "knock-outs", key, here, knockouts.evaluations(found.count), smaller)


def interactions(text: Text, analysis: Analysis, block: str, found: Clusters, baseline: str) -> np.ndarray:
    """What two clusters out together do beyond each alone."""
    used, pictures = results.model(text), _several()

    def work(on: Model, progress: Progress) -> np.ndarray:
        return knockouts.interactions(on, _scene(on, pictures, analysis, block, baseline), found, tick=progress.tick)

    key = ("interactions", analysis.key, _picture_set(), block, baseline, _digest(found))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "interactions", key, here, smaller=smaller)


def checked(text: Text, analysis: Analysis, block: str, labels: np.ndarray) -> dict[str, Check]:
    """For every attribution method whether it is to be believed at a block."""
    used, picture, target = results.model(text), session.current().picture, analysis.target

    def work(on: Model, progress: Progress) -> dict[str, Check]:
        inputs = on.input(picture)
        return dict(attributions.checked(on, inputs, target, block, labels, progress.tick))

    key = ("checked", analysis.key, block, hashlib.sha256(labels.tobytes()).hexdigest())
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "checked", key, here, attributions.CHECK_EVALUATIONS["block"], smaller)
