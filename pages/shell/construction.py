"""The steps from correlations to a block: what is measured on which pictures, what the visitor puts in its place, and the block that follows."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest

import streamlit as st
import torch

from inception_viz import construction as library
from inception_viz import descriptions, nulls
from inception_viz.activations import capture
from inception_viz.analysis import Analysis
from inception_viz.construction import Measured, Plan
from inception_viz.engine.local import Progress
from inception_viz.errors import VisitorError
from inception_viz.figures.architecture import short
from inception_viz.memory import remembered
from inception_viz.models import Model
from inception_viz.statistics import Statistics
from inception_viz.tables import WIDTHS, Block
from inception_viz.text import Text
from pages.shell import controls, frame, results, session, statistics
from pages.shell.statistics import Last

SHARES = range(0, 101, 10)  # percent
GROUPS = (1, 2, 4, 8, 0)


PICTURES, STATISTICS = "pictures", "statistics"


def source(text: Text, analysis: Analysis) -> Last | None:
    """Where the correlations come from: None for the session's pictures, else the statistics of a corpus, gathered in this session or opened."""
    told = {PICTURES: text("the pictures at hand"), STATISTICS: text("statistics of many pictures")}
    if controls.one_of("construction source", text("Correlations over"), told) == PICTURES:
        return None
    found = statistics.last(text)
    if found is None:
        st.info(text("There are no statistics yet: gather them on the page “Statistics”, or open a file of them."))
    with st.expander(text("Open saved statistics"), expanded=found is None):
        statistics.open_saved(text)
    if found is None:
        st.stop()
    try:
        library.fits(found.found, analysis.architecture, analysis.model.architecture)
    except VisitorError as error:
        results.tell(text, error)
    statistics.facts(text, found.found)
    st.caption(
        text("At a distance each channel is compared with itself, not with the others of its cluster: statistics hold no pairs there.")
    )
    return found


def live(analysis: Analysis, source: Last | None, name: str) -> int:
    """How many channels of a block are not constant."""
    similar = statistics.correlation(source.found, name, "positions") if source else analysis.blocks[name].correlation
    return int((~similar.constant).sum())


def asked(text: Text, source: Last | None, name: str, method: str, count: int | None) -> tuple[Measured, Measured | None]:
    """What the channels of a block ask of the next layer, and what those of the untrained twin ask: None where there are no pictures to show it."""
    if source is None:
        return measured(text, name, method, count), measured(text, name, method, count, untrained=True)
    trained = _over_corpus(text, source.found, name, method, count)
    if source.run is None:
        st.caption(text("A file of statistics holds no pictures to show to an untrained twin."))
        return trained, None
    if not controls.switch("construction twin", text("Show the same pictures to the untrained twin too")):
        return trained, None
    return trained, _over_corpus(text, statistics.of_twin(text, source.run), name, method, count)


@remembered(20)
def _kept(digest: str, name: str, method: str, count: int | None, _found: Statistics) -> Measured:
    return library.over_corpus(_found, name, method, count)


def _over_corpus(text: Text, found: Statistics, name: str, method: str, count: int | None) -> Measured:
    try:
        return _kept(found.sha256, name, method, count, found)
    except VisitorError as error:
        results.tell(text, error)
        raise


def measured(text: Text, name: str, method: str, count: int | None, untrained: bool = False) -> Measured:
    """What a block's channels, over all pictures of the session, ask of the next layer; or those of the untrained twin."""
    used, pictures = results.model(text), session.current().pictures or [session.current().picture]

    def work(on: Model, progress: Progress) -> Measured:
        asked = nulls.twin(on, 0) if untrained else on
        taken = []
        for picture in pictures:
            progress.tick()
            taken.append(capture(asked, on.input(picture), gradients=False).activations[name].cpu())
        return library.measured(torch.cat(taken), method=method, count=count)

    key = ("construction", used.key, name, method, count, untrained, tuple(p.sha256 for p in pictures))
    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, f"construction {untrained}", key, here, len(pictures), smaller)


def _told(measured: Measured) -> list[str]:
    return [str(measured.clusters.count), f"{measured.dimensions:.1f}", *(f"{share:.0%}" for share in measured.reach.total)]


def facts(text: Text, trained: Measured, twin: Measured | None) -> None:
    """Clusters, reach and independent channels, each beside the untrained twin's if there is one."""
    labels = [text("Clusters"), text("Independent channels of {n}", n=trained.plan.inputs)]
    labels += [text("Share of {kernel}", kernel=kernel) for kernel in library.KERNELS]
    values, others = _told(trained), _told(twin) if twin else []
    for column, label, value, other in zip_longest(st.columns(len(labels), vertical_alignment="bottom"), labels, values, others):
        column.metric(label, text.isolated(value))
        if other:
            column.caption(text("untrained: {value}", value=other))
    st.caption(text("n = {n} samples: positions of all pictures. A cluster is found in the data that shows it: look at the untrained network too.",
                    n=trained.correlation.n))  # fmt: skip


def _share(name: str, text: Text, label: str, value: float) -> float:
    told = {None: text("as measured: {share}", share=f"{value:.0%}")} | {p: f"{p}%" for p in SHARES if p}
    chosen = controls.choice(f"construction {name}", label, told)
    return value if chosen is None else chosen / 100


def overridden(text: Text, measured: Measured) -> Plan:
    """The plan with whatever the visitor puts in the place of what was measured; the shares of the three kernels are made to sum to one."""
    plan = measured.plan
    columns = [*st.columns(3), *st.columns(3)]
    shares = []
    for column, kernel, share in zip(columns, library.KERNELS, plan.shares, strict=False):
        with column:
            shares.append(_share(kernel, text, text("Share of {kernel}", kernel=kernel), share))
    with columns[3]:
        kept = _share("kept", text, text("Kept by a reduction"), plan.kept)
    with columns[4]:
        pool = _share("pool", text, text("Pool projection, of the input"), plan.pool)
    with columns[5]:
        told = {g: str(g) for g in GROUPS if g} | {measured.clusters.count: text("as many as clusters: {n}", n=measured.clusters.count)}
        groups = controls.choice("construction groups", text("Groups of 3x3 and 5x5"), told | {0: text("every channel alone")}, 1)
    total = sum(shares)
    return replace(plan, shares=tuple(s / total for s in shares), kept=kept, pool=pool, groups=groups)


def budget(text: Text, own: int | None) -> int:
    """Multiply-accumulates that the block may cost: the architects' own, or a share of it."""
    percent = controls.number("construction budget", text("Budget, percent of the architects’ own block"), 10, 200, 100)
    return round((own or 0) * percent / 100)


def fitted(text: Text, plan: Plan, side: int, budget: int) -> Block:
    """The plan's block within the budget."""
    try:
        return library.fitted(plan.block, plan.inputs, side, budget)
    except VisitorError as error:
        results.tell(text, error)
        raise


def table(text: Text, blocks: Mapping[str, Block], inputs: int, side: int, names: Mapping[str, tuple[str, str]]) -> None:
    """The six widths and the cost of each block in rows."""
    rows = [
        {text("Block"): name} | {text.isolated(text(names[w][0])): getattr(b, w) for w in WIDTHS}
        | {text("Groups"): b.groups_three or b.three, text("Channels"): b.outputs, text("MACs"): short(library.macs(b, inputs, side))}
        for name, b in blocks.items()
    ]  # fmt: skip
    st.table(rows)


def blocks(text: Text, block: Block, after: str, own: Block | None, twin: Block | None) -> dict[str, Block]:
    """The constructed block, the architects' own and the one that the untrained twin suggests, as far as they are there, by their names."""
    told = {text("constructed"): block, text("the architects’ {name}", name=after): own, text("from the untrained twin"): twin}
    return {name: found for name, found in told.items() if found}


def of_twin(text: Text, twin: Measured | None, side: int, budget: int) -> Block | None:
    """The block that the untrained twin suggests within the budget."""
    return fitted(text, twin.plan, side, budget) if twin else None


def downloads(text: Text, analysis: Analysis, after: str, block: Block, inputs: int, side: int) -> None:
    """The block as code, and a network with the block in its place, which the first page opens."""
    code = library.code(block, inputs, side)
    left, right = st.columns(2)
    with left:
        frame.download(text("Block as PyTorch code"), code, "constructed.py", "text/x-python")
    with right:
        try:
            described = descriptions.written(library.in_place(analysis.architecture, after, block, len(analysis.class_names["en"])))
            descriptions.read(described)
            frame.download(text("Network with this block (JSON)"), described, "constructed.json", "application/json")
        except VisitorError as error:
            st.caption(results.plain(error.told(text)))
    st.caption(
        text(
            "Give the JSON to the first page, under “Weights of your own”: the network is built with random weights, and every page looks into it."
        )
    )
    with st.expander(text("The code")):
        st.code(code, language="python")


def own(text: Text, analysis: Analysis, name: str) -> tuple[str, Block | None, int]:
    """The architects' own block after `name` (the last block itself, after the last): its name, its widths if it has the six, and its cost."""
    after = library.following(analysis.architecture, name) or name
    return after, *library.architects_own(analysis.architecture, after)
