"""Ray workers on this machine give the same bits as this process, and one that is killed takes nothing with it."""

import gc
import os
import pickle
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ray = pytest.importorskip("ray")

from inception_viz import corpus, sealed, statistics  # noqa: E402
from inception_viz.engine import ray as engine  # noqa: E402
from inception_viz.statistics import Run  # noqa: E402
from tests.test_corpus import spread  # noqa: E402
from tests.test_statistics import PLAN, files, finish, small  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two processors on this machine."""
    before = os.environ.copy()
    os.environ.pop(engine.ADDRESS, None)
    engine.start(2)
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray tells its own processes to end and does not wait for them
        ray.shutdown()
        gc.collect()
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
    cluster: None, run: Run, alone: statistics.Statistics, monkeypatch: pytest.MonkeyPatch
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


def test_the_corpus_travels_where_it_has_no_path() -> None:
    order = engine._order(Run(small(), corpus.listed("some", files(3)), PLAN), 1, "cpu")
    assert order.corpus().digest == corpus.listed("some", files(3)).digest
    assert Path(order.where) == Path()


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
