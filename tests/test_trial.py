"""The trial: equal cost, paired seeds, statistics as scipy's, halving that keeps the better, and runs that can be repeated and resumed."""

import json
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import topology
from inception_viz import models, trial
from inception_viz.tables import Block
from inception_viz.trial import DIGITS, Pictures, Recipe, Results, Run

QUICK = Recipe(epochs=1, batch=20, rate=0.1, shift=1, mirror=True)


def drive(work: Generator) -> object:
    try:
        while True:
            assert 0 <= next(work) <= 1
    except StopIteration as end:
        return end.value


def test_intervals_are_scipys() -> None:
    a = {seed: float(value) for seed, value in enumerate(np.random.default_rng(0).normal(0.5, 0.1, 10))}
    b = {seed: float(value) for seed, value in enumerate(np.random.default_rng(1).normal(0.45, 0.1, 12))}
    found = trial.paired(a, b)
    expected = stats.ttest_rel([a[s] for s in range(10)], [b[s] for s in range(10)])
    ends = expected.confidence_interval(0.95)
    assert (found.low, found.high, found.n) == (pytest.approx(ends.low), pytest.approx(ends.high), 10)
    assert found.above == (ends.low > 0)


def test_one_pair_has_no_interval() -> None:
    found = trial.paired({1: 0.5}, {1: 0.4, 2: 0.3})
    assert (found.mean, found.n) == (pytest.approx(0.1), 1)
    assert np.isnan([found.low, found.high]).all()
    assert not found.above


@pytest.mark.parametrize("task", [trial.DIGITS, trial.TINY_IMAGENET], ids=lambda task: task.name)
@pytest.mark.parametrize("name", [*trial.BASELINES, trial.RANDOM_GROUPS])
def test_all_topologies_cost_the_same(task: trial.Task, name: str) -> None:
    for budget in task.budgets:
        assert 0.98 * budget <= trial.tabled(task, trial.rows(name, 3), budget).macs <= budget


def test_random_widths_are_random_and_repeatable() -> None:
    assert trial.random_widths(1) == trial.random_widths(1) != trial.random_widths(2)


def test_training_depends_on_its_seed_and_on_nothing_else() -> None:
    data = trial.digits(5, each=4)

    def trained(seed: int) -> torch.Tensor:
        network = trial.built(trial.tabled(DIGITS, trial.PAPER, 60_000), seed)
        torch.rand(3)  # the global generator plays no part
        list(trial.train(network, data.train, QUICK, seed))
        return network.fc.weight.detach()

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_training_learns() -> None:
    data, recipe = trial.digits(0), Recipe(epochs=8, batch=20, rate=0.2, shift=1, mirror=False)
    network = trial.built(trial.tabled(DIGITS, trial.uniform_chain(), 100_000), 0)
    before = trial.accuracy(network, data.test)
    told = list(trial.train(network, data.train, recipe, 0))
    assert told[-1] == pytest.approx(1)
    assert trial.accuracy(network, data.test) > max(0.6, before + 0.3)


def test_pictures_of_training_choosing_and_testing_are_different_ones() -> None:
    chosen, reported = trial.digits(3, choosing=True), trial.digits(3)
    assert torch.equal(chosen.train.values, reported.train.values)
    parts = [reported.train.values, chosen.test.values, reported.test.values]
    sets = [{v.numpy().tobytes() for v in part} for part in parts]
    assert len(reported.test) == 897
    assert len(chosen.test) == 400
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


def test_pictures_are_shifted_and_mirrored_whole() -> None:
    picture = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(64, 2, 1, 1) + 1
    found = trial.varied(picture, QUICK, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(picture[:1], (1,) * 4)
    allowed = [padded[0, :, y : y + 4, x : x + 4] for y in range(3) for x in range(3)]
    allowed += [a.flip(2) for a in allowed]
    assert all(any(torch.equal(f, a) for a in allowed) for f in found)
    assert len({f.numpy().tobytes() for f in found}) > 12


def test_halving_keeps_the_better_half_by_the_mean() -> None:
    truth = {name: i / 10 for i, name in enumerate("abcdefgh")}
    asked: list[tuple[str, int]] = []

    def score(name: str, turn: int) -> float:
        asked.append((name, turn))
        return truth[name]

    *_, last = trial.halving(list(truth), score)
    assert next(iter(last)) == "h"
    assert [sum(turn == t for _, turn in asked) for t in range(3)] == [8, 4, 2]


def test_statistics_seed_the_candidates() -> None:
    data = trial.digits(0)
    network = trial.built(trial.tabled(DIGITS, trial.PAPER, 200_000), 0)
    found = trial.asked(network, data.train)
    assert [len(one.correlation.constant) for one in found] == list(trial.tabled(DIGITS, trial.PAPER, 200_000).inputs())
    count = trial.clusters_read(found)
    assert [row.groups_three for row in trial.clustered(found)] == count
    offered = trial.candidates(found)
    assert [row.groups_five for row in offered["uniform 2K half"]] == [2 * k for k in count]
    assert all(row.three == row.reduce_three for row in offered["paper alone"])
    for rows in offered.values():
        assert 0.97 * 200_000 <= trial.tabled(DIGITS, rows, 200_000).macs <= 200_000


def test_the_control_of_the_search_looks_nothing_up_and_is_made_alike() -> None:
    """As many candidates by lot, grouped and halved as those of the statistics are; K and the third proportions are drawn."""
    data = trial.digits(0)
    found = trial.asked(trial.built(trial.tabled(DIGITS, trial.PAPER, 200_000), 0), data.train)
    seeded, drawn = trial.candidates(found), trial.candidates_by_lot(7)
    assert [name.replace("random", "plain") for name in drawn] == list(seeded)
    assert trial.candidates_by_lot(7) == drawn != trial.candidates_by_lot(8)
    assert [row.groups_three for row in drawn["paper K"]] == trial.groups_by_lot(7) == [r.groups_five for r in trial.randomly_grouped(7)]
    assert drawn["uniform alone"] == seeded["uniform alone"]
    with pytest.raises(KeyError):
        trial.rows(trial.LOTS[0] + "?", 0)


def test_merging_leaves_as_many_channels_as_are_planted() -> None:
    """Copies of a channel merge at no distance, independent ones last; constant ones are no channels at all."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(20, 3, 8, 8, generator=generator)
    heights = trial.merges(torch.cat([maps, maps[:, :2], torch.zeros(20, 1, 8, 8)], 1))
    assert heights[:2] == pytest.approx([0, 0], abs=1e-5)
    assert (heights[2:] > 0.8).all()
    assert len(heights) == 4
    assert len(trial.merges(torch.zeros(4, 3, 2, 2))) == 0


def test_merged_networks_fill_the_budget() -> None:
    table, recipe = trial.wide(DIGITS, 60_000)
    assert (recipe.epochs, table.macs > 2.8 * 60_000) == (DIGITS.recipe.epochs // trial.BRIEF, True)
    network = trial.built(table, 0)
    found = trial.redundancy(network, trial.digits(0).train)
    left = trial.merged(DIGITS, 60_000, found)
    for own, wide in zip(left, table.blocks, strict=True):
        assert all(1 <= getattr(own, width) <= getattr(wide, width) for width in trial.WIDTHS)
    assert 0.9 * 60_000 <= trial.replace(DIGITS.skeleton, stages=(left[:2], left[2:])).macs <= 60_000
    assert 0.98 * 60_000 <= trial.tabled(DIGITS, left, 60_000).macs <= 60_000


def test_seen_by_blocks_is_what_the_blocks_read() -> None:
    network = trial.built(trial.tabled(DIGITS, trial.PAPER, 60_000), 0)
    pictures = trial.digits(0).train
    seen = trial.seen_by_blocks(network, pictures, count=10)
    with torch.inference_mode():
        rest = network.inception4b(seen[-1])
        logits = network.fc(rest.mean((2, 3)))
        order = torch.argsort(pictures.labels, stable=True)[::20][:10]
        assert torch.allclose(logits, network(pictures.values[order]), atol=1e-5)


def test_a_table_tells_where_a_topology_is_better() -> None:
    rng = np.random.default_rng(0)
    runs = [Run("digits", 1, name, seed, base + rng.normal(0, 0.001), 1, 1.0)
            for seed in range(5) for name, base in (("hand", 0.5), ("random", 0.5), (trial.HALVED, 0.6), ("chain", 0.4))]  # fmt: skip
    results = Results(tuple(runs))
    assert results.better(trial.HALVED) == [("digits", 1)]
    assert results.better("chain") == []
    assert [line.topology for line in results.lines("digits", 1)] == ["chain", "hand", "random", trial.HALVED]
    assert next(line for line in results.lines("digits", 1) if line.topology == "hand").to_hand.mean == 0


def test_a_live_trial_is_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "DIGITS", trial.Task("digits", DIGITS.skeleton, QUICK, DIGITS.budgets))
    results = drive(trial.live(["random", trial.CLUSTERED, "hand"], [1, 2], 60_000))
    assert isinstance(results, Results)
    assert {(r.topology, r.seed) for r in results.runs} == {(n, s) for n in ("hand", "random", trial.CLUSTERED) for s in (1, 2)}
    assert all(0.95 * 60_000 <= r.macs <= 60_000 for r in results.runs)


def test_what_came_with_the_project_is_a_trial() -> None:
    results = trial.committed()
    for task, budget in results.kinds():
        lines = results.lines(task, budget)
        assert {line.topology for line in lines} <= set(trial.TOPOLOGIES)
        assert all(0 < line.accuracy <= 1 and line.n <= trial.SEEDS for line in lines)
    assert all(0.97 * run.budget <= run.macs <= run.budget for run in results.runs)
    assert len({(r.task, r.budget, r.topology, r.seed) for r in results.runs}) == len(results.runs)


def test_a_killed_trial_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was cut off in the middle of a line is done again; what is there is not."""
    monkeypatch.setenv("TRIAL", str(tmp_path))
    monkeypatch.setenv("TRIAL_TOPOLOGIES", "chain,hand")
    quick = trial.Task("digits", DIGITS.skeleton, QUICK, (30_000, 60_000))
    monkeypatch.setattr(trial, "DIGITS", quick)
    monkeypatch.setattr(trial, "TINY_IMAGENET", trial.Task("none", DIGITS.skeleton, QUICK, ()))  # type: ignore[arg-type]
    monkeypatch.setattr(topology, "SEEDS", range(1))
    topology.main()
    file = tmp_path / "results-0.jsonl"
    whole = file.read_text().splitlines()
    assert len(whole) == 4
    assert "| digits | 0.03 M | chain | 1 |" in topology.table()
    file.write_text("\n".join(whole[:2]) + "\n" + whole[2][:30])
    topology.main()
    again = topology.known()
    assert len(again) == 4
    assert [again[k]["accuracy"] for k in sorted(again)] == [
        json.loads(w)["accuracy"] for w in sorted(whole, key=lambda w: tuple(json.loads(w).values())[:4])
    ]


def test_accuracy_counts_right_answers() -> None:
    network = torch.nn.Flatten()
    values = torch.eye(4).reshape(4, 1, 2, 2)
    assert trial.accuracy(network, Pictures(values, torch.tensor([0, 1, 2, 0])), batch=3) == 0.75


def test_rows_are_proportions_of_blocks() -> None:
    won = (Block(1), Block(2), Block(3), Block(4))
    assert trial.rows(trial.HALVED, 0, won=won) == won
    assert set(trial.TOPOLOGIES) >= set(trial.BASELINES)


def test_the_winner_is_a_network_of_the_app() -> None:
    model = models.load(models.CONSTRUCTED, device="cpu")
    assert model.classes == 50
    assert model.weights.top1 is not None
    assert models.CONSTRUCTED_CARD.with_suffix(".safetensors").stat().st_size < 2_000_000
