"""The lessons' numbers are those of the network on show, each counted anew in another way."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from inception_viz import analysis as analyses
from inception_viz import clusters, lessons, models, nulls
from inception_viz.analysis import Analysis
from inception_viz.glossary import TERMS
from inception_viz.images import Picture
from inception_viz.lessons import LESSONS, Measured
from inception_viz.models import Model
from inception_viz.text import LANGUAGES, Text


@pytest.fixture(scope="module")
def boxed() -> Model:
    return models.load("googlenet", models.BOXED, "cpu")


@pytest.fixture(scope="module")
def seen(boxed: Model, chelsea: Picture) -> Analysis:
    return analyses.analyze(boxed, chelsea)


@pytest.fixture(scope="module")
def found(boxed: Model, seen: Analysis, chelsea: Picture) -> dict[str, Measured]:
    inputs = boxed.input(chelsea)
    return {word: lesson.measure(boxed, inputs, seen) for word, lesson in LESSONS.items()}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("word", LESSONS)
def test_a_lesson_has_an_answer_for_what_it_finds_and_tells_it_in_every_language(
    found: dict[str, Measured], word: str, language: str
) -> None:
    lesson, text = LESSONS[word], Text(language)
    assert len(lesson.bounds) == len(lesson.answers) - 1
    assert list(lesson.bounds) == sorted(lesson.bounds)
    assert 0 <= lesson.right(found[word]) < len(lesson.answers)
    told = lesson.told(text, found[word])
    assert "{" not in told
    for fact in found[word].facts.values():
        assert str(fact) in told


def test_an_answer_lies_between_its_bounds() -> None:
    lesson = LESSONS["hope"]
    told = [lesson.right(Measured(value, {})) for value in (0, 0.24, 0.25, 0.5, 0.74, 0.75, 1)]
    assert told == [0, 0, 1, 2, 2, 3, 3]


def test_size_counts_the_parameters(boxed: Model, found: dict[str, Measured]) -> None:
    assert found["size"].value == sum(p.numel() for p in boxed.network.parameters()) / 100_000


def doubled(layer: nn.Module, first: bool) -> nn.Module:
    """A layer on the meta device with twice the channels."""
    if isinstance(layer, nn.Conv2d):
        ins = layer.in_channels * (1 if first else 2)
        return nn.Conv2d(ins, 2 * layer.out_channels, layer.kernel_size, layer.stride, layer.padding, bias=False, device="meta")
    assert isinstance(layer, nn.Linear)
    return nn.Linear(2 * layer.in_features, layer.out_features, device="meta")


def test_cost_is_that_of_a_network_built_twice_as_wide(boxed: Model, seen: Analysis) -> None:
    """A naive twin: every weighted layer built anew with twice the channels and counted by torch on a picture of the right size."""
    sizes: dict[str, torch.Size] = {}
    weighted = {name: layer for name, layer in boxed.network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    twin = dataclasses.replace(boxed).network
    hooks = [
        layer.register_forward_hook(lambda module, given, out, name=name: sizes.__setitem__(name, given[0].shape))
        for name, layer in twin.named_modules()
        if name in weighted
    ]
    with torch.no_grad():
        twin(torch.zeros(1, 3, seen.architecture.input_side, seen.architecture.input_side))
    for hook in hooks:
        hook.remove()
    total = 0
    for index, (name, layer) in enumerate(weighted.items()):
        wide = doubled(layer, index == 0)
        shape = list(sizes[name])
        shape[1] = wide.in_channels if isinstance(wide, nn.Conv2d) else wide.in_features
        with FlopCounterMode(display=False) as counter:
            wide(torch.empty(shape, device="meta"))
        total += counter.get_total_flops() // 2
    assert lessons.widened(seen) == total
    assert lessons.widened(seen, 1) == seen.architecture.macs


def test_the_sparse_hope_counts_zeros(seen: Analysis, found: dict[str, Measured]) -> None:
    flat = seen.blocks["4c"].activation.ravel().tolist()
    assert found["hope"].value == pytest.approx(flat.count(0.0) / len(flat))


def test_dense_hardware_is_timed_with_nine_tenths_zeros(found: dict[str, Measured]) -> None:
    measured = found["dense"]
    assert measured.value > 0
    assert float(measured.facts["dense"]) / float(measured.facts["sparse"]) == pytest.approx(measured.value, rel=0.2)


def test_hebb_compares_pairs_inside_a_branch_with_pairs_between(seen: Analysis, found: dict[str, Measured]) -> None:
    block = seen.blocks["4c"]
    same, other = [], []
    for a in range(block.block.channels):
        for b in range(a):
            strength = abs(float(block.correlation.r[a, b]))
            if strength == strength:
                (same if block.block.branch_of[a] == block.block.branch_of[b] else other).append(strength)
    assert found["hebb"].value == pytest.approx(np.mean(same) / np.mean(other), rel=1e-5)


def test_mixed_clusters_hold_all_branches(seen: Analysis, found: dict[str, Measured]) -> None:
    block = seen.blocks["4c"]
    labels = clusters.find(block.correlation).labels
    kinds = [{int(block.block.branch_of[c]) for c in np.flatnonzero(labels == k)} for k in range(labels.max() + 1)]
    assert found["clusters"].value == sum(len(kind) == 4 for kind in kinds) / len(kinds)


def test_coincidence_asks_a_twin_that_has_learned_nothing(
    boxed: Model, seen: Analysis, chelsea: Picture, found: dict[str, Measured]
) -> None:
    shares = []
    for model in (nulls.twin(boxed, 0), boxed):
        maps = analyses.analyze(model, chelsea).blocks["4c"].activation.reshape(512, -1).astype(np.float64)
        r = np.corrcoef(maps[maps.std(1) > 1e-5 * np.abs(maps).max(1)])
        shares.append((np.abs(r[np.triu_indices(len(r), 1)]) > 0.5).mean())
    assert found["coincidence"].value == pytest.approx(shares[0] / shares[1], rel=1e-2)


def test_every_lesson_leads_to_a_page_that_is_there() -> None:
    from pages.shell.frame import PAGES

    assert all(set(lesson.pages) & set(PAGES) for lesson in LESSONS.values())


def test_the_terms_stand_in_both_languages() -> None:
    arabic = Text("ar")
    assert all(arabic(term.name) != term.name and arabic(term.meaning) != term.meaning for term in TERMS)
    assert len({term.name for term in TERMS}) == len(TERMS)
