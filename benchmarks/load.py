"""A class at work: thirty tabs on the real server, each checking its own numbers; `make load`.

Every tab does what a student's does: uploads a picture, looks at five pages, changes the block, uploads the next. What it is shown is compared with
what one tab alone was shown for the same picture (a digest of every chart and every number of a page). One process drives all tabs; the server is
another, started as `make run` starts it.
"""

import argparse
import asyncio
import contextlib
import io
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import _yardstick as yardstick
from benchmarks._visitor import Seen, Visitor
from inception_viz.models import _processor as processor
from pages.shell.door import SWEEP

ROOT = Path(__file__).parent.parent
LIMITS = dict(re.findall(r"(\w+)=(\w+)", re.findall(r"^LIMITS := .*", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0]))
PAGES = ("architecture", "activations", "correlations", "clusters", "attributions")
CHANGED = PAGES[1:]  # those with a block to change
ASKED = (
    ("correlations", "test pairs=yes"), ("clusters", "doubt=tighter"), ("clusters", "doubt=again"), ("attributions", "check method=yes"),
)  # fmt: skip
TABS, PICTURES = 30, 3  # 30 tabs x 3 pictures x (1 answer + 5 pages + 4 changes) = 900 answers
SIZE = (1600, 1200)


def photo(seed: int) -> bytes:
    """A JPEG of 1600 x 1200 like no other: smooth colours and some noise."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (9, 12, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse).astype(np.int16) + chance.integers(-20, 21, (SIZE[1], SIZE[0], 1))
    out = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


class Server:
    """The server as `make run` starts it, and what the system says of it (Linux)."""

    def __init__(self, *options: str, script: str = "app.py", environment: Mapping[str, str] | None = None) -> None:
        self.prepare(*options, script=script, environment=environment)
        self.begin()

    def prepare(self, *options: str, script: str = "app.py", environment: Mapping[str, str] | None = None) -> None:
        """Its address and command, before it is started."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        place = ["--server.port", str(port), "--server.address", "127.0.0.1"]
        self.command = [sys.executable, "-m", "streamlit", "run", script, *place, *options]
        self.environment = os.environ | LIMITS | dict(environment or {})
        handle, name = tempfile.mkstemp(".log")
        os.close(handle)
        self.log = Path(name)

    def begin(self) -> None:
        """Start it, at its address, and wait until it answers."""
        started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        while not self.healthy():
            assert self.process.poll() is None, self.said
            time.sleep(0.1)
        self.start = time.monotonic() - started

    def healthy(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8")

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> float:
        """Resident megabytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> float:
        """Seconds that it takes to end."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        return time.monotonic() - started


@dataclass
class Times:
    """Seconds by what was done, what went wrong, and what was compared."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    health: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    answers: int = 0
    wrong: int = 0


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return float(np.percentile(values, 95)) if values else float("nan")


@dataclass
class Tab:
    """One student's tab and what it was shown, by picture and place."""

    visitor: Visitor
    times: Times
    truth: dict[tuple[int, str], str]
    learning: bool = False

    def compare(self, picture: int, place: str, seen: Seen) -> None:
        """Against what one tab alone was shown."""
        self.times.errors += seen.errors
        if self.learning:
            self.truth[picture, place] = seen.numbers
            return
        self.times.answers += 1
        self.times.wrong += self.truth[picture, place] != seen.numbers

    async def timed(self, what: str, drawing: object) -> Seen:
        """A drawing of a page, timed under a name."""
        started = time.perf_counter()
        seen = await drawing  # type: ignore[misc]
        self.times.seconds[what].append(time.perf_counter() - started)
        return seen

    async def take(self, picture: int, data: bytes, barrier: asyncio.Barrier | None, think: float, chance: random.Random) -> None:
        """Upload a picture, look at five pages and change the block on four."""

        async def pause() -> None:
            if barrier is not None:
                await barrier.wait()
            else:
                await asyncio.sleep(think * chance.uniform(0.5, 1.5))

        await self.visitor.draw("")
        await pause()
        self.compare(picture, "answer", await self.timed("upload and answer", self.visitor.upload("pictures", (f"{picture}.jpg", data))))
        for page in PAGES:
            await pause()
            self.compare(picture, page, await self.timed("another page", self.visitor.draw(page)))
            if page in CHANGED:
                options = list(next(box for box in self.visitor.seen.of("selectbox") if box.label == "Block").options)
                await pause()
                block = options[(picture + PAGES.index(page)) % len(options)]
                self.compare(picture, f"{page} changed", await self.timed("another block", self.visitor.choose("Block", block)))


@contextlib.contextmanager
def health_watched(server: Server, times: Times) -> Iterator[None]:
    """Within, the health is asked for every tenth of a second; one wrong answer ends the asking, and so the run."""
    command = [sys.executable, "-m", "benchmarks._health", server.address.rsplit(":", 1)[1]]
    with tempfile.TemporaryFile("w+") as said:
        asking = subprocess.Popen(command, cwd=ROOT, stdout=said)
        try:
            yield
            assert asking.poll() is None, "the server gave no health"
        finally:
            asking.terminate()
            asking.wait(10)
        said.seek(0)
        times.health = [float(line) for line in said.read().splitlines(keepends=True) if line.endswith("\n")]


async def learn(server: Server, photos: list[bytes], truth: dict[tuple[int, str], str], pictures: int) -> None:
    """Every tab's way alone, one after the other on a server that nobody else uses: what it is shown is noted."""
    for first in range(0, len(photos), pictures):
        async with Visitor(server.address) as visitor:
            await visitor.draw()
            tab = Tab(visitor, Times(), truth, learning=True)
            for picture in range(first, first + pictures):
                await tab.take(picture, photos[picture], None, 0.0, random.Random(0))
            assert not tab.times.errors, tab.times.errors


async def crowd(
    server: Server, photos: list[bytes], truth: dict[tuple[int, str], str], tabs: int, pictures: int, think: float | None
) -> Times:
    """Tabs that all click at once (`think` None: each waits for the slowest before every click), or pause before each click."""
    times, barrier = Times(), asyncio.Barrier(tabs) if think is None else None

    async def student(number: int) -> None:
        chance = random.Random(number)
        async with Visitor(server.address) as visitor:
            await visitor.draw()
            tab = Tab(visitor, times, truth)
            for turn in range(pictures):
                picture = number * (len(photos) // tabs) + turn
                await tab.take(picture, photos[picture], barrier, think or 0.0, chance)

    with health_watched(server, times):
        await asyncio.gather(*(student(number) for number in range(tabs)))
    return times


def show(title: str, times: Times) -> None:
    """A table of seconds by what was done."""
    print(f"\n  {title}: {len(times.errors)} errors, {times.wrong} of {times.answers} answers mixed up")
    print(f"    {'':24}{'n':>6}{'p50':>9}{'p95':>9}{'worst':>9}   seconds")
    for what, seconds in times.seconds.items():
        print(f"    {what:24}{len(seconds):6}{statistics.median(seconds):9.2f}{p95(seconds):9.2f}{max(seconds):9.2f}")
    if times.health:
        print(
            f"    {'health':24}{len(times.health):6}{statistics.median(times.health):9.3f}{p95(times.health):9.3f}{max(times.health):9.3f}"
        )
    for error in times.errors[:5]:
        print(f"    error: {error}")


def decoding(data: bytes) -> float:
    """Processor seconds of decoding one picture and of the backward pass of its attribution, in a process of its own."""
    program = f"""
import sys, time
import torch
torch.set_num_threads(1)
from inception_viz import images, models
from inception_viz.activations import capture
data = sys.stdin.buffer.read()
model = models.load()
def cost(work, n):
    work()
    started = time.process_time()
    for _ in range(n):
        work()
    return (time.process_time() - started) / n
picture = images.decode(data)
inputs = model.input(picture)
decode = cost(lambda: images.decode(data), 10)
both = cost(lambda: capture(model, inputs), 10)
forward = cost(lambda: capture(model, inputs, gradients=False), 10)
print(decode + both - forward)
"""  # noqa: F541
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True, cwd=ROOT)
    return float(done.stdout)


async def alone(server: Server, photos: list[bytes]) -> None:
    """One tab: what an analysis costs the processor, and what the same again takes."""
    async with Visitor(server.address) as visitor:
        await visitor.draw()
        before, n = server.cpu, len(photos)
        first = []
        for number, data in enumerate(photos):
            started = time.perf_counter()
            await visitor.upload("pictures", (f"{number}.jpg", data))
            first.append(time.perf_counter() - started)
        spent = (server.cpu - before) / n
        apart = decoding(photos[0])
        print(f"\n  One tab, {n} uploads: {1e3 * statistics.median(first):.0f} ms each (median); {spent:.3f} CPU-seconds an analysis,")
        print(f"    of which {apart:.3f} are decoding and the attribution's own backward pass: {spent - apart:.3f} beyond them")
        for page in ("", *PAGES):
            await visitor.draw(page)
            again = []
            for _ in range(15):
                started = time.perf_counter()
                seen = await visitor.draw()
                again.append(time.perf_counter() - started)
                assert not seen.errors
            print(
                f"    the same again, {page or 'first page':14} median {1e3 * statistics.median(again):5.0f} ms, p95 {1e3 * p95(again):5.0f} ms"
            )


async def asked(server: Server, data: bytes) -> None:
    """One tab asks for the tests of what a page shows: what the first of each costs."""
    async with Visitor(server.address) as visitor:
        await visitor.draw()
        await visitor.upload("pictures", ("asked.jpg", data))
        for page, question in ASKED:
            await visitor.draw("architecture")
            before, started = server.cpu, time.perf_counter()
            seen = await visitor.draw(page, f"lang=en&{question}")
            assert not seen.errors, seen.errors
            seconds = time.perf_counter() - started
            print(f"    asked for: {page:14} {question:16} {seconds:5.2f} s, {server.cpu - before:5.2f} CPU-seconds")


async def waves(server: Server, photos: list[bytes], count: int = 10, tabs: int = 10) -> None:
    """Ten waves of ten tabs, each gone before the next comes."""
    after = []
    for wave in range(count):

        async def student(number: int) -> None:
            async with Visitor(server.address) as visitor:
                await visitor.draw()
                await visitor.upload("pictures", ("a.jpg", photos[number]))
                for page in PAGES:
                    await visitor.draw(page)

        await asyncio.gather(*(student((wave * tabs + i) % len(photos)) for i in range(tabs)))
        await asyncio.sleep(GONE + 2 * SWEEP + 2)
        after.append(server.memory)
    print(f"\n  Resident after each of {count} waves of {tabs} tabs, MB: {', '.join(f'{m:.0f}' for m in after)}")
    print(f"    from the third to the last: {(after[-1] / after[2] - 1):+.1%}")


GONE = 3  # seconds after which a tab that has gone is forgotten, in the waves


async def soak(server: Server, photos: list[bytes], truth: dict[tuple[int, str], str], pictures: int, minutes: float) -> None:
    """Ten tabs come and go for some minutes; the memory is read every minute."""
    started, readings, times = time.monotonic(), [], Times()

    async def student(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() - started < 60 * minutes:
            async with Visitor(server.address) as visitor:
                await visitor.draw()
                picture = chance.randrange(0, len(photos), pictures)
                await Tab(visitor, times, truth).take(picture, photos[picture], None, 2.0, chance)

    async def read() -> None:
        while time.monotonic() - started < 60 * minutes:
            await asyncio.sleep(min(60.0, 6 * minutes))
            readings.append(((time.monotonic() - started) / 60, server.memory))
            print(f"    {readings[-1][0]:5.1f} min  {readings[-1][1]:6.0f} MB", flush=True)

    print(f"\n  Ten tabs that come and go for {minutes:g} minutes:", flush=True)
    await asyncio.gather(read(), *(student(number) for number in range(10)))
    late = [megabytes for minute, megabytes in readings if minute >= minutes / 6]
    show("The soak", times)
    print(f"    memory from minute {minutes / 6:.0f} on: {min(late):.0f} to {max(late):.0f} MB ({max(late) / min(late) - 1:+.1%})")


@contextlib.contextmanager
def served(*options: str) -> Iterator[Server]:
    """A server for as long as it is needed."""
    server = Server(*options)
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Plan:
    """How large the class is, and what each of its tabs is shown alone."""

    tabs: int
    pictures: int
    minutes: float

    @cached_property
    def photos(self) -> list[bytes]:
        """One for every tab and turn."""
        return [photo(seed) for seed in range(self.tabs * self.pictures)]

    @cached_property
    def truth(self) -> dict[tuple[int, str], str]:
        """Learnt once, on a server of its own."""
        known: dict[tuple[int, str], str] = {}
        with served() as server:
            asyncio.run(learn(server, self.photos, known, self.pictures))
        return known


def one_tab(plan: Plan) -> None:
    with served() as server:
        print(f"\n  Ready {server.start:.1f} s after it was started, {server.memory:.0f} MB", flush=True)
        asyncio.run(alone(server, [photo(10_000 + seed) for seed in range(20)]))
        asyncio.run(asked(server, photo(20_000)))


def all_at_once(plan: Plan) -> None:
    truth = plan.truth
    with served() as server:
        idle = server.memory
        show(f"{plan.tabs} tabs, all clicking at once", asyncio.run(crowd(server, plan.photos, truth, plan.tabs, plan.pictures, None)))
        print(
            f"    memory {server.memory:.0f} MB, {server.memory - idle:+.0f} MB above idle; ended {server.stop():.1f} s after it was told to"
        )


def thinking(plan: Plan) -> None:
    truth = plan.truth
    with served() as server:
        show(f"{plan.tabs} tabs, thinking 5 to 15 s", asyncio.run(crowd(server, plan.photos, truth, plan.tabs, 1, 10.0)))


def coming_and_going(plan: Plan) -> None:
    with served("--server.disconnectedSessionTTL", str(GONE)) as server:
        asyncio.run(waves(server, plan.photos))


def soaked(plan: Plan) -> None:
    truth = plan.truth
    with served("--server.disconnectedSessionTTL", str(GONE)) as server:
        asyncio.run(soak(server, plan.photos, truth, plan.pictures, plan.minutes))


PARTS = {"one": one_tab, "crowd": all_at_once, "thinking": thinking, "waves": coming_and_going, "soak": soaked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"which (default: all but soak): {', '.join(PARTS)}")
    parser.add_argument("--tabs", type=int, default=TABS)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="that each tab uploads, one after the other")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    given = parser.parse_args()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"  {processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; pictures of {SIZE[0]} x {SIZE[1]}", flush=True)
    plan = Plan(given.tabs, given.pictures, given.minutes)
    for part in given.parts or [name for name in PARTS if name != "soak"]:
        print(yardstick.told(), flush=True)
        PARTS[part](plan)
        sys.stdout.flush()
    print(yardstick.told())


if __name__ == "__main__":
    main()
