"""Arrays and a card in one `.npz` file that is either whole or not there: written aside, flushed, renamed; read without believing a byte of it.

The file is an ordinary one for `numpy.load`. Beside the arrays it holds `card.json`, whose `sha256` is of all arrays with their names, types and
shapes. Nothing is pickled, and what a header claims is compared with what the file holds before memory is taken.
"""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from inception_viz.errors import VisitorError
from inception_viz.text import message

Arrays = Mapping[str, np.ndarray]
CARD = "card.json"
MAX_CARD = 20_000_000  # bytes of a card: names of a million unreadable files are more than anybody reads
MAX_MEMBERS = 2_000
KINDS = frozenset({"<i8", "<f8", "<f4", "<i4", "|u1", "<u2"})
ANCIENT = (1980, 1, 1, 0, 0, 0)  # no time of writing: equal results are equal files


class NotSaved(VisitorError):
    """The disk is full, or the place may not be written to; what was there before is unharmed."""

    words = message("“{name}” could not be saved: {reason}. What was saved before is unharmed.")


class NotWhole(VisitorError):
    """A file of results that is cut off, changed, or none at all."""

    words = message("“{name}” is damaged, or no file of results of this program.")


class TooLarge(VisitorError):
    """A file of results that would take too much memory."""

    words = message("“{name}” holds {found} MB of results; at most {allowed} MB are read here.")


def digest(arrays: Arrays) -> str:
    """SHA-256 of all arrays, their names, types and shapes."""
    running = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        running.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        running.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return running.hexdigest()


def told(sha256: str, card: Mapping[str, object]) -> bytes:
    """The card as the file holds it: JSON, with the checksum of the arrays."""
    return json.dumps({**card, "sha256": sha256}, ensure_ascii=False, indent=1, allow_nan=False).encode()


def as_read(card: Mapping[str, object]) -> dict:
    """A card as it will be when it is read again: lists for tuples."""
    return json.loads(json.dumps(card))


def _pack(file: IO[bytes], arrays: Arrays, card: Mapping[str, object]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr(zipfile.ZipInfo(CARD, ANCIENT), told(digest(arrays), card))
        for name in sorted(arrays):
            with packed.open(zipfile.ZipInfo(f"{name}.npy", ANCIENT), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), (1, 0), allow_pickle=False)


def packed(arrays: Arrays, card: Mapping[str, object]) -> bytes:
    """The file's bytes."""
    out = io.BytesIO()
    _pack(out, arrays, card)
    return out.getvalue()


def replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises NotSaved; then the older file is as it was."""
    _replace(path, lambda file: file.write(data))


def write(path: Path, arrays: Arrays, card: Mapping[str, object], keep: Path | None = None) -> None:
    """Write arrays and card, whole or not at all; the file that was there is kept as `keep`. Raises NotSaved; then the older file is as it was."""
    _replace(path, lambda file: _pack(file, arrays, card), keep)


def _replace(path: Path, fill: Callable[[IO[bytes]], object], keep: Path | None = None) -> None:
    aside = path.with_name(path.name + ".partial")
    try:
        try:
            with aside.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            if keep and path.exists():
                os.replace(path, keep)
            os.replace(aside, path)
            _flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
    except OSError as error:
        raise NotSaved(name=path.name, reason=error.strerror or "unknown") from None


def _flush_folder(folder: Path) -> None:
    """The new name itself is on the disk only after its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _array(data: bytes) -> np.ndarray:
    """One member, read-only; its header must fit its size. Raises ValueError."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("another version of the format")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(stream)
    start, count = stream.tell(), 1
    for side in shape:
        count *= side
    if by_columns or kind.str not in KINDS or min(shape, default=0) < 0 or len(data) - start != count * kind.itemsize:
        raise ValueError("the header does not fit")
    return np.frombuffer(data, kind, count, start).reshape(shape)


def _members(file: zipfile.ZipFile, name: str, most: int) -> list[zipfile.ZipInfo]:
    members = file.infolist()
    total = sum(member.file_size for member in members)
    if total > most:
        raise TooLarge(name=name, found=round(total / 1e6), allowed=round(most / 1e6))
    if len(members) > MAX_MEMBERS or any(m.compress_type != zipfile.ZIP_STORED for m in members):
        raise ValueError("not written here")
    return members


def read(source: Path | bytes, name: str, most: int) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays (read-only) and the card, if they are as they were written and take at most `most` bytes.

    Raises NotWhole or TooLarge, and OSError where there is no such file.
    """
    given = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with given:
        try:
            with zipfile.ZipFile(given) as file:
                members = {entry.filename: entry for entry in _members(file, name, most)}
                member = members.pop(CARD)
                if member.file_size > MAX_CARD:
                    raise ValueError("too long a card")
                card = json.loads(file.read(member))
                arrays = {key.removesuffix(".npy"): _array(file.read(entry)) for key, entry in members.items()}
                if card["sha256"] != digest(arrays):
                    raise ValueError("another checksum")
        except VisitorError:
            raise
        except Exception:  # zipfile, json and numpy raise nearly every kind of exception on broken files
            raise NotWhole(name=name) from None
    return arrays, card
