"""What is remembered of visitors' pictures: the newest results by key, each for as long as one of those who asked for it is here."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from itertools import compress
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakSet

Given = ParamSpec("Given")
Result = TypeVar("Result")
VISITOR: ContextVar[str | None] = ContextVar("visitor", default=None)  # who asks on this thread; None is nobody who could leave


@dataclass(eq=False)
class _Entry(Generic[Result]):
    value: Result
    size: int
    visitors: set[str | None]


class Memory(Generic[Result]):
    """At most `entries` results of together at most `size` bytes; where there are more, those go first that nobody asked for longest."""

    def __init__(self, entries: int, size: int | None = None) -> None:
        self._most, self._room = entries, size
        self._known: OrderedDict[Hashable, _Entry[Result]] = OrderedDict()
        self._lock = threading.Lock()
        self.held = 0
        _memories.add(self)

    def find(self, key: Hashable, visitor: str | None) -> tuple[Result] | None:
        """The result in a tuple, and from now on it is this visitor's too; None where there is none."""
        with self._lock:
            entry = self._known.get(key)
            if entry is None:
                return None
            self._known.move_to_end(key)
            entry.visitors.add(visitor)
            return (entry.value,)

    def keep(self, key: Hashable, value: Result, visitors: Iterable[str | None], size: int = 0) -> None:
        """Remember a result of `size` bytes for these visitors, and for those who had asked for it before; not one larger than all the room."""
        with self._lock:
            if self._room is not None and size > self._room:
                return
            before = self._known.get(key)
            self._remove(key)
            self._known[key] = _Entry(value, size, set(visitors) | (before.visitors if before else set()))
            self.held += size
            while len(self._known) > self._most or (self._room is not None and self.held > self._room):
                self._remove(next(iter(self._known)))

    def recall(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The result, remembered or made, for the visitor of this thread."""
        visitor = VISITOR.get()
        found = self.find(key, visitor)
        if found is None:
            found = (make(),)
            self.keep(key, found[0], [visitor])
        return found[0]

    def drop(self, key: Hashable) -> None:
        """Forget one result."""
        with self._lock:
            self._remove(key)

    def forget(self, visitor: str) -> None:
        """Forget what only this visitor has asked for."""
        with self._lock:
            for key, entry in list(self._known.items()):
                entry.visitors.discard(visitor)
                if not entry.visitors:
                    self._remove(key)

    def _remove(self, key: Hashable) -> None:
        if (entry := self._known.pop(key, None)) is not None:
            self.held -= entry.size

    def __len__(self) -> int:
        return len(self._known)


_memories: WeakSet[Memory] = WeakSet()


def forget(visitor: str) -> None:
    """Forget, in all memories of this process, what only this visitor has asked for."""
    for memory in list(_memories):
        memory.forget(visitor)


def remembered(most: int) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Remember the newest `most` results of a function by what it is given; a parameter whose name begins with “_” follows from the others.

    Nobody may change what it returns: others get the same.
    """

    def wrap(function: Callable[Given, Result]) -> Callable[Given, Result]:
        memory: Memory[Result] = Memory(most)
        counts = [not name.startswith("_") for name in signature(function).parameters]

        @wraps(function)
        def known(*given: Given.args, **named: Given.kwargs) -> Result:
            assert not named, "by place, so that the same has one key"
            return memory.recall(tuple(compress(given, counts)), lambda: function(*given, **named))

        return known

    return wrap
