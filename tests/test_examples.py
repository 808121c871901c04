"""The best examples are those that one would find with everything in memory at once, whatever the batches, their order, or who merged them."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from inception_viz import analysis, corpus, examples, images, models, sealed, statistics, tallies
from inception_viz.activations import capture
from inception_viz.architecture import Block, Branch, describe, describe_network
from inception_viz.cli import given as asked
from inception_viz.examples import CHANNELS, CLUSTERS, EXCITES, GIVES, Collection, Example, Examples
from inception_viz.figures import examples as drawing
from inception_viz.models import Model
from inception_viz.statistics import Run, Statistics
from inception_viz.tallies import Seen, Setting
from tests.test_corpus import spread
from tests.test_statistics import PLAN, command, cut, files, finish, small

BLOCK = Block("x", "x.cat", 5, 3, 4, (Branch("1x1", 0, 2), Branch("pool", 2, 5)), "y")
SETTING = Setting((BLOCK,), torch.device("cpu"), 3)
LABELS = np.array([0, 1, -1, 0, 0])


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations and gradients of some pictures in coarse steps, so that many are equal, and their logits."""
    chance = np.random.default_rng(seed)
    activation = chance.integers(0, 3, (count, 5, 3, 4)).astype(np.float32)
    return activation, chance.integers(-2, 3, activation.shape).astype(np.float32), chance.integers(0, 3, (count, 3)).astype(np.float32)


def seen(all_: tuple[np.ndarray, np.ndarray, np.ndarray], numbers: np.ndarray) -> Seen:
    activation, gradient, logits = (torch.from_numpy(part[numbers]) for part in all_)
    return Seen(numbers, numbers % 2, torch.zeros(len(numbers), 3, 4, 4), logits, {"x": activation}, {"x": gradient})


def naive(maps: np.ndarray, by_sum: bool, most: int) -> list[list[tuple[float, int, int, int]]]:
    """For each channel of maps (N, M, H, W): value, picture, row and column of the best, one after the other."""
    found = []
    for channel in range(maps.shape[1]):
        told = []
        for number in range(len(maps)):
            one = maps[number, channel]
            row, column = max(np.ndindex(one.shape), key=lambda at: (one[at], -at[0], -at[1]))
            told.append((float(one.sum() if by_sum else one.max()), number, row, column))
        found.append(sorted(told, key=lambda t: (-t[0], t[1]))[:most])
    return found


def listed(arrays: sealed.Arrays, name: str) -> list[list[tuple[float, int, int, int]]]:
    parts = [arrays[f"{name}/{part}"] for part in ("value", "number", "row", "column")]
    return [list(zip(*(part[i].tolist() for part in parts), strict=True)) for i in range(len(parts[0]))]


def clustered(maps: np.ndarray, mean: bool) -> np.ndarray:
    members = [np.flatnonzero(k == LABELS) for k in (0, 1)]
    return np.stack([maps[:, m].mean(1) if mean else maps[:, m].sum(1) for m in members], 1)


def gathered(all_: tuple, parts: list[np.ndarray], most: int = 4) -> dict[str, np.ndarray]:
    gatherer = Examples({"x": LABELS}, most).begin(SETTING)
    for numbers in parts:
        gatherer.add(seen(all_, numbers))
    return gatherer.arrays()


def test_the_best_are_those_of_everything_at_once() -> None:
    activation, gradient, logits = all_ = drawn(30)
    found = gathered(all_, [np.arange(0, 13), np.arange(13, 30)])
    what_it_gives = activation * gradient
    for name, maps, by_sum in (
        (f"x/{CHANNELS}/{EXCITES}", activation, False),
        (f"x/{CHANNELS}/{GIVES}", what_it_gives, True),
        (f"x/{CLUSTERS}/{EXCITES}", clustered(activation, True), False),
        (f"x/{CLUSTERS}/{GIVES}", clustered(what_it_gives, False), True),
    ):
        assert listed(found, name) == naive(maps, by_sum, 4)
    best = {part: found[f"x/{CHANNELS}/{GIVES}/{part}"] for part in ("number", "target", "label")}
    assert (best["target"] == logits.argmax(1)[best["number"]]).all()
    assert (best["label"] == best["number"] % 2).all()
    assert found["x/labels"].tolist() == LABELS.tolist()


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 24), st.integers(1, 6))
def test_neither_batches_nor_their_order_nor_merges_leave_a_trace(data: st.DataObject, count: int, most: int) -> None:
    all_ = drawn(count, count)
    whole = gathered(all_, [np.arange(count)], most)
    order = np.array(data.draw(st.permutations(range(count))))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, count - 1)), max_size=4)) - {count})
    parts = np.split(order, cuts)
    here = data.draw(st.integers(0, len(parts)))
    tally = Examples({"x": LABELS}, most)
    shards = [gathered(all_, some, most) for some in (parts[:here], parts[here:]) if some]
    merged = shards[0] if len(shards) == 1 else tally.merge(*shards)
    for found in (merged, tally.merge(*reversed(shards)) if len(shards) == 2 else merged):
        assert set(found) == set(whole)
        assert all(np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in whole.items())


# --- receptive fields


def reached(network: nn.Module, node: str, side: int, pixel: tuple[int, int]) -> np.ndarray:
    """Where a map turns into nan when one pixel does, `(C, H, W)`: whatever the weights, nan goes wherever the pixel does."""
    picture = torch.zeros(1, 3, side, side, dtype=torch.float64)
    picture[0, :, pixel[0], pixel[1]] = torch.nan
    with torch.inference_mode():
        return torch.isnan(create_feature_extractor(network.double(), [node])(picture)[node][0]).numpy()


@pytest.mark.parametrize(
    ("architecture", "side", "blocks"), [("googlenet", 64, ["3a", "3b", "4a", "4e"]), ("inception_v3", 107, ["5b", "6a", "6b"])]
)
def test_fields_hold_exactly_the_pixels_that_can_be_seen(architecture: str, side: int, blocks: list[str]) -> None:
    network = models.load(architecture, "random", "cpu").network
    described = describe_network(network, side)
    chance = np.random.default_rng(0)
    for block in map(described.block, blocks):
        pixel = tuple(chance.integers(0, side, 2).tolist())
        nans = reached(network, block.node, side, pixel)
        assert nans.shape == (block.channels, block.height, block.width)
        for branch in block.branches:
            assert branch.field is not None
            for row, column in np.ndindex(block.height, block.width):
                top, bottom, left, right = branch.field.at(row, column, side)
                inside = top <= pixel[0] < bottom and left <= pixel[1] < right
                told = nans[branch.start : branch.stop, row, column]
                assert told.any() == inside, (block.name, branch.name, pixel, row, column)


# --- a whole run


@pytest.fixture(scope="module")
def network() -> Model:
    return small()


@pytest.fixture(scope="module")
def pictures() -> corpus.Corpus:
    return corpus.listed("some", [*files(21), ("a/letter.png", b"Dear Sir")])


@pytest.fixture(scope="module")
def first(network: Model, pictures: corpus.Corpus) -> tuple[Run, Statistics]:
    run = Run(network, pictures, PLAN)
    return run, finish(statistics.gather(run))


@pytest.fixture(scope="module")
def second(first: tuple[Run, Statistics]) -> Run:
    return statistics.second_pass(first[0], statistics.clusterings(first[1]))


@pytest.fixture(scope="module")
def collection(second: Run) -> Collection:
    return finish(statistics.gather_examples(second, {"method": "louvain", "count": None}))


def test_a_run_finds_what_is_found_with_all_pictures_at_once(network: Model, pictures: corpus.Corpus, collection: Collection) -> None:
    numbers = [i for i in range(len(pictures)) if "letter" not in pictures.entries[i].name]
    inputs = torch.cat([network.input(images.decode(pictures.read(i))) for i in numbers])
    taken = capture(network, inputs)
    for block in describe(network).blocks:
        activation, gradient = (part[block.name].double().numpy() for part in (taken.activations, taken.gradients))
        labels = collection.labels(block.name)
        assert labels is not None
        for kind, maps in ((EXCITES, activation), (GIVES, activation * gradient)):
            scores = maps.max((2, 3)) if kind == EXCITES else maps.sum((2, 3))  # (N, C)
            best = collection.best(block.name, CHANNELS, kind)
            assert best.value == pytest.approx(-np.sort(-scores.T, 1)[:, : examples.MOST], rel=1e-3, abs=1e-5)
            for cluster in range(labels.max() + 1):
                inside = maps[:, labels == cluster]
                together = inside.mean(1).max((1, 2)) if kind == EXCITES else inside.sum((1, 2, 3))
                found = collection.best(block.name, CLUSTERS, kind).value[cluster]
                assert found == pytest.approx(-np.sort(-together)[: examples.MOST], rel=1e-3, abs=1e-5)


def test_what_a_cluster_gives_is_what_its_attribution_says(network: Model) -> None:
    picture = images.decode(files(1)[0][1], "one.png")
    told = analysis.analyze(network, picture)
    labels = {name: found.labels for name, found in analysis.clustered(told)}
    found = examples.of_pictures(network, [picture], labels)
    for name, block in told.blocks.items():
        assert found.best(name, CLUSTERS, GIVES).value[:, 0] == pytest.approx(block.attribution.by_cluster(labels[name]), abs=1e-5)
        assert found.best(name, CHANNELS, EXCITES).value[:, 0] == pytest.approx(block.activation.max((1, 2)))


@pytest.mark.parametrize("steps", [[1], [3, 1], [4, 4, 1]])
def test_a_cut_run_ends_with_the_same_bits(second: Run, collection: Collection, tmp_path: Path, steps: list[int]) -> None:
    for some in steps:
        cut(second, statistics.Checkpoint(tmp_path / "c", second, 0), some)
    checkpoint = statistics.Checkpoint(tmp_path / "c", second, 0)
    state = checkpoint.load()
    again = finish(statistics.gather_examples(second, collection.card["clusters"], checkpoint, state))
    assert again.sha256 == collection.sha256


def test_other_clusters_are_another_run(first: tuple[Run, Statistics], second: Run, tmp_path: Path) -> None:
    cut(second, statistics.Checkpoint(tmp_path / "c", second, 0), 4)
    other = statistics.second_pass(first[0], statistics.clusterings(first[1], count=2))
    with pytest.raises(statistics.OtherRun):
        statistics.Checkpoint(tmp_path / "c", other, 0).load()


def test_examples_join_a_first_run_too_where_the_clusters_are_known(
    first: tuple[Run, Statistics], second: Run, collection: Collection
) -> None:
    run, found = first
    both = finish(statistics.gather(Run(run.model, run.whole, run.plan, second.more)))
    for name, array in found.arrays.items():
        assert np.array_equal(both.arrays[name], array)
    assert all(
        np.array_equal(both.arrays[f"examples/{n}"], a) for n, a in collection.arrays.items() if n.split("/")[0] in ("3a", "3b", "4a")
    )


def test_shards_of_workers_merge_into_the_same(second: Run, collection: Collection) -> None:
    shards = list(reversed([found for found in statistics.here(second, 0) if isinstance(found, statistics.Shard)]))
    total = shards[0].arrays
    for shard in shards[1:]:
        total = tallies.merged(second.tallies, total, shard.arrays)  # the last shard first: order doesn't count
    assert all(np.array_equal(total[f"examples/{n}"], a) for n, a in collection.arrays.items() if f"examples/{n}" in total)


def test_statistics_with_examples_are_the_same_when_loaded(first: tuple[Run, Statistics], collection: Collection, tmp_path: Path) -> None:
    both = statistics.with_examples(first[1], collection)
    statistics.save(both, tmp_path / "x.npz")
    again = statistics.load(tmp_path / "x.npz", "x.npz")
    assert again.examples is not None
    assert again.examples.sha256 == collection.sha256
    shown = examples.examples(again.examples, "4a", CLUSTERS, 0, EXCITES)
    assert [e.name for e in shown] == [e.name for e in examples.examples(collection, "4a", CLUSTERS, 0, EXCITES)]
    assert shown[0].value == max(e.value for e in shown)
    assert shown[0].label in "abc"
    assert shown[0].view is not None
    assert shown[0].view.shape == (32, 32, 3)
    assert shown[0].patch is not None


def test_files_whose_examples_contradict_themselves_are_refused(first: tuple[Run, Statistics], collection: Collection) -> None:
    card, arrays = collection.card, collection.arrays
    value, number = "4a/channels/excites/value", "4a/clusters/gives/target"
    fields = json.loads(json.dumps(card["fields"]))
    fields["4a"][0][2][1] = -500
    for told, changed in (
        ({"fields": {**card["fields"], "9z": card["fields"]["4a"]}}, {}),
        ({"fields": fields}, {}),
        ({"side": 0}, {}),
        ({"most": 1000}, {}),
        ({"class_names": {"en": [1]}}, {}),
        ({"folders": ["a"]}, {}),
        ({"clusters": "<b>"}, {}),
        ({}, {value: arrays[value][:-1]}),
        ({}, {value: arrays[value][:, 0]}),
        ({}, {value: arrays[value].astype(np.float64)}),
        ({}, {number: arrays[number] + 5}),
        ({}, {"4a/labels": arrays["4a/labels"] + 999}),
        ({}, {"small/end": arrays["small/end"] + 1}),
        ({}, {"small/end": arrays["small/end"][::-1].copy()}),
        ({}, {"pictures/number": arrays["pictures/number"][::-1].copy()}),
    ):
        spoilt = statistics.with_examples(first[1], Collection({**arrays, **changed}, {**card, **told}))
        with pytest.raises(sealed.NotWhole):
            statistics.load(sealed.packed(spoilt.arrays, spoilt.card), "x.npz")
    missing = {name: array for name, array in arrays.items() if name != value}
    spoilt = statistics.with_examples(first[1], Collection(missing, card))
    with pytest.raises(sealed.NotWhole):
        statistics.load(sealed.packed(spoilt.arrays, spoilt.card), "x.npz")


def test_a_copy_that_is_no_picture_is_none(collection: Collection) -> None:
    bytes_ = np.zeros_like(collection.arrays["small/data"])
    number = int(collection.arrays["small/number"][0])
    assert Collection({**collection.arrays, "small/data": bytes_}, collection.card).view(number) is None
    assert collection.view(number) is not None
    assert collection.view(10_000) is None


def test_few_copies_are_of_what_clusters_show_first(collection: Collection) -> None:
    numbers, copied = examples.worth_keeping(collection.arrays, 3)
    assert len(copied) == 3
    assert (np.diff(copied) > 0).all()
    assert set(copied) <= set(numbers)
    of_clusters = {int(n) for name, a in collection.arrays.items() if name.endswith("/number") and "/clusters/" in name for n in a.ravel()}
    assert set(copied.tolist()) <= of_clusters


def test_a_channel_that_never_fires_has_no_examples() -> None:
    activation, gradient, logits = drawn(6)
    activation[:, 1] = 0
    names = [f"{i}.png" for i in range(6)]
    arrays = gathered((activation, gradient, logits), [np.arange(6)])
    card = {"most": 4, "side": 16, "fields": {"x": [[0, 5, [0, 4, 0, 4, 4, 4]]]}, "folders": [], "class_names": {"en": ["a", "b", "c"]}}
    found = finish(examples.collected(arrays, card, names.__getitem__, lambda number: None))
    assert examples.examples(found, "x", CHANNELS, 1, EXCITES) == []
    shown = examples.examples(found, "x", CHANNELS, 0, EXCITES)
    assert [e.view for e in shown] == [None] * len(shown)
    assert shown[0].name == names[shown[0].number]
    assert all(e.value > 0 for e in examples.examples(found, "x", CHANNELS, 0, GIVES))


def test_a_tile_holds_the_patch_and_marks_it_on_the_view() -> None:
    view = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
    one = Example(1.0, "a.png", 0, "", "cat", view, (0.25, 0.75, 0.5, 1.0), (0.5, 0.75))
    assert one.patch is not None
    assert np.array_equal(one.patch, view[16:48, 32:64])
    tile = drawing.tile(one)
    assert tile is not None
    side = drawing.SIDE
    assert tile.shape == (side, 2 * side + drawing.GAP, 4)
    right = tile[:, side + drawing.GAP :]
    assert tuple(right[side // 4, side // 2, :3]) == drawing.OUTLINE
    whole = drawing.tile(dataclasses.replace(one, box=(0.0, 1.0, 0.0, 1.0)))
    assert whole is not None
    assert (whole[:, side + drawing.GAP :, :3] == drawing.OUTLINE).all(2).any()
    assert drawing.tile(dataclasses.replace(one, view=None)) is None


# --- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spread(tmp_path_factory.mktemp("pictures"), dict([*files(9), ("b/letter.png", b"Dear Sir")]))


@pytest.fixture
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "model", lambda arguments: small())


@pytest.mark.usefixtures("_small_network")
@pytest.mark.parametrize("writes", [2, 3, 4, 5])
def test_the_command_keeps_examples_and_goes_on_where_it_was_cut(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    assert command(folder, tmp_path / "whole.npz", "--examples") == 0
    whole = statistics.load(tmp_path / "whole.npz", "whole.npz")
    assert whole.examples is not None
    assert set(whole.examples.blocks) == {"3a", "3b", "4a"}
    real, left = sealed.write, [writes]

    def dies(path: Path, arrays: sealed.Arrays, card: dict, keep: Path | None = None) -> None:
        real(path, arrays, card, keep)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write", dies)
        assert command(folder, tmp_path / "s.npz", "--examples", "--checkpoint-seconds", "0") == 130
    if (tmp_path / "s.npz.examples.unfinished").exists():
        capsys.readouterr()
        assert command(folder, tmp_path / "s.npz", "--examples") == 2
        assert "s.npz.examples.unfinished” holds an unfinished run of 4 of 10 files" in capsys.readouterr().err
    assert command(folder, tmp_path / "s.npz", "--examples", "--resume") == 0
    assert (tmp_path / "s.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["s.json", "s.npz", "whole.json", "whole.npz"]


@pytest.mark.usefixtures("_small_network")
def test_examples_are_added_to_statistics_that_are_there(folder: Path, tmp_path: Path) -> None:
    assert command(folder, tmp_path / "s.npz") == 0
    plain = statistics.load(tmp_path / "s.npz", "s.npz")
    assert plain.examples is None
    assert command(folder, tmp_path / "s.npz", "--examples", "--resume") == 0
    both = statistics.load(tmp_path / "s.npz", "s.npz")
    assert both.examples is not None
    assert all(np.array_equal(both.arrays[name], array) for name, array in plain.arrays.items())
