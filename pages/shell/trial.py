"""The trial of topologies on its page: the table, what may be said of it, a small trial here and now, and the constructed network's drawing."""

from collections.abc import Generator

import streamlit as st

from inception_viz import architecture, models
from inception_viz import trial as library
from inception_viz.architecture import Architecture
from inception_viz.engine.local import Progress
from inception_viz.figures import architecture as drawing
from inception_viz.figures.architecture import Drawing, short
from inception_viz.text import Text, message
from inception_viz.trial import TOPOLOGIES, Interval, Line, Results
from pages.shell import controls, frame, graph, results

DATA = {
    library.DIGITS.name: message("handwritten digits, 8 x 8"),
    library.TINY_IMAGENET.name: message("Tiny ImageNet, 50 classes, 32 x 32"),
}
LIVE = [name for name in TOPOLOGIES if name not in (*library.SEARCHED, library.MERGED)]
SMALL = ["hand", "random", library.CLUSTERED]


@st.cache_data(show_spinner=False)
def committed() -> Results:
    """The runs that came with the project."""
    return library.committed()


def kind(text: Text, found: Results) -> tuple[str, int]:
    """The data and the budget to look at."""
    told = {k: text("{data}, {macs} MACs", data=text(DATA[k[0]]), macs=short(k[1])) for k in found.kinds()}
    return controls.choice("trial kind", text("Data and budget"), told)


def _told(interval: Interval) -> str:
    if interval.n < 2:
        return f"{100 * interval.mean:+.1f}"
    return f"{100 * interval.mean:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def table(text: Text, lines: list[Line]) -> None:
    """Accuracy and differences, each with its n."""
    rows = [
        {
            text("Topology"): text(TOPOLOGIES[line.topology]),
            text("Seeds"): line.n,
            text("Top-1 accuracy"): f"{line.accuracy:.1%}",
            text("minus hand [95%]"): text.isolated(_told(line.to_hand)),
            text("minus random [95%]"): text.isolated(_told(line.to_random)),
        }
        for line in lines
    ]
    st.table(rows)


def verdict(text: Text, found: Results) -> None:
    """What may be said of every topology built from statistics, and of the controls: where it beats hand and random, and where it doesn't."""
    every = found.kinds()
    least = min(line.n for k in every for line in found.lines(*k))
    if least < library.SEEDS:
        st.warning(text("Only {n} of {all} seeds are in for some of the topologies: too few for a verdict.", n=least, all=library.SEEDS))
    lines = []
    for name in (library.CONSTRUCTED, library.CLUSTERED, library.MERGED, library.HALVED, *library.LOTS):
        if tried := [k for k in every if found.accuracies(*k, name)]:
            told = text(
                "{topology}: better than hand-proportioned and than random widths, both intervals above zero, in {n} of {all} trials.",
                topology=text(TOPOLOGIES[name]), n=len(found.better(name)), all=len(tried),
            )  # fmt: skip
            lines.append(f"- {told}")
    st.info("\n".join(lines))


def control(text: Text, found: Results) -> None:
    """Whether the statistics or the search alone made the halving's winner better: its differences to searches among blocks drawn by lot."""
    compared = {lot: {kind: found.difference(*kind, library.HALVED, lot) for kind in found.kinds()} for lot in library.LOTS}
    rows = [
        {text("Data and budget"): text("{data}, {macs} MACs", data=text(DATA[kind[0]]), macs=short(kind[1]))}
        | {
            text("minus “{topology}” [95%]", topology=text(TOPOLOGIES[lot])): text.isolated(f"{_told(d)}, n = {d.n}")
            for lot, by_kind in compared.items()
            if (d := by_kind[kind]).n
        }
        for kind in found.kinds()
    ]
    st.table([row for row in rows if len(row) > 1])
    every = [d for by_kind in compared.values() for d in by_kind.values() if d.n]
    st.info(
        text(
            "The search among blocks seeded by statistics did better than one by lot, interval above zero, in {n} of {all} comparisons, "
            "and worse, interval below zero, in {worse}.",
            n=sum(d.above for d in every),
            all=len(every),
            worse=sum(d.high < 0 for d in every),
        )
    )
    if any(d.low == d.high == 0 for d in every):
        st.caption(
            text("Exactly zero: both searches ended with the same network, one whose widths and groups come from no statistics at all.")
        )
    st.caption(text("Each search was made once: the intervals are over seeds of training, not over searches."))


def live(text: Text) -> Results | None:
    """A small trial on the digits, if the visitor wants one."""
    told = {name: text(TOPOLOGIES[name]) for name in LIVE}
    names = controls.some("trial topologies", text("Topologies"), LIVE, SMALL, told)
    seeds = controls.number("trial seeds", text("Seeds"), 2, 5, 2)
    budget = controls.choice("trial budget", text("Budget"), {b: text("{macs} MACs", macs=short(b)) for b in library.DIGITS.budgets})
    if not st.toggle(text("Run it here and now"), key="trial live"):
        return None
    asked = tuple(dict.fromkeys(("hand", "random", *names)))

    def work(progress: Progress) -> Generator[float, None, Results]:
        return library.live(asked, range(seeds), budget)

    return results.compute(text, results.model(text), "trial", ("trial", asked, seeds, budget), work, in_turns=True)


@st.cache_resource(show_spinner=False)
def described(name: str) -> Architecture:
    """The architecture of a network, whatever its weights."""
    return architecture.describe(models.load(name, "random", "cpu"))


def beside(text: Text, block: str) -> tuple[Drawing, Drawing]:
    """The constructed network and GoogLeNet, each with the block open."""
    pictures = tuple(drawing.draw(described(name), text, frozenset({block})) for name in (models.CONSTRUCTED, "googlenet"))
    for title, picture in zip((text("The constructed network"), text("GoogLeNet")), pictures, strict=True):
        st.markdown(f"**{title}**")
        graph.show(picture, f"trial {title}")
    return pictures[0], pictures[1]


def downloads(text: Text, picture: Drawing) -> None:
    """The constructed network as a graph, a drawing, a table of widths and a file of weights, which the first page takes back."""
    with st.container(horizontal=True):
        frame.download(
            text("Graph as GraphML"), architecture.graphml(described(models.CONSTRUCTED)), "constructed.graphml", "application/xml"
        )
        frame.download(text("Drawing as SVG"), picture.svg, "constructed.svg", "image/svg+xml")
        frame.download(
            text("Table of widths and facts as JSON"),
            models.CONSTRUCTED_CARD.read_text(encoding="utf-8"),
            "constructed.json",
            "application/json",
        )
        weights = models.CONSTRUCTED_CARD.with_suffix(".safetensors")
        frame.download(text("Weights"), weights.read_bytes(), weights.name, "application/octet-stream")
