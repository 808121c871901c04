"""Several shards of a corpus at once in this process: a thread for every processor core, each with shards of its own.

The products of a picture are too small to be shared well between cores; shards side by side are not. Every shard's arrays have the bits that one core gives,
however many work. For a CPU that nobody else waits for: the app, where others do, takes turns with `statistics.here`.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from threading import Event

import torch

from inception_viz.statistics import Run, Shard, Shards

MOST = 16  # shards at once: each holds some 200 MB of activations and sums


def _gathered(run: Run, places: range, stop: Event, tell: Callable[[int], None]) -> Shard | None:
    """The shard at `places`; tells how many of its files are done. None if it was stopped."""
    with closing(run.gathered(run.batches(places), places)) as steps:
        while not stop.is_set():
            try:
                tell(next(steps))
            except StopIteration as end:
                shard: Shard = end.value
                return shard
    return None


def abreast(run: Run, done: int) -> Shards:
    """An engine: the shards from place `done` on, in their order; between them how many files beyond those given so far are done.

    As many at once as torch has threads, which have one thread of mathematics each meanwhile.
    """
    threads = torch.get_num_threads()
    many, stop = min(threads, MOST), Event()
    todo = deque(places for places in run.shards if places.start >= done)
    waiting: deque[tuple[range, Future[Shard | None]]] = deque()
    files: dict[int, int] = {}
    woken: SimpleQueue[None] = SimpleQueue()

    def tell(first: int, count: int) -> None:
        files[first] = count
        woken.put(None)

    def send(places: range) -> None:
        files[places.start] = 0
        future = pool.submit(_gathered, run, places, stop, lambda count: tell(places.start, count))
        future.add_done_callback(lambda _: woken.put(None))
        waiting.append((places, future))

    run.threads = 1
    torch.set_num_threads(run.threads)
    pool = ThreadPoolExecutor(many, "shard")
    try:
        while todo or waiting:
            while todo and len(waiting) <= many:  # one more than can work: nobody waits for the first to be merged
                send(todo.popleft())
            places, first = waiting[0]
            while not first.done():
                woken.get()
                yield sum(files.values())
            waiting.popleft()
            shard = first.result()
            del files[places.start]
            assert shard is not None, "nobody stopped it"
            yield shard
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
