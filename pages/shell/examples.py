"""The pictures that excite a channel or a cluster most, and those where it gives most to the class, as a grid of patches."""

import hashlib
from collections.abc import Mapping

import numpy as np
import streamlit as st

from inception_viz import examples as library
from inception_viz import images
from inception_viz import statistics as numbers
from inception_viz.analysis import Analysis
from inception_viz.architecture import Block
from inception_viz.clusters import METHODS, Clusters
from inception_viz.engine.local import Progress
from inception_viz.examples import Collection, Example
from inception_viz.figures import examples as drawing
from inception_viz.images import Picture
from inception_viz.memory import VISITOR, Memory, remembered
from inception_viz.models import Model
from inception_viz.statistics import Statistics
from inception_viz.text import Text, message
from pages.shell import controls, results, session, statistics

FEWEST = 2  # pictures among which there is a best
ACROSS = 3
NOWHERE, OWN, SAMPLES, RUN, KEPT = "nowhere", "own", "samples", "run", "kept"
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
COST = message(
    "A second pass over the same pictures, forward and backward, keeps for every channel and every cluster the pictures and patches that excite it "
    "most and those where it gives most to the class. It takes a little longer than the statistics did, and can be stopped."
)
EXPLAINED = message(
    "Left the patch, right where it lies: all that the position with the highest value can have seen (its receptive field). A ring marks its middle "
    "where it sees the whole picture. A cluster's activation is the mean of its channels. "
    "What it gives is activation x gradient, summed over positions."
)


def _among(text: Text, block: Block) -> dict[str, str]:
    """Where one may look: nowhere yet, the visitor's own pictures if there are several, the samples, what the Statistics page has."""
    own, samples = len(session.current().pictures), len(images.samples())
    offered = {NOWHERE: text("nowhere yet")}
    if own >= FEWEST:
        offered[OWN] = text("the {n} pictures at hand", n=own)
    offered[SAMPLES] = text("the {n} sample pictures", n=samples)
    if files := statistics.own_files():
        offered[RUN] = text("the {n} files of the Statistics page", n=files)
    if _kept(text, block) is not None:
        offered[KEPT] = text("what the Statistics page has collected")
    return offered


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
    kinds = [text("class “{name}”", name=example.label)] if example.label else []
    if kind == library.EXCITES and not kinds:
        kinds = [text("seen as “{name}”", name=example.target)]
    told = " · ".join([value, text.isolated(name), *kinds])
    drawn = drawing.tile(example)
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
    told: dict[int | None, str] = {None: text("cluster {n}", n=cluster + 1)} | {
        c: _channel(text, described.block, c) for c in strongest.tolist()
    }
    return controls.choice(f"example {block} {cluster}", text("What is excited"), told)


def _channel(text: Text, block: Block, channel: int) -> str:
    return text("channel {n} ({branch})", n=channel, branch=block.branches[block.branch_of[channel]].name)


def section(text: Text, analysis: Analysis, block: str, found: Clusters, cluster: int) -> None:
    """On the Clusters page: the best examples of the chosen cluster, or of one of its channels, among pictures of the visitor's choice."""
    st.subheader(text("Pictures that excite it most"), anchor=False)
    described = analysis.blocks[block].block
    among = controls.one_of("among", text("Look among"), _among(text, described))
    if among == NOWHERE:
        st.info(text(EMPTY))
    elif among == KEPT and (kept := _kept(text, described)) is not None:
        _of_collection(text, kept, described)
    else:
        gathered = _over_run(text, block, found) if among == RUN else _gathered(text, block, found, _pictures(among))
        channel = _unit(text, analysis, block, found.members(cluster), cluster)
        grids(text, gathered, block, *((library.CLUSTERS, cluster) if channel is None else (library.CHANNELS, channel)))


def _over_run(text: Text, block: str, found: Clusters) -> Collection:
    """The best examples over the Statistics page's pictures, for the clusters on show here."""
    run = statistics.run_on_show(text)
    assert run is not None
    return statistics.collect(text, run, {block: found.labels}, {"method": found.method, "definition": found.definition})


def grids(text: Text, gathered: Collection, block: str, of: str, index: int) -> None:
    """Both grids of a channel or cluster, and of what they are."""
    for kind in library.KINDS:
        grid(text, library.examples(gathered, block, of, index, kind, text.language), kind)
    st.caption(text.plural("The best of {n} picture.", "The best of {n} pictures.", gathered.card["pictures"]) + " " + text(EXPLAINED))


def _of_collection(text: Text, gathered: Collection, block: Block) -> None:
    """Best examples with clusters of their own, of which one, or any channel, is chosen here."""
    labels = gathered.labels(block.name)
    clusters = range(0 if labels is None else int(labels.max()) + 1)
    sizes = np.bincount(labels[labels >= 0]) if labels is not None else []
    told = {f"k{k}": text.plural("cluster {k}: {n} channel", "cluster {k}: {n} channels", int(sizes[k]), k=k + 1) for k in clusters}
    told |= {f"c{c}": _channel(text, block, c) for c in range(block.channels)}
    chosen = controls.choice(f"best {block.name}", text("Cluster or channel"), told)
    method = gathered.card["clusters"].get("method")
    if method in METHODS:
        st.caption(text("The clusters that all these pictures together have in this block, by {method}.", method=text(method)))
    grids(text, gathered, block.name, library.CLUSTERS if chosen[0] == "k" else library.CHANNELS, int(chosen[1:]))


_store: Memory[tuple[str, Collection]] = Memory(statistics.KEPT)


def _keep(found: Statistics, gathered: Collection) -> None:
    """What the Statistics page shows is there on the Clusters page too."""
    _store.keep(gathered.sha256, (found.card["model"]["weights_sha256"], gathered), [VISITOR.get()])
    session.current().choices["examples kept"] = gathered.sha256


def _kept(text: Text, block: Block) -> Collection | None:
    """What the Statistics page has collected or opened, if it is of the network on show and has this block."""
    kept = statistics.recalled(_store, session.current().choices.get("examples kept"))
    if kept is None or kept[0] != results.model(text).weights.sha256:
        return None
    gathered = kept[1]
    return gathered if gathered.channels(block.name) == block.channels else None


def _ask(wanted: tuple) -> None:
    session.current().choices["examples wanted"] = wanted


def over_statistics(text: Text, found: Statistics, block: Block, method: str, count: int | None) -> Statistics:
    """On the Statistics page: the best examples of the whole folder, on request; returns the statistics with them, if they are there."""
    st.subheader(text("Best examples"), anchor=False)
    run, wanted = statistics.run_on_show(text), (found.sha256, method, count)
    gathered = found.examples
    if run is not None:
        if session.current().choices.get("examples wanted") != wanted:
            st.info(text(COST))
            st.button(text("Collect the best examples"), on_click=_ask, args=(wanted,))
            return found
        gathered = statistics.collect(text, run, statistics.clusterings(found, method, count), {"method": method, "count": count})
    if gathered is None or gathered.channels(block.name) != block.channels:
        st.info(text("This file holds no best examples. A run with --examples keeps them, and so does this page."))
        return found
    _keep(found, gathered)
    _of_collection(text, gathered, block)
    return found if run is None else _joined(found.sha256, gathered.sha256, found, gathered)


@remembered(statistics.KEPT)
def _joined(digest: str, of_examples: str, _found: Statistics, _gathered: Collection) -> Statistics:
    return numbers.with_examples(_found, _gathered)
