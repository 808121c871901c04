"""Figures carry the numbers that they were given, in both languages, and no more bytes than they need."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from plotly.subplots import make_subplots

from inception_viz import clusters as library
from inception_viz import nulls, validation
from inception_viz.analysis import Prediction
from inception_viz.architecture import Block, Branch
from inception_viz.attributions import Attribution
from inception_viz.clusters import Clusters, find
from inception_viz.correlations import correlate, measure, order, pearson
from inception_viz.figures import activations, alternative, attributions, clusters, colours, correlations, panels
from inception_viz.figures import knockouts as drawn_knockouts
from inception_viz.figures import statistics as drawn_statistics
from inception_viz.figures import validation as drawn_validation
from inception_viz.grids import Grid, tiles
from inception_viz.knockouts import Interactions
from inception_viz.text import LANGUAGES, Text
from tests.test_validation import block

BLOCK = Block("x", "x.cat", 12, 4, 4, (Branch("1x1", 0, 4), Branch("3x3", 4, 9), Branch("5x5", 9, 10), Branch("pool", 10, 12)), "y")
BOTH = pytest.mark.parametrize("text", [Text(language) for language in LANGUAGES], ids=list(LANGUAGES))


def similar(channels: int, n: int = 60):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(channels, n)))
    values[1] = 0
    return pearson(values)


def wire(figure: go.Figure) -> int:
    return len(figure.to_json().encode())


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", colours.BRANCH)
@pytest.mark.parametrize("ground", ["#ffffff", "#11161c"])
def test_branch_colours_stand_out_in_both_themes(name: str, ground: str) -> None:
    light, dark = sorted((luminance(colours.BRANCH[name]), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


@BOTH
def test_the_whole_block_shows_r_in_its_order(text: Text) -> None:
    found = similar(12)
    places = order(found)
    figure = correlations.whole(found, BLOCK, places, "", text)
    heat = next(t for t in figure.data if t.type == "heatmap" and t.zmin == -1)
    assert np.array_equal(np.asarray(heat.z), found.r[np.ix_(places, places)], equal_nan=True)
    assert list(heat.x) == [str(c) for c in places]
    assert {t.name for t in figure.data if t.type == "scatter"} == {"1x1", "3x3", "5x5", "pool"}


def test_a_large_heatmap_is_small_on_the_wire() -> None:
    found = similar(1024)
    block = Block("x", "x.cat", 1024, 7, 7, (Branch("1x1", 0, 500), Branch("pool", 500, 1024)), "y")
    assert wire(correlations.whole(found, block, np.arange(1024), "", Text("en"))) < 1_500_000
    assert wire(correlations.branches(found, block, [np.arange(500), np.arange(524)], Text("en"))) < 1_500_000


def test_reducing_takes_means_of_what_is_known() -> None:
    r = np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32)
    r[3], r[:, 3] = np.nan, np.nan
    cells, step = correlations.reduced(r, 3)
    assert step == 3
    assert cells.shape == (3, 3)
    assert cells[0, 0] == pytest.approx(r[:3, :3].mean())
    assert cells[1, 1] == pytest.approx(np.nanmean(r[3:6, 3:6]))
    assert cells[2, 2] == pytest.approx(r[6, 6])


@BOTH
def test_the_distribution_is_of_shares(text: Text) -> None:
    figure = correlations.distribution({"1x1": np.array([0.1, 0.1, -0.9]), "empty": np.array([])}, text)
    assert len(figure.data) == 1
    assert sum(figure.data[0].y) == pytest.approx(1)
    assert "3" in figure.data[0].name


@BOTH
def test_bars_of_clusters_and_branches_are_the_sums(text: Text) -> None:
    table = np.array([[3, 1, 0, 2], [0, 4, 1, 0]])
    figure = clusters.over_branches(table, BLOCK, text)
    assert [list(bar.x) for bar in figure.data] == table.T.tolist()
    assert [bar.marker.color for bar in figure.data] == [colours.BRANCH[b.name] for b in BLOCK.branches]
    values = np.array([1.5, -0.5])
    assert list(attributions.bars(values, ["a", "b"], "t", text).data[0].x) == values.tolist()
    given = Attribution("m", np.arange(12, dtype=np.float32), None)
    over = attributions.over_blocks({"x": given}, {"x": BLOCK}, text)
    assert [bar.y[0] for bar in over.data] == given.by_branch(BLOCK).tolist()


@BOTH
def test_a_long_title_of_an_axis_has_two_lines_and_shares_below_a_percent_different_names(text: Text) -> None:
    share, names = np.array([0.5, np.nan, 0.25] + [0.1] * 9), ["a"] * 12
    assert drawn_statistics.classes(share, 0.2, BLOCK, names, text).layout.xaxis.title.text.count("<br>") == 1
    figure = drawn_statistics.distribution({"1x1": np.linspace(-1, 1, 400)}, 6, text)
    assert figure.layout.yaxis.tickformat == ".1~%"  # 1.5% and 2%, where .0% says 2% twice


@BOTH
def test_maps_lie_over_the_whole_picture(text: Text) -> None:
    view = np.zeros((64, 64, 3), np.uint8)
    values = np.random.default_rng(2).normal(size=(4, 4))
    for cells, more in ((tiles(4, 64), 0), (Grid(14.5, 16), 1)):
        drawn = (
            activations.overlay(view, values, cells, "t", text, signed=True),
            clusters.maps(view, [values], cells, ["a"], text, signed=True),
        )
        for figure in drawn:
            heat = next(t for t in figure.data if t.type == "heatmap")
            assert heat.x0 - heat.dx / 2 <= -0.5
            assert heat.x0 + heat.dx * (3.5 + more) >= 63.5
            assert (heat.x0 + 0.5 + heat.dx * more, heat.dx) == (cells.first, cells.step)  # the first cell stands where it looks
            assert heat.zmax == -heat.zmin == pytest.approx(np.abs(values).max())
            assert np.asarray(heat.z)[more:, more:] == pytest.approx(values, abs=1e-6)


@BOTH
def test_tiles_show_each_channel_in_its_frame(text: Text) -> None:
    activation = np.random.default_rng(3).random((12, 4, 4))
    figure = activations.tiles(activation, BLOCK, [9, 0, 11], text)
    mosaic = np.asarray(figure.data[0].z)
    assert mosaic[:4, :4] == pytest.approx(activation[9], abs=1e-6)
    assert mosaic[:4, 10:14] == pytest.approx(activation[11], abs=1e-6)
    assert [s.line.color for s in figure.layout.shapes] == [colours.BRANCH[n] for n in ("5x5", "1x1", "pool")]
    assert [a.text for a in figure.layout.annotations] == ["9", "0", "11"]


@BOTH
def test_the_network_of_clusters_has_its_edges(text: Text) -> None:
    rise = np.random.default_rng(4).normal(size=30)
    graph = library.cofiring(np.stack([5 + rise, 5 + rise, 5 - rise], axis=1))
    figure = clusters.network(graph, text)
    assert len([t for t in figure.data if t.mode == "lines"]) == 1
    assert list(figure.data[-1].text) == ["1", "2", "3"]


def test_class_names_are_those_of_the_language() -> None:
    found = [Prediction(0, {"en": "goldfish", "ar": "سمكة ذهبية"}, 0.7), Prediction(1, {"en": "bee", "ar": "نحلة"}, 0.1)]
    assert list(attributions.predictions(found, Text("ar")).data[0].y) == ["سمكة ذهبية", "نحلة"]
    assert json.loads(attributions.predictions(found, Text("en")).to_json())["data"][0]["y"] == ["goldfish", "bee"]


@BOTH
def test_the_real_and_its_null_share_one_scale(text: Text) -> None:
    rng = np.random.default_rng(0)
    found = correlate(torch.from_numpy(rng.normal(size=(20, 5, 5))))
    figure = correlations.beside({"real": (found, np.arange(20)), "null": (found, np.arange(20)[::-1])}, block([8, 12]), text)
    maps = [trace for trace in figure.data if trace.type == "heatmap" and trace.zmin == -1]
    assert [trace.showscale for trace in maps] == [False, True]
    assert np.array_equal(maps[0].z, maps[1].z[::-1, ::-1])


@BOTH
def test_clusters_of_one_channel_are_left_out_of_the_cloud_but_others_are_numbered(text: Text) -> None:
    activation = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 6, 6)))
    similar = correlate(activation)
    found = find(similar, count=4)
    tests = validation.cluster_tests(found, similar, nulls.draws(nulls.SHIFT, activation, count=4))
    figure = drawn_validation.tightness(tests, "null", text)
    numbers = [n for trace in figure.data if trace.text is not None for n in trace.text]
    assert numbers == ["1"]
    assert drawn_validation.found_again(*(validation.stability(found, activation, measure(), 2),) * 2, text).data[0].x.shape == (4,)


@BOTH
def test_a_star_marks_what_is_beyond_chance(text: Text) -> None:
    found = Clusters(np.repeat([0, 1], [10, 10]), "spatial", "louvain", "chosen", 0.0)
    figure = drawn_validation.over_cells(validation.specialisation(found, block([10, 10])), block([10, 10]), text)
    assert [list(row) for row in figure.data[0].text] == [["10 ★", "0"], ["0", "10 ★"]]


@BOTH
def test_pairs_have_an_empty_diagonal(text: Text) -> None:
    joint = np.array([[np.nan, -1.5], [-1.5, np.nan]])
    figure = drawn_knockouts.pairs(Interactions(joint, np.array([[np.nan, 0.04], [0.04, np.nan]]), 20), text)
    assert [list(row) for row in figure.data[0].text] == [["", "-1.50 ★"], ["-1.50 ★", ""]]
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1.5, 1.5)


@BOTH
def test_figures_that_plotly_did_not_check_pass_its_check(text: Text) -> None:
    found, places, view = similar(12), np.arange(12), np.zeros((64, 64, 3), np.uint8)
    unchecked = [
        correlations.beside({"real": (found, places), "null": (found, places)}, BLOCK, text),
        correlations.whole(found, BLOCK, places, "t", text),
        correlations.rareness(nulls.rank_p(found.r, found.pairs()), BLOCK, places, text),
        correlations.branches(found, BLOCK, [np.arange(b.stop - b.start) for b in BLOCK.branches], text),
        clusters.maps(view, [np.ones((4, 4))] * 5, tiles(4, 64), list("abcde"), text),
        clusters.over_branches(np.ones((2, len(BLOCK.branches))), BLOCK, text),
        activations.tiles(np.ones((12, 4, 4)), BLOCK, [9, 0, 11], text),
        attributions.bars([1.0, -2.0], ["a", "b"], "t", text),
    ]
    for figure in unchecked:
        checked = go.Figure(json.loads(figure.to_json()))  # raises where a property is not to be had
        assert json.loads(checked.to_json())["layout"] == json.loads(figure.to_json())["layout"]


def test_panels_lie_where_plotlys_own_subplots_would() -> None:
    columns, rows, gaps = [1, 3, 2], [1, 4], (0.05, 0.1)
    titles = [f"t{i}" for i in range(6)]
    ours = panels.figure([panels.Panel([{"type": "scatter"}], t) for t in titles], columns, rows, gaps, 300)
    theirs = make_subplots(
        2, 3, column_widths=columns, row_heights=rows, horizontal_spacing=gaps[0], vertical_spacing=gaps[1], subplot_titles=titles
    )
    for number in ("", *"23456"):
        for axis in ("xaxis", "yaxis"):
            assert ours.layout[axis + number].domain == pytest.approx(theirs.layout[axis + number].domain)
            assert ours.layout[axis + number].anchor == theirs.layout[axis + number].anchor
    for mine, their in zip(ours.layout.annotations, theirs.layout.annotations, strict=True):
        assert (mine.text, mine.x, mine.y) == (their.text, pytest.approx(their.x), pytest.approx(their.y))


def test_a_figure_is_told_in_words() -> None:
    text = Text("en")
    values = attributions.bars(np.array([1.5, -0.25]), ["a<br>b", "c"], "<b>what each gives</b>", text)
    assert alternative.describe(values, text).startswith("what each gives. bar chart. across: ")
    assert alternative.describe(values, text).endswith("a b 1.5, c -0.25")
    hidden = go.Figure([go.Scatter(x=[1], y=[2], name="seen"), go.Scatter(x=[1], y=[2], name="unseen", visible="legendonly")])
    assert alternative.describe(hidden, text) == "line or point chart. shown: seen"
    found = correlations.distribution({"1x1": similar(12)}, text)
    assert alternative.describe(found, text) == "line or point chart. across: r. upwards: share of pairs. shown: 1x1 (n = 55 pairs)"


def test_equal_similarities_share_a_figure() -> None:
    text, places = Text("en"), np.arange(12)
    one, same, other = similar(12), similar(12), similar(12, 61)
    assert one.digest == same.digest != other.digest
    assert correlations.whole(one, BLOCK, places, "", text) is correlations.whole(same, BLOCK, places, "", text)
    assert correlations.whole(one, BLOCK, places, "", text) is not correlations.whole(other, BLOCK, places, "", text)
    assert one.part(0, 4) is one.part(0, 4)
    assert one.part(0, 4).digest != one.part(4, 8).digest
    assert (one.pair_count, one.strength) == (55, pytest.approx(np.abs(one.pairs()).mean()))
