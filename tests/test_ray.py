"""Ray workers on this machine give the same bits as this process, and one that is killed takes nothing with it.

One cluster for all tests: the last one ends it.
"""

import asyncio
import dataclasses
import gc
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ray = pytest.importorskip("ray")

from ray.exceptions import ActorDiedError  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Ray uses what its own libraries advise against
    import ray.serve

from inception_viz import analysis, corpus, images, sealed, statistics  # noqa: E402
from inception_viz.activations import NoSuchClass, Target  # noqa: E402
from inception_viz.analysis import Analysis  # noqa: E402
from inception_viz.engine import between, parcels, replica  # noqa: E402
from inception_viz.engine import cluster as clusters  # noqa: E402
from inception_viz.engine import ray as engine  # noqa: E402
from inception_viz.engine.analyzing import Analyzing  # noqa: E402
from inception_viz.engine.local import Engine, Job, Progress, WithModel  # noqa: E402
from inception_viz.errors import Cancelled, UnknownChoice  # noqa: E402
from inception_viz.models import Model, Preprocessing  # noqa: E402
from inception_viz.statistics import Run  # noqa: E402
from inception_viz.text import Text  # noqa: E402
from tests.test_corpus import png, spread, zipped  # noqa: E402
from tests.test_statistics import PLAN, files, finish, small  # noqa: E402


def leave() -> None:
    """End the cluster."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray tells its own processes to end and does not wait for them
        ray.shutdown()
        gc.collect()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of three processors on this machine: two workers, and a replica."""
    before = os.environ.copy()
    os.environ.pop(clusters.ADDRESS, None)
    engine.start(3)
    yield
    leave()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = spread(tmp_path_factory.mktemp("pictures"), dict([*files(45), ("a/letter.png", b"Dear Sir")]))
    return Run(small(), corpus.folder(root), PLAN)


@pytest.fixture(scope="module")
def alone(run: Run) -> statistics.Statistics:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = finish(statistics.gather(run))
    torch.set_num_threads(threads)
    return found


def test_two_workers_give_the_same_bits_as_one_process_though_one_is_killed(
    cluster: None, shared: Engine, run: Run, alone: statistics.Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    hired: list[int] = []
    real = engine._Crew.hire

    def hire(crew: engine._Crew) -> object:
        worker = real(crew)
        hired.append(ray.get(worker.process.remote()))
        return worker

    monkeypatch.setattr(engine._Crew, "hire", hire)
    steps = statistics.gather(run, engine=engine.elsewhere(2, threads=1))
    first = next(step for step in steps if step.done >= 8)
    assert first.done < first.total
    os.kill(hired[0], signal.SIGKILL)  # shards are on their way to it
    found = finish(steps)
    assert len(hired) == 3
    assert found.sha256 == alone.sha256
    assert found.card["unreadable"] == alone.card["unreadable"]
    assert found.pictures == 45
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


class Mortal:
    """A crew without Ray: each shard comes back, but the worker dies over some of them as often as `deaths` says."""

    def __init__(self, deaths: dict[int, int]) -> None:
        self.deaths, self.workers, self.tries, self.away, self.sent = deaths, [0, 1], {}, [], []

    def idle(self) -> int | None:
        return 0 if len(self.away) < 4 else None

    def send(self, places: range, worker: int) -> None:
        self.tries[places.start] = self.tries.get(places.start, 0) + 1
        self.away.append(places)
        self.sent.append(places.start)

    def back(self) -> tuple[list[statistics.Shard], list[range]]:
        places = self.away.pop()  # the latest first: the order of return is not that of the corpus
        if self.deaths.get(places.start, 0) > 0:
            self.deaths[places.start] -= 1
            return [], [places]
        return [statistics.Shard(places, {}, ())], []


def test_shards_are_given_in_order_and_once_each_however_they_come_back(run: Run) -> None:
    crew = Mortal({8: 2, 24: 1})
    found = [step.places for step in engine._in_order(run, 0, crew) if isinstance(step, statistics.Shard)]
    assert found == run.shards
    assert [crew.sent.count(places.start) for places in run.shards] == [1, 3, 1, 2, 1, 1]


def test_a_shard_whose_workers_die_again_and_again_ends_the_run_with_its_names(run: Run) -> None:
    with pytest.raises(engine.WorkersLost, match=r"3 workers died over the pictures from “a/24\.png” to “a/letter\.png”"):
        list(engine._in_order(run, 0, Mortal({8: 9})))


def test_workers_keep_the_best_examples_and_nothing_else_in_a_second_pass() -> None:
    first = Run(small(), corpus.listed("some", files(20)), PLAN)
    second = statistics.second_pass(first, statistics.clusterings(finish(statistics.gather(first))))
    order = engine._order(second, torch.get_num_threads(), "cpu")
    worker = engine.Worker(pickle.loads(pickle.dumps(order)), second.model)  # as it arrives there
    shards = [worker.gather(places, second.corpus.digest) for places in second.shards]
    total: dict = {}
    for shard in reversed(shards):
        total = second.merged(shard.arrays, total)
    assert len(shards) > 2
    assert sealed.digest(total) == finish(statistics.gather(second)).sha256
    assert all(name.startswith("examples/") for name in total)


@pytest.mark.parametrize("sample", [None, 5])
def test_the_corpus_travels_where_it_has_no_path(sample: int | None) -> None:
    plan = dataclasses.replace(PLAN, sample=sample)
    for taken in (corpus.listed("some", files(9)), corpus.archive(zipped(dict(files(9))), "some.zip")):
        run = Run(small(), taken, plan)
        order = engine._order(run, torch.get_num_threads(), "cpu")
        assert Path(order.where) == Path()
        shard = engine.Worker(order, run.model).gather(run.shards[0], engine._digest(run, order))
        here = next(step for step in statistics.here(run, 0) if isinstance(step, statistics.Shard))
        assert sealed.digest(shard.arrays) == sealed.digest(here.arrays)


# --- a cluster as the app's engine


@pytest.fixture(scope="module")
def network() -> Model:
    return small()


@pytest.fixture(scope="module")
def shared(cluster: None) -> Iterator[Engine]:
    """The engine of the app, with one replica that does up to four analyses together."""
    way = clusters.Cluster(clusters.Settings(ray.get_runtime_context().gcs_address, replicas=1, batch=4, threads=1))
    found = clusters.engine(way)
    asked(found, small(), lambda model, progress: None, "first")  # the replica starts while other tests wait for theirs
    yield found
    found.close()
    way.close()


def picture(seed: int) -> images.Picture:
    return images.decode(png(seed, 40), f"{seed}.png")


def ended(job: Job) -> Job:
    assert job.wait(120)
    return job


def asked(shared: Engine, network: Model, do: Callable[[Model, Progress], object], key: str, evaluations: int = 1) -> Job:
    return shared.submit(key, "work", key, WithModel(do, network), evaluations)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far each number is from what it should be, against the largest."""
    return np.abs(a - b) / np.abs(b).max()


def same(a: Analysis, b: Analysis) -> bool:
    """Answers agree up to rounding; so do gradients, but behind a gate that lies within rounding of zero and falls the other way."""
    blocks = list(zip(a.blocks.values(), b.blocks.values(), strict=True))
    answers = [apart(a.logits, b.logits), *(apart(x.activation, y.activation) for x, y in blocks)]
    gradients = [apart(x.gradient, y.gradient) for x, y in blocks]
    return max(map(np.max, answers)) <= 1e-5 and all(g.max() <= 0.02 and np.quantile(g, 0.9) <= 1e-5 for g in gradients)


def under_way(job: Job) -> Job:
    """Wait until the replica is at it."""
    while job.progress == 0:
        assert not job.wait(0.01)
    return job


def test_analyses_that_wait_together_go_through_together_and_equal_those_done_here(shared: Engine, network: Model) -> None:
    def until_six_wait(model: Model, progress: Progress) -> int:
        while replica.COUNTS.asked < 6:
            progress.set(0.5)
            threading.Event().wait(0.01)
        return os.getpid()

    busy = under_way(asked(shared, network, until_six_wait, "busy"))
    pictures = [picture(seed) for seed in range(6)]
    targets = [None, Target(1), Target(2, 3), None, None, Target(4)]
    looks = [Analyzing(p, t) for p, t in zip(pictures, targets, strict=True)]
    jobs = [asked(shared, network, look, f"analysis {n}") for n, look in enumerate(looks)]
    for job, look in zip(jobs, looks, strict=True):
        found, here = ended(job).result(), analysis.analyze(network, look.picture, look.target)
        assert same(found, here)
        assert (found.target, found.picture) == (here.target, here.picture)
    assert busy.result() != os.getpid()
    together = ended(asked(shared, network, lambda model, progress: list(replica.COUNTS.together), "together")).result()
    assert sum(together) == 6
    assert 2 <= max(together) <= 4


def test_an_error_for_one_is_not_an_error_for_those_beside_it(shared: Engine, network: Model) -> None:
    wrong = asked(shared, network, Analyzing(picture(7), Target(99)), "wrong")
    right = asked(shared, network, Analyzing(picture(8)), "right")
    assert same(ended(right).result(), analysis.analyze(network, picture(8)))
    with pytest.raises(NoSuchClass, match="no class 99; this network tells 5"):
        ended(wrong).result()


def test_work_that_nobody_waits_for_any_longer_stops_on_the_replica(shared: Engine, network: Model, tmp_path: Path) -> None:
    def for_ever(model: Model, progress: Progress) -> None:
        try:
            while True:
                progress.tick()
                threading.Event().wait(0.01)
        finally:
            (tmp_path / "stopped").touch()

    job = under_way(asked(shared, network, for_ever, "for ever", 1000))
    job.cancel()
    with pytest.raises(Cancelled):
        ended(job).result()
    assert asked(shared, network, lambda model, progress: (tmp_path / "stopped").exists(), "after").wait(60)
    assert (tmp_path / "stopped").exists()


def test_work_is_begun_again_when_its_replica_is_killed(shared: Engine, network: Model, tmp_path: Path) -> None:
    def dies_once(model: Model, progress: Progress) -> tuple[int, str]:
        first = not (tmp_path / "process").exists()
        (tmp_path / "process.partial").write_text(str(os.getpid()))
        (tmp_path / "process.partial").rename(tmp_path / "process")
        while first:
            progress.set(0.5)
            threading.Event().wait(0.01)
        return os.getpid(), model.weights.name

    job = under_way(asked(shared, network, dies_once, "dies"))
    killed = int((tmp_path / "process").read_text())
    os.kill(killed, signal.SIGKILL)
    process, name = ended(job).result()
    assert process != killed
    assert name == "small"  # the network came again


class Doomed:
    """Replicas that die whatever is asked of them."""

    def __init__(self) -> None:
        self.analysis = self
        self.asked = 0

    async def remote(self, *arguments: object) -> bytes:
        self.asked += 1
        raise ActorDiedError()


class Heard(list):
    """A connection that only listens."""

    def send(self, told: tuple) -> None:
        self.append(told)


def test_what_kills_replica_after_replica_ends_with_an_error(network: Model) -> None:
    doomed, heard = Doomed(), Heard()
    parcel, _ = parcels.packed(WithModel(Analyzing(picture(1)), network))
    asyncio.run(between.Between(heard, doomed)._done(7, parcel, 1, {}))
    *before, (kind, number, answer) = heard
    assert before == [("again", 7)] * 3
    assert (kind, number, doomed.asked) == ("end", 7, 3)
    error = pickle.loads(answer).error
    assert error.told(Text("en")).startswith("3 processes of the cluster died over this")


def test_a_picture_travels_as_the_network_sees_it_and_a_network_only_as_its_ticket(network: Model) -> None:
    large = images.decode(png(1, 900), "secret name.png")
    parcel, models = parcels.packed(WithModel(Analyzing(large), network))
    assert len(parcel.work) < 32 * 32 * 3 + 2000
    assert list(models.values()) == [network]
    closed, inside = parcels.packed(WithModel(lambda model, progress: (model is network, large.width), network))
    assert (closed.tickets, list(inside.values())) == ((parcels.ticket(network),), [network])
    assert parcels.opened(closed, {parcels.ticket(network): network})(Progress()) == (True, 900)
    other = dataclasses.replace(network, weights=dataclasses.replace(network.weights, preprocessing=Preprocessing(48, 48)))
    assert parcels.ticket(other) != parcels.ticket(network)
    assert parcels.ticket(small()) == parcels.ticket(network)


@pytest.mark.parametrize(("name", "value"), [(clusters.ENGINE, "rya"), (clusters.REPLICAS, "many"), (clusters.BATCH, "0")])
def test_settings_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(clusters.ENGINE, "ray")
    monkeypatch.setenv(name, value)
    with pytest.raises(UnknownChoice, match=f"“{value}” is not a"):
        clusters.settings()


def test_without_a_word_the_engine_is_local_and_needs_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(clusters.ENGINE, raising=False)
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    assert clusters.settings() is None
    monkeypatch.setenv(clusters.ENGINE, "ray")
    with pytest.raises(clusters.Missing, match="Ray is not installed"):
        clusters.settings()


def test_a_cluster_that_goes_is_told_and_leaves_the_app_alive(shared: Engine, network: Model) -> None:
    def for_ever(model: Model, progress: Progress) -> None:
        while True:
            progress.set(0.5)
            threading.Event().wait(0.01)

    job = under_way(asked(shared, network, for_ever, "for ever"))
    leave()
    with pytest.raises(clusters.Gone, match="does not answer"):
        ended(job).result()
    with pytest.raises(clusters.Gone):
        ended(asked(shared, network, for_ever, "again")).result()
