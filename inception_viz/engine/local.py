"""One thread owns the network; all others queue, first in first out.

Captum's hooks are state on a shared network: with thirty visitors on one network nearly every answer belonged to somebody else's picture, with no
error. A plain lock would do for that, but lets some wait twice as long as others, and keeps computing for people who have left.
"""

import copy
import gc
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from types import GeneratorType
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import nn

from inception_viz.errors import Busy, Cancelled, VisitorError
from inception_viz.memory import VISITOR, Memory
from inception_viz.models import Model, asked_at_once, at_most, once_per_model
from inception_viz.text import message

Result = TypeVar("Result")
BOUND = 60
CACHE_BYTES = 300_000_000  # some sixty analyses: a class of thirty with two pictures each
CACHE_ENTRIES = 400
PATIENCE = 2.0  # seconds that work goes on after a page has left it: a page that is drawn again asks for the same at once

log = logging.getLogger(__name__)


class OutOfMemory(VisitorError):
    """The device has too little memory for what was asked, even after everything that could be freed was freed."""

    words = message("The device ran out of memory. Choose a smaller picture set, or the CPU on the first page.")


class Progress:
    """What running work knows of the outside: how far it is, and whether anybody still waits for it."""

    def __init__(self, evaluations: int = 1, wanted: Callable[[], bool] = lambda: True) -> None:
        self.evaluations = evaluations
        self.fraction = 0.0
        self.stopped = threading.Event()
        self._wanted = wanted
        self._ticks = 0

    def check(self) -> None:
        """Raises Cancelled if nobody waits any longer."""
        if self.stopped.is_set() or not self._wanted():
            raise Cancelled()

    def set(self, fraction: float) -> None:
        """Say how far the work is, 0 to 1. Raises Cancelled if nobody waits any longer."""
        self.check()
        self.fraction = min(1.0, max(0.0, fraction))

    def tick(self) -> None:
        """One of `evaluations` evaluations of the network begins. Raises Cancelled if nobody waits any longer."""
        self.set(self._ticks / max(1, self.evaluations))
        self._ticks += 1

    def restart(self) -> None:
        """The work begins anew."""
        self._ticks, self.fraction = 0, 0.0


Work = Callable[[Progress], Result | Generator[float, None, Result]]


@dataclass(frozen=True, eq=False)
class WithModel(Generic[Result]):
    """Work that needs a model and nothing else of this process: another that has the model can do it."""

    do: Callable[[Model, Progress], Result]
    model: Model

    def __call__(self, progress: Progress) -> Result:
        """Do it here."""
        return self.do(self.model, progress)


@dataclass(frozen=True, eq=False)
class Answer:
    """How work ended: with a value or an error; where the device's memory was too small, `fewer` if the same work answered with fewer
    inputs at once, `smaller` if the substitute did.
    """

    value: Any = None
    error: BaseException | None = None
    smaller: bool = False
    fewer: bool = False


FULL = Answer()  # not an end: the memory was too small


class _Run:
    """Work that is queued, running or done, for all who asked for the same.

    `waiting` holds a Job for each who waits, `left` for each whose page has gone and may ask again; `deserted` says since when nobody waits.
    """

    def __init__(
        self, key: Hashable, work: Work, smaller: Work | None, evaluations: int, wanted: Callable[["_Run"], bool], in_turns: bool = False
    ) -> None:
        self.key, self.work, self.smaller, self.in_turns = key, work, smaller, in_turns
        self.begun: Generator[float, None, Any] | None = None
        self.most: int | None = None  # inputs at once, after the memory was too small for more
        me = weakref.ref(self)  # not by name: what waits for the collector of garbage keeps its answer, which is megabytes
        self.progress = Progress(evaluations, lambda: (run := me()) is not None and wanted(run))
        self.waiting: set[Job] = set()
        self.left: set[Job] = set()
        self.deserted: float | None = None
        self.done = threading.Event()
        self.answer = Answer()


class Job(Generic[Result]):
    """One asker's share in a run of work: giving it up harms nobody else who waits for the same run."""

    def __init__(self, engine: "Engine", run: _Run, session: str, slot: str) -> None:
        self._engine, self._run = engine, run
        self.session, self.slot = session, slot

    @property
    def key(self) -> Hashable:
        """What the work was asked for by."""
        return self._run.key

    @property
    def place(self) -> int:
        """How many runs come before this one: 0 if it runs or has ended."""
        return self._engine.place(self)

    @property
    def progress(self) -> float:
        """How far the work is, 0 to 1."""
        return self._run.progress.fraction

    @property
    def smaller(self) -> bool:
        """Whether the device ran out of memory and the substitute answered; only after the job has ended."""
        return self._run.answer.smaller

    @property
    def fewer(self) -> bool:
        """Whether the device ran out of memory and the work went through with fewer inputs at once; only after the job has ended."""
        return self._run.answer.fewer

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the job has ended, after waiting for at most `seconds`."""
        return self._run.done.wait(seconds)

    @property
    def answer(self) -> Answer:
        """How the work ended; only after it has."""
        return self._run.answer

    def result(self) -> Result:
        """What the work returned; raises what it raised, or Cancelled. Only after it has ended."""
        assert self._run.done.is_set()
        if self._run.answer.error is not None:
            raise self._run.answer.error
        return cast(Result, self._run.answer.value)

    def cancel(self) -> None:
        """No longer wanted: the work stops at once if nobody else waits for it."""
        self._engine.withdraw(self, at_once=True)

    def leave(self) -> None:
        """Perhaps no longer wanted: the work stops if nobody has asked for it again within the engine's patience."""
        self._engine.withdraw(self, at_once=False)


def _parts(value: Any) -> Iterable[object]:
    if isinstance(value, np.ndarray):
        return () if value.base is None else (value.base,)
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return (getattr(value, f.name) for f in fields(value))
    return ()


def _own_bytes(value: object) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes if value.base is None else 0
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes()
    return len(value) if isinstance(value, bytes | bytearray) else 0


def size_of(value: object) -> int:
    """Bytes of all arrays and tensors that a result keeps alive, each counted once; a view keeps the whole of what it looks at."""
    seen: set[int] = set()

    def count(part: object) -> int:
        same = part.untyped_storage().data_ptr() if isinstance(part, torch.Tensor) else id(part)
        if same in seen:
            return 0
        seen.add(same)
        return _own_bytes(part) + sum(count(inner) for inner in _parts(part))

    return count(value)


@once_per_model
def on_cpu(model: Model) -> Model:
    """The same network on the CPU, for when its device has no memory left; made without asking that device for any."""
    network = model.network
    copied: dict[int, Any] = {id(b): b.cpu() for b in network.buffers()}
    copied |= {id(p): nn.Parameter(p.detach().cpu(), requires_grad=False) for p in network.parameters()}
    return replace(model, network=copy.deepcopy(network, copied), device=torch.device("cpu"))


def _out_of_memory(error: BaseException) -> bool:
    """CUDA has a class of its own for it; Apple's GPUs and the CPU only say so in words."""
    in_words = isinstance(error, RuntimeError) and ("out of memory" in str(error) or "can't allocate memory" in str(error))
    return in_words or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _drive(work: Work, progress: Progress) -> Any:
    """What `work` returns; if it is a generator, it is driven to its end, and what it yields is how far it is."""
    progress.check()
    started = work(progress)
    if not isinstance(started, GeneratorType):
        return started
    try:
        while True:
            progress.set(next(started))
    except StopIteration as end:
        return end.value
    finally:
        started.close()  # on the owner's thread: it may have to take hooks off the network


Elsewhere = Callable[[Work, Progress, int], Answer]  # lets others do the work, of so many evaluations, and waits for them


class Engine:
    """The owner thread of one device, its queue, and the results it remembers.

    With `elsewhere`, others do the work and as many as `lanes` threads only wait for them.
    """

    def __init__(
        self,
        name: str = "cpu",
        bound: int = BOUND,
        cache_bytes: int = CACHE_BYTES,
        cache_entries: int = CACHE_ENTRIES,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        elsewhere: Elsewhere | None = None,
        lanes: int = 1,
    ) -> None:
        assert lanes == 1 or elsewhere, "a network has one owner"
        self.name, self._elsewhere = name, elsewhere
        self._bound, self._patience, self._clock = bound, patience, clock
        self._queue: deque[_Run] = deque()
        self._running: list[_Run] = []
        self._known: Memory[Answer] = Memory(cache_entries, cache_bytes)
        self._changed = threading.Condition()
        self._closed = False
        self.runs = 0
        self._owners = [threading.Thread(target=self._own, name=f"owner of {name}", daemon=True) for _ in range(lanes)]
        for owner in self._owners:
            owner.start()

    def known(self, key: Hashable) -> tuple[bool, Any]:
        """Whether a result is remembered, and the result."""
        found = self._known.find(key, VISITOR.get())
        return (found is not None, found and found[0].value)

    @property
    def held(self) -> int:
        """Bytes of all results that are remembered."""
        return self._known.held

    def submit(
        self,
        session: str,
        slot: str,
        key: Hashable,
        work: Work,
        evaluations: int = 1,
        smaller: Work | None = None,
        in_turns: bool = False,
    ) -> Job[Result]:
        """Queue `work`, or join the run that does the same already; what the session still wanted in this slot is given up.

        `work` returns its result, or is a generator that yields how far it is (0 to 1) and returns it. Where it runs out of memory, it is run
        again with half as many inputs at once (`models.at_once`), down to one, and at last `smaller` is run instead. A generator that leaves
        nothing on the network while it yields may run `in_turns`: wherever it yields, whoever else waits comes first, so that minutes of work
        hold nobody up for longer than a step. Raises Busy if the queue is full.
        """
        with self._changed:
            if self._closed:
                raise Cancelled()
            self._give_up(session, slot, but=key)
            self._clear_deserted()
            run = (
                self._remembered(key, session)
                or self._joinable(key)
                or self._queued(_Run(key, work, smaller, evaluations, self._is_wanted, in_turns))
            )
            job: Job[Result] = Job(self, run, session, slot)
            if not run.done.is_set():
                run.left -= {before for before in run.left if (before.session, before.slot) == (session, slot)}
                run.waiting.add(job)
                run.deserted = None
            return job

    def place(self, job: Job) -> int:
        """How many runs come before this one: 0 if it runs or has ended."""
        with self._changed:
            run = job._run
            return self._queue.index(run) + bool(self._running) if run in self._queue else 0

    def withdraw(self, job: Job, at_once: bool) -> None:
        """One asker no longer waits; with nobody left the run stops, at once or after the engine's patience."""
        with self._changed:
            run = job._run
            if job in run.waiting:
                run.waiting.discard(job)
                if not at_once:
                    run.left.add(job)
                self._reconsider(run)

    def cancel(self, session: str, slot: str) -> None:
        """The session no longer wants what it asked for in this slot; the work stops if nobody else wants it."""
        with self._changed:
            self._give_up(session, slot)

    def drop(self, session: str) -> None:
        """The session has gone: give up everything that it waits for."""
        with self._changed:
            for slot in {job.slot for run in self._runs() for job in run.waiting | run.left if job.session == session}:
                self._give_up(session, slot)

    def close(self) -> None:
        """End the owner thread after what runs now has noticed that it is to stop."""
        with self._changed:
            self._closed = True
            for run in self._runs():
                run.progress.stopped.set()
            self._changed.notify_all()
        for owner in self._owners:
            owner.join()

    def _runs(self) -> list[_Run]:
        return [*self._running, *self._queue]

    def _remembered(self, key: Hashable, session: str) -> _Run | None:
        found = self._known.find(key, session)
        if found is None:
            return None
        ready = _Run(key, lambda progress: None, None, 1, self._is_wanted)
        self._end(ready, found[0])
        return ready

    def _joinable(self, key: Hashable) -> _Run | None:
        return next((run for run in self._runs() if run.key == key and not run.progress.stopped.is_set()), None)

    def _queued(self, run: _Run) -> _Run:
        if len(self._queue) >= self._bound:
            raise Busy(n=len(self._queue))
        self._queue.append(run)
        self._changed.notify_all()
        return run

    def _is_wanted(self, run: _Run) -> bool:
        """Whether to go on with a run; once this has said no, nobody can join it any more."""
        with self._changed:
            if run.deserted is not None and self._clock() - run.deserted >= self._patience:
                run.progress.stopped.set()
            return not run.progress.stopped.is_set()

    def _clear_deserted(self) -> None:
        for run in [run for run in self._queue if not self._is_wanted(run)]:
            self._stop(run)

    def _give_up(self, session: str, slot: str, but: Hashable = None) -> None:
        for run in self._runs():
            mine = {job for job in run.waiting | run.left if (job.session, job.slot) == (session, slot)}
            if mine and run.key != but:
                run.waiting -= mine
                run.left -= mine
                self._reconsider(run)

    def _reconsider(self, run: _Run) -> None:
        if not run.waiting and not run.left:
            self._stop(run)
        elif not run.waiting and run.deserted is None:
            run.deserted = self._clock()

    def _stop(self, run: _Run) -> None:
        run.progress.stopped.set()
        if run in self._queue:
            self._queue.remove(run)
            self._end(run, Answer(error=Cancelled()))

    def _end(self, run: _Run, answer: Answer) -> None:
        if run.begun is not None and run not in self._running:
            run.begun.close()
        run.begun = None
        run.answer = answer
        run.waiting.clear()
        run.left.clear()
        run.done.set()

    def _own(self) -> None:
        while self._serve():
            pass

    def _serve(self) -> bool:
        """Do one run; whether there may be another. Nothing of the run stays on this thread's stack while it waits for the next."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                for run in self._queue:
                    self._end(run, Answer(error=Cancelled()))
                return False
            run = self._queue.popleft()
            self._running.append(run)
            self.runs += run.begun is None
        answer = self._answer(run)
        with self._changed:
            self._running.remove(run)
            if answer is None:
                self._go_on_later(run)
                return True
            if answer.error is None:
                self._known.keep(run.key, answer, {job.session for job in run.waiting | run.left}, size_of(answer.value))
            self._end(run, answer)
        return True

    def _go_on_later(self, run: _Run) -> None:
        if self._closed or run.progress.stopped.is_set():
            self._end(run, Answer(error=Cancelled()))
        else:
            self._queue.append(run)

    def _turn(self, run: _Run) -> Answer | None:
        """Drive a run that yields until it ends, or until somebody else waits: then None."""
        run.progress.check()
        run.begun = run.begun or run.work(run.progress)
        try:
            while True:
                run.progress.set(next(run.begun))
                if self._queue:
                    return None
        except StopIteration as end:
            return Answer(end.value)
        except BaseException:
            run.begun.close()
            run.begun = None
            raise

    def _answer(self, run: _Run) -> Answer | None:
        """How the run ended, or None if it goes on later. Never raises: the owner must live on, whatever the work does."""
        if (elsewhere := self._elsewhere) is not None:
            told = self._tried(lambda: elsewhere(run.work, run.progress, run.progress.evaluations))
            return Answer(error=OutOfMemory()) if told is FULL else told
        drive = partial(self._turn, run) if run.in_turns else lambda: Answer(_drive(run.work, run.progress))
        answer = self._tried(drive, run.most)
        while answer is FULL and (fewer := asked_at_once() // 2) > 0:  # outside the except block: the exception holds on to the tensors
            run.most = fewer
            self._make_room(run, f"{fewer} at once")
            answer = self._tried(drive, fewer)
        if answer is FULL:
            self._make_room(run, "the substitute runs" if run.smaller else "there is no substitute")
            instead = run.smaller
            answer = self._tried(lambda: Answer(_drive(instead, run.progress))) if instead else FULL
            return Answer(error=OutOfMemory()) if answer is FULL or answer is None else replace(answer, smaller=True)
        return answer if answer is None or run.most is None else replace(answer, fewer=True)

    def _tried(self, drive: Callable[[], Answer | None], most: int | None = None) -> Answer | None:
        """How work ends with at most `most` inputs at once; FULL if the memory was too small."""
        started = time.monotonic()
        try:
            with at_most(most):
                return drive()
        except VisitorError as error:
            return Answer(error=error)
        except BaseException as error:
            if _out_of_memory(error):
                return FULL
            log.exception("work failed after %.1f s", time.monotonic() - started)
            return Answer(error=error)

    def _make_room(self, run: _Run, then: str) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.warning("out of memory: %s", then)
        run.progress.restart()
