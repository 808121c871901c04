"""The questions that the Clusters page asks of its clusters, each with its figure, its numbers, and what they mean."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import streamlit as st

from inception_viz import clusters as library
from inception_viz import nulls
from inception_viz.architecture import Block
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation
from inception_viz.figures import correlations as heatmaps
from inception_viz.figures import validation as drawing
from inception_viz.nulls import PairTests
from inception_viz.text import Text, message
from inception_viz.validation import SURVIVES
from pages.shell import controls, evidence, frame
from pages.shell.evidence import Subject


@dataclass(frozen=True)
class Verdict:
    """What a test says of one cluster, in words, and whether it speaks for the cluster."""

    good: bool
    told: str


def _clusters(text: Text, chosen: np.ndarray) -> str:
    """The numbers of the clusters that are chosen, `(k,)` bool."""
    return ", ".join(str(k + 1) for k in np.flatnonzero(chosen))


def _rarest(text: Text, tests: PairTests, similar: Correlation, block: Block) -> None:
    """The pairs farthest from chance, one by one, and how many of all have which q."""
    rows = [
        {
            text("Channels"): f"{a} · {b}",
            text("Branches"): f"{block.branches[block.branch_of[a]].name} · {block.branches[block.branch_of[b]].name}",
            "r": f"{similar.r[a, b]:+.2f}",
            "p": f"{tests.p[a, b]:.2g}",
            "q": f"{tests.q[a, b]:.2g}",
        }
        for a, b in nulls.rarest(tests, similar)
    ]
    st.dataframe(rows, hide_index=True)
    least = np.nanmin(tests.q) if rows else float("nan")
    st.caption(
        text("The {n} pairs farthest from chance. q is p after Benjamini-Hochberg over all pairs; the least of all is {least}.",
             n=len(rows), least=f"{least:.2g}")
    )  # fmt: skip


def pair_by_pair(text: Text, tests: PairTests, similar: Correlation, block: Block, order: np.ndarray) -> None:
    """p of all pairs as a heatmap, and of the rarest one by one."""
    st.subheader(text("Pair by pair"), anchor=False)
    left, right = st.columns([3, 2])
    with left:
        frame.show(heatmaps.rareness(tests.p, block, order, text), f"correlations-p-{block.name}")
        st.caption(
            text(
                "p of each pair, in the order of the left heatmap above: the darker, the rarer by chance. Where channels are many, a cell is a mean."
            )
        )
    with right:
        _rarest(text, tests, similar, block)


def _tighter(text: Text, subject: Subject, found: Clusters, similar: Correlation) -> list[Verdict]:
    kind = controls.null(text, subject.definition)
    tests = evidence.cluster_tests(text, subject, found, similar, kind)
    name, block = text(nulls.KINDS[kind]), subject.analysis.blocks[subject.block].block
    known = int((~np.isnan(tests.p)).sum())
    if tests.real.any():
        st.success(
            text("Tighter than chance, after Benjamini-Hochberg over {n} clusters: {list}", n=known, list=_clusters(text, tests.real))
        )
    else:
        st.warning(text("None of {n} clusters is tighter than those of the null.", n=known))
    frame.show(drawing.tightness(tests, name, text), f"clusters-chance-{subject.block}")
    st.caption(
        text("The null was clustered in the same way in {draws} draws, which gave n = {n} clusters; p is how many of "
             "those lie as far above the dotted line.",
             draws=tests.draws, n=len(tests.chance_r))
    )  # fmt: skip
    rows = [
        {
            text("Cluster"): k + 1, text("Channels"): int(tests.sizes[k]), text("mean r inside"): f"{tests.mean_r[k]:.3f}",
            text("expected by chance"): f"{tests.expected[k]:.3f}", "p": f"{tests.p[k]:.3f}", "q": f"{tests.q[k]:.3f}",
            text("Verdict"): text("beyond chance") if tests.real[k] else text("not beyond chance"),
        }
        for k in range(found.count)
    ]  # fmt: skip
    st.dataframe(rows, hide_index=True)
    shown = {
        text("this network"): (similar, library.order(found)),
        text("{null}: chance", null=name): (tests.first, library.order(tests.first_clusters)),
    }
    frame.show(heatmaps.beside(shown, block, text), f"clusters-heatmaps-{subject.block}")
    st.caption(
        text("Channels in the order of their clusters. Any data sorted by its own clusters shows squares: compare how red they are.")
    )
    inside = {text("pairs inside clusters"): library.inside(similar, found)}
    chance = {text("{null}: chance", null=name): library.inside(tests.first, tests.first_clusters)}
    frame.show(heatmaps.distribution(inside, text, chance), f"clusters-distribution-{subject.block}")
    return [
        Verdict(
            bool(tests.real[k]),
            text("Cluster {n} is tighter than chance (p = {p}, q = {q}).", n=k + 1, p=f"{tests.p[k]:.3f}", q=f"{tests.q[k]:.3f}")
            if tests.real[k]
            else text(
                "Cluster {n} is no tighter than clusters of the null (p = {p}, q = {q}).",
                n=k + 1,
                p=f"{tests.p[k]:.3f}",
                q=f"{tests.q[k]:.3f}",
            ),
        )
        for k in range(found.count)
    ]


def _again(text: Text, subject: Subject, found: Clusters, similar: Correlation) -> list[Verdict]:
    real, chance = evidence.stability(text, subject, found)
    if (~real.survives).any():
        st.warning(text("These clusters do not survive: {list}", list=_clusters(text, ~real.survives)))
    else:
        st.success(text("All clusters are found again."))
    frame.show(drawing.found_again(real, chance, text), f"clusters-stability-{subject.block}")
    st.caption(
        text("Clusters of {n} resamples of the positions or pictures. 1: found again each time; 0: no better than "
             "chance; from {level} on it counts as found again.",
             n=len(real.agreement), level=SURVIVES)
    )  # fmt: skip
    st.caption(
        text("All clusters together: mean adjusted Rand index {real}; clusters of shifted maps or permuted pictures reach {chance}.",
             real=f"{real.agreement.mean():.2f}", chance=f"{chance.agreement.mean():.2f}")
    )  # fmt: skip
    return [
        Verdict(
            bool(survives),
            text("Cluster {n} is found again in resamples: adjusted Rand index {value}.", n=k + 1, value=f"{value:.2f}")
            if survives
            else text("Cluster {n} does not survive: in resamples its best match agrees by {value} only (adjusted Rand index; {level} is needed).",
                      n=k + 1, value=f"{value:.2f}", level=SURVIVES),
        )
        for k, (survives, value) in enumerate(zip(real.survives, real.by_cluster, strict=True))
    ]  # fmt: skip


def _branches(text: Text, subject: Subject, found: Clusters, similar: Correlation) -> list[Verdict]:
    block = subject.analysis.blocks[subject.block]
    spec = evidence.specialisation(text, block, found)
    left, right = st.columns(2, vertical_alignment="bottom")
    left.metric(
        text("Adjusted mutual information"),
        text.isolated(f"{spec.information:.3f}"),
        help=text("0: clusters know nothing of branches; 1: each cluster is one branch."),
    )
    right.metric(text("p, branches permuted {n} times", n=spec.permutations), text.isolated(f"{spec.p:.3f}"))
    frame.show(drawing.over_cells(spec, block.block, text), f"clusters-cells-{subject.block}")
    st.caption(
        text("Channels of n = {n} in each cluster and branch; red: more than the sizes of cluster and branch foretell. "
             "★: more than chance (hypergeometric, q up to {level} after Benjamini-Hochberg over all cells).",
             n=int(spec.table.sum()), level=f"{nulls.LEVEL:.0%}")
    )  # fmt: skip
    verdicts = []
    for k, q in enumerate(spec.cells_q):
        known = [branch.name for branch, value in zip(block.block.branches, q, strict=True) if value <= nulls.LEVEL]
        verdicts.append(
            Verdict(
                True, text("Cluster {n} holds more of these branches than chance would give it: {list}", n=k + 1, list=", ".join(known))
            )
            if known
            else Verdict(False, text("Cluster {n} holds of no branch more than chance would give it.", n=k + 1))
        )
    return verdicts


@dataclass(frozen=True)
class Doubt:
    """A question to ask of clusters, and what draws the answer."""

    question: str
    draw: Callable[[Text, Subject, Clusters, Correlation], list[Verdict]]


NOTHING = "nothing"
DOUBTS: dict[str, Doubt] = {
    "tighter": Doubt(message("Tighter than chance?"), _tighter),
    "again": Doubt(message("Found again?"), _again),
    "branches": Doubt(message("Do branches specialise?"), _branches),
}


def draw(text: Text, asked: str, subject: Subject, found: Clusters, similar: Correlation) -> list[Verdict]:
    """The answer to the question that is asked, and the verdict on each cluster.

    Computed when somebody asks: a class that looks through the pages should not wait for it.
    """
    if asked == NOTHING:
        st.info(text("Not tested yet: random filters give clusters too. Choose a question, and these clusters are held against chance."))
        return []
    return DOUBTS[asked].draw(text, subject, found, similar)


def tell(verdicts: list[Verdict], cluster: int) -> None:
    """The verdict on one cluster, if there is one."""
    for verdict in verdicts[cluster : cluster + 1]:
        (st.success if verdict.good else st.warning)(verdict.told)
