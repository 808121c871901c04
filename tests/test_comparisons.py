"""Two sides: what is the same agrees fully, what is unrelated does not, and only channels that are the same are matched."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from inception_viz import comparisons, models
from inception_viz.activations import Target
from inception_viz.analysis import Analysis, ModelFacts, analyze, clustered
from inception_viz.clusters import Clusters
from inception_viz.correlations import correlate
from inception_viz.figures import comparisons as drawing
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.text import Text
from tests import naive


def facts(architecture: str, weights: str, sha256: str) -> ModelFacts:
    return ModelFacts(architecture, weights, sha256, "cpu", "float32", f"{architecture}:{sha256}")


def clusters(labels: list[int] | np.ndarray) -> Clusters:
    return Clusters(np.array(labels), "spatial", "louvain", "chosen", 0.0)


def activation(seed: int, channels: int = 20, side: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).random((channels, side, side), dtype=np.float32)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (("googlenet", "boxed", "1"), ("googlenet", "boxed-untrained", "2"), True),
        (("googlenet", "mine", "1"), ("googlenet", "renamed", "1"), True),
        (("googlenet", "boxed", "1"), ("googlenet", "random", "2"), False),
        (("googlenet", "boxed", "1"), ("inception_v3", "boxed", "1"), False),
    ],
)
def test_channels_are_the_same_with_the_same_weights_or_in_one_training(a: tuple, b: tuple, same: bool) -> None:
    assert comparisons.same_units(facts(*a), facts(*b)) == same
    assert comparisons.same_units(facts(*b), facts(*a)) == same


def test_equal_sides_agree_fully() -> None:
    similar = correlate(torch.from_numpy(activation(0)))
    labels = np.random.default_rng(0).integers(-1, 4, 60)
    assert comparisons.of_pairs(similar, similar).value == pytest.approx(1)
    assert comparisons.of_clusters(clusters(labels), clusters(labels)).value == 1
    assert comparisons.places(activation(0), activation(0)).value == pytest.approx(1)
    assert comparisons.apart(similar, similar) == 0
    assert comparisons.of_pairs(similar, similar).p == 1 / (1 + comparisons.DRAWS)


def test_unrelated_sides_are_called_alike_as_often_as_p_says() -> None:
    """100 pairs of unrelated clusterings, matrices and maps: about 5% have p up to 5%."""
    generator, low = np.random.default_rng(1), np.zeros(3)
    for seed in range(100):
        one, other = correlate(torch.from_numpy(activation(2 * seed, 12))), correlate(torch.from_numpy(activation(2 * seed + 1, 12)))
        found = (
            comparisons.of_clusters(clusters(generator.integers(0, 3, 40)), clusters(generator.integers(0, 3, 40)), 19),
            comparisons.of_pairs(one, other, 19),
            comparisons.places(activation(2 * seed, 12), activation(2 * seed + 1, 12)),
        )
        low += [one.p <= 0.05 for one in found]
    assert (low >= 1).all()
    assert (low <= 12).all()


def test_the_index_is_sklearns_over_channels_that_both_label() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.integers(-1, 4, 80), generator.integers(-1, 3, 80)
    both = (a >= 0) & (b >= 0)
    assert comparisons.of_clusters(clusters(a), clusters(b), 9).value == adjusted_rand_score(a[both], b[both])


def test_agreement_of_pairs_is_the_correlation_of_both_triangles() -> None:
    first, second = activation(3), activation(4)
    second[2] = 0.5  # a constant channel is left out on both sides
    one, other = correlate(torch.from_numpy(first)), correlate(torch.from_numpy(second))
    live = [c for c in range(20) if c != 2]
    upper = np.triu_indices(19, 1)
    expected = np.corrcoef(one.r[np.ix_(live, live)][upper], other.r[np.ix_(live, live)][upper])[0, 1]
    assert comparisons.of_pairs(one, other, 9).value == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(5, 30), st.integers(0, 2**31))
def test_clusters_are_matched_one_to_one_with_no_better_sum(a: int, b: int, channels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = (clusters(np.unique(generator.integers(0, n, channels), return_inverse=True)[1]) for n in (a, b))
    pairs = comparisons.matched(one, other)
    assert len(pairs) == min(one.count, other.count)
    assert len({i for i, _, _ in pairs}) == len({j for _, j, _ in pairs}) == len(pairs)
    for i, j, share in pairs:
        x, y = set(one.members(i).tolist()), set(other.members(j).tolist())
        assert share == pytest.approx(len(x & y) / len(x | y))
    assert sum(share for *_, share in pairs) == pytest.approx(naive.best_matching(one.labels, other.labels))


def test_places_are_the_debiased_cka_of_its_definition() -> None:
    first, second = activation(5, 9, 4), activation(6, 30, 4)
    assert comparisons.places(first, second).value == pytest.approx(naive.debiased_cka(first, second), abs=1e-9)


def test_places_know_a_map_again_under_any_mixture_of_its_channels_and_not_when_it_is_shifted() -> None:
    smooth = np.cumsum(np.cumsum(activation(7, 8, 8) - 0.5, 1), 2)
    rotation, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(8, 8)))
    mixed = np.einsum("dc,chw->dhw", rotation, smooth)
    assert comparisons.places(smooth, mixed).value == pytest.approx(1)
    assert comparisons.places(smooth, mixed).p == 1 / 64
    assert comparisons.places(smooth, np.roll(smooth, (3, 4), (1, 2))).p > 0.05


def test_maps_of_other_sizes_are_compared_on_the_coarser_grid() -> None:
    fine = np.kron(activation(9, 5, 5), np.ones((1, 3, 3), np.float32))
    assert comparisons.places(fine, activation(9, 5, 5)).value == pytest.approx(1)
    assert np.isnan(comparisons.places(activation(0, 5, 1), activation(1, 5, 4)).value)


def test_what_is_undefined_is_nan() -> None:
    flat = correlate(torch.ones(4, 3, 3))
    assert np.isnan(comparisons.of_pairs(flat, flat).value)
    assert np.isnan(comparisons.apart(flat, flat))
    assert np.isnan(comparisons.strength(flat).mean)
    assert comparisons.strength(flat).pairs == 0
    nobody = clusters([-1, -1, -1])
    assert np.isnan(comparisons.of_clusters(nobody, nobody).value)
    assert comparisons.matched(nobody, nobody) == []


def test_strength_counts_strong_pairs() -> None:
    similar = correlate(torch.from_numpy(activation(1)))
    r = np.abs(similar.r[np.triu_indices(20, 1)])
    found = comparisons.strength(similar)
    assert found == comparisons.Strength(pytest.approx(r.mean()), pytest.approx((r > 0.5).mean()), 190, 36)


def test_two_states_of_one_training_have_the_same_units_and_other_answers(chelsea: Picture) -> None:
    one, other = (analyze(models.load("googlenet", name, "cpu"), chelsea) for name in ("boxed", "boxed-untrained"))
    assert comparisons.same_units(one.model, other.model)
    assert comparisons.same_picture(one, other)
    found = comparisons.of_pairs(one.blocks["3a"].correlation, other.blocks["3a"].correlation, 19)
    assert found.value < 0.5


def test_pictures_are_the_same_by_their_bytes(googlenet: Model, chelsea: Picture) -> None:
    one = analyze(googlenet, chelsea)
    other = dataclasses.replace(one, picture=dataclasses.replace(one.picture, sha256="0" * 64))
    assert comparisons.same_picture(one, one)
    assert not comparisons.same_picture(one, other)


def test_the_summary_holds_what_both_sides_share_and_no_more(googlenet: Model, inception_v3: Model, chelsea: Picture) -> None:
    def ends(found: Analysis) -> Analysis:  # the first block and the last: all that is needed
        names = [list(found.blocks)[i] for i in (0, -1)]
        return dataclasses.replace(found, blocks={name: found.blocks[name] for name in names})

    one, other = (ends(analyze(googlenet, chelsea, Target(index))) for index in (3, 4))
    found = dict(clustered(one, "average linkage", 3))
    told = comparisons.summary(one, other, (found, found))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    block = told["blocks"][1]  # type: ignore[index]
    assert (block["agreement_of_pairs"]["value"], block["agreement_of_clusters"]["value"]) == pytest.approx((1, 1))
    assert [m["jaccard"] for m in block["matched_clusters"]] == [1, 1, 1]
    assert block["b"]["attribution"] == block["attribution_b_by_clusters_of_a"] != block["a"]["attribution"]
    assert (told["a"]["target_logits"], told["b"]["target_logits"]) == pytest.approx(one.logits[[3, 4]].tolist())  # type: ignore[index]
    apart = ends(analyze(inception_v3, chelsea))
    theirs = dict(clustered(apart, "average linkage"))
    told = comparisons.summary(one, apart, (found, theirs))
    assert not told["same_channels"]
    names = [(b["a"]["block"], b["b"]["block"]) for b in told["blocks"]]  # type: ignore[attr-defined]
    assert names == list(zip(one.blocks, apart.blocks, strict=True))
    assert "agreement_of_pairs" not in told["blocks"][0]  # type: ignore[index]
    assert "same_places" in told["blocks"][0]  # type: ignore[index]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_bars_and_distributions_hold_both_sides(language: str) -> None:
    text = Text(language)
    figure = drawing.bars({"A": [1.0, -2.0], "B": [0.5, 0.25]}, ["x", "y"], "logits", text, {"A": [np.zeros(3), np.ones(3)], "B": []})
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [trace.name for trace in bars] == ["A", "B"]
    assert [list(trace.x) for trace in bars] == [[1.0, -2.0], [0.5, 0.25]]
    assert bars[0].marker.color != bars[1].marker.color
    dots = [trace for trace in figure.data if trace.type == "scatter" and len(trace.x)]
    assert [len(trace.x) for trace in dots] == [6]
    assert sorted(set(dots[0].y)) == list(bars[0].y)
    pairs = np.linspace(-1, 1, 50)
    lines = drawing.distributions({"A": (pairs, pairs[:0]), "B": (pairs, pairs)}, text).data
    assert len(lines) == 3
    assert all(np.sum(line.y) == pytest.approx(1) for line in lines)
