"""Where the class is, for its page: chosen, computed by the engine, drawn by the person, and told beside what chance reaches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from inception_viz import boxes, corloc, grids
from inception_viz import localisation as library
from inception_viz.activations import Target
from inception_viz.analysis import Analysis
from inception_viz.boxes import Box, Case
from inception_viz.clusters import DEFAULT, Clusters
from inception_viz.figures import localisation as drawing
from inception_viz.images import Picture
from inception_viz.localisation import CAM, CLUSTER, GRAD_CAM, METHODS, Place
from inception_viz.nulls import LEVEL
from inception_viz.text import Text
from pages.shell import controls, frame, results, session

THRESHOLD = 40  # percent, where nothing has been measured
FINE = 64  # cells a side of a map that is drawn
DRAWS = 2000  # random boxes that an overlap is held against
EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Settings:
    """What is looked at: the block of Grad-CAM, that of the clusters, a cluster (None: the one that gives most), and the share of the maximum."""

    grad_block: str
    cluster_block: str
    cluster: int | None
    threshold: float


@dataclass(frozen=True, eq=False)
class Found:
    """The maps of one picture, by method, stretched to `(FINE, FINE)`, and where they say that the class is; `cluster` is the one whose map it is."""

    maps: Mapping[str, np.ndarray]
    places: Mapping[str, Place]
    cluster: int | None


def picture(text: Text) -> Picture:
    """The picture to look at: one of the session's, or a sample."""
    here, own = controls.pictures(text), session.current().picture.sha256[:8]  # whoever brings another photo wants to see that one
    told = {key: results.plain(name) for key, (_, name) in here.items()}
    return here[controls.one_of(f"localised picture {own}", text("Picture"), told)][0]


def _class_key(shown: Picture) -> str:
    return f"localised class {shown.sha256[:8]}"


def analysis(text: Text, shown: Picture) -> Analysis:
    """The analysis of the picture for the class that the person looks for."""
    likeliest = results.analysis(text, None, shown)
    names = likeliest.class_names[text.language]
    first = [p.index for p in likeliest.predictions]
    told = {i: names[i] for i in [*first, *(i for i in range(len(names)) if i not in set(first))]}
    wanted = controls.choice(f"localised class {shown.sha256[:8]}", text("Class to look for"), told, first[0])
    return likeliest if wanted == likeliest.target.index else results.analysis(text, Target(wanted), shown)


def _before_last_size(found: Analysis) -> str:
    """The last block whose maps are finer than the last one's, where Grad-CAM is not the class activation map again."""
    last = list(found.blocks.values())[-1]
    finer = [name for name, block in found.blocks.items() if block.activation.shape[1] > last.activation.shape[1]]
    return finer[-1] if finer else last.block.name


def _measured_block(found: Analysis) -> str:
    """Where the clusters' map did best, if it was measured on such a network; else the last block."""
    known = corloc.results()
    best = known[0].by_name[CLUSTER].block if known and known[0].architecture == found.model.architecture else None
    return best or list(found.blocks)[-1]


def _clusters(text: Text, found: Analysis, block: str) -> Clusters:
    return results.clustered(text, found.key, block, found.blocks[block].correlation, DEFAULT, None)


def settings(text: Text, found: Analysis) -> Settings:
    """What the person turns."""
    names, known, kind = list(found.blocks), corloc.results(), found.model.architecture
    left, middle, right = st.columns(3)
    with left:
        grad = controls.choice(f"grad-cam block {kind}", text("Block of Grad-CAM"), {n: n for n in names}, _before_last_size(found))
    with middle:
        block = controls.choice(f"located block {kind}", text("Block of the clusters"), {n: n for n in names}, _measured_block(found))
    with right:
        count = _clusters(text, found, block).count
        told = {None: text("the one that gives most")} | {k: text("cluster {n}", n=k + 1) for k in range(count)}
        cluster = controls.choice(f"located cluster {found.picture.sha256[:8]} {block}", text("Cluster"), told)
    usual = round(100 * (known[0].by_name[CAM].threshold or 0)) if known else THRESHOLD
    share = controls.number(
        "box threshold", text("The box goes round what reaches this share of the map's maximum, in percent"), 5, 95, usual
    )
    return Settings(grad, block, cluster, share / 100)


def located(text: Text, shown: Picture, found: Analysis, chosen: Settings) -> Found:
    """Every method's map, box and summit on a picture; only an analysis that is not remembered asks the network."""
    used = results.model(text)
    last, grad, block = (found.blocks[name] for name in (list(found.blocks)[-1], chosen.grad_block, chosen.cluster_block))
    clusters = _clusters(text, found, chosen.cluster_block)
    best = library.best_cluster(block.activation, block.gradient, clusters.labels) if chosen.cluster is None else chosen.cluster
    members = np.array([], int) if best is None else clusters.members(best)
    maps = {
        CAM: library.class_map(last.activation, library.head(used), found.target),
        GRAD_CAM: library.grad_map(grad.activation, grad.gradient),
        CLUSTER: library.given_map(block.activation, block.gradient, members),
    }
    seeing = used.weights.preprocessing
    cells = {m: grids.grid(b.block, seeing.crop) for m, b in ((CAM, last), (GRAD_CAM, grad), (CLUSTER, block))}
    places = {m: library.place(v, cells[m], chosen.threshold, seeing, shown.width, shown.height) for m, v in maps.items()}
    return Found({m: grids.enlarged(v, FINE, cells[m].on(FINE, seeing.crop)) for m, v in maps.items()}, places, best)


def _true_boxes() -> dict[str, Box]:
    kept: dict[str, Box] = session.current().choices.setdefault("true boxes", {})
    return kept


def true_box(shown: Picture) -> Box | None:
    """The box that the person has drawn on a picture."""
    return _true_boxes().get(shown.sha256)


def _edge_key(shown: Picture, edge: str) -> str:
    return f"true box {edge} {shown.sha256[:8]}"


def _keep(shown: Picture, box: Box) -> None:
    inside = box.within(shown.width, shown.height)
    if inside.area >= 1:
        _true_boxes()[shown.sha256] = inside
        for edge in EDGES:
            st.session_state[_edge_key(shown, edge)] = round(getattr(inside, edge))


def _drawn(shown: Picture, key: str) -> None:
    """Take a box that was dragged; an empty selection, which comes whenever the figure changes, forgets nothing."""
    selected = st.session_state[key]["selection"]["box"]
    if selected:
        x, y = sorted(selected[-1]["x"]), sorted(selected[-1]["y"])
        _keep(shown, Box(x[0], y[0], x[1], y[1]))


def _typed(shown: Picture) -> None:
    left, top, right, bottom = (st.session_state[_edge_key(shown, edge)] for edge in EDGES)
    _keep(shown, Box(min(left, right), min(top, bottom), max(left, right), max(top, bottom)))


def _forget(shown: Picture) -> None:
    _true_boxes().pop(shown.sha256, None)


def canvas(text: Text, shown: Picture, found: Found) -> None:
    """The picture with every box on it; dragging over it draws the true one."""
    seen = boxes.seen_box(results.model(text).weights.preprocessing, shown.width, shown.height)
    key = f"localisation-{shown.sha256[:8]}"
    frame.show(drawing.drawing(shown, seen, found.places, true_box(shown), text), key, lambda: _drawn(shown, key))
    st.caption(text("Drag over the picture to draw the true box. Crosses are the summits of the maps."))


def edges(text: Text, shown: Picture) -> None:
    """The same by keyboard: the four edges of the true box in pixels."""
    words = {"left": text("Left edge"), "top": text("Top edge"), "right": text("Right edge"), "bottom": text("Bottom edge")}
    true = true_box(shown) or Box(0, 0, shown.width, shown.height)
    with st.form(f"true box {shown.sha256[:8]}"):
        st.markdown(text("The true box in pixels, of {width} x {height}", width=shown.width, height=shown.height))
        columns = st.columns(4, vertical_alignment="bottom")
        for column, edge in zip(columns, EDGES, strict=True):
            most, key = shown.width if edge in ("left", "right") else shown.height, _edge_key(shown, edge)
            st.session_state.setdefault(key, round(getattr(true, edge)))
            column.number_input(words[edge], 0, most, step=1, key=key)
        st.form_submit_button(text("Take this box"), on_click=_typed, args=(shown,))
    if true_box(shown):
        st.button(text("Forget the box"), on_click=_forget, args=(shown,))


@dataclass(frozen=True)
class _Scored:
    """One way to find the box on one picture: its overlap with the true one, and whether its point lies inside."""

    name: str
    overlap: float
    hit: bool


def _scored(shown: Picture, found: Found, true: Box) -> list[_Scored]:
    case = Case(shown.name, 0, (true,))
    mean = boxes.in_the_middle(shown.width, shown.height, _middle())
    whole = Box(0, 0, shown.width, shown.height)
    looked = [_Scored(m, case.overlap(place.box), case.hit(place.point)) for m, place in found.places.items()]
    return [*looked, *(_Scored(n, case.overlap(b), case.hit(b.centre)) for n, b in ((corloc.MIDDLE, mean), (corloc.WHOLE, whole)))]


def _middle() -> float:
    known = corloc.results()
    return (known[0].by_name[corloc.MIDDLE].threshold if known else None) or 0.75


def _random(shown: Picture, true: Box) -> np.ndarray:
    """Overlaps of the true box with random ones, `(DRAWS,)`, always the same ones."""
    generator = np.random.default_rng(corloc.SEED)
    return np.array([true.overlap(boxes.at_random(shown.width, shown.height, generator)) for _ in range(DRAWS)])


def scores(text: Text, shown: Picture, found: Found) -> None:
    """How well every method and every baseline found the true box, and how often chance does as well."""
    true = true_box(shown)
    if true is None:
        st.info(text("Draw the true box, and every method is measured against it."))
        return
    chance, area = _random(shown, true), true.area / (shown.width * shown.height)
    yes, no = text("yes"), text("no")
    rows = [
        {
            text("Method"): text(one.name),
            text("Overlap (IoU)"): f"{one.overlap:.2f}",
            text("Right (at least 0.5)"): yes if one.overlap >= corloc.RIGHT else no,
            text("Summit inside"): yes if one.hit else no,
            text("Random boxes as good"): f"{(chance >= one.overlap).mean():.1%}",
        }
        for one in _scored(shown, found, true)
    ]
    st.dataframe(rows, hide_index=True)
    st.caption(
        text(
            "{draws} random boxes overlap by {mean} on average, {right} of them are right, and a random point lies inside with a chance of {area}. "
            "A box in the middle has its point there, and {share} of both sides.",
            draws=DRAWS, mean=f"{chance.mean():.2f}", right=f"{(chance >= corloc.RIGHT).mean():.1%}", area=f"{area:.0%}", share=f"{_middle():.0%}",
        )
    )  # fmt: skip


def maps(text: Text, shown: Picture, found: Found, chosen: Settings) -> None:
    """Every method's map over the picture, with its box."""
    seen = boxes.seen_box(results.model(text).weights.preprocessing, shown.width, shown.height)
    places = {CAM: "", GRAD_CAM: chosen.grad_block, CLUSTER: chosen.cluster_block}
    for column, (method, values) in zip(st.columns(3), found.maps.items(), strict=True):
        with column:
            title = text("{name}, block {block}", name=text(method), block=places[method]) if places[method] else text(method)
            figure = drawing.over(shown, seen, values, method, found.places[method], true_box(shown), text.isolated(title), text)
            frame.show(figure, f"localisation-{method.replace(' ', '-')}")
            st.caption(text(METHODS[method]))
            if method == CLUSTER and found.cluster is not None:
                st.caption(text("This is cluster {n}.", n=found.cluster + 1))
            if found.places[method].box is None:
                st.warning(text("This map speaks nowhere for the class: there is no box."))


def together(text: Text, chosen: Settings) -> None:
    """All pictures whose true box was drawn: overlaps, and how many of them are right."""
    here, drawn = controls.pictures(text), _true_boxes()
    shown = [(one, name) for key, (one, name) in here.items() if key in drawn]
    if not shown:
        st.info(text("Boxes that you draw on several pictures are counted together here."))
        return
    best = Settings(chosen.grad_block, chosen.cluster_block, None, chosen.threshold)
    rows, right = [], []
    for one, name in shown:
        index = session.current().choices.get(_class_key(one))
        found = results.analysis(text, None if index is None else Target(index), one)
        scored = _scored(one, located(text, one, found, best), drawn[one.sha256])
        told = {text("Picture"): name, text("Class"): found.class_names[text.language][found.target.index]}
        rows.append(told | {text(s.name): f"{s.overlap:.2f}" for s in scored})
        right.append([s.overlap >= corloc.RIGHT for s in scored])
    shares = [corloc.share(np.array(column)) for column in zip(*right, strict=True)]
    counted = {text(s.name): _counted(share, len(right)) for s, share in zip(scored, shares, strict=True)}
    st.dataframe([*rows, {text("Picture"): text("CorLoc, n = {n}", n=len(right)), text("Class"): ""} | counted], hide_index=True)
    st.caption(text("Overlaps with your boxes; in the last line how many reach 0.5, with the 95% interval (Wilson)."))


def _counted(share: corloc.Share, n: int) -> str:
    return f"{round(share.found * n)} / {n} ({share.low:.0%}–{share.high:.0%})"


def measured(text: Text) -> None:
    """What was measured of the boxed network on many pictures, with the command that repeats it."""
    known = corloc.results()
    if known is None:
        return
    found, command = known
    with st.expander(text("Measured on n = {n} pictures", n=found.n)):
        st.markdown(
            text(
                "{better} of {n} methods are right more often than the best box in the middle, {worse} less often (CorLoc, q up to {level}).",
                better=_beyond(found, 1), worse=_beyond(found, -1), n=len(METHODS), level=f"{LEVEL:.0%}",
            )
        )  # fmt: skip
        st.dataframe([_row(text, row) for row in found.rows], hide_index=True)
        st.caption(
            text(
                "Of the boxed network, on validation pictures of Tiny ImageNet, each asked for its true class. Blocks, thresholds and sizes were "
                "chosen on {chosen} other pictures; seed {seed}. Intervals are of 95% (Wilson); gains in CorLoc are over the best box in the "
                "middle, their q are adjusted over all rows and both measures (McNemar's exact test, Benjamini & Hochberg).",
                chosen=found.chosen_on, seed=found.seed,
            )
        )  # fmt: skip
        st.code(command, language="shell")


def _beyond(found: corloc.Measured, sign: int) -> int:
    """How many methods differ from the best box in the middle in this direction, beyond chance."""
    gains = [(row.corloc_gain, row.corloc_q) for row in found.rows]
    return sum(gain is not None and q is not None and q <= LEVEL and sign * gain.found > 0 for gain, q in gains)


def _row(text: Text, row: corloc.Row) -> dict[str, str]:
    share = "" if row.threshold is None else f"{row.threshold:.0%}"
    return {
        text("Method"): text(row.name),
        text("Block"): row.block or "",
        text("Threshold, or size"): share,
        text("Pointing game"): f"{row.pointing.found:.1%} ({row.pointing.low:.1%}–{row.pointing.high:.1%})",
        text("CorLoc"): f"{row.corloc.found:.1%} ({row.corloc.low:.1%}–{row.corloc.high:.1%})",
        text("Gain, points"): "" if row.corloc_gain is None else f"{100 * row.corloc_gain.found:+.1f} (q {row.corloc_q:.2g})",
    }
