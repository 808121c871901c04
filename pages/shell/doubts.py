"""The questions that the Clusters page asks of its clusters, each with its figure, its numbers, and what they mean."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import streamlit as st

from inception_viz import clusters as library
from inception_viz import nulls
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation
from inception_viz.figures import correlations as heatmaps
from inception_viz.figures import validation as drawing
from inception_viz.text import Text, message
from inception_viz.validation import SURVIVES
from pages.shell import controls, evidence, frame
from pages.shell.evidence import Subject


def _clusters(text: Text, chosen: np.ndarray) -> str:
    """The numbers of the clusters that are chosen, `(k,)` bool."""
    return ", ".join(str(k + 1) for k in np.flatnonzero(chosen))


def _tighter(text: Text, subject: Subject, found: Clusters, similar: Correlation) -> None:
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
    shown = {
        text("this network"): (similar, library.order(found)),
        text("{null}: chance", null=name): (tests.first, library.order(tests.first_clusters)),
    }
    frame.show(heatmaps.beside(shown, block, text), f"clusters-heatmaps-{subject.block}")
    st.caption(
        text("Channels in the order of their clusters. Any data sorted by its own clusters shows squares: compare how red they are.")
    )


def _again(text: Text, subject: Subject, found: Clusters, similar: Correlation) -> None:
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


def _branches(text: Text, subject: Subject, found: Clusters, similar: Correlation) -> None:
    block = subject.analysis.blocks[subject.block]
    spec = evidence.specialisation(text, block, found)
    left, right = st.columns(2)
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


@dataclass(frozen=True)
class Doubt:
    """A question to ask of clusters, and what draws the answer."""

    question: str
    draw: Callable[[Text, Subject, Clusters, Correlation], None]


NOTHING = "nothing"
DOUBTS: dict[str, Doubt] = {
    "tighter": Doubt(message("Tighter than chance?"), _tighter),
    "again": Doubt(message("Found again?"), _again),
    "branches": Doubt(message("Do branches specialise?"), _branches),
}


def draw(text: Text, asked: str, subject: Subject, found: Clusters, similar: Correlation) -> None:
    """The answer to the question that is asked. Computed when somebody asks: a class that looks through the pages should not wait for it."""
    if asked == NOTHING:
        st.info(text("Not tested yet: random filters give clusters too. Choose a question, and these clusters are held against chance."))
    else:
        DOUBTS[asked].draw(text, subject, found, similar)
