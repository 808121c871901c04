"""What answers on a Ray cluster: a Serve deployment whose every replica is an owner thread with its own copy of the networks, as in the app itself.

Analyses of one network that wait at the same time go through it together. Errors travel as answers, so that Ray has none to log.
"""

import asyncio
import traceback
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from ray import serve

from inception_viz.analysis import Analysis, Look, analyze_together
from inception_viz.engine import parcels
from inception_viz.engine.local import Answer, Engine, Job, Progress, Work, on_cpu
from inception_viz.engine.parcels import Parcel
from inception_viz.models import Model, at_once

MODELS = 4  # that a replica keeps
POLL = 0.1  # seconds between two words about how far work is
WAIT = 0.01  # seconds that the first analysis waits for others; while the network is at work they gather anyway


@dataclass
class Counts:
    """Of this process: how many analyses were asked of it, and how many of them went through the network together each time, the newest last."""

    asked: int = 0
    together: deque[int] = field(default_factory=lambda: deque(maxlen=1000))


COUNTS = Counts()


def _together(model: Model, looks: Sequence[Look], progress: Progress) -> list[Analysis]:
    found: list[Analysis] = []
    while len(found) < len(looks):
        progress.check()
        some = looks[len(found) :]
        found += analyze_together(model, some[: at_once(len(some))])
    COUNTS.together.append(len(found))
    return found


class Replica:
    """One process with its networks. Given by reference, a network is fetched once and kept while it is among the newest few."""

    def __init__(self, device: str, threads: int, batch: int) -> None:
        torch.set_num_threads(threads)
        self._device = device
        self._engine = Engine(device, bound=10_000, cache_entries=0)
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._waiters = ThreadPoolExecutor(64, "waiter")
        self._joined.set_max_batch_size(batch)  # type: ignore[attr-defined]

    async def work(self, parcel: Parcel, evaluations: int, references: dict[str, Any]) -> AsyncGenerator[float | bytes, None]:
        """How far the work is, again and again, then its answer."""
        models = await self._fetched(parcel, references)
        smaller = None if self._device == "cpu" else partial(_on_cpu, parcel, models)
        job = self._submitted(parcels.opened(parcel, models), evaluations, smaller)
        try:
            while not await self._ended(job, POLL):
                yield job.progress
            yield parcels.packed_answer(_traced(job.answer))
        finally:
            job.cancel()  # whoever asked may have gone

    async def analysis(self, parcel: Parcel, references: dict[str, Any]) -> bytes:
        """The answer to a look."""
        COUNTS.asked += 1
        models = await self._fetched(parcel, references)
        return await self._joined((parcel.tickets[0], models[parcel.tickets[0]], parcels.looked(parcel)))

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=WAIT)
    async def _joined(self, asked: list[tuple[str, Model, Look]]) -> list[bytes]:
        by_model: dict[str, list[int]] = defaultdict(list)
        for number, (name, _, _) in enumerate(asked):
            by_model[name].append(number)
        answers: dict[int, bytes] = {}
        for numbers in by_model.values():
            model = asked[numbers[0]][1]
            for number, answer in zip(numbers, await self._analyzed(model, [asked[n][2] for n in numbers]), strict=True):
                answers[number] = parcels.packed_answer(_traced(answer))
        return [answers[number] for number in range(len(asked))]

    async def _analyzed(self, model: Model, looks: list[Look]) -> list[Answer]:
        smaller = None if self._device == "cpu" else partial(_together, on_cpu(model), looks)
        job = self._submitted(partial(_together, model, looks), 1, smaller)
        while not await self._ended(job, 60.0):
            pass
        answer = job.answer
        if answer.error is not None and len(looks) > 1:  # what one of them asks for may not be there
            return [(await self._analyzed(model, [one]))[0] for one in looks]
        if answer.error is not None:
            return [answer]
        return [Answer(found, None, answer.smaller, answer.fewer) for found in answer.value]

    async def _fetched(self, parcel: Parcel, references: dict[str, Any]) -> dict[str, Model]:
        for name in parcel.tickets:
            if name not in self._models:
                data = await references[name]
                if name not in self._models:
                    self._models[name] = parcels.opened_model(data, self._device)
            self._models.move_to_end(name)
        models = {name: self._models[name] for name in parcel.tickets}
        while len(self._models) > MODELS:
            self._models.popitem(last=False)
        return models

    def _submitted(self, work: Work, evaluations: int, smaller: Work | None) -> Job:
        name = uuid.uuid4().hex
        return self._engine.submit(name, "work", name, work, evaluations, smaller)

    async def _ended(self, job: Job, seconds: float) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._waiters, job.wait, seconds)


def _on_cpu(parcel: Parcel, models: dict[str, Model], progress: Progress) -> object:
    return parcels.opened(parcel, {name: on_cpu(model) for name, model in models.items()})(progress)


def _traced(answer: Answer) -> Answer:
    """An error loses its trace when it travels: it takes it along as a note."""
    if answer.error is not None and answer.error.__traceback__ is not None:
        answer.error.add_note("".join(traceback.format_tb(answer.error.__traceback__)))
    return answer
