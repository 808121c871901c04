"""The laboratory's figures carry the numbers that they were given, in both languages."""

import math

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from inception_viz import connections, networks, overfitting, waste
from inception_viz import cost as costs
from inception_viz.cost import Cost, Growth, Point
from inception_viz.figures import alternative, colours
from inception_viz.figures import connections as connections_drawing
from inception_viz.figures import cost as drawing
from inception_viz.figures import overfitting as curves
from inception_viz.figures import waste as wasted
from inception_viz.measurement import Conditions, Timing
from inception_viz.overfitting import Run, Study
from inception_viz.pruning import IDLE, WEIGHTS, WHOLE, Judged, interval
from inception_viz.races import Ratio
from inception_viz.text import LANGUAGES, Text
from tests.test_waste import BLOCK, seen

BOTH = pytest.mark.parametrize("text", [Text(language) for language in LANGUAGES], ids=list(LANGUAGES))
WHERE = Conditions("cpu", 1, "float32")


def point(name: str, size: float, macs: int, seconds: float) -> Point:
    return Point(name, size, Cost(10 * macs, macs, 1), Timing(seconds, 0.9 * seconds, 1.4 * seconds, 5, WHERE))


WAYS = ((connections.FULL, connections.AS_IT_IS), (connections.TABLE, connections.GATHERED), (connections.INCEPTION, connections.AS_IT_IS))


def wired(name: str, way: str) -> connections.Wired:
    return connections.Wired(name, way, 10, 100, Timing(1.0, 0.9, 1.1, 5, WHERE), Ratio(1.0, 0.9, 1.1))


def traces(figure: go.Figure, kind: str) -> list:
    return [t for t in figure.data if t.type == kind]


@BOTH
def test_growth_is_told_as_multiples_of_the_smallest_with_its_powers(text: Text) -> None:
    points = [point("a", 2, 100, 0.5), point("b", 4, 400, 1.0), point("c", 8, 1600, 3.0)]
    grew = costs.growth(points)
    assert grew.macs == pytest.approx(2.0)
    assert grew.late == pytest.approx(math.log2(3))
    figure = drawing.growth(points, grew, "size", text)
    parameters, macs, time = figure.data
    assert list(macs.y) == list(parameters.y) == [1, 4, 16]
    assert list(time.y) == [1, 2, 6]
    assert list(time.error_y.array) == pytest.approx([0.4, 0.8, 2.4])
    assert f"{grew.seconds:.2f}" in time.name
    assert list(time.x) == [2, 4, 8]


@BOTH
def test_stages_are_shares_of_the_whole_network(text: Text) -> None:
    points = [point(costs.STEM, 1, 50, 0.5), point("3a", 2, 150, 1.0), point(costs.WHOLE, 3, 200, 4.0)]
    parameters, macs, time = drawing.stages(points, text).data
    assert list(macs.y) == list(parameters.y) == [0.25, 0.75, 1]
    assert list(time.y) == [0.125, 0.25, 1]
    assert list(time.error_y.array) == pytest.approx([0.05, 0.1, 0.4])
    assert list(time.x) == [colours.two_lines(name, text) for name in (text(costs.STEM), "3a", text(costs.WHOLE))]
    told = costs.deeper(points).findings[0]
    assert told.facts["macs"] == "3a"
    assert text(costs.WHOLE) in told.told(text)


@BOTH
def test_five_tables_share_one_name_of_their_inputs_which_is_told_in_words(text: Text) -> None:
    figure = connections_drawing.tables(connections.wirings(connections.LENET_LAYER), text)
    assert [axis.title.text for axis in figure.select_xaxes()] == [None, None, text("inputs"), None, None]
    assert text("across: {axis}", axis=text("inputs")) in alternative.describe(figure, text)


def test_names_of_two_scripts_begin_as_the_page_reads() -> None:
    """Figures lay text left to right: what mixes Arabic and Latin is isolated as a whole, from the right."""
    found = connections.Comparison(connections.LENET_LAYER, tuple(wired(name, way) for name, way in WAYS))
    names = connections_drawing.costs(found, Text("ar")).data[0].y
    assert all(name.startswith(("\u2067", "\u2068\u200f")) and name.endswith("\u2069") for name in names)
    assert connections_drawing.costs(found, Text("en")).data[0].y[0] == "full connection,<br>as it is built"


def test_each_line_of_a_broken_arabic_title_is_isolated() -> None:
    """Else a figure, which lays text left to right, puts the comma of the first line on the wrong side."""
    lines = colours.two_lines("الزمن، مللي ثانية", Text("ar")).split("<br>")
    assert [line.strip("\u2068\u2069\u200f") for line in lines] == ["الزمن،", "مللي ثانية"]
    assert all(line[0] == "\u2068" and line[-1] == "\u2069" for line in lines)


@BOTH
def test_networks_stand_side_by_side(text: Text) -> None:
    figure = drawing.networks([(point("A", 224, 5_000_000_000, 0.25), 195), (point("B", 224, 1_000_000_000, 0.1), 379)], text)
    bars = traces(figure, "bar")
    assert [list(bar.x) for bar in bars] == [[50_000, 10_000], [5, 1], [250, 100], [195, 379]]
    assert list(bars[2].error_x.array) == pytest.approx([100, 40])
    assert [t.text[0].strip() for t in traces(figure, "scatter")] == ["50000.0", "5.00", "250", "195"]
    assert [title.text.count("<br>") for title in figure.layout.annotations] == [1] * 4  # or they would meet on a telephone


@BOTH
def test_blocks_show_what_reductions_save(text: Text) -> None:
    figure = drawing.blocks({"3a": (point("3a", 1, 10**6, 0.001), point("3a", 1, 3 * 10**6, 0.005))}, text)
    assert [bar.y[0] for bar in traces(figure, "bar")] == pytest.approx([1, 1, 3, 5])
    assert [t.text[0] for t in traces(figure, "scatter")] == ["x 3.0", "x 5.0"]
    widths = networks.GOOGLENET["4c"]
    stacked = drawing.branches(costs.by_branch(widths), costs.naive_by_branch(widths), text)
    assert sum(bar.x[0] for bar in stacked.data) == pytest.approx(costs.block(widths).macs / 1e6)
    assert sum(bar.x[1] for bar in stacked.data) == pytest.approx(costs.naive_block(widths).macs / 1e6)


@BOTH
def test_weights_and_layers_are_shares(text: Text) -> None:
    figure = wasted.weights(np.full(120, 0.01), waste.bell(), 0.25, text)
    assert list(figure.data[0].y) == [0.01] * 120
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (-0.25, 0.25)
    few = [waste.LayerWeights("a", None, None, 100, 20, 5, 1), waste.LayerWeights("b", "3a", "1x1", 100, 30, 5, 2)]
    layers = wasted.layers(few, 0.19, text)
    assert [list(bar.y) for bar in layers.data] == [[0.2], [0.3]]
    assert [bar.name for bar in layers.data][1] == "1x1"


@BOTH
def test_channels_are_counted_beside_those_of_the_twin(text: Text) -> None:
    values = np.abs(np.random.default_rng(0).normal(size=(6, 200)))
    asleep = values.copy()
    asleep[:2] = 0
    both = waste.Idle.of({"x": seen(values)}, {"x": seen(asleep)}, 0.95)
    figure = wasted.channels(both, text)
    assert [int(bar.y[0]) for bar in traces(figure, "bar")] == [0, 0, 0, 2, 0, 0]
    assert BLOCK.channels == 6


@BOTH
@pytest.mark.parametrize("right", [None, 40])
def test_removal_shows_savings_and_answers_with_their_intervals(text: Text, right: int | None) -> None:
    judged = [
        Judged(WHOLE, 0, 1000, 50, 50, right, right),
        Judged(IDLE, 5, 900, 50, 45, right, right),
        Judged(WEIGHTS, 9, 700, 50, 25, right, right),
    ]
    figure = wasted.removal(judged, text)
    assert list(traces(figure, "bar")[0].x) == pytest.approx([0.1, 0.3])
    dots = traces(figure, "scatter")
    assert len(dots) == (1 if right is None else 2)
    assert list(dots[0].x) == [0.9, 0.5]
    low, high = interval(45, 50)
    assert (dots[0].error_x.array[0], dots[0].error_x.arrayminus[0]) == pytest.approx((high - 0.9, 0.9 - low))


def run(width: int, seed: int, other: float) -> Run:
    ends = (np.array([2.0, 0.0]), np.array([2.5, 1.0]), np.array([0.1, 1.0]), np.array([0.1, other]))
    return Run(width, 100, seed, 10 * width, np.array([0, 300]), *ends)


@BOTH
def test_curves_and_gaps_are_means_over_seeds(text: Text) -> None:
    runs = [run(width, seed, other) for width, others in ((1, (0.5, 0.7)), (8, (0.8, 0.9))) for seed, other in enumerate(others)]
    named = [t for t in curves.curves(runs[:2], text).data if t.name]
    assert list(named[1].y) == pytest.approx([0.1, 0.6])
    assert list(named[0].x) == [1, 301]
    figure = curves.by_parameters(Study(tuple(runs), 0.0, overfitting.conditions(torch.device("cpu"))), text)
    own, others, gap = figure.data
    assert list(own.x) == [10, 80]
    assert list(others.y) == pytest.approx([0.6, 0.85])
    assert list(gap.y) == pytest.approx([40, 15])
    assert gap.error_y.array[0] == pytest.approx(100 * (overfitting.interval([0.5, 0.3])[2] - 0.4))


def test_unsteady_times_decide_nothing() -> None:
    shaky = [
        Point(p.name, p.size, p.cost, Timing(p.timing.median, p.timing.median / 3, 9.0, 5, WHERE))
        for p in (point("a", 2, 100, 1), point("b", 4, 400, 4))
    ]
    assert costs.grown(shaky).findings[0].supported is None
    assert costs.saved({"3a": (shaky[0], shaky[1])}, networks.GOOGLENET).findings[0].supported is None
    assert isinstance(costs.growth(shaky), Growth)


@pytest.mark.parametrize(("seconds", "supported"), [((1, 4, 16, 64), True), ((1, 2, 4, 8), False)])
def test_growth_decides_by_its_larger_half(seconds: tuple[float, ...], supported: bool) -> None:
    points = [point(str(s), s, s**2, t) for s, t in zip((1, 2, 4, 8), seconds, strict=True)]
    assert costs.grown(points).findings[0].supported is supported
    assert costs.grown(points, costs.LINEAR, 1).findings[0].supported is not supported
