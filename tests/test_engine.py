"""One owner runs everything: nobody gets another's answer, nobody is overtaken, nobody's failure is anybody else's."""

import gc
import random
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from inception_viz import images, models
from inception_viz.analysis import Analysis, analyze
from inception_viz.engine.local import Engine, Job, OutOfMemory, Progress, on_cpu, size_of
from inception_viz.errors import Busy, Cancelled
from inception_viz.images import Picture
from inception_viz.models import Model, Preprocessing

LONG = 20.0  # seconds after which a test that hangs fails


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Work that says when it has begun, goes on until it is released, and looks whether it is still wanted."""

    def __init__(self, value: object = "held") -> None:
        self.value = value
        self.begun, self.release, self.stopped = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, progress: Progress) -> object:
        self.begun.set()
        try:
            while not self.release.wait(0.005):
                progress.check()
        except Cancelled:
            self.stopped.set()
            raise
        return self.value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    made = Engine(clock=clock)
    yield made
    made.close()


@pytest.fixture
def held(engine: Engine) -> Iterator[Held]:
    """Work that keeps the owner busy, so that what is submitted next stays in the queue."""
    work = Held()
    engine.submit("somebody", "page", "held", work)
    assert work.begun.wait(LONG)
    yield work
    work.release.set()


def just(value: object) -> Callable[[Progress], object]:
    return lambda progress: value


def answer(job: Job) -> object:
    assert job.wait(LONG)
    return job.result()


# --- nobody gets another's answer ---


def test_ten_threads_with_hooks_on_one_network_get_the_numbers_that_one_alone_gets(engine: Engine) -> None:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    inputs = [torch.rand(1, 3, 8, 8) for _ in range(10)]

    def hooked(i: int) -> torch.Tensor:
        return captum.attr.LayerConductance(network, network[0]).attribute(inputs[i], target=i % 5, n_steps=8)

    alone = [hooked(i) for i in range(10)]
    with ThreadPoolExecutor(10) as visitors:
        jobs = visitors.map(lambda i: answer(engine.submit(f"visitor {i % 10}", "page", i, lambda p: hooked(i % 10))), range(40))
        for i, found in enumerate(jobs):
            assert torch.equal(found, alone[i % 10])  # type: ignore[arg-type]
    assert not any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in network.modules())


@pytest.fixture(scope="module")
def small_model() -> Model:
    """GoogLeNet that looks at 64 x 64 pixels."""
    model = models.load("googlenet", "random", "cpu")
    return replace(model, weights=replace(model.weights, preprocessing=Preprocessing(64, 64)))


def coloured(seed: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    return Picture(f"picture {seed}", f"{seed:064x}", 80, 80, pixels)


def test_ten_threads_with_ten_pictures_get_the_analyses_that_one_thread_gets(engine: Engine, small_model: Model) -> None:
    pictures = [coloured(seed) for seed in range(10)]
    alone = [analyze(small_model, picture) for picture in pictures]
    start = threading.Barrier(10)

    def ask(i: int) -> object:
        start.wait(LONG)
        return answer(engine.submit(f"visitor {i}", "page", pictures[i].sha256, lambda p: analyze(small_model, pictures[i])))

    with ThreadPoolExecutor(10) as visitors:
        together = list(visitors.map(ask, range(10)))
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, Analysis)
        assert other.picture == one.picture
        assert np.array_equal(other.logits, one.logits)
        for name, block in one.blocks.items():
            assert np.array_equal(other.blocks[name].activation, block.activation)
            assert np.array_equal(other.blocks[name].attribution.channels, block.attribution.channels)
    assert len({a.logits.tobytes() for a in alone}) == 10


def test_a_crowd_that_asks_joins_leaves_and_cancels_gets_its_own_answers_or_none() -> None:
    engine = Engine(bound=1000, cache_entries=5, patience=0.0)

    def visit(visitor: int) -> int:
        dice, right = random.Random(visitor), 0
        for _ in range(60):
            key = dice.randrange(12)
            job: Job[int] = engine.submit(f"visitor {visitor % 7}", dice.choice("ab"), key, lambda p, k=key: p.check() or k * k)
            match dice.randrange(5):
                case 0:
                    job.cancel()
                case 1:
                    job.leave()
            assert job.wait(LONG)
            try:
                assert job.result() == key * key
                right += 1
            except Cancelled:
                continue
        return right

    with ThreadPoolExecutor(10) as visitors:
        counts = list(visitors.map(visit, range(10)))
    assert min(counts) > 0
    assert engine.submit("after", "page", "after", just(1)).wait(LONG)
    engine.close()


# --- nobody is overtaken, and only so many wait ---


def test_first_come_first_served(engine: Engine, held: Held) -> None:
    served: list[int] = []
    jobs: list[Job] = [engine.submit(f"visitor {i}", "page", i, lambda p, i=i: served.append(i)) for i in range(30)]
    assert [job.place for job in jobs] == list(range(1, 31))
    held.release.set()
    for job in jobs:
        answer(job)
    assert served == list(range(30))
    assert jobs[-1].place == 0


def test_a_full_queue_says_so_and_lets_equals_join() -> None:
    engine, work = Engine(bound=3), Held()
    engine.submit("somebody", "page", "held", work)
    assert work.begun.wait(LONG)
    waiting = [engine.submit(f"visitor {i}", "page", i, just(i)) for i in range(3)]
    with pytest.raises(Busy) as refused:
        engine.submit("late", "page", "new", just(0))
    assert refused.value.facts == {"n": 3}
    joined = engine.submit("late", "page", 2, just(2))
    work.release.set()
    assert [answer(job) for job in [*waiting, joined]] == [0, 1, 2, 2]
    engine.close()


# --- the newest wishes of one visitor count, and nobody else's are touched ---


def test_a_newer_request_ends_the_older_of_the_same_session_and_slot(engine: Engine, held: Held) -> None:
    older = engine.submit("me", "page", "older", just("older"))
    newer = engine.submit("me", "page", "newer", just("newer"))
    with pytest.raises(Cancelled):
        answer(older)
    held.release.set()
    assert answer(newer) == "newer"


def test_a_newer_request_stops_what_runs(engine: Engine) -> None:
    work = Held()
    older = engine.submit("me", "page", "older", work)
    assert work.begun.wait(LONG)
    assert answer(engine.submit("me", "page", "newer", just("newer"))) == "newer"
    assert work.stopped.wait(LONG)
    with pytest.raises(Cancelled):
        answer(older)
    assert engine.known("older") == (False, None)


def test_other_slots_and_other_sessions_are_left_alone(engine: Engine, held: Held) -> None:
    jobs = [engine.submit(who, slot, (who, slot), just((who, slot))) for who in ("me", "you") for slot in ("map", "bars")]
    again = engine.submit("me", "map", "new", just("new"))
    held.release.set()
    assert [answer(job) for job in [*jobs[1:], again]] == [("me", "bars"), ("you", "map"), ("you", "bars"), "new"]
    with pytest.raises(Cancelled):
        answer(jobs[0])


def test_cancel_by_name_and_drop_end_what_a_session_waits_for(engine: Engine, held: Held) -> None:
    mine = [engine.submit("me", slot, slot, just(slot)) for slot in "abc"]
    yours = engine.submit("you", "a", "yours", just("yours"))
    engine.cancel("me", "a")
    assert [job.wait(0) for job in mine] == [True, False, False]
    engine.drop("me")
    assert [job.wait(0) for job in mine] == [True, True, True]
    held.release.set()
    assert answer(yours) == "yours"


# --- equals share one run ---


def test_equal_requests_share_one_run(engine: Engine, held: Held) -> None:
    jobs = [engine.submit(f"visitor {i}", "page", "same", lambda p: [1, 2, 3]) for i in range(5)]
    held.release.set()
    first, *others = [answer(job) for job in jobs]
    assert all(other is first for other in others)
    assert engine.runs == 2


def test_one_of_two_who_wait_may_leave_without_harm_to_the_other(engine: Engine) -> None:
    work = Held("shared")
    one, other = (engine.submit(who, "page", "same", work) for who in ("one", "other"))
    assert work.begun.wait(LONG)
    one.cancel()
    one.cancel()  # again: nothing more to give up
    work.release.set()
    assert answer(other) == "shared"


def test_with_the_last_who_waits_the_work_ends(engine: Engine) -> None:
    work = Held()
    jobs = [engine.submit(who, "page", "same", work) for who in ("one", "other")]
    assert work.begun.wait(LONG)
    for job in jobs:
        job.cancel()
    assert work.stopped.wait(LONG)


def test_an_old_drawing_of_a_page_does_not_take_the_new_ones_work_away(engine: Engine) -> None:
    """Streamlit starts a page's next run before the last one has ended."""
    work = Held("kept")
    old = engine.submit("me", "page", "same", work)
    new = engine.submit("me", "page", "same", work)
    old.cancel()
    work.release.set()
    assert answer(new) == "kept"


def test_cancelled_work_is_not_joined_but_begun_again(engine: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def deaf(progress: Progress) -> str:
        begun.set()
        release.wait(LONG)
        return "first"

    first = engine.submit("me", "page", "same", deaf)
    assert begun.wait(LONG)
    first.cancel()
    second = engine.submit("you", "page", "same", just("second"))
    release.set()
    assert answer(second) == "second"


# --- a page that left may come back ---


def test_work_goes_on_for_a_page_that_asks_again_in_time(engine: Engine, clock: Clock) -> None:
    work = Held("done")
    first = engine.submit("me", "page", "same", work)
    assert work.begun.wait(LONG)
    first.leave()
    clock.now += 1.9
    again = engine.submit("me", "page", "same", work)
    clock.now += 60
    work.release.set()
    assert answer(again) == "done"
    assert engine.runs == 1


def test_work_stops_when_the_page_does_not_come_back(engine: Engine, clock: Clock) -> None:
    work = Held()
    job = engine.submit("me", "page", "same", work)
    assert work.begun.wait(LONG)
    job.leave()
    assert not work.stopped.is_set()
    clock.now += 2.0
    assert work.stopped.wait(LONG)


def test_a_page_that_left_and_asks_for_something_else_stops_its_old_work_at_once(engine: Engine) -> None:
    work = Held()
    job = engine.submit("me", "page", "older", work)
    assert work.begun.wait(LONG)
    job.leave()
    assert answer(engine.submit("me", "page", "newer", just("newer"))) == "newer"
    assert work.stopped.is_set()


def test_a_page_that_came_back_and_then_says_stop_is_obeyed_at_once(engine: Engine) -> None:
    work = Held()
    first = engine.submit("me", "page", "same", work)
    assert work.begun.wait(LONG)
    first.leave()
    engine.submit("me", "page", "same", work).cancel()
    assert work.stopped.wait(LONG)


def test_work_whose_page_is_gone_by_its_turn_is_not_begun(engine: Engine, clock: Clock, held: Held) -> None:
    late = Held()
    job = engine.submit("me", "page", "late", late)
    job.leave()
    clock.now += 2.0
    held.release.set()
    with pytest.raises(Cancelled):
        answer(job)
    assert not late.begun.is_set()


def test_leaving_harms_nobody_who_still_waits(engine: Engine, clock: Clock) -> None:
    work = Held("shared")
    one, other = (engine.submit(who, "page", "same", work) for who in ("one", "other"))
    one.leave()
    clock.now += 60
    work.release.set()
    assert answer(other) == "shared"


def test_work_that_waits_for_nobody_makes_room_in_the_queue(clock: Clock) -> None:
    engine, work = Engine(bound=2, clock=clock), Held()
    engine.submit("somebody", "page", "held", work)
    assert work.begun.wait(LONG)
    for i in range(2):
        engine.submit(f"gone {i}", "page", i, just(i)).leave()
    clock.now += 2.0
    job = engine.submit("me", "page", "mine", just("mine"))
    assert job.place == 1
    work.release.set()
    assert answer(job) == "mine"
    engine.close()
    assert engine.runs == 2


# --- progress, and work that yields ---


def test_progress_counts_evaluations_and_stays_between_0_and_1(engine: Engine) -> None:
    seen: list[float] = []

    def work(progress: Progress) -> None:
        for _ in range(5):
            progress.tick()
            seen.append(progress.fraction)
        progress.set(7.0)
        seen.append(progress.fraction)

    answer(engine.submit("me", "page", "ticks", work, evaluations=4))
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_generator_yields_its_progress_and_returns_its_result(engine: Engine) -> None:
    step, seen = threading.Event(), threading.Event()

    def work(progress: Progress) -> Generator[float, None, str]:
        yield 0.25
        yield 0.5
        seen.set()
        assert step.wait(LONG)
        return "done"

    job: Job[str] = engine.submit("me", "page", "generator", work)
    assert seen.wait(LONG)
    assert job.progress == 0.5
    step.set()
    assert answer(job) == "done"


def test_a_generator_that_is_stopped_tidies_up_on_the_owners_thread(engine: Engine) -> None:
    begun, tidied = threading.Event(), []

    def work(progress: Progress) -> Generator[float, None, str]:
        try:
            while True:
                begun.set()
                yield 0.1
        finally:
            tidied.append(threading.current_thread().name)

    job: Job[str] = engine.submit("me", "page", "generator", work)
    assert begun.wait(LONG)
    job.cancel()
    with pytest.raises(Cancelled):
        answer(job)
    assert tidied == ["owner of cpu"]


# --- failures ---


class Unlucky(Exception):
    pass


@pytest.mark.parametrize("error", [Unlucky, SystemExit, KeyboardInterrupt])
def test_after_work_that_raises_the_next_request_works(engine: Engine, error: type[BaseException]) -> None:
    def work(progress: Progress) -> None:
        raise error()

    jobs = [engine.submit(who, "page", "bad", work) for who in ("one", "other")]
    for job in jobs:
        with pytest.raises(error):
            answer(job)
    assert engine.known("bad") == (False, None)
    assert answer(engine.submit("one", "page", "bad", just("good now"))) == "good now"


def too_large(progress: Progress) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_out_of_memory_the_substitute_answers_once_and_says_so(engine: Engine) -> None:
    job: Job[str] = engine.submit("me", "page", "large", too_large, smaller=just("from the CPU"))
    assert answer(job) == "from the CPU"
    assert job.smaller
    again: Job[str] = engine.submit("me", "page", "large", too_large, smaller=just("not run"))
    assert (answer(again), again.smaller) == ("from the CPU", True)
    assert not engine.submit("me", "page", "held", just(1)).smaller


def hungry(fits: int, tried: list[int]) -> Callable[[Progress], str]:
    """Work that gives eight inputs to the network at once if it may, on a device where only `fits` find room."""

    def work(progress: Progress) -> str:
        batch = models.at_once(8)
        tried.append(batch)
        if batch > fits:
            too_large(progress)
        return f"{batch} at once"

    return work


@pytest.mark.parametrize(("fits", "tried"), [(8, [8]), (7, [8, 4]), (2, [8, 4, 2]), (1, [8, 4, 2, 1])])
def test_out_of_memory_fewer_at_once_are_tried_before_the_substitute(engine: Engine, fits: int, tried: list[int]) -> None:
    found: list[int] = []
    job: Job[str] = engine.submit("me", "page", "hungry", hungry(fits, found), smaller=just("from the CPU"))
    assert answer(job) == f"{tried[-1]} at once"
    assert (found, job.fewer, job.smaller) == (tried, fits < 8, False)
    assert models.at_once(8) == 8


def test_out_of_memory_even_for_one_at_once_the_substitute_answers_unhindered(engine: Engine) -> None:
    found: list[int] = []
    job: Job[int] = engine.submit("me", "page", "hungry", hungry(0, found), smaller=lambda progress: models.at_once(8))
    assert answer(job) == 8
    assert (found, job.fewer, job.smaller) == ([8, 4, 2, 1], False, True)


@pytest.mark.parametrize("error", [RuntimeError("MPS backend out of memory"), MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_has_several_faces(engine: Engine, error: BaseException) -> None:
    def work(progress: Progress) -> None:
        raise error

    assert answer(engine.submit("me", "page", "large", work, smaller=just("smaller"))) == "smaller"


@pytest.mark.parametrize("smaller", [None, too_large])
def test_out_of_memory_without_a_way_out_is_told_and_the_next_request_works(engine: Engine, smaller: Callable | None) -> None:
    with pytest.raises(OutOfMemory):
        answer(engine.submit("me", "page", "large", too_large, smaller=smaller))
    assert answer(engine.submit("me", "page", "small", just("small"))) == "small"


def test_a_runtime_error_about_something_else_does_not_call_the_substitute(engine: Engine) -> None:
    def work(progress: Progress) -> None:
        raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes"):
        answer(engine.submit("me", "page", "bad", work, smaller=just("smaller")))


def test_what_filled_the_memory_is_freed_before_the_substitute_runs(engine: Engine) -> None:
    filled: list[weakref.ref] = []

    def work(progress: Progress) -> None:
        tensor = torch.zeros(1000)
        filled.append(weakref.ref(tensor))
        too_large(progress)

    job: Job[bool] = engine.submit("me", "page", "large", work, smaller=lambda progress: filled[0]() is None)
    assert answer(job) is True


def test_the_substitute_can_be_stopped_too(engine: Engine) -> None:
    work = Held()
    job = engine.submit("me", "page", "large", too_large, smaller=work)
    assert work.begun.wait(LONG)
    job.cancel()
    with pytest.raises(Cancelled):
        answer(job)


def test_after_closing_nothing_hangs() -> None:
    engine, work = Engine(), Held()
    jobs = [engine.submit(f"visitor {i}", "page", i, work) for i in range(3)]
    assert work.begun.wait(LONG)
    engine.close()
    for job in jobs:
        with pytest.raises(Cancelled):
            answer(job)
    with pytest.raises(Cancelled):
        engine.submit("late", "page", "late", just(1))


# --- what is remembered, and for how long ---


def test_what_is_known_is_not_computed_again(engine: Engine) -> None:
    first = answer(engine.submit("me", "page", "known", lambda p: [1]))
    assert answer(engine.submit("you", "page", "known", too_large)) is first
    assert engine.known("known") == (True, [1])
    assert engine.runs == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 60)), max_size=40))
def test_memory_is_bounded_and_the_longest_unused_goes_first(requests: list[tuple[int, int]]) -> None:
    engine = Engine(cache_bytes=100, cache_entries=4)
    twin: OrderedDict[int, int] = OrderedDict()
    for key, size in requests:
        answer(engine.submit("me", "page", key, lambda p, size=size: np.zeros(size, np.uint8)))
        twin.setdefault(key, size)
        twin.move_to_end(key)
        while sum(twin.values()) > 100 or len(twin) > 4:
            twin.popitem(last=False)
    assert engine.held == sum(twin.values())
    assert [key for key in range(8) if engine.known(key)[0]] == sorted(twin)
    engine.close()


def test_a_result_larger_than_the_whole_memory_is_given_but_not_kept() -> None:
    engine = Engine(cache_bytes=10)
    assert len(answer(engine.submit("me", "page", "large", lambda p: np.zeros(11, np.uint8)))) == 11  # type: ignore[arg-type]
    assert (engine.known("large"), engine.held) == ((False, None), 0)
    engine.close()


def test_a_result_that_arrives_twice_is_counted_once(engine: Engine) -> None:
    begun, release = threading.Event(), threading.Event()

    def deaf(progress: Progress) -> np.ndarray:
        begun.set()
        release.wait(LONG)
        return np.zeros(50, np.uint8)

    given_up = engine.submit("me", "page", "same", deaf)
    assert begun.wait(LONG)
    given_up.cancel()
    wanted = engine.submit("you", "page", "same", deaf)
    release.set()
    answer(wanted)
    assert engine.held == 50


def test_nothing_of_a_finished_run_stays_with_the_owner() -> None:
    """Not even until the garbage is collected, whether its page waited or had left."""
    engine = Engine(cache_bytes=0)
    gc.disable()
    try:
        kept = []
        for leaves in (False, True):
            picture, holds, said = np.zeros(10), threading.Event(), []

            def work(progress: Progress, picture: np.ndarray = picture, holds: threading.Event = holds) -> np.ndarray:
                assert holds.wait(LONG)
                return picture + np.ones(10)

            job = engine.submit("me", "page", f"large {leaves}", work)
            if leaves:
                job.leave()
            holds.set()
            said.append(answer(job))
            kept += [weakref.ref(picture), weakref.ref(said[0])]
            answer(engine.submit("you", "page", f"next {leaves}", just(None)))
            del job, picture, work
            said.clear()
        assert all(reference() is None for reference in kept)
    finally:
        gc.enable()
        engine.close()


# --- how large a result is ---


@dataclass(frozen=True, eq=False)
class Found:
    map: np.ndarray
    parts: dict[str, torch.Tensor]
    name: str = "found"


def test_arrays_and_tensors_are_counted_wherever_they_are() -> None:
    found = Found(np.zeros((3, 4), np.float32), {"a": torch.zeros(5), "b": torch.zeros(2, dtype=torch.float64)})
    assert size_of([found, (np.zeros(1, np.uint8), b"12")]) == 48 + 20 + 16 + 1 + 2


def test_what_is_shared_counts_once_and_a_view_counts_as_the_whole_that_it_keeps() -> None:
    whole, tensor = np.zeros(1000, np.uint8), torch.zeros(100)
    assert size_of([whole, whole, whole[:3], whole[5:]]) == 1000
    assert size_of(whole[:3]) == 1000
    assert size_of([tensor[:3], tensor.view(10, 10), tensor.numpy()]) == 400


def test_numbers_and_words_count_nothing() -> None:
    assert size_of({"a": 1, "b": [None, "words", 2.5]}) == 0


def test_a_result_that_contains_itself_is_counted() -> None:
    loop: list = [np.zeros(7, np.uint8)]
    loop.append(loop)
    assert size_of(loop) == 7


def test_the_size_of_an_analysis_is_that_of_its_arrays(small_model: Model) -> None:
    found = analyze(small_model, images.decode(images.samples()["chelsea"].read()))
    arrays = [found.view, found.logits]
    for block in found.blocks.values():
        given = [block.attribution.channels, *([] if block.attribution.maps is None else [block.attribution.maps])]
        arrays += [block.activation, block.gradient, *given]
    assert size_of(found) >= sum(array.nbytes for array in arrays) * 0.99
    assert size_of(found) <= sum(array.nbytes for array in arrays) * 1.5


# --- the way out ---


def test_the_copy_on_the_cpu_gives_the_same_numbers_from_memory_of_its_own(small_model: Model) -> None:
    copied = on_cpu(small_model)
    inputs = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(copied.network(inputs), small_model.network(inputs))
    assert copied.device == torch.device("cpu")
    assert on_cpu(small_model) is copied
    assert not any(p.requires_grad for p in copied.network.parameters())
    assert {type(p) for p in copied.network.parameters()} == {nn.Parameter}


def test_work_in_turns_lets_whoever_waits_come_first() -> None:
    engine, order, begun = Engine(), [], threading.Event()

    def long(progress: Progress) -> Generator[float, None, str]:
        for step in range(6):
            order.append(f"step {step}")
            begun.set()
            if step == 1:
                engine.submit("b", "s", "short", lambda progress: order.append("short"))
            yield step / 6
        return "done"

    job = engine.submit("a", "s", "long", long, in_turns=True)
    assert job.wait(20)
    assert job.result() == "done"
    assert order == ["step 0", "step 1", "short", "step 2", "step 3", "step 4", "step 5"]
    assert engine.runs == 2
    engine.close()


def test_work_that_waits_for_its_turn_can_be_stopped_and_is_closed() -> None:
    engine, closed, gate = Engine(), threading.Event(), threading.Event()

    def long(progress: Progress) -> Generator[float, None, None]:
        try:
            engine.submit("b", "s", "block", lambda progress: gate.wait(20))
            while True:
                yield 0.5
        finally:
            closed.set()

    job = engine.submit("a", "s", "long", long, in_turns=True)
    while job.place == 0:  # until the other has come first
        assert not job.wait(0.005)
    job.cancel()
    assert closed.is_set()
    assert job.wait(20)
    with pytest.raises(Cancelled):
        job.result()
    gate.set()
    engine.close()
