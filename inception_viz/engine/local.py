"""One thread owns the network; all others queue, first in first out.

Captum's hooks are state on a shared network: with thirty visitors on one network nearly every answer belonged to somebody else's picture, with no
error. A plain lock would do for that, but lets some wait twice as long as others, and keeps computing for people who have left.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from inception_viz.errors import Busy, Cancelled, VisitorError
from inception_viz.text import message

Result = TypeVar("Result")
BOUND = 60
CACHE_BYTES = 600_000_000
CACHE_ENTRIES = 400

log = logging.getLogger(__name__)


class OutOfMemory(VisitorError):
    """The device has too little memory for what was asked, even after everything that could be freed was freed."""

    words = message("The device ran out of memory. Choose a smaller picture set, or the CPU on the first page.")


class Progress:
    """What running work knows of the outside: how far it is, and whether anybody still waits for it."""

    def __init__(self, evaluations: int = 1) -> None:
        self.evaluations = evaluations
        self.fraction = 0.0
        self.stopped = threading.Event()
        self._ticks = 0

    def check(self) -> None:
        """Raises Cancelled if nobody waits any longer."""
        if self.stopped.is_set():
            raise Cancelled()

    def set(self, fraction: float) -> None:
        """Say how far the work is, 0 to 1. Raises Cancelled if nobody waits any longer."""
        self.check()
        self.fraction = fraction

    def tick(self) -> None:
        """One of `evaluations` evaluations of the network begins. Raises Cancelled if nobody waits any longer."""
        self.set(min(1.0, self._ticks / max(1, self.evaluations)))
        self._ticks += 1


class Job(Generic[Result]):
    """Work that is queued, running or done, and shared by all who asked for the same."""

    def __init__(self, key: Hashable, work: Callable[[Progress], Result], evaluations: int) -> None:
        self.key = key
        self.work = work
        self.progress = Progress(evaluations)
        self.waiting: set[tuple[str, str]] = set()
        self.done = threading.Event()
        self.value: Result | None = None
        self.error: BaseException | None = None

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the job has ended, after waiting for at most `seconds`."""
        return self.done.wait(seconds)

    def result(self) -> Result:
        """What the work returned; raises what it raised, or Cancelled. Only after it has ended."""
        assert self.done.is_set()
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def size_of(value: object) -> int:
    """Bytes of all arrays and tensors that a result holds, each counted once."""
    seen: set[int] = set()

    def count(part: Any) -> int:
        if id(part) in seen:
            return 0
        seen.add(id(part))
        if isinstance(part, np.ndarray):
            return part.nbytes if part.base is None else count(part.base)
        if isinstance(part, torch.Tensor):
            return part.numel() * part.element_size()
        if isinstance(part, dict):
            return sum(count(v) for v in part.values())
        if isinstance(part, list | tuple | set):
            return sum(count(v) for v in part)
        if is_dataclass(part) and not isinstance(part, type):
            return sum(count(getattr(part, f.name)) for f in fields(part))
        return 0

    return count(value)


class Engine:
    """The owner thread of one device, its queue, and the results it remembers."""

    def __init__(self, name: str = "cpu", bound: int = BOUND, cache_bytes: int = CACHE_BYTES) -> None:
        self._bound, self._cache_bytes = bound, cache_bytes
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._known: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._held = 0
        self._changed = threading.Condition()
        self._closed = False
        self.runs = 0
        self._owner = threading.Thread(target=self._own, name=f"owner of {name}", daemon=True)
        self._owner.start()

    def known(self, key: Hashable) -> tuple[bool, Any]:
        """Whether a result is remembered, and the result."""
        with self._changed:
            if key not in self._known:
                return False, None
            self._known.move_to_end(key)
            return True, self._known[key][0]

    def submit(self, session: str, slot: str, key: Hashable, work: Callable[[Progress], Result], evaluations: int = 1) -> Job[Result]:
        """Queue `work`, or join the job that does the same already. What the session still wanted in this slot is given up. Raises Busy."""
        with self._changed:
            self._give_up(session, slot, but=key)
            found, value = key in self._known, self._known.get(key, (None, 0))[0]
            if found:
                ready: Job[Result] = Job(key, work, evaluations)
                ready.value = value
                ready.done.set()
                return ready
            job = next((j for j in [self._running, *self._queue] if j and j.key == key and not j.progress.stopped.is_set()), None)
            if job is None:
                if len(self._queue) >= self._bound:
                    raise Busy(n=len(self._queue))
                job = Job(key, work, evaluations)
                self._queue.append(job)
                self._changed.notify()
            job.waiting.add((session, slot))
            return job

    def place(self, job: Job) -> int:
        """How many jobs run before this one: 0 if it runs or has ended."""
        with self._changed:
            return self._queue.index(job) + 1 if job in self._queue else 0

    def cancel(self, session: str, slot: str) -> None:
        """The session no longer wants what it asked for in this slot; the work stops if nobody else wants it."""
        with self._changed:
            self._give_up(session, slot)

    def drop(self, session: str) -> None:
        """The session has gone: give up everything that it waits for."""
        with self._changed:
            for slot in {s for job in [self._running, *self._queue] if job for name, s in job.waiting if name == session}:
                self._give_up(session, slot)

    def close(self) -> None:
        """End the owner thread after the job that runs."""
        with self._changed:
            self._closed = True
            for job in [self._running, *self._queue]:
                if job:
                    job.progress.stopped.set()
            self._changed.notify()
        self._owner.join()

    def _give_up(self, session: str, slot: str, but: Hashable = None) -> None:
        for job in [j for j in [self._running, *self._queue] if j and (session, slot) in j.waiting and j.key != but]:
            job.waiting.discard((session, slot))
            if job.waiting:
                continue
            job.progress.stopped.set()
            if job in self._queue:
                self._queue.remove(job)
                self._end(job, error=Cancelled())

    def _end(self, job: Job, value: Any = None, error: BaseException | None = None) -> None:
        job.value, job.error = value, error
        job.done.set()

    def _own(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    for job in self._queue:
                        self._end(job, error=Cancelled())
                    return
                self._running = job = self._queue.popleft()
            value, error = self._run(job)
            with self._changed:
                self._running = None
                if error is None:
                    self._remember(job.key, value)
                self._end(job, value, error)

    def _run(self, job: Job) -> tuple[Any, BaseException | None]:
        self.runs += 1
        started = time.monotonic()
        try:
            job.progress.check()
            return job.work(job.progress), None
        except torch.OutOfMemoryError:
            out_of_memory = True
        except VisitorError as error:
            return None, error
        except Exception as error:  # the owner must live on, whatever the work did
            log.exception("work failed after %.1f s", time.monotonic() - started)
            return None, error
        assert out_of_memory  # outside the except block: the exception holds on to the tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None, OutOfMemory()

    def _remember(self, key: Hashable, value: Any) -> None:
        size = size_of(value)
        if size > self._cache_bytes:
            return
        self._known[key] = (value, size)
        self._held += size
        while self._held > self._cache_bytes or len(self._known) > CACHE_ENTRIES:
            _, (_, freed) = self._known.popitem(last=False)
            self._held -= freed
