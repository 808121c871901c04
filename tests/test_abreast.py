"""Shards side by side are the shards one after the other, bit for bit; whoever stops leaves no thread behind."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from inception_viz import corpus, sealed, statistics
from inception_viz.engine.abreast import abreast
from inception_viz.models import Model
from inception_viz.statistics import Plan, Run, Shard
from tests.test_statistics import files, finish, small

PLAN = Plan(batch=2, shard=2, classes=statistics.FOLDER)


@pytest.fixture(scope="module")
def network() -> Model:
    return small()


@pytest.fixture(scope="module")
def pictures() -> corpus.Corpus:
    return corpus.listed("some", [*files(21), ("a/letter.png", b"Dear Sir")])


@pytest.fixture(params=(1, 3))
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def working() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shard")]


def test_the_bits_are_those_of_one_core(network: Model, pictures: corpus.Corpus, threads: int) -> None:
    found = finish(statistics.gather(Run(network, pictures, PLAN), engine=abreast))
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    alone = finish(statistics.gather(Run(network, pictures, PLAN)))
    assert sealed.digest(found.arrays) == sealed.digest(alone.arrays)
    assert found.card == alone.card
    assert working() == []


def test_shards_come_in_their_order_and_what_is_done_never_falls(network: Model, pictures: corpus.Corpus, threads: int) -> None:
    run = Run(network, pictures, PLAN)
    given = [found.places for found in abreast(run, 4) if isinstance(found, Shard)]
    assert given == run.shards[1:]
    done = [step.done for step in statistics.gather(run, engine=abreast)]
    assert done == sorted(done)
    assert done[-1] == len(pictures)
    assert len(set(done)) > len(run.shards)


def test_who_stops_leaves_nothing_running(network: Model, pictures: corpus.Corpus, threads: int) -> None:
    steps = abreast(Run(network, pictures, PLAN), 0)
    next(steps)
    assert torch.get_num_threads() == 1
    steps.close()
    assert working() == []
    assert torch.get_num_threads() == threads


def test_what_breaks_one_shard_is_told(network: Model, pictures: corpus.Corpus, threads: int) -> None:
    def read(number: int) -> bytes:
        if number == 13:
            raise MemoryError
        return pictures.read(number)

    with pytest.raises(MemoryError):
        finish(statistics.gather(Run(network, replace(pictures, read=read), PLAN), engine=abreast))
    assert working() == []
    assert torch.get_num_threads() == threads
