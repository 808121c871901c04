"""Ray workers on this machine give the same bits as this process, and one that is killed takes nothing with it."""

import os
import signal
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
    """A cluster of two processors that only this machine can reach."""
    before = os.environ.copy()
    os.environ.pop(engine.ADDRESS, None)
    engine.start(2)
    yield
    ray.shutdown()
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


def test_two_workers_give_the_same_bits_as_one_process_and_a_killed_one_loses_nothing(
    cluster: None, run: Run, alone: statistics.Statistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    real = engine._Crew.send

    def send(crew: engine._Crew, places: range, worker: int) -> None:
        real(crew, places, worker)
        if places.start >= 16 and not killed:  # two shards are on their way to this worker, or being gathered
            process = ray.get(crew.workers[worker].process.remote())
            real(crew, range(0), worker)  # an empty shard, so that the worker surely has something to lose
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    monkeypatch.setattr(engine._Crew, "send", send)
    found = finish(statistics.gather(run, engine=engine.elsewhere(2, threads=1)))
    assert len(killed) == 1
    assert found.sha256 == alone.sha256
    assert found.card["unreadable"] == alone.card["unreadable"]
    assert found.pictures == 45


def test_a_shard_whose_workers_die_again_and_again_ends_the_run_with_its_names(
    cluster: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine._Crew.send

    def send(crew: engine._Crew, places: range, worker: int) -> None:
        process = ray.get(crew.workers[worker].process.remote())
        real(crew, places, worker)
        os.kill(process, signal.SIGKILL)

    monkeypatch.setattr(engine._Crew, "send", send)
    monkeypatch.setattr(engine, "TRIES", 2)
    with pytest.raises(engine.WorkersLost, match="2 workers died over the pictures from “a/00.png”"):
        finish(statistics.gather(run, engine=engine.elsewhere(1, threads=1)))


def test_nothing_is_reported_to_anybody(cluster: None) -> None:
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert not ray.get_runtime_context().get_node_id() == ""
    assert "127.0.0.1" in ray.nodes()[0]["NodeManagerAddress"]
    assert sealed.KINDS


def test_the_corpus_travels_where_it_has_no_path() -> None:
    order = engine._order(Run(small(), corpus.listed("some", files(3)), PLAN), 1, "cpu")
    assert order.corpus().digest == corpus.listed("some", files(3)).digest
    assert Path(order.where) == Path()
