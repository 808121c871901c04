"""The two sides of a comparison: chosen, computed by the engine, and drawn beside each other."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import streamlit as st
import torch

from inception_viz import attributions, knockouts, models, nulls
from inception_viz import clusters as grouping
from inception_viz import comparisons as library
from inception_viz import flows as flowing
from inception_viz.activations import Target
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.attributions import Attribution, cluster_map
from inception_viz.clusters import Clusters
from inception_viz.correlations import correlate
from inception_viz.engine.local import Progress
from inception_viz.figures import attributions as bars
from inception_viz.figures import clusters as cluster_figures
from inception_viz.figures import comparisons as drawing
from inception_viz.figures import flows as flow_figures
from inception_viz.grids import grid
from inception_viz.images import Picture
from inception_viz.knockouts import Trial
from inception_viz.models import Model
from inception_viz.text import Text, message
from pages.shell import believed, controls, evidence, flows, frame, graph, results, session

NAMES = message("A"), message("B")
SHOWN = 5  # predictions a side
MOST_MAPS = 4
OTHERS = 5  # pictures beside each side's own that a knock-out's mean is taken over
ONWARD = 2  # blocks that flows go through, from the one on show
WIDTH = 180  # pixels, of each side's picture


@dataclass(frozen=True, eq=False)
class Side:
    """One side: its name, the network, the picture, what it was asked, and its `block` on show."""

    name: str
    model: Model
    picture: Picture
    analysis: Analysis
    block: str = ""

    @property
    def shown(self) -> BlockAnalysis:
        """The block on show."""
        return self.analysis.blocks[self.block]


def kinds(text: Text) -> dict[str, str]:
    """What can be compared here."""
    here = models.BOXED in models.choices("googlenet")
    return {kind: text(kind) for kind, chosen in library.KINDS.items() if here or "checkpoint" not in chosen}


def sides(text: Text, kind: str) -> tuple[Side, Side]:
    """Both sides as chosen, and their answers beside each other."""
    columns = st.columns(2)
    both = []
    for index, column in enumerate(columns):
        with column:
            st.subheader(text(NAMES[index]), anchor=False)
            both.append(_side(text, index, library.KINDS[kind]))
    if "target" not in library.KINDS[kind]:
        both = _with_one_target(text, both)
    for side, column in zip(both, columns, strict=True):
        with column:
            _answer(text, side)
    return both[0], both[1]


def _side(text: Text, index: int, chosen: Sequence[str]) -> Side:
    picture = _picture(text, index) if "picture" in chosen else session.current().picture
    used = results.model(text)
    if "network" in chosen:
        used = _network(text, index)
    elif "checkpoint" in chosen:
        used = _checkpoint(text, index)
    analysis = results.analysis(text, None, picture, used)
    if "target" in chosen:
        first = [p.index for p in analysis.predictions]
        names = analysis.class_names[text.language]
        told = {i: names[i] for i in [*first, *(i for i in range(len(names)) if i not in set(first))]}
        preferred = first[0] if "picture" in chosen else first[min(index, len(first) - 1)]
        wanted = controls.choice(f"compared class {index} {len(names)}", text("Class to explain"), told, preferred)
        analysis = results.analysis(text, Target(wanted), picture, used)
    return Side(text(NAMES[index]), used, picture, analysis)


def _picture(text: Text, index: int) -> Picture:
    here = controls.pictures(text)
    told = {key: name for key, (_, name) in here.items()}
    return here[controls.choice(f"compared picture {index}", text("Picture"), told, list(told)[min(index, len(told) - 1)])][0]


def _network(text: Text, index: int) -> Model:
    """A network with weights that are here; at first the session's own against the other architecture."""
    own = results.model(text)
    here = {(name, weights): f"{name} · {weights}" for name in models.ARCHITECTURES for weights in models.choices(name)}
    told: dict[tuple[str, str] | None, str] = {None: f"{own.architecture} · {own.weights.name}"}
    told |= {key: name for key, name in here.items() if key != (own.architecture, own.weights.name)}
    other = next(key for key in here if key[0] != own.architecture)
    chosen = controls.choice(f"compared network {index}", text("Network"), told, other if index else None)
    return own if chosen is None else results.named_model(text, *chosen)


def _checkpoint(text: Text, index: int) -> Model:
    told = {c: text("epoch {n}", n=models.epoch(c)) for c in models.CHECKPOINTS}
    preferred = models.CHECKPOINTS[-1 if index else 0]
    return results.named_model(
        text, "googlenet", controls.choice(f"compared state {index}", text("Training of the boxed network"), told, preferred)
    )


def _with_one_target(text: Text, both: list[Side]) -> list[Side]:
    """Both sides asked for one class, or each for its own likeliest, where they do not know the same classes."""
    names = [side.analysis.class_names[text.language] for side in both]
    if names[0] != names[1]:
        st.caption(text("The two networks know different classes: each is asked for its own likeliest."))
        return both
    likely = dict.fromkeys(p.index for side in both for p in side.analysis.predictions)
    told: dict[int | None, str] = {None: text("each side's own likeliest")}
    told |= {i: names[0][i] for i in [*likely, *(i for i in range(len(names[0])) if i not in likely)]}
    chosen = controls.choice("compared class", text("Class to explain"), told)
    if chosen is None:
        return both
    return [Side(s.name, s.model, s.picture, results.analysis(text, Target(chosen), s.picture, s.model)) for s in both]


def _answer(text: Text, side: Side) -> None:
    """What a side looks at and what it says."""
    analysis = side.analysis
    logit = analysis.logits[analysis.target.index]
    left, right = st.columns([1, 2])
    with left:
        frame.picture(results.seen(analysis), analysis.picture.name, width=WIDTH)
    with right:
        st.metric(text("Logit of {name}", name=analysis.class_names[text.language][analysis.target.index]), text.isolated(f"{logit:+.2f}"))
        weights = results.plain(analysis.model.weights)
        st.caption(text("{architecture} with the weights “{weights}”", architecture=analysis.model.architecture, weights=weights))
    frame.show(drawing.predictions(analysis.predictions[:SHOWN], text), f"compared-predictions-{side.name}")


def blocks(text: Text, a: Side, b: Side) -> tuple[Side, Side]:
    """Both sides with the block to look at: one for both where they are of one architecture."""
    left, right = st.columns(2)
    with left:
        first = controls.block(text, a.analysis)
    second = first
    if a.analysis.model.architecture != b.analysis.model.architecture:
        names = list(b.analysis.blocks)
        told = {n: text("{name} · {channels} channels", name=n, channels=b.analysis.blocks[n].block.channels) for n in names}
        with right:
            second = controls.choice("compared block", text("Block of {name}", name=b.name), told, names[len(names) // 2])
    if not library.same_units(a.analysis.model, b.analysis.model):
        st.caption(text("The two networks have different channels: both are shown, but channels and clusters are not matched."))
    return Side(a.name, a.model, a.picture, a.analysis, first), Side(b.name, b.model, b.picture, b.analysis, second)


def _matched(a: Side, b: Side) -> bool:
    return library.same_units(a.analysis.model, b.analysis.model)


def _metrics(told: Mapping[str, str], help: Mapping[str, str] | None = None) -> None:
    for column, (label, value) in zip(st.columns(len(told), vertical_alignment="bottom"), told.items(), strict=True):
        column.metric(label, value, help=(help or {}).get(label))


def _with_p(text: Text, found: library.Against) -> str:
    return text("{value} (p = {p})", value=f"{found.value:.2f}", p=f"{found.p:.3f}")


def show_correlations(text: Text, a: Side, b: Side) -> None:
    """Both heatmaps on one scale, in one order where the channels are the same; both distributions; and how alike they are."""
    matched = _matched(a, b)
    order = results.order(a.shown.correlation)
    if matched:
        st.caption(text("Channels stand in the order of A on both sides."))
    for side, column in zip((a, b), st.columns(2), strict=True):
        own = order if matched else results.order(side.shown.correlation)
        strength = library.strength(side.shown.correlation)
        with column:
            st.markdown(f"**{text('{side}: block {block}', side=side.name, block=side.block)}**")
            frame.show(drawing.heatmap(side.shown.correlation, side.shown.block, own, text), f"compared-correlations-{side.name}")
            _metrics({
                text("Mean |r|"): text.isolated(f"{strength.mean:.3f}"),
                text("Pairs above |r| = {level}", level=library.STRONG): text.isolated(f"{strength.strong:.1%}"),
            })  # fmt: skip
            st.caption(text("{pairs} pairs of channels over n = {n} positions", pairs=strength.pairs, n=strength.n))
    _alike(text, a, b, matched)
    pairs = {side.name: (side.shown.correlation.pairs(), _by_chance(side)) for side in (a, b)}
    frame.show(drawing.distributions(pairs, text), "compared-distributions")


def _by_chance(side: Side) -> np.ndarray:
    return correlate(nulls.shift(torch.from_numpy(np.array(side.shown.activation)), 0)).pairs()


def _alike(text: Text, a: Side, b: Side, matched: bool) -> None:
    """How alike the two are: pair by pair where the channels are the same, place by place where the picture is."""
    label = text("Gap between the distributions, 0 to 1")
    told = {label: text.isolated(f"{library.apart(a.shown.correlation, b.shown.correlation):.2f}")}
    help = {
        label: text("The largest gap between the cumulated shares of pairs (Kolmogorov-Smirnov); pairs share channels, so it has no p.")
    }
    if matched:
        label = text("Agreement of r, pair by pair")
        told[label] = _with_p(text, _once(text, a, b, "pairs", lambda: library.of_pairs(a.shown.correlation, b.shown.correlation)))
        help[label] = text(
            "The correlation between both sides' r over all pairs of channels; p by renumbering the channels {n} times.", n=library.DRAWS
        )
    if library.same_picture(a.analysis, b.analysis):
        label = text("Same places alike (CKA)")
        told[label] = _with_p(text, _once(text, a, b, "places", lambda: library.places(a.shown.activation, b.shown.activation)))
        help[label] = text(
            "Whether both find the same places of the picture alike, 1 at most; p from all shifts of one picture against the other."
        )
    _metrics(told, help)


def _once(text: Text, a: Side, b: Side, what: str, work: Callable[[], library.Against]) -> library.Against:
    key = ("compared", what, a.analysis.key, a.block, b.analysis.key, b.block)
    return results.compute(text, a.model, f"compared {what}", key, lambda progress: work())


def _clusters(text: Text, a: Side, b: Side) -> tuple[Clusters, Clusters]:
    live = min(int((~side.shown.correlation.constant).sum()) for side in (a, b))
    method, count = controls.method_and_count(text, live)
    first, second = (
        results.clustered(text, side.analysis.without_target, side.block, side.shown.correlation, method, count) for side in (a, b)
    )
    return first, second


def show_clusters(text: Text, a: Side, b: Side) -> None:
    """Each side's own clusters over branches and over the picture, and which cluster of one is which of the other."""
    found = _clusters(text, a, b)
    for side, clusters, column in zip((a, b), found, st.columns(2), strict=True):
        with column:
            st.markdown(f"**{text('{side}: block {block}', side=side.name, block=side.block)}**")
            _metrics({
                text("Clusters ({criterion})", criterion=text(clusters.criterion)): text.isolated(str(clusters.count)),
                text("Silhouette, -1 to 1"): text.isolated(f"{clusters.score:.2f}"),
            })  # fmt: skip
            table = grouping.branch_table(clusters, side.shown.block)
            frame.show(cluster_figures.over_branches(table, side.shown.block, text), f"compared-branches-{side.name}")
    for side, clusters, column in zip((a, b), found, st.columns(2), strict=True):
        maps = [cluster_map(side.shown.activation, clusters.members(k)) for k in range(min(clusters.count, MOST_MAPS))]
        titles = [text.isolated(text("cluster {n}", n=k + 1)) for k in range(len(maps))]
        if maps:
            with column:
                frame.show(
                    cluster_figures.maps(side.analysis.view, maps, grid(side.shown.block, len(side.analysis.view)), titles, text),
                    f"compared-maps-{side.name}",
                )
    if _matched(a, b):
        digest = hashlib.sha256(found[0].labels.tobytes() + found[1].labels.tobytes()).hexdigest()
        label = text("Adjusted Rand index")
        told = {label: _with_p(text, _once(text, a, b, f"clusters {digest}", lambda: library.of_clusters(*found)))}
        explained = text("1 if both have the same clusters, about 0 by chance; p by shuffling the clusters {n} times.", n=library.DRAWS)
        _metrics(told, {label: explained})
        st.markdown(text("Clusters that have most channels in common, one to one:"))
        rows = [
            {text.isolated(text("cluster of {side}", side=a.name)): i + 1, text.isolated(text("cluster of {side}", side=b.name)): j + 1,
             text.isolated(text("channels in common (Jaccard)")): f"{share:.0%}"}
            for i, j, share in library.matched(*found)
        ]  # fmt: skip
        st.dataframe(rows, hide_index=True)


def _shared(text: Text, a: Side, b: Side) -> tuple[Clusters, Clusters]:
    """Clusters to compare numbers of: A's on both sides where the channels are the same, else each side's own."""
    first, second = _clusters(text, a, b)
    if not _matched(a, b):
        return first, second
    st.caption(text("The clusters are those of A on both sides, so that their numbers can be compared."))
    return first, first


def _cluster_names(text: Text, count: int) -> list[str]:
    return [text("cluster {n}", n=k + 1) for k in range(count)]


def _beside(text: Text, a: Side, b: Side, values: Sequence[np.ndarray], names: Sequence[list[str]], unit: str, key: str,
            dots: Sequence[Sequence[np.ndarray]] | None = None) -> None:  # fmt: skip
    """Bars of both sides: in one figure where they have the same names, else in two."""
    if names[0] == names[1]:
        both = None if dots is None else {a.name: dots[0], b.name: dots[1]}
        frame.show(drawing.bars({a.name: values[0], b.name: values[1]}, names[0], unit, text, both), f"compared-{key}")
        minus = text.isolated(text("{a} minus {b}", a=a.name, b=b.name))
        rows = [
            {unit: name, a.name: f"{one:+.3f}", b.name: f"{other:+.3f}", minus: f"{one - other:+.3f}"}
            for name, one, other in zip(names[0], *values, strict=True)
        ]
        st.dataframe(rows, hide_index=True)
        return
    for index, (side, column) in enumerate(zip((a, b), st.columns(2), strict=True)):
        own = None if dots is None else {side.name: dots[index]}
        with column:
            frame.show(drawing.bars({side.name: values[index]}, names[index], unit, text, own, index), f"compared-{key}-{side.name}")


def show_attributions(text: Text, a: Side, b: Side) -> None:
    """What clusters and branches give to each side's class, in logits."""
    method = controls.choice("attribution", text("Method"), {m: text(m) for m in attributions.METHODS})
    found = _shared(text, a, b)
    given = [_attribution(text, side, method, clusters.labels) for side, clusters in zip((a, b), found, strict=True)]
    unit = text("given to the target (logits)")
    matched = _matched(a, b)
    names = [_cluster_names(text, c.count) if matched else [text("{side}: cluster {n}", side=s.name, n=k + 1) for k in range(c.count)]
             for s, c in zip((a, b), found, strict=True)]  # fmt: skip
    _beside(text, a, b, [g.by_cluster(c.labels) for g, c in zip(given, found, strict=True)], names, unit, "attributions")
    branches = [[branch.name for branch in side.shown.block.branches] for side in (a, b)]
    _beside(text, a, b, [g.by_branch(s.shown.block) for g, s in zip(given, (a, b), strict=True)], branches, unit, "attributions-branches")
    told = {
        text("{side}: sum over channels, logits", side=s.name): text.isolated(f"{g.channels.sum():+.2f}")
        for s, g in zip((a, b), given, strict=True)
    }
    apart = given[0].channels.sum() - given[1].channels.sum()
    _metrics(told | {text("A minus B, logits"): text.isolated(f"{apart:+.2f}")})
    if controls.switch("check compared", text("Check this method on both sides (slow)")):
        sides = zip((a, b), found, strict=True)
        checks = {s.name: evidence.checked(text, s.analysis, s.block, c.labels, method, s.model, s.picture) for s, c in sides}
        believed.beside(text, method, checks)
    for side, column in zip((a, b), st.columns(2), strict=True):
        with column:
            st.markdown(text("{side}: through all blocks, gradient x activation", side=side.name))
            every = {name: block.attribution for name, block in side.analysis.blocks.items()}
            shape = {name: block.block for name, block in side.analysis.blocks.items()}
            frame.show(bars.over_blocks(every, shape, text), f"compared-blocks-{side.name}")


def _attribution(text: Text, side: Side, method: str, labels: np.ndarray) -> Attribution:
    if method == "gradient x activation":
        return side.shown.attribution

    def work(on: Model, progress: Progress) -> Attribution:
        inputs = on.input(side.picture)
        return attributions.attribute(on, inputs, side.analysis.target, side.block, method, labels, progress.tick).without_maps()

    key = ("compared attribution", side.analysis.key, side.block, method, hashlib.sha256(labels.tobytes()).hexdigest())
    here, smaller = results.here_or_on_cpu(side.model, work)
    evaluations = attributions.METHODS[method].evaluations
    return results.compute(text, side.model, f"compared attribution {side.name}", key, here, evaluations, smaller)


def show_knockouts(text: Text, a: Side, b: Side) -> None:
    """What each side's class loses without each cluster, beside matched random sets."""
    baseline = controls.choice(
        "knocked to", text("Put in the place of a cluster"), {key: text(words) for key, words in knockouts.BASELINES.items()}
    )
    found = _shared(text, a, b)
    trials = [_knocked_out(text, side, clusters, baseline) for side, clusters in zip((a, b), found, strict=True)]
    matched = _matched(a, b)
    names = [_cluster_names(text, c.count) if matched else [text("{side}: cluster {n}", side=s.name, n=k + 1) for k in range(c.count)]
             for s, c in zip((a, b), found, strict=True)]  # fmt: skip
    values = [np.array([t.value for t in side]) for side in trials]
    dots = [[t.controls for t in side] for side in trials]
    _beside(text, a, b, values, names, text("fall of the target without the cluster (logits)"), "knockouts", dots)
    st.caption(text("Grey dots: {n} random sets of as many channels, from the same branches and about as strong.", n=knockouts.CONTROLS))
    rare = [sum(t.p <= nulls.LEVEL for t in side) for side in trials]
    for side, own, beyond in zip((a, b), trials, rare, strict=True):
        st.markdown(
            text("{side}: {found} of {n} clusters are missed more than all but {level} of their random sets.",
                 side=side.name, found=beyond, n=len(own), level=f"{nulls.LEVEL:.0%}")
        )  # fmt: skip


def _knocked_out(text: Text, side: Side, found: Clusters, baseline: str) -> list[Trial]:
    """The fall of the target without each cluster, against matched random sets."""
    others = [picture for key, (picture, _) in controls.pictures(text).items() if key != side.picture.sha256][:OTHERS]

    def work(on: Model, progress: Progress) -> list[Trial]:
        inputs = torch.cat([on.input(picture) for picture in (side.picture, *others)])
        scene = knockouts.scene(on, inputs, side.block, side.analysis.target, baseline)
        return [one.necessity for one in knockouts.knock_out(on, scene, found, tick=progress.tick).outcomes]

    digest = hashlib.sha256(found.labels.tobytes()).hexdigest()
    key = ("compared knock-outs", side.analysis.key, side.block, baseline, digest, tuple(p.sha256 for p in others))
    here, smaller = results.here_or_on_cpu(side.model, work)
    evaluations = knockouts.evaluations(found.count)
    return results.compute(text, side.model, f"compared knock-outs {side.name}", key, here, evaluations, smaller)


def show_flows(text: Text, a: Side, b: Side) -> None:
    """What flows through each side's block and the next to its class; and what is left of A less B, where the channels are the same."""
    told = {m: text(words) for m, words in flowing.MEASURES.items()}
    measure = controls.choice(
        "compared measure", text("What lines show"), told, flowing.TO_TARGET
    )  # activation is the same for all classes
    found = _onward(text, a, b)
    least = flows.least(text)
    followed = [flows.alone(text, s.model, s.picture, s.analysis, c, measure) for s, c in zip((a, b), found, strict=True)]
    for side, one, column in zip((a, b), followed, st.columns(2), strict=True):
        with column:
            st.markdown(f"**{text('{side}: from block {block} on', side=side.name, block=side.block)}**")
            key = f"compared flows {side.name}"
            graph.show(flow_figures.draw(one.graph, text, flows.logit_name(text, side.analysis), least, graph.selected(key)), key)
            flows.legend(text, one)
            flows.facts(text, side.analysis, one, key)
    if _matched(a, b) and a.block == b.block:
        _less(text, a, b, flowing.difference(followed[0].graph, followed[1].graph), least)


def _less(text: Text, a: Side, b: Side, drawn: nx.DiGraph, least: float) -> None:
    """The flows of A less those of B, cluster by cluster."""
    key, name = "compared flows less", text("{a} minus {b}", a=a.name, b=b.name)
    st.subheader(name, anchor=False)
    node = graph.selected(key)
    graph.show(flow_figures.draw(drawn, text, name, least, node), key)
    st.caption(text("Orange: more on side A, blue: more on side B. The difference of two sides has no p."))
    if node in drawn:
        flows.table(text, drawn, str(node), name)


def _onward(text: Text, a: Side, b: Side) -> tuple[Mapping[str, Clusters], Mapping[str, Clusters]]:
    """Clusters of each side's block and the next; A's on both sides where the channels are the same."""
    shown = []
    for side in (a, b):
        names = list(side.analysis.blocks)
        shown.append({n: side.analysis.blocks[n].correlation for n in names[names.index(side.block) :][:ONWARD]})
    live = min(int((~similar.constant).sum()) for blocks in shown for similar in blocks.values())
    method, count = controls.method_and_count(text, live)
    first, second = (
        {n: results.clustered(text, side.analysis.without_target, n, similar, method, count) for n, similar in blocks.items()}
        for side, blocks in zip((a, b), shown, strict=True)
    )
    if not _matched(a, b):
        return first, second
    st.caption(text("The clusters are those of A on both sides, so that their numbers can be compared."))
    return first, first


ASPECTS: dict[str, Callable[[Text, Side, Side], None]] = {
    message("Correlations"): show_correlations,
    message("Clusters"): show_clusters,
    message("Attributions"): show_attributions,
    message("Knock-outs"): show_knockouts,
    message("Flows"): show_flows,
}
