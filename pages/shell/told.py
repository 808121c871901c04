"""Numbers and lists that pages tell in words beside their figures, each with its unit and its n."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from inception_viz import clusters as library
from inception_viz import nulls
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.architecture import Block
from inception_viz.attributions import Attribution
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation
from inception_viz.images import Picture
from inception_viz.knockouts import CONTROLS, MEAN, RESAMPLE, Interactions, Knockouts
from inception_viz.nulls import AgainstChance, Null
from inception_viz.text import Text
from pages.shell import controls, frame, results

STRONGEST = 12


def constants(text: Text, similar: Correlation, block: Block) -> None:
    """How many channels of each branch are constant, and so have no correlation."""
    counts = {b.name: int(similar.constant[b.start : b.stop].sum()) for b in block.branches}
    told = " · ".join(text("{branch}: {n}", branch=name, n=n) for name, n in counts.items())
    st.caption(text("Constant channels, which correlate with nothing: {list}", list=told))


def against_chance(text: Text, against: AgainstChance, similar: Correlation, null: Null, by_shifts: bool) -> None:
    """How many pairs, and how strong a block as a whole, are beyond one of the nulls."""
    real = similar.strength
    st.metric(
        text("Pairs beyond chance (p up to {level})", level=f"{against.level:.0%}"), text.isolated(f"{against.share:.1%}"),
        help=text("p is how often a pair is as strong in the null, whatever its sign. By chance alone about {level} of all pairs would be here.",
                  level=f"{against.level:.0%}"),
    )  # fmt: skip
    st.metric(
        text("Pairs left after Benjamini-Hochberg"), text.isolated(f"{against.adjusted_share:.1%}"),
        help=text("So many pairs are tested that some look rare by chance; of those left here, at most about {level} are chance.",
                  level=f"{against.level:.0%}"),
    )  # fmt: skip
    st.metric(text("Mean |r|, here and by chance"), text.isolated(f"{real:.3f} / {null.strengths.mean():.3f}"))
    how = text("p of a pair is by all shifts of all pairs.") if by_shifts else text("p of a pair is its rank among the pairs of the null.")
    st.caption(
        text("{pairs} pairs over n = {n} positions or pictures; {draws} draws of the null. Mean |r| differs from theirs with p = {p}.",
             pairs=against.pairs, n=similar.n, draws=null.draws, p=f"{null.p(real):.2f}") + " " + how
    )  # fmt: skip


def untested(text: Text, similar: Correlation, null: Null) -> None:
    """Before a test: how strong the block is as a whole beside one draw of the null, and that this tests nothing."""
    st.metric(text("Mean |r|, here and by chance"), text.isolated(f"{similar.strength:.3f} / {null.strengths.mean():.3f}"))
    st.info(
        text("{pairs} pairs over n = {n} positions or pictures. One draw of the null is shown, which tests nothing yet: “Test all pairs” says "
             "how many pairs are beyond chance.",
             pairs=similar.pair_count, n=similar.n)
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
    frame.numbers(text, numbers)


def cluster_members(text: Text, block: BlockAnalysis, found: Clusters, similar: Correlation, cluster: int) -> None:
    """Size, mean r and the strongest channels of a cluster."""
    members = found.members(cluster)
    strength = block.activation[members].mean((1, 2))
    strongest = members[np.argsort(-strength, kind="stable")[:STRONGEST]]
    inside = library.mean_inside(similar, members)
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
    frame.numbers(text, numbers)


def knockout_facts(text: Text, analysis: Analysis, outcome: Knockouts, baseline: str, shown: Sequence[Picture]) -> None:
    """Where the prediction stands before anything goes, and without the whole block; and what stands in for what goes."""
    name = analysis.class_names[text.language][analysis.target.index]
    st.markdown(
        text("Before: “{name}” has {value} logits and rank {rank}. Without the whole block it falls by {fall}.",
             name=results.plain(name), value=f"{outcome.value:+.2f}", rank=outcome.rank, fall=f"{outcome.whole:.2f}")
    )  # fmt: skip
    told = {
        MEAN: text("The means are over n = {n} pictures and all their positions.", n=len(shown)),
        RESAMPLE: text(
            "What goes is replaced by the same channels on the picture “{name}”.",
            name=results.plain(controls.pictures(text)[shown[1].sha256][1]),
        ),
    }
    st.caption(told.get(baseline, text("What goes is set to zero, which is the farthest from what the network knows.")))


def knockout_table(text: Text, outcome: Knockouts) -> None:
    """Every cluster's numbers, and what they mean."""
    rows = [
        {
            text("Cluster"): k + 1,
            text("Channels"): one.size,
            text("Fall, logits"): round(one.necessity.value, 3),
            "z": round(one.necessity.z, 1),
            "p": round(one.necessity.p, 3),
            "q": round(float(outcome.q[k]), 3),
            text("KL, nats"): round(one.shift.value, 3),
            text("p of KL"): round(one.shift.p, 3),
            text("Fall of log-odds"): round(one.odds, 3),
            text("New rank"): one.rank,
            text("Alone: fall, logits"): round(one.sufficiency.value, 3),
            text("Alone: p"): round(one.sufficiency.p, 3),
            text("Match"): round(one.strength, 2),
        }
        for k, one in enumerate(outcome.outcomes)
    ]
    st.dataframe(rows, hide_index=True)
    st.caption(
        text("p: the share of random sets, matched in branch, size and mean activation, that do at least as much; no p "
             "can be below {least}. z: how many of their standard deviations the cluster lies above them. q: p after "
             "Benjamini-Hochberg over the clusters. Match: their mean activation over the cluster's.",
             least=f"{1 / (1 + outcome.draws):.3f}")
    )  # fmt: skip


def pairs(text: Text, found: Interactions) -> None:
    """What a joint effect means, and how many would be starred by chance."""
    upper = np.triu_indices(len(found.p), 1)
    stars = int((found.p[upper] <= nulls.LEVEL).sum())
    st.markdown(
        text("{stars} of {n} pairs have a star; by chance alone it would be about {chance}.",
             stars=stars, n=len(upper[0]), chance=f"{len(upper[0]) * np.floor(nulls.LEVEL * (1 + found.draws)) / (1 + found.draws):.1f}")
    )  # fmt: skip
    st.caption(
        text("Above zero: each stands in for the other, so they are missed most together (redundant). Below: each needs "
             "the other, so one gone is as bad as both (synergistic). ★: farther from zero than {n} pairs of matched "
             "random sets allow (p up to {level}).",
             n=CONTROLS, level=f"{nulls.LEVEL:.0%}")
    )  # fmt: skip
