"""Statistics of a corpus equal those of everything at once, wherever a run was cut, whoever did the work, whatever broke on the way."""

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.googlenet import BasicConv2d, Inception

from inception_viz import cli, clusters, construction, corpus, images, models, sealed, statistics, tallies
from inception_viz.activations import capture
from inception_viz.architecture import describe
from inception_viz.cli import given
from inception_viz.clusters import Clusters
from inception_viz.correlations import from_moments
from inception_viz.models import Model, Preprocessing, Weights, folded
from inception_viz.moments import cross_moments, moments, on_one_grid, samples
from inception_viz.statistics import Plan, Run, Statistics
from tests.conftest import looking_at
from tests.test_corpus import png, spread

PLAN = Plan(batch=4, shard=2, classes=statistics.FOLDER)
ROOT = Path(__file__).parent.parent


class Small(nn.Module):
    """Three Inception blocks as torchvision builds them, a hundredth as wide, and a last layer of five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(3, 8, kernel_size=3, stride=2)
        self.inception3a = Inception(8, 6, 4, 8, 3, 5, 4)
        self.inception3b = Inception(23, 7, 4, 9, 3, 6, 5)
        self.maxpool3 = nn.MaxPool2d(2)
        self.inception4a = Inception(27, 9, 6, 12, 4, 7, 6)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(34, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inception3b(self.inception3a(self.conv1(x)))
        return self.fc(torch.flatten(self.avgpool(self.inception4a(self.maxpool3(x))), 1))


def small() -> Model:
    """The small network with random weights and statistics, looking at 32 pixels a side."""
    inner = models.initialise(Small(), 3)
    generator = torch.Generator().manual_seed(4)
    for module in inner.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) / 3
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    inner = inner.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    names = {"en": ("ant", "bee", "cat", "dog", "eel")}
    return Model("googlenet", Weights("small", "0" * 64, names, Preprocessing(32, 32)), inner, torch.device("cpu"))


@pytest.fixture(scope="module")
def network() -> Model:
    return small()


def files(count: int) -> list[tuple[str, bytes]]:
    return [(f"{'abc'[i % 3]}/{i:02}.png", png(i, 40)) for i in range(count)]


@pytest.fixture(scope="module")
def pictures() -> corpus.Corpus:
    return corpus.listed("some", [*files(21), ("a/letter.png", b"Dear Sir")])


def finish(steps: Generator[statistics.Progress, None, Statistics]) -> Statistics:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture(scope="module")
def found(network: Model, pictures: corpus.Corpus) -> Statistics:
    return finish(statistics.gather(Run(network, pictures, PLAN)))


class Everything:
    """A tally that keeps it all, as nobody could with many pictures: what streaming is held against."""

    name = "everything"
    gradients = False

    def begin(self, setting: tallies.Setting) -> "Everything.Gatherer":
        return Everything.Gatherer()

    def merge(self, a: sealed.Arrays, b: sealed.Arrays) -> dict[str, np.ndarray]:
        return {name: np.concatenate([a[name], b[name]]) for name in a}

    class Gatherer:
        def __init__(self) -> None:
            self.kept: list[dict[str, torch.Tensor]] = []

        def add(self, seen: tallies.Seen) -> None:
            self.kept.append({name: a.double() for name, a in seen.activations.items()})

        def arrays(self) -> dict[str, np.ndarray]:
            return {name: torch.cat([kept[name] for kept in self.kept]).numpy() for name in self.kept[0]}


def worst(found: torch.Tensor, whole: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, relative to the size of the two channels' deviations."""
    size = torch.outer(a, b).sqrt()
    return float(((found - whole).abs() / torch.where(size > 0, size, 1)).max())


PLANS = [PLAN, Plan(1, 1, statistics.FOLDER), Plan(5, 3, statistics.FOLDER), Plan(64, 1, statistics.FOLDER)]


@pytest.mark.parametrize("plan", PLANS)
def test_a_corpus_gives_what_everything_at_once_gives_in_float64(network: Model, pictures: corpus.Corpus, plan: Plan) -> None:
    found = finish(statistics.gather(Run(network, pictures, plan, [Everything()])))
    kept = {block.name: torch.from_numpy(found.arrays[f"everything/{block.name}"]) for block in found.blocks}
    assert found.pictures == 21
    for name, activation in kept.items():
        for mine, whole in (
            (found.positions(name), moments(samples(activation))),
            (found.images(name), moments(activation.mean((2, 3)).T)),
        ):
            squares = whole.comoment.diagonal()
            assert mine.n == whole.n
            assert worst(mine.comoment, whole.comoment, squares, squares) < 1e-6
            assert torch.allclose(mine.mean, whole.mean, rtol=1e-6, atol=1e-9)
    for a, b in found.pairs:
        mine_too, pair = found.across(a, b), cross_moments(*map(samples, on_one_grid(kept[a], kept[b])))
        assert mine_too.n == pair.n
        assert worst(mine_too.comoment, pair.comoment, pair.squares_a, pair.squares_b) < 1e-6


@pytest.mark.parametrize("plan", PLANS)
def test_lags_are_those_of_all_maps_at_once(network: Model, pictures: corpus.Corpus, plan: Plan) -> None:
    """Each channel's r with itself one and two positions away, as `autocorrelation` finds it with all maps in memory, on maps as small as 4 x 4."""
    found = finish(statistics.gather(Run(network, pictures, plan, [Everything()])))
    for block in found.blocks:
        maps = torch.from_numpy(found.arrays[f"everything/{block.name}"])
        live = ~from_moments(found.positions(block.name)).constant
        every = Clusters(np.where(live, np.cumsum(live) - 1, -1), "", "", "", 0.0)  # a cluster of its own for each channel
        lags = found.lags(block.name)
        assert lags is not None
        mine = construction.reach_over_corpus(found.positions(block.name), lags, every).r
        for lag in (1, 2):
            assert mine[:, lag] == pytest.approx(construction.autocorrelation(maps, lag).numpy()[live], abs=2e-6)


def test_a_clusters_reach_is_the_mean_over_its_channels(found: Statistics) -> None:
    """As written out with all maps of deviation 1."""
    measured = construction.over_corpus(found, "3b")
    moments, lags = found.positions("3b"), found.lags("3b")
    assert lags is not None
    deviation = np.sqrt(moments.comoment.diagonal().numpy() / moments.n)
    own = measured.clusters.members(0)
    apart = lags.n[:, None] * (lags.mean - moments.mean.numpy()) ** 2
    product, squares = ((sums + apart)[:, own] / deviation[own] ** 2 for sums in (lags.product, lags.squares))
    assert measured.reach.r[0, 1:] == pytest.approx(product.sum(1) / squares.sum(1))
    assert measured.correlation.n == moments.n
    assert measured.reach.total.sum() == pytest.approx(1)


def test_statistics_without_lags_are_read_and_say_so(found: Statistics, tmp_path: Path) -> None:
    older = Statistics({k: v for k, v in found.arrays.items() if not k.startswith("lags/")}, found.card)
    statistics.save(older, tmp_path / "older.npz")
    read = statistics.load(tmp_path / "older.npz", "older.npz")
    assert read.lags("3a") is None
    with pytest.raises(construction.NoLags):
        construction.over_corpus(read, "3a")


def test_a_block_is_constructed_on_the_command_line(
    found: Statistics, network: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(construction, "random_network", lambda name, classes: network.network)
    statistics.save(found, tmp_path / "s.npz")
    asked = ["construct", str(tmp_path / "s.npz"), "--block", "3a"]
    code, described = tmp_path / "block.py", tmp_path / "net.json"
    assert cli.main([*asked, "--json", "--groups", "2", "--code", str(code), "--network", str(described)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["after"] == "3b"
    assert told["constructed"]["macs"] <= told["architects"]["macs"]
    assert sum(told["shares"].values()) == pytest.approx(1)
    space: dict = {"__name__": "constructed"}
    exec(compile(code.read_text(), "block.py", "exec"), space)
    assert space["Constructed"]()(torch.randn(2, 23, told["side"], told["side"])).shape[1] == sum(
        told["constructed"][width] for width in ("one", "three", "five", "pool")
    )
    loaded = models.load("googlenet", device="cpu", file=(described.read_bytes(), "net.json"))
    assert [b.name for b in describe(loaded).blocks] == ["3a", "3b", "4a"]
    assert describe(loaded).block("3b").channels == sum(told["constructed"][w] for w in ("one", "three", "five", "pool"))
    assert all(abs(a.height - b.height) <= 1 for a, b in zip(describe(loaded).blocks, found.blocks, strict=True))
    assert cli.main([*asked, "--budget", "10"]) == cli.BAD_INPUT
    assert cli.main([*asked[:-1], "9z"]) == cli.BAD_INPUT
    monkeypatch.setattr(construction, "random_network", lambda name, classes: models.random_network(name, classes))
    assert cli.main(asked) == cli.BAD_INPUT
    assert "with other blocks" in capsys.readouterr().err


@pytest.fixture(scope="module")
def at_once(network: Model, pictures: corpus.Corpus) -> dict[str, torch.Tensor]:
    """Activations of all pictures by the network as it is, its batch norm not folded, in float64."""
    read = [pictures.read(i) for i in range(len(pictures)) if "letter" not in pictures.entries[i].name]
    inputs = torch.cat([network.input(images.decode(data)) for data in read])
    return {name: a.double() for name, a in capture(network, inputs, gradients=False).activations.items()}


def test_a_folded_batch_norm_changes_no_r(found: Statistics, at_once: dict[str, torch.Tensor]) -> None:
    for name, activation in at_once.items():
        with np.errstate(invalid="ignore"):  # constant channels
            whole = np.corrcoef(samples(activation).numpy())
        assert from_moments(found.positions(name)).r == pytest.approx(whole, abs=2e-5, nan_ok=True)


def test_folding_changes_nothing_but_rounding(network: Model) -> None:
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(folded(network).network(inputs), network.network(inputs), atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded(network).network.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.network.modules())


def test_classes_are_folders_and_have_their_own_moments(
    found: Statistics, pictures: corpus.Corpus, at_once: dict[str, torch.Tensor]
) -> None:
    assert found.class_names("ar") == ["a", "b", "c"]
    names = [entry.name for entry in pictures.entries if "letter" not in entry.name]
    classes = found.classes("4a")
    assert classes.n.tolist() == [7, 7, 7]
    pooled = at_once["4a"].mean((2, 3)).numpy()
    for number, folder in enumerate("abc"):
        own = pooled[[name.startswith(folder) for name in names]]
        assert classes.mean[number] == pytest.approx(own.mean(0), rel=1e-5, abs=1e-6)
        assert classes.squares[number] == pytest.approx(((own - own.mean(0)) ** 2).sum(0), rel=1e-4, abs=1e-6)


def test_predicted_classes_are_those_that_the_network_predicts(network: Model, pictures: corpus.Corpus) -> None:
    run = Run(network, pictures, Plan(batch=5, shard=1))
    counts = finish(statistics.gather(run)).arrays["classes/n"]
    read = [pictures.read(i) for i in range(len(pictures)) if "letter" not in pictures.entries[i].name]
    inputs = torch.cat([network.input(images.decode(data)) for data in read])
    assert counts.tolist() == np.bincount(network.network(inputs).argmax(1).numpy(), minlength=network.classes).tolist()


def test_what_was_left_out_is_in_the_card_and_can_be_told_in_every_language(found: Statistics) -> None:
    (left_out,) = statistics.unreadable(found.card)
    assert left_out.name == "letter.png"
    assert isinstance(left_out.error, images.NotAPicture)
    assert "not a picture" in str(left_out.error)


def test_the_card_says_of_what_the_statistics_are(found: Statistics, network: Model, pictures: corpus.Corpus) -> None:
    card = json.loads(json.dumps(found.card))
    assert card["model"]["weights_sha256"] == network.weights.sha256
    assert card["transform"]["crop"] == 32
    assert card["corpus"] == {"name": "some", "sha256": pictures.digest, "files": 22}
    assert card["seed"] == 0
    assert card["classes"]["by"] == "folder"
    assert [b["name"] for b in card["blocks"]] == [b.name for b in describe(network).blocks]


def test_progress_counts_files_and_those_left_out(network: Model, pictures: corpus.Corpus) -> None:
    seen = list(statistics.gather(Run(network, pictures, PLAN)))
    assert [p.done for p in seen] == [4, 8, 8, 12, 16, 16, 20, 22, 22]
    assert seen[-1].unreadable == 1
    assert seen[-1].fraction == 1


def test_saved_statistics_are_the_same_when_loaded_again(found: Statistics, tmp_path: Path) -> None:
    statistics.save(found, tmp_path / "x.npz")
    again = statistics.load(tmp_path / "x.npz", "x.npz")
    assert again.sha256 == found.sha256
    assert [(b.name, b.channels, b.branches) for b in again.blocks] == [
        (b.name, b.channels, tuple(statistics.Branch(c.name, c.start, c.stop) for c in b.branches)) for b in found.blocks
    ]
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["sha256"] == found.sha256
    assert torch.equal(again.positions("4a").comoment, found.positions("4a").comoment)


def changed(found: Statistics, **other: object) -> bytes:
    card = json.loads(json.dumps(found.card))
    card["classes"]["names"].pop("ar", None)
    return sealed.packed(found.arrays, card | other)


def test_files_that_contradict_themselves_are_refused(found: Statistics) -> None:
    blocks = json.loads(json.dumps(found.card["blocks"]))
    blocks[0]["channels"] += 1
    without = {name: array for name, array in found.arrays.items() if name != "positions/4a/comoment"}
    for data in (
        changed(found, blocks=blocks),
        changed(found, blocks=[]),
        changed(found, format=99),
        changed(found, classes={"by": "folder", "names": {"en": ["a"]}}),
        changed(found, unreadable=[{"number": 1}]),
        sealed.packed(without, found.card),
        sealed.packed({}, {}),
        b"",
    ):
        with pytest.raises(sealed.NotWhole):
            statistics.load(data, "x.npz")


def test_nothing_read_and_no_folders_are_told(network: Model) -> None:
    none = corpus.listed("x", [("1.png", b"no"), ("2.png", b"no")])
    with pytest.raises(statistics.NothingRead, match="None of the 2 files"):
        finish(statistics.gather(Run(network, none)))
    with pytest.raises(statistics.NoFolders, match="lie in 0 folders"):
        Run(network, none, PLAN)


# --- resuming


class Dies(Exception):
    """The run ends here."""


def cut(run: Run, checkpoint: statistics.Checkpoint, steps: int) -> None:
    """Run, from where the checkpoint is, for so many steps, and end without a word."""
    with contextlib.closing(statistics.gather(run, checkpoint, checkpoint.load())) as going:
        for _ in range(steps):
            next(going)


@pytest.mark.parametrize("steps", [[1], [2], [3, 1], [4, 4, 1], [3, 3, 2]])
def test_a_run_that_was_cut_ends_with_the_same_bits(
    network: Model, pictures: corpus.Corpus, found: Statistics, tmp_path: Path, steps: list[int]
) -> None:
    run = Run(network, pictures, PLAN)
    for some in steps:
        with contextlib.suppress(StopIteration):
            cut(run, statistics.Checkpoint(tmp_path / "c", run, 0), some)
    checkpoint = statistics.Checkpoint(tmp_path / "c", run, 0)
    again = finish(statistics.gather(run, checkpoint, checkpoint.load()))
    assert again.sha256 == found.sha256
    assert again.card["unreadable"] == found.card["unreadable"]


def test_a_checkpoint_is_due_after_its_time(network: Model, pictures: corpus.Corpus, tmp_path: Path) -> None:
    times = iter([0.0, 1.0, 29.0, 31.0, 31.0])
    checkpoint = statistics.Checkpoint(tmp_path / "c", Run(network, pictures, PLAN), 30, lambda: next(times))
    assert [checkpoint.due(), checkpoint.due(), checkpoint.due()] == [False, False, True]


@pytest.fixture
def twice(network: Model, pictures: corpus.Corpus, tmp_path: Path) -> tuple[Run, Path]:
    """A run cut after two checkpoints."""
    run = Run(network, pictures, PLAN)
    cut(run, statistics.Checkpoint(tmp_path / "c", run, 0), 6)
    assert sorted(os.listdir(tmp_path)) == ["c", "c.before"]
    return run, tmp_path / "c"


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "planted"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(twice: tuple[Run, Path], found: Statistics, damage: str) -> None:
    run, path = twice
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    kinds = {"empty": b"", "cut": bytes(data[:1000]), "flipped": bytes(data), "planted": b"\x80\x04cos\nsystem\n."}
    path.write_bytes(kinds[damage])
    checkpoint = statistics.Checkpoint(path, run, 0)
    state = checkpoint.load()
    assert checkpoint.damaged
    assert state.done == 8
    assert finish(statistics.gather(run, checkpoint, state)).sha256 == found.sha256


def test_two_damaged_checkpoints_are_an_error_and_are_left_alone(twice: tuple[Run, Path]) -> None:
    run, path = twice
    path.write_bytes(b"x")
    path.with_name("c.before").write_bytes(b"y")
    with pytest.raises(sealed.NotWhole, match="“c” is damaged"):
        statistics.Checkpoint(path, run).load()
    assert path.read_bytes() == b"x"
    assert path.with_name("c.before").read_bytes() == b"y"


def test_a_checkpoint_of_something_else_is_refused(twice: tuple[Run, Path], network: Model, pictures: corpus.Corpus) -> None:
    _, path = twice
    others = [
        Run(looking_at(network, 64), pictures, PLAN),
        Run(network, corpus.listed("some", files(21)), PLAN),
        Run(network, pictures, Plan(4, 3, statistics.FOLDER)),
        Run(network, pictures, Plan(4, 2, statistics.PREDICTED)),
    ]
    for other in others:
        with pytest.raises(statistics.OtherRun, match="another network, other pictures or other settings"):
            statistics.Checkpoint(path, other).load()


def test_a_full_disk_ends_the_run_with_what_was_safe_still_safe(
    twice: tuple[Run, Path], found: Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = twice
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        checkpoint = statistics.Checkpoint(path, run, 0)
        with pytest.raises(sealed.NotSaved, match="No space left on device"):
            finish(statistics.gather(run, checkpoint, checkpoint.load()))
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    checkpoint = statistics.Checkpoint(path, run, 0)
    assert finish(statistics.gather(run, checkpoint, checkpoint.load())).sha256 == found.sha256


KENNEL = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from inception_viz import corpus, statistics
from tests.test_statistics import PLAN, small

# the parent computes nothing, so that its children can be forked; each child is killed some steps on, in the middle of the next
model, pictures = small(), corpus.folder(Path(sys.argv[1]))
out, moments = Path(sys.argv[2]), random.Random(int(sys.argv[3]))


def child(told):
    run = statistics.Run(model, pictures, PLAN)
    checkpoint = statistics.Checkpoint(out.with_name("c"), run, 0)
    steps = statistics.gather(run, checkpoint, checkpoint.load())
    try:
        while True:
            next(steps)
            os.write(told, b".")
    except StopIteration as end:
        statistics.save(end.value, out)


def attempt(most, delay):
    heard, told = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(heard)
        child(told)
        os._exit(0)
    os.close(told)
    steps = 0
    while steps < most and os.read(heard, 1):
        steps += 1
    if steps == most:
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
    os.close(heard)
    return os.waitpid(process, 0)[1] == 0, steps


start = time.monotonic()
ended, steps = attempt(1000, 0)
assert ended
whole, seconds = out.read_bytes(), time.monotonic() - start
for path in out.parent.iterdir():
    path.unlink()
killed = 0
for number in range(4):
    killed += not attempt(moments.randint(1, max(1, steps // 3)), moments.uniform(0, seconds / steps / 4))[0]
assert attempt(1000, 0)[0]
print(killed, out.read_bytes() == whole)
"""


def test_runs_killed_at_any_moment_end_with_the_same_bits(tmp_path: Path) -> None:
    root = spread(tmp_path / "pictures", dict([*files(21), ("a/letter.png", b"Dear Sir")]))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", textwrap.dedent(KENNEL), str(root), str(tmp_path / "out" / "x.npz"), "5"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    killed, same = done.stdout.split()
    assert int(killed) >= 1
    assert same == "True"


# --- what the arrays mean


def test_within_classes_is_what_is_left_without_the_class_means(found: Statistics, at_once: dict[str, torch.Tensor]) -> None:
    pooled = at_once["4a"].mean((2, 3)).numpy()
    left = np.concatenate([own - own.mean(0) for own in np.split(pooled, 3)])
    inside = statistics.within_classes(found, "4a").comoment.numpy()
    scale = np.sqrt(np.outer(inside.diagonal(), inside.diagonal()))
    assert np.abs(inside - left.T @ left)[scale > 0] == pytest.approx(0, abs=1e-5 * scale.max())


def test_selectivity_is_eta_squared(found: Statistics, at_once: dict[str, torch.Tensor]) -> None:
    pooled = at_once["4a"].mean((2, 3)).numpy()
    names = np.repeat([0, 1, 2], 7)
    means = np.stack([pooled[names == k].mean(0) for k in range(3)])
    with np.errstate(invalid="ignore"):
        eta = (7 * (means - pooled.mean(0)) ** 2).sum(0) / ((pooled - pooled.mean(0)) ** 2).sum(0)
    selective = statistics.selectivity(found, "4a")
    assert selective.share == pytest.approx(eta, abs=1e-4, nan_ok=True)
    assert selective.chance == pytest.approx(2 / 20)
    assert selective.strongest.tolist() == means.argmax(0).tolist()


def test_means_of_branches_leave_a_channel_with_itself_out(network: Model) -> None:
    block = describe(network).blocks[0]
    r = np.full((block.channels,) * 2, 0.5, np.float32)
    np.fill_diagonal(r, 1)
    r[0], r[:, 0] = np.nan, np.nan
    assert statistics.branch_means(r, block, block) == pytest.approx(np.full((4, 4), 0.5))


def test_cluster_means_are_in_deviations_over_pictures(found: Statistics) -> None:
    block = next(b for b in found.blocks if b.name == "3b")
    labels = clusters.find(from_moments(found.images("3b"))).labels
    means = statistics.cluster_means(found, "3b", labels)
    assert means.shape == (3, labels.max() + 1)
    assert means.mean(0) == pytest.approx(0, abs=1e-6)  # three classes of equal size around the mean of all
    assert len(labels) == block.channels


class Counting:
    """A tally of another kind: how bright the pictures are, and which came first."""

    name = "brightness"
    gradients = True

    def begin(self, setting: tallies.Setting) -> "Counting.Gatherer":
        return Counting.Gatherer()

    def merge(self, a: sealed.Arrays, b: sealed.Arrays) -> dict[str, np.ndarray]:
        return {"sum": a["sum"] + b["sum"], "first": a["first"]}

    class Gatherer:
        def __init__(self) -> None:
            self.sum, self.first = 0.0, -1

        def add(self, seen: tallies.Seen) -> None:
            self.sum += float(seen.inputs.sum())
            self.first = int(seen.numbers[0]) if self.first < 0 else self.first
            assert seen.gradients["4a"].shape == seen.activations["4a"].shape

        def arrays(self) -> dict[str, np.ndarray]:
            return {"sum": np.array(self.sum), "first": np.array(self.first)}


def test_another_tally_joins_the_run(network: Model, pictures: corpus.Corpus, found: Statistics) -> None:
    both = finish(statistics.gather(Run(network, pictures, PLAN, [Counting()])))
    assert int(both.arrays["brightness/first"]) == 0
    read = [pictures.read(i) for i in range(len(pictures)) if "letter" not in pictures.entries[i].name]
    total = sum(float(network.input(images.decode(data)).sum()) for data in read)
    assert float(both.arrays["brightness/sum"]) == pytest.approx(total, rel=1e-4)
    assert both.card["tallies"] == ["positions", "images", "classes", "lags", "brightness"]


# --- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spread(tmp_path_factory.mktemp("pictures"), dict([*files(9), ("b/letter.png", b"Dear Sir")]))


@pytest.fixture(autouse=True)
def _the_command_has_the_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "model", lambda arguments: small())


def command(folder: Path, out: Path, *more: str) -> int:
    return cli.main(["corpus", str(folder), "--out", str(out), "--batch", "4", "--shard", "1", *more])


def test_the_command_writes_statistics_and_card(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, tmp_path / "s.npz") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 's.npz'}: 9 pictures, 1 files left out\n"
    assert "left out: letter.png: This is not a picture" in err
    assert re.search(r"peak memory: (\d+ MB at \d+%, )+\d+ MB at 100%\n", err)
    assert sorted(os.listdir(tmp_path)) == ["s.json", "s.npz"]
    assert statistics.load(tmp_path / "s.npz", "s").card["classes"]["by"] == "folder"


def test_the_command_goes_on_only_when_told_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(folder, tmp_path / "whole.npz") == 0
    real = sealed.write
    saved = []

    def dies(path: Path, arrays: sealed.Arrays, card: dict, keep: Path | None = None) -> None:
        real(path, arrays, card, keep)
        saved.append(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write", dies)
        assert command(folder, tmp_path / "s.npz", "--checkpoint-seconds", "0") == 130
    assert len(saved) == 1
    capsys.readouterr()
    assert command(folder, tmp_path / "s.npz") == 2
    assert "holds an unfinished run of 4 of 10 files. Go on with it (--resume)" in capsys.readouterr().err
    assert command(folder, tmp_path / "s.npz", "--resume") == 0
    assert (tmp_path / "s.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["s.json", "s.npz", "whole.json", "whole.npz"]


@pytest.mark.parametrize("more", [["--batch", "0"], ["--sample", "-1"]])
def test_senseless_numbers_are_refused(folder: Path, tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command(folder, tmp_path / "s.npz", *more)
    assert end.value.code == 2


def test_a_folder_without_pictures_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert command(tmp_path / "empty", tmp_path / "s.npz") == 2
    assert capsys.readouterr().err == "error: “empty” holds no file that could be a picture.\n"
