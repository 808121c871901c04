"""Arora's construction: each step as its slow twin does it, blind to the units' numbers, right where the theory says, and lost where it says so too."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from inception_viz import cli, topology
from inception_viz.errors import UnknownChoice
from inception_viz.figures import topology as drawing
from inception_viz.measurement import OutOfRange, TooLarge
from inception_viz.text import LANGUAGES, Text
from inception_viz.topology import Setting
from tests import naive

SMALL = Setting(units=40, degree=4, layers=1, density=0.03, samples=2000)
EASY = Setting(units=150, degree=6, layers=2, density=0.007, samples=10_000)


@pytest.fixture(scope="module")
def small() -> topology.Planted:
    return topology.plant(SMALL)


@pytest.fixture(scope="module")
def easy() -> topology.Recovery:
    return topology.experiment(EASY)


def sets(connections: sparse.csr_array) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(row).tolist()) for row in connections.toarray()}


def test_a_planted_network_is_what_the_model_says(small: topology.Planted) -> None:
    weights = small.weights[0].toarray()
    assert ((weights != 0).sum(1) == SMALL.degree).all()
    assert ((weights != 0).sum(0) == SMALL.degree).all()
    assert set(np.unique(weights)) == {-1, 0, 1}
    below, above = (layer.toarray() for layer in small.firing)
    assert np.array_equal(below, above.astype(int) @ weights > 0)
    assert above.mean() == pytest.approx(SMALL.density, rel=0.1)


def test_regular_wiring_is_even_on_both_sides_and_free_wiring_is_not(small: topology.Planted) -> None:
    weights = small.weights[0].toarray()
    assert ((weights > 0).sum(0) == 2).all()
    assert ((weights > 0).sum(1) == 2).all()
    free = topology.plant(replace(SMALL, wiring="free")).weights[0].toarray()
    assert len(np.unique((free > 0).sum(1))) > 2


def test_weights_can_be_uniform() -> None:
    values = topology.plant(replace(SMALL, weights="uniform")).weights[0].data
    assert (np.abs(values) < 1).all()
    assert len(np.unique(values)) == len(values)


def test_related_pairs_are_those_of_the_definition(small: topology.Planted) -> None:
    firing = small.firing[0]
    found = {tuple(pair) for pair in topology.related(topology.cofiring(firing), SMALL.samples).tolist()}
    assert found == naive.related_pairs(firing.toarray(), topology.PARTNERS, topology.DEVIATIONS, topology.FEWEST)
    assert found


def test_families_are_those_of_the_definition(small: topology.Planted) -> None:
    firing = small.firing[0]
    together = topology.cofiring(firing)
    pairs = topology.related(together, SMALL.samples)
    proposed = topology.families(firing, together, pairs)
    twins = [naive.family_of(firing.toarray(), a, b, topology.SHARED) for a, b in pairs.tolist()]
    assert proposed.total() == len(pairs)
    assert {family: twins.count(family) for family in set(twins)} == dict(proposed)


def test_parents_fire_as_in_the_definition(small: topology.Planted) -> None:
    positive = sparse.csr_array(small.weights[0] > 0)
    positive = positive[np.flatnonzero(np.diff(positive.indptr))]
    firing = small.firing[0][:400]
    found = topology.encode(firing, positive, None, SMALL.density).firing.toarray()
    families = [set(np.flatnonzero(row).tolist()) for row in positive.toarray()]
    twin = naive.encoded(firing.toarray(), families, SMALL.density, topology.HEARD, topology.DOUBT, topology.LEVELS)
    assert np.array_equal(found, twin)
    assert found.any()


@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_numbers_of_units_and_order_of_samples_change_nothing(seed: int) -> None:
    firing = topology.plant(replace(SMALL, units=24, samples=1000)).firing[0]
    generator = np.random.default_rng(seed)
    renamed = generator.permutation(24)
    before = topology.recover_layer(firing)
    assert before.positive.nnz
    after = topology.recover_layer(sparse.csr_array(firing.toarray()[generator.permutation(1000)][:, renamed]))
    assert {frozenset(int(renamed[c]) for c in family) for family in sets(after.positive)} == sets(before.positive)


def test_planted_layers_are_recovered_from_samples_alone(easy: topology.Recovery) -> None:
    assert len(easy.layers) == 2
    for score in easy.scores:
        assert score.positive_precision > 0.8
        assert score.positive_recall > 0.8


def test_scores_are_counts_of_edges(easy: topology.Recovery) -> None:
    layer, score, planted = easy.layers[0], easy.scores[0], easy.planted.weights[0].toarray()
    told = {(int(score.match[p]), c) for p, c in zip(*layer.positive.nonzero(), strict=True)}
    truth = {(p, c) for p, c in zip(*np.nonzero(planted > 0), strict=True)}
    assert score.positive_precision == pytest.approx(len(told & truth) / layer.positive.nnz)
    assert score.positive_recall == pytest.approx(len(told & truth) / len(truth))
    same = [{p for p, c in told if c == unit} == {p for p, c in truth if c == unit} for unit in range(EASY.units)]
    assert score.exact == pytest.approx(np.mean(same))


def test_no_two_recovered_units_stand_for_the_same_planted_one(easy: topology.Recovery) -> None:
    for score in easy.scores:
        matched = score.match[score.match >= 0]
        assert len(set(matched.tolist())) == len(matched)


def test_noise_has_no_parents() -> None:
    firing = sparse.csr_array(np.random.default_rng(0).random((3000, 60)) < 0.05)
    layer = topology.recover_layer(firing)
    assert layer.positive.nnz <= 6


def test_a_silent_layer_ends_the_recovery() -> None:
    layers = list(topology.recover(sparse.csr_array((100, 20), dtype=bool), 3))
    assert len(layers) == 1
    assert layers[0].positive.shape[0] == 0


def test_the_border_lies_where_samples_are_few() -> None:
    run = topology.border(replace(EASY, layers=1, units=80), [0.02], [100, 5000], seeds=1)
    shares = []
    while True:
        try:
            shares.append(next(run))
        except StopIteration as end:
            found = end.value
            break
    assert shares == [0, 0.5]
    assert found.f1[0, 0] < found.f1[0, 1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"units": 2}, OutOfRange),
        ({"degree": 100}, OutOfRange),
        ({"layers": 9}, OutOfRange),
        ({"samples": 10**9}, OutOfRange),
        ({"density": 0.9}, OutOfRange),
        ({"weights": "cubic"}, UnknownChoice),
        ({"wiring": "tangled"}, UnknownChoice),
        ({"units": 3000, "samples": 100_000}, TooLarge),
    ],
)
def test_bad_sizes_are_refused_before_memory_is(change: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        topology.plant(replace(SMALL, **change))


@pytest.mark.parametrize("language", LANGUAGES)
def test_figures_show_what_was_found(easy: topology.Recovery, language: str) -> None:
    text = Text(language)
    shown = topology.neighbourhood(easy, 0, 3)
    assert shown.parents[0] == 3
    assert {c for p, c in shown.planted if p == 3} == set(np.flatnonzero(easy.planted.weights[0].toarray()[3]).tolist())
    figure = drawing.side_by_side(shown, text)
    drawn = sum(sum(x is None for x in trace.x) for trace in figure.data if trace.mode == "lines")
    right = sum(shown.planted.get(edge) == sign for edge, sign in shown.recovered.items())
    assert drawn == 2 * len(shown.planted) + len(shown.recovered) - right  # all planted, then right, missing and extra ones
    bars = drawing.agreement(easy, text).data
    assert [bar.y[0] for bar in bars[:2]] == [easy.scores[0].positive_precision, easy.scores[0].positive_recall]


def test_the_finding_follows_the_scores(easy: topology.Recovery) -> None:
    worst = min(min(s.positive_precision, s.positive_recall) for s in easy.scores)
    (finding,) = topology.outcome(easy).findings
    assert finding.supported == (worst >= topology.GOOD)
    assert f"{worst:.1%}" in finding.told(Text("en"))


def test_the_command_line_tells_the_same_numbers(easy: topology.Recovery, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--units", "150", "--degree", "6", "--layers", "2", "--density", "0.007", "--samples", "10000", "--seed", "0"]
    assert cli.main(["arora", *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [layer["positive_recall"] for layer in told["layers"]] == [s.positive_recall for s in easy.scores]
    assert {"negative_precision", "negative_recall", "exact_parent_sets", "seconds"} <= told["layers"][0].keys()
    assert cli.main(["arora", "--degree", "400"]) == 2
    assert "allowed is" in capsys.readouterr().err
