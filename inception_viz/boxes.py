"""Boxes on pictures: found in a map, drawn by a person, read from a table, or laid down without looking.

A box is in pixels of the upright picture, and its numbers are edges, not pixels: the first pixel alone is (0, 0, 1, 1).
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from inception_viz.errors import VisitorError
from inception_viz.grids import Grid
from inception_viz.models import Preprocessing
from inception_viz.text import message

MOST_ROWS, MOST_BYTES = 1_000_000, 100_000_000
SHOWN_LETTERS = 40
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "picture": ("picture", "file", "image"),
    "class": ("class", "wnid", "label"),
    "x0": ("x0",),
    "y0": ("y0",),
    "x1": ("x1",),
    "y1": ("y1",),
}


class BadTable(VisitorError):
    """A table of boxes that lacks a column, has no rows, or has too many."""

    words = message(
        "“{name}” is no table of boxes: its first line must name the columns picture, class, x0, y0, x1, y1, and lines must follow, {allowed} at most."
    )


class BadRow(VisitorError):
    """A line of a table whose corners are no box."""

    words = message(
        "Line {line} of the table has the corners “{found}”; allowed are four whole numbers: "
        "the first and the last column and row that belong to the box, counted from 0."
    )


class UnknownClass(VisitorError):
    """A line of a table names a class that the network does not know."""

    words = message(
        "Line {line} of the table names the class “{found}”, which this network does not know. It knows classes such as {allowed}."
    )


@dataclass(frozen=True)
class Box:
    """A rectangle: its edges in pixels of the upright picture, `right` and `bottom` not included."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """In square pixels; 0 if it is inside out."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle, (x, y)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def holds(self, point: tuple[float, float]) -> bool:
        """Whether a point (x, y) lies in it."""
        return self.left <= point[0] < self.right and self.top <= point[1] < self.bottom

    def overlap(self, other: "Box") -> float:
        """Intersection over union, 0 to 1 (Everingham et al. 2010, "The PASCAL visual object classes challenge", section 4.2).

        >>> Box(0, 0, 2, 2).overlap(Box(1, 0, 3, 2))
        0.3333333333333333
        """
        shared = Box(max(self.left, other.left), max(self.top, other.top), min(self.right, other.right), min(self.bottom, other.bottom))
        union = self.area + other.area - shared.area
        return shared.area / union if union else 0.0

    def within(self, width: int, height: int) -> "Box":
        """The part of it that lies on a picture of `width` x `height`."""
        x, y = np.clip((self.left, self.right), 0, width), np.clip((self.top, self.bottom), 0, height)
        return Box(float(x[0]), float(y[0]), float(x[1]), float(y[1]))

    def scaled(self, across: float, down: float) -> "Box":
        """The same place on a picture `across` times as wide and `down` times as high."""
        return Box(self.left * across, self.top * down, self.right * across, self.bottom * down)


def summit(values: np.ndarray, grid: Grid) -> tuple[float, float] | None:
    """The middle of the highest cell of a map `(H, W)`, (x, y) in pixels of what the network sees; None where nothing is above zero.

    Bilinear stretching makes no value higher than a cell's own, so it is a summit of the stretched map too.
    """
    if not values.max(initial=0) > 0:
        return None
    row, column = np.unravel_index(np.argmax(values), values.shape)
    return grid.at(int(column)), grid.at(int(row))


def largest(values: np.ndarray, threshold: float) -> Box | None:
    """The box round the largest connected part of a map `(S, S)` where it reaches `threshold` times its maximum; None where nothing is above zero.

    Connected are places with a common side; of equally large parts the one that comes first, row by row. (Zhou et al. 2016, "Learning deep features
    for discriminative localization", section 3: a fifth of the maximum.)
    """
    top = float(values.max(initial=0))
    if not top > 0:
        return None
    parts, count = ndimage.label(values >= threshold * top)
    biggest = int(np.argmax(np.bincount(parts.ravel(), minlength=count + 1)[1:]))
    rows, columns = ndimage.find_objects(parts)[biggest]
    return Box(float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))


def seen_box(preprocessing: Preprocessing, width: int, height: int) -> Box:
    """The square of a picture of `width` x `height` that a network sees."""
    return Box(*preprocessing.frame(width, height))


def on_picture(box: Box, preprocessing: Preprocessing, width: int, height: int) -> Box:
    """A box on what the network sees, in pixels of its crop, as a box on the picture of `width` x `height`: the inverse of resize and centre crop."""
    seen = seen_box(preprocessing, width, height)
    scale = (seen.right - seen.left) / preprocessing.crop
    return Box(seen.left + scale * box.left, seen.top + scale * box.top, seen.left + scale * box.right, seen.top + scale * box.bottom)


def point_on_picture(point: tuple[float, float], preprocessing: Preprocessing, width: int, height: int) -> tuple[float, float]:
    """A point on what the network sees, (x, y) in pixels of its crop, in pixels of the picture."""
    there = on_picture(Box(*point, *point), preprocessing, width, height)
    return there.left, there.top


def in_the_middle(width: int, height: int, share: float) -> Box:
    """The box in the middle, with `share` of both sides of the picture.

    >>> in_the_middle(64, 32, 0.5)
    Box(left=16.0, top=8.0, right=48.0, bottom=24.0)
    """
    across, down = width * share / 2, height * share / 2
    return Box(width / 2 - across, height / 2 - down, width / 2 + across, height / 2 + down)


def at_random(width: int, height: int, generator: np.random.Generator) -> Box:
    """A box between two corners that are each drawn evenly over the picture."""
    x, y = np.sort(generator.random((2, 2)), 1) * np.array([[width], [height]])
    return Box(float(x[0]), float(y[0]), float(x[1]), float(y[1]))


@dataclass(frozen=True)
class Case:
    """A picture of a table: the name of its file, its class, and the true boxes of that class on it."""

    picture: str
    index: int
    boxes: tuple[Box, ...]

    def overlap(self, box: Box | None) -> float:
        """The largest overlap of a box with a true one; 0 for no box."""
        return max((box.overlap(true) for true in self.boxes), default=0.0) if box else 0.0

    def hit(self, point: tuple[float, float] | None) -> bool:
        """Whether a point lies in a true box; no point does not."""
        return point is not None and any(true.holds(point) for true in self.boxes)


@dataclass(frozen=True)
class _Header:
    names: Sequence[str]

    @cached_property
    def places(self) -> dict[str, int] | None:
        """Where each column stands; None if one is missing."""
        listed = [name.strip().casefold() for name in self.names]
        found = {column: next((listed.index(name) for name in names if name in listed), None) for column, names in COLUMNS.items()}
        return None if None in found.values() else {column: place for column, place in found.items() if place is not None}


def _corners(cells: Sequence[str], line: int) -> Box:
    try:
        x0, y0, x1, y1 = (int(cell) for cell in cells)
    except ValueError:
        x0, y0, x1, y1 = 0, 0, -1, -1
    if not (0 <= x0 <= x1 < 1_000_000 and 0 <= y0 <= y1 < 1_000_000):
        raise BadRow(line=line, found=", ".join(cells)[:SHOWN_LETTERS])
    return Box(x0, y0, x1 + 1, y1 + 1)


def read(data: bytes, name: str, class_of: Callable[[str], int | None], examples: Sequence[str] = ()) -> tuple[Case, ...]:
    """The cases of a table in the order of its lines: comma-separated, columns picture (or file), class (or wnid), x0, y0, x1, y1.

    Corners are the first and the last column and row of pixels that belong to the box, counted from 0. Several lines with one picture and one class
    are several true boxes. `class_of` says which class a word names, if any, `examples` what a visitor may write. Raises BadTable, BadRow or UnknownClass.
    """
    bad = BadTable(name=name, allowed=MOST_ROWS)
    if len(data) > MOST_BYTES:
        raise bad
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        places = _Header(next(rows, [])).places
        found: dict[tuple[str, int], list[Box]] = {}
        if places is None:
            raise bad
        for row in rows:
            if not row:
                continue
            if len(row) <= max(places.values()) or rows.line_num > MOST_ROWS:
                raise bad
            wanted = row[places["class"]].strip()
            index = class_of(wanted)
            if index is None:
                raise UnknownClass(line=rows.line_num, found=wanted[:SHOWN_LETTERS], allowed=", ".join(examples))
            key = row[places["picture"]].strip(), index
            found.setdefault(key, []).append(_corners([row[places[c]].strip() for c in ("x0", "y0", "x1", "y1")], rows.line_num))
    except (UnicodeDecodeError, csv.Error):
        raise bad from None
    if not found:
        raise bad
    return tuple(Case(picture, index, tuple(true)) for (picture, index), true in found.items())
