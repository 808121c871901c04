"""What is remembered, for whom, and when it goes."""

import gc
import threading
import weakref

from hypothesis import given
from hypothesis import strategies as st

from inception_viz import memory
from inception_viz.memory import VISITOR, Memory, remembered

Step = tuple[str, int, str | None]
STEPS = st.lists(st.tuples(st.sampled_from(("keep", "find", "forget", "drop")), st.integers(0, 5), st.sampled_from(("a", "b", None))))


class Thing:
    """Something whose end can be seen."""


@given(STEPS, st.integers(0, 4), st.integers(0, 20))
def test_memory_is_as_a_plain_list_would_have_it(steps: list[Step], entries: int, room: int) -> None:
    tried: Memory[int] = Memory(entries, room)
    twin: list[tuple[int, set[str | None]]] = []  # the newest last
    for what, key, visitor in steps:
        mine = next((entry for entry in twin if entry[0] == key), None)
        if what == "find":
            assert tried.find(key, visitor) == (None if mine is None else (key,))
            if mine:
                mine[1].add(visitor)
                twin = [entry for entry in twin if entry is not mine] + [mine]
        elif what == "keep":
            tried.keep(key, key, [visitor], size=key * 3)
            if key * 3 <= room:
                twin = [entry for entry in twin if entry is not mine] + [(key, {visitor} | (mine[1] if mine else set()))]
                while len(twin) > entries or sum(3 * k for k, _ in twin) > room:
                    del twin[0]
        elif what == "drop":
            tried.drop(key)
            twin = [entry for entry in twin if entry is not mine]
        elif visitor is not None:
            tried.forget(visitor)
            twin = [(k, left) for k, visitors in twin if (left := visitors - {visitor})]
        assert (len(tried), tried.held) == (len(twin), sum(3 * k for k, _ in twin))
    assert {key for key in range(6) if tried.find(key, None)} == {key for key, _ in twin}


def test_what_only_one_who_left_had_asked_for_is_gone() -> None:
    made: list[str] = []

    @remembered(10)
    def thing(name: str, _from: object) -> Thing:
        made.append(name)
        return Thing()

    def ask(visitor: str | None, *names: str) -> None:
        def asked() -> None:
            VISITOR.set(visitor)
            for name in names:
                thing(name, object())

        thread = threading.Thread(target=asked)
        thread.start()
        thread.join()

    ask("a", "own", "shared")
    ask("b", "shared")
    ask(None, "nobody's")
    assert made == ["own", "shared", "nobody's"]
    memory.forget("a")
    ask("b", "shared", "nobody's")
    assert made == ["own", "shared", "nobody's"]
    ask("b", "own")
    assert made == ["own", "shared", "nobody's", "own"]


def test_nothing_else_holds_what_is_forgotten() -> None:
    kept: Memory[Thing] = Memory(3)
    kept.keep("key", thing := Thing(), ["a"])
    seen = weakref.ref(thing)
    del thing
    memory.forget("b")
    gc.collect()
    assert seen() is not None
    memory.forget("a")
    gc.collect()
    assert seen() is None
