"""Numbers and lists that pages tell in words beside their figures, each with its unit and its n."""

import numpy as np
import streamlit as st

from inception_viz import clusters as library
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.architecture import Block
from inception_viz.attributions import Attribution
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation
from inception_viz.nulls import AgainstChance
from inception_viz.text import Text

STRONGEST = 12


def constants(text: Text, similar: Correlation, block: Block) -> None:
    """How many channels of each branch are constant, and so have no correlation."""
    counts = {b.name: int(similar.constant[b.start : b.stop].sum()) for b in block.branches}
    told = " · ".join(text("{branch}: {n}", branch=name, n=n) for name, n in counts.items())
    st.caption(text("Constant channels, which correlate with nothing: {list}", list=told))


def against_chance(text: Text, against: AgainstChance, positions: int) -> None:
    """How many pairs are beyond what maps of this smoothness do by chance; and when nothing can be said."""
    if against.smallest > against.level:
        st.caption(
            text(
                "On {n} positions no single pair can be told from chance: every shift of one map against the other is as likely.",
                n=positions,
            )
        )
        return
    st.metric(
        text("Pairs beyond chance (p up to {level})", level=f"{against.level:.0%}"), text.isolated(f"{against.share:.1%}"),
        help=text("How often a map fits another as well when it is shifted round: the share of all {n} shifts is p.", n=positions),
    )  # fmt: skip
    st.caption(
        text("{pairs} pairs over n = {n} positions. By chance about {level} would be beyond it. Look at the untrained network too: it has its share.",
             pairs=against.pairs, n=positions, level=f"{against.level:.0%}")
    )  # fmt: skip


def cluster_facts(text: Text, found: Clusters, similar: Correlation) -> None:
    """How many clusters, chosen how, and how well apart they are."""
    numbers = {
        text("Clusters ({criterion})", criterion=text(found.criterion)): str(found.count),
        text("Silhouette, -1 to 1"): f"{found.score:.2f}",
        text("Channels"): str(int((found.labels >= 0).sum())),
        text("Constant channels"): str(int((found.labels < 0).sum())),
        text("Positions or pictures (n)"): str(similar.n),
    }
    for column, (label, value) in zip(st.columns(len(numbers)), numbers.items(), strict=True):
        column.metric(label, text.isolated(value))


def cluster_members(text: Text, block: BlockAnalysis, found: Clusters, cluster: int) -> None:
    """Size, mean r and the strongest channels of a cluster."""
    members = found.members(cluster)
    strength = block.activation[members].mean((1, 2))
    strongest = members[np.argsort(-strength, kind="stable")[:STRONGEST]]
    inside = library.mean_r(block.correlation, found)[cluster]
    st.markdown(text.plural("{n} channel, mean r inside {r}", "{n} channels, mean r inside {r}", len(members), r=f"{inside:.2f}"))
    rows = [
        {
            text("Channel"): int(c),
            text("Branch"): block.block.branches[block.block.branch_of[c]].name,
            text("Mean activation"): round(float(block.activation[c].mean()), 4),
            text("Given to the target, logits"): round(float(block.attribution.channels[c]), 4),
        }
        for c in strongest
    ]
    st.dataframe(rows, hide_index=True)


def attribution_facts(text: Text, analysis: Analysis, given: Attribution) -> None:
    """The target's value, the sum of what was attributed, and how far the method misses what it promises."""
    names, target = analysis.class_names[text.language], analysis.target
    value = float(analysis.logits[target.index] - (0 if target.against is None else analysis.logits[target.against]))
    what = names[target.index] if target.against is None else text("{a} minus {b}", a=names[target.index], b=names[target.against])
    numbers = {
        text("Logit of {name}", name=what): f"{value:+.2f}",
        text("Sum over channels, logits"): f"{given.channels.sum():+.2f}",
        text("Completeness delta, logits"): text("none promised")
        if given.completeness_delta is None
        else f"{given.completeness_delta:+.3f}",
    }
    for column, (label, told) in zip(st.columns(len(numbers)), numbers.items(), strict=True):
        column.metric(label, text.isolated(told))
