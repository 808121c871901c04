"""Measurements: how long something takes here, under which conditions, what it says about a claim, and all of it as a table.

Times on a machine that others use too are noisy: so the median is told with both ends, and never one time alone.
"""

import csv
import io
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from inception_viz.errors import VisitorError
from inception_viz.models import device_facts
from inception_viz.text import Blank, Text, message

MEMORY_LIMIT = 640 * 2**20  # bytes that one measurement may take: VGG-16 fits
REPEATS = 9
STEADY = 1.5
Cell = str | int | float | bool | None
Row = Mapping[str, Cell]


class TooLarge(VisitorError):
    """A size whose measurement would take more memory than one visitor may use; refused before anything is allocated."""

    words = message("This would take {found} MB of memory; {allowed} MB are allowed here. Choose a smaller size.")


class OutOfRange(VisitorError):
    """A number outside of what a measurement allows."""

    words = message("{name} is {found}; allowed is {low} to {high}.")

    def told(self, text: Text) -> str:
        """The sentence in the language of `text`, the number's name too."""
        return text(self.words, **(self.facts | {"name": text(str(self.facts["name"]))}))


def allow(memory: float) -> None:
    """Raises TooLarge if `memory` bytes are more than one measurement may take."""
    if memory > MEMORY_LIMIT:
        raise TooLarge(found=round(memory / 2**20), allowed=MEMORY_LIMIT // 2**20)


def within(name: str, value: float, low: float, high: float) -> None:
    """Raises OutOfRange unless `low` <= `value` <= `high`; `name` is a message, as it is told to the visitor."""
    if not low <= value <= high:
        raise OutOfRange(name=name, found=value, low=low, high=high)


@dataclass(frozen=True)
class Conditions:
    """Where and how something was measured: the device's full name, the threads that PyTorch may use on it, and the precision."""

    device: str
    threads: int
    precision: str

    def row(self) -> dict[str, Cell]:
        """As cells of a table."""
        return {"device": self.device, "threads": self.threads, "precision": self.precision}


def conditions(device: torch.device, dtype: torch.dtype = torch.float32) -> Conditions:
    """The conditions of this moment on `device`, seen from the thread that measures."""
    facts = device_facts(device)
    told = facts.precision if dtype == torch.float32 else str(dtype).removeprefix("torch.")
    return Conditions(facts.name, torch.get_num_threads(), told)


@dataclass(frozen=True)
class Timing:
    """Seconds of one run: the median and both ends of `repeats` runs after one that is not counted."""

    median: float
    low: float
    high: float
    repeats: int
    conditions: Conditions

    @property
    def steady(self) -> bool:
        """Whether the median is near the fastest run; if not, other work on the machine was measured as well."""
        return self.median <= STEADY * self.low

    def row(self) -> dict[str, Cell]:
        """As cells of a table, seconds."""
        ends: dict[str, Cell] = {"seconds": self.median, "seconds_low": self.low, "seconds_high": self.high, "repeats": self.repeats}
        return ends | self.conditions.row()


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long `run` takes on `device` this once, waiting for the device to finish."""
    started = time.perf_counter()
    run()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - started


def by_turns(
    runs: Sequence[Callable[[], object]], device: torch.device, repeats: int = REPEATS, dtype: torch.dtype = torch.float32
) -> Generator[float, None, list[Timing]]:
    """How long each of `runs` takes: all of them once a round, in `repeats` rounds after one that is not counted; yields the share done after each run.

    One after the other they would meet different states of the machine; in turns, what slows it down for a while slows all of them.
    """
    took: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for place, run in enumerate(runs):
            took[place].append(seconds(run, device))
            yield (turn * len(runs) + place + 1) / ((repeats + 1) * len(runs))
    counted = [each[1:] for each in took]
    where = conditions(device, dtype)
    return [Timing(statistics.median(each), min(each), max(each), repeats, where) for each in counted]


@dataclass(frozen=True)
class Finding:
    """A claim, the sentence that was found about it here, and whether that supports it (None: neither this nor that).

    `claim` and `words` are messages; `facts` fill the blanks of `words`, and may be messages too.
    """

    claim: str
    words: str
    supported: bool | None
    facts: Mapping[str, Blank] = field(default_factory=dict)

    def told(self, text: Text) -> str:
        """What was found, in the language of `text`."""
        return text(self.words, **{name: text(fact) if isinstance(fact, str) and fact else fact for name, fact in self.facts.items()})


@dataclass(frozen=True)
class Outcome:
    """What one experiment of the laboratory has to say: its findings, and every number as rows of one table."""

    findings: tuple[Finding, ...]
    rows: tuple[Row, ...]


Running = Generator[float, None, Outcome]  # yields the share done, 0 to 1


def _harmless(cell: Cell) -> Cell:
    """Words that a spreadsheet would take for a formula get an apostrophe in front; numbers stay numbers."""
    return "'" + cell if isinstance(cell, str) and cell.lstrip()[:1] in ("=", "+", "-", "@", "\t", "\r") and cell else cell


def as_csv(rows: Sequence[Row]) -> str:
    """Rows as comma-separated values with one header; a row that lacks a column leaves it empty, and no cell is a formula.

    >>> as_csv([{"name": "=1+1", "x": -2}])
    "name,x\\r\\n'=1+1,-2\\r\\n"
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), restval="")
    writer.writeheader()
    writer.writerows({key: _harmless(cell) for key, cell in row.items()} for row in rows)
    return out.getvalue()
