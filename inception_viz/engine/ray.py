"""Many machines: shards of a corpus are gathered by Ray workers, one network each, and merged here in the order of the corpus.

A shard's arrays are the same whoever gathers it, and a shard counts only once its arrays have come back whole: a worker that dies takes nothing
with it but the time. Needs `pip install -r requirements-ray.txt`. Nothing is reported to Ray's makers, and no dashboard is opened.
"""

import logging
import os
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError

from inception_viz import corpus as corpora
from inception_viz.corpus import Corpus
from inception_viz.engine.cluster import ADDRESS, ROOT
from inception_viz.engine.local import on_cpu
from inception_viz.errors import VisitorError
from inception_viz.models import Model
from inception_viz.statistics import Engine, Plan, Run, Shard, Shards
from inception_viz.tallies import Tally
from inception_viz.text import message

TRIES = 3  # how often a shard is begun before its pictures are taken to be what kills the workers
DEPTH = 2  # shards that are on their way to each worker: it need not wait while one is merged
POLL = 0.5  # seconds between two looks at the workers
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_enable_metrics_collection": "0"}
IN_MEMORY = {"automatic_object_spilling_enabled": False}
STARTS = 2  # Ray gives its own processes 30 seconds, which is little on a busy machine


class WorkersLost(VisitorError):
    """One shard's workers died again and again."""

    words = message("{tries} workers died over the pictures from “{first}” to “{last}”. What was gathered before is safe.")


def start(workers: int | None = None, address: str | None = None) -> None:
    """Join the cluster at an address, by default that of INCEPTION_VIZ_RAY_ADDRESS, or start one on this machine.

    In one that is started here nothing is ever moved from its shared memory to a disk: what does not fit is an error.
    """
    if ray.is_initialized():
        return
    os.environ.update(QUIET)
    address = address or os.environ.get(ADDRESS)
    if address is None:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for its workers
    alone: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False, "_system_config": IN_MEMORY}
    for again in reversed(range(STARTS)):
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **alone)
            return
        except Exception:  # Ray raises no kind of its own
            ray.shutdown()
            if not again:
                raise


@dataclass(frozen=True)
class Order:
    """What a worker does: which corpus, by which plan. `files` are the corpus' own bytes where it has no path that workers can open."""

    name: str
    where: str
    files: tuple[tuple[str, bytes], ...]
    plan: Plan
    more: tuple[Tally, ...]
    standard: tuple[Tally, ...]
    threads: int
    device: str

    def corpus(self) -> Corpus:
        """The corpus, opened where the worker is."""
        return corpora.open_path(Path(self.where)) if self.where else corpora.listed(self.name, self.files)


class Worker:
    """One process with one network."""

    def __init__(self, order: Order, model: Model) -> None:
        torch.set_num_threads(order.threads)
        device = torch.device(order.device)
        here = replace(model, network=model.network.to(device), device=device)
        self._run = Run(here, order.corpus(), order.plan, order.more, order.standard)
        self._digest = self._run.corpus.digest

    def gather(self, places: range, digest: str) -> Shard:
        """One shard from beginning to end; `digest` is that of the corpus as the asker sees it."""
        assert digest == self._digest, "the worker sees other files"
        steps = self._run.gathered(self._run.batches(places), places)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    def process(self) -> int:
        """Its process id."""
        return os.getpid()


@dataclass(eq=False)
class _Crew:
    """The workers and what each is at; a dead one is replaced, and its shards are begun again."""

    order: Any
    model: Any
    digest: str
    gpus: int
    share: float = 1.0  # of a processor core, for each worker without a GPU: one that finds none free would be waited for for ever
    workers: list[Any] = field(default_factory=list)
    away: dict[Any, tuple[range, int]] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)

    def hire(self) -> Any:
        """One more worker."""
        return ray.remote(Worker).options(num_gpus=self.gpus, num_cpus=0 if self.gpus else self.share).remote(self.order, self.model)

    def idle(self) -> int | None:
        """A worker that may have another shard."""
        busy = [worker for _, worker in self.away.values()]
        least = min(range(len(self.workers)), key=busy.count)
        return least if busy.count(least) < DEPTH else None

    def send(self, places: range, worker: int) -> None:
        """Let a worker gather the shard at `places`."""
        self.tries[places.start] = self.tries.get(places.start, 0) + 1
        self.away[self.workers[worker].gather.remote(places, self.digest)] = (places, worker)

    def back(self) -> tuple[list[Shard], list[range]]:
        """Shards that have come back, and the places of those that were lost with their worker."""
        finished, _ = ray.wait(list(self.away), num_returns=1, timeout=POLL)
        shards, lost = [], []
        for reference in finished:
            places, worker = self.away.pop(reference)
            try:
                shards.append(ray.get(reference))
            except RayActorError:
                lost += [places, *self._dead(worker)]
        return shards, lost

    def _dead(self, worker: int) -> list[range]:
        gone = [reference for reference, (_, at) in self.away.items() if at == worker]
        lost = [self.away.pop(reference)[0] for reference in gone]
        for places in lost:
            self.tries[places.start] -= 1  # it may have waited behind the one that the worker died of
        self.workers[worker] = self.hire()
        return lost


def _order(run: Run, threads: int, device: str) -> Order:
    corpus = run.whole
    files = () if corpus.where else tuple((entry.name, corpus.read(number)) for number, entry in enumerate(corpus.entries))
    return Order(corpus.name, corpus.where, files, run.plan, run.more, run.standard, threads, device)


def _digest(run: Run, order: Order) -> str:
    """What a worker must see: the files that lie at the path, or those that travel (where a zip in memory is files like any)."""
    return run.corpus.digest if order.where else Run(run.model, order.corpus(), order.plan, order.more).corpus.digest


def elsewhere(workers: int | None = None, threads: int | None = None) -> Engine:
    """An engine that lets Ray workers gather the shards: as many as asked for, else one a GPU of the cluster, else one a processor core."""

    def shards(run: Run, done: int) -> Shards:
        start(workers)
        have = ray.cluster_resources()
        gpus = int(have.get("GPU", 0))
        count = workers or gpus or max(1, int(have.get("CPU", 1)))
        run.device = "cuda" if gpus >= count else "cpu"
        each = threads or max(1, int(have.get("CPU", 1)) // count)
        run.threads = each
        order = _order(run, each, run.device)
        share = min(1.0, have.get("CPU", 1.0) / count)
        crew = _Crew(ray.put(order), ray.put(on_cpu(run.model)), _digest(run, order), int(gpus >= count), share)
        crew.workers = [crew.hire() for _ in range(count)]
        try:
            yield from _in_order(run, done, crew)
        finally:
            for worker in crew.workers:
                ray.kill(worker)

    return shards


def _in_order(run: Run, done: int, crew: _Crew) -> Generator[int | Shard, None, None]:
    todo = deque(places for places in run.shards if places.start >= done)
    early: dict[int, Shard] = {}
    while todo or crew.away or early:
        room = DEPTH * len(crew.workers) - len(early)
        while todo and (room > 0 or todo[0].start == done) and (worker := crew.idle()) is not None:
            crew.send(todo.popleft(), worker)
            room -= 1
        found, lost = crew.back()
        early |= {shard.places.start: shard for shard in found}
        for places in sorted(lost, key=lambda p: p.start, reverse=True):
            if crew.tries[places.start] >= TRIES:
                first, last = (run.corpus.entries[i].name for i in (places.start, places.stop - 1))
                raise WorkersLost(tries=TRIES, first=first, last=last)
            todo.appendleft(places)
        while done in early:
            shard = early.pop(done)
            done = shard.places.stop
            yield shard
        yield sum(len(shard.places) for shard in early.values())
