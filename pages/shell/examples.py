"""The pictures that excite a channel or a cluster most, and those where it gives most to the class, as a grid of patches."""

import hashlib
from collections.abc import Mapping

import numpy as np
import streamlit as st

from inception_viz import examples as library
from inception_viz import images
from inception_viz.analysis import Analysis
from inception_viz.clusters import Clusters
from inception_viz.engine.local import Progress
from inception_viz.examples import Collection, Example
from inception_viz.figures import examples as drawing
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.text import Text, message
from pages.shell import controls, results, session

FEWEST = 2  # pictures among which there is a best
ACROSS = 3
NOWHERE, OWN, SAMPLES = "nowhere", "own", "samples"
TITLES: Mapping[str, str] = {
    library.EXCITES: message("What excites it most"),
    library.GIVES: message("Where it gives most to the class"),
}
NOTHING: Mapping[str, str] = {
    library.EXCITES: message("It fires on none of these pictures."),
    library.GIVES: message("On none of these pictures does it speak for the class that the network finds likeliest."),
}
EMPTY = message(
    "Choose where to look. Upload several pictures on the first page to look among your own, or open a folder or a zip on the Statistics page."
)
EXPLAINED = message(
    "Left the patch, right where it lies: all that the position with the highest value can have seen (its receptive field). "
    "A cluster's activation is the mean of its channels. What it gives is activation x gradient, summed over positions."
)


def _among(text: Text) -> dict[str, str]:
    """Where one may look: nowhere yet, among the visitor's own pictures if there are several, among the samples."""
    own, samples = len(session.current().pictures), len(images.samples())
    offered = {NOWHERE: text("nowhere yet")}
    if own >= FEWEST:
        offered[OWN] = text("the {n} pictures at hand", n=own)
    return offered | {SAMPLES: text("the {n} sample pictures", n=samples)}


def _pictures(among: str) -> list[Picture]:
    return list(session.current().pictures) if among == OWN else [session.sample(name) for name in images.samples()]


def _gathered(text: Text, block: str, found: Clusters, pictures: list[Picture]) -> Collection:
    """The best examples among a few pictures, for the clusters on show."""
    used, labels = results.model(text), {block: found.labels}

    def work(on: Model, progress: Progress) -> Collection:
        return library.of_pictures(on, pictures, labels, tick=progress.tick)

    digest = hashlib.sha256(found.labels.tobytes()).hexdigest()
    key = ("examples", used.key, block, digest, tuple((p.sha256, p.name) for p in pictures))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "examples", key, here, len(pictures), smaller)


def _name(text: Text, example: Example) -> str:
    samples = images.samples()
    stem = example.name.removesuffix(".png")
    return text(samples[stem].title) if stem in samples else example.name


def _value(text: Text, example: Example, kind: str) -> str:
    if kind == library.EXCITES:
        return text("activation {value}", value=f"{example.value:.3g}")
    return text("{value} logits for “{name}”", value=f"{example.value:+.2f}", name=example.target)


def _tile(text: Text, example: Example, kind: str, place: int) -> None:
    value, name = _value(text, example, kind), _name(text, example)
    told = " · ".join([value, text.isolated(name), *([text("class “{name}”", name=example.label)] if example.label else [])])
    drawn = drawing.drawn(example)
    if drawn is None:
        st.info(results.plain(told))
        st.caption(text("No copy of this picture was kept."))
        return
    alt = text("Example {n}: a patch of {name}, and where on the picture it lies; {value}", n=place + 1, name=name, value=value)
    st.image(drawn, caption=results.plain(told), alt=alt, width="stretch")


def grid(text: Text, shown: list[Example], kind: str) -> None:
    """The examples of one channel or cluster, the best first."""
    st.markdown(f"**{text(TITLES[kind])}**")
    if not shown:
        st.caption(text(NOTHING[kind]))
    for first in range(0, len(shown), ACROSS):
        for place, (column, example) in enumerate(zip(st.columns(ACROSS), shown[first : first + ACROSS], strict=False)):
            with column:
                _tile(text, example, kind, first + place)


def _unit(text: Text, analysis: Analysis, block: str, members: np.ndarray, cluster: int) -> int | None:
    """The whole cluster (None), or one of its channels, the strongest first."""
    described = analysis.blocks[block]
    strongest = members[np.argsort(-described.activation[members].mean((1, 2)), kind="stable")]
    branches = described.block.branches
    told: dict[int | None, str] = {None: text("cluster {n}", n=cluster + 1)}
    for channel in strongest.tolist():
        told[channel] = text("channel {n} ({branch})", n=channel, branch=branches[described.block.branch_of[channel]].name)
    return controls.choice(f"example {block} {cluster}", text("What is excited"), told)


def section(text: Text, analysis: Analysis, block: str, found: Clusters, cluster: int) -> None:
    """On the Clusters page: the best examples of the chosen cluster, or of one of its channels."""
    st.subheader(text("Pictures that excite it most"), anchor=False)
    among = controls.one_of("among", text("Look among"), _among(text))
    if among == NOWHERE:
        st.info(text(EMPTY))
        return
    pictures = _pictures(among)
    gathered = _gathered(text, block, found, pictures)
    channel = _unit(text, analysis, block, found.members(cluster), cluster)
    of, index = (library.CLUSTERS, cluster) if channel is None else (library.CHANNELS, channel)
    for kind in library.KINDS:
        grid(text, library.examples(gathered, block, of, index, kind, text.language), kind)
    told(text, len(pictures))


def told(text: Text, pictures: int) -> None:
    """Of how many pictures these are the best, and what a patch is."""
    st.caption(text("n = {n} pictures.", n=pictures) + " " + text(EXPLAINED))
