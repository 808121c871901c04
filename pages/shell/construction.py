"""The steps from correlations to a block: what is measured, what the visitor puts in its place, and the block that follows."""

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st
import torch

from inception_viz import construction as library
from inception_viz import nulls
from inception_viz.activations import capture
from inception_viz.analysis import Analysis
from inception_viz.construction import Measured, Plan
from inception_viz.engine.local import Progress
from inception_viz.errors import VisitorError
from inception_viz.figures.architecture import short
from inception_viz.models import Model
from inception_viz.tables import WIDTHS, Block
from inception_viz.text import Text
from pages.shell import controls, results, session

SHARES = range(0, 101, 10)  # percent
GROUPS = (1, 2, 4, 8, 0)


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


def facts(text: Text, trained: Measured, twin: Measured) -> None:
    """Clusters, reach and independent channels, each beside the untrained twin's."""
    rows = {
        text("Clusters"): (str(trained.clusters.count), str(twin.clusters.count)),
        text("Independent channels of {n}", n=trained.plan.inputs): (f"{trained.dimensions:.1f}", f"{twin.dimensions:.1f}"),
    } | {
        text("Share of {kernel}", kernel=kernel): (f"{a:.0%}", f"{b:.0%}")
        for kernel, a, b in zip(library.KERNELS, trained.reach.total, twin.reach.total, strict=True)
    }
    for column, (label, (value, other)) in zip(st.columns(len(rows)), rows.items(), strict=True):
        column.metric(label, text.isolated(value))
        column.caption(text("untrained: {value}", value=other))
    st.caption(text("n = {n} samples: positions of all pictures. A cluster is found in the data that shows it: look at the untrained network too.",
                    n=trained.correlation.n))  # fmt: skip


def _share(name: str, text: Text, label: str, value: float) -> float:
    told = {None: text("as measured: {share}", share=f"{value:.0%}")} | {p: f"{p} %" for p in SHARES if p}
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


def own(text: Text, analysis: Analysis, name: str) -> tuple[str, Block | None, int]:
    """The architects' own block after `name` (the last block itself, after the last): its name, its widths if it has the six, and its cost."""
    after = library.following(analysis.architecture, name) or name
    return after, *library.architects_own(analysis.architecture, after)
