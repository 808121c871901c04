"""Many pictures from a folder, a zip or a list, in a stated order: by name, byte by byte. What cannot be read is listed and stops nothing.

A folder or a zip may have been made to do harm. Of a folder only regular files are opened, step by step from the folder itself, and no link is followed, not
even one that is put there while we look; of a zip no name is ever used as a path, and no entry is unpacked further than a picture may be long.
"""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from inception_viz import images
from inception_viz.errors import VisitorError
from inception_viz.images import MAX_BYTES, Picture, PictureError, TooManyBytes
from inception_viz.text import message

FOLDERS = "INCEPTION_VIZ_FOLDERS"  # roots that visitors may read from, parted as PATH is
MAX_PICTURES = 2_000_000
MAX_DEPTH = 12
MAX_ZIP_BYTES = 8_000_000_000
DECODERS = 2
AHEAD = 2  # batches that are decoded before the network asks for them


class NoPictures(VisitorError):
    """Nothing to look at."""

    words = message("“{name}” holds no file that could be a picture.")


class TooManyPictures(VisitorError):
    """More files than are counted."""

    words = message("“{name}” holds more than {allowed} files. Choose a part of it.")


class NotAFolder(VisitorError):
    """What was named is neither a folder nor a zip, is not there, or may not be read."""

    words = message("“{name}” is no folder or zip that can be read here.")


class OutsideRoots(VisitorError):
    """A visitor may read only what the person who runs the server has named."""

    words = message("“{name}” does not lie in a folder that may be read here.")


class BadZip(VisitorError):
    """A zip that is damaged, encrypted, or packed so tightly that it must be a trap."""

    words = message("“{name}” is no zip that can be read here: it is damaged, encrypted, or unpacks to more than is allowed.")


class NotAFile(PictureError):
    """A link, a pipe, a device, or a file that has gone or may not be read."""

    words = message("Not read: a link, something that is no file, or a file that has gone or is locked.")


@dataclass(frozen=True)
class Entry:
    """One file that may be a picture: its name inside the corpus (parted by “/”), its bytes, and a mark that changes when it does."""

    name: str
    size: int
    mark: int

    @property
    def folder(self) -> str:
        """The name of the folder that it lies in; empty at the top."""
        return str(PurePosixPath(self.name).parent.name)


@dataclass(frozen=True, eq=False)
class Corpus:
    """The files of a corpus in their order; `read` gives the bytes of one by its place. Raises PictureError for one that cannot be read."""

    name: str
    entries: tuple[Entry, ...]
    read: Callable[[int], bytes]
    where: str = ""  # path of the folder or zip, for workers elsewhere; empty where there is none

    @property
    def digest(self) -> str:
        """SHA-256 of the names, sizes and marks: another corpus, or a changed one, has another."""
        running = hashlib.sha256()
        for entry in self.entries:
            running.update(f"{entry.name}\0{entry.size}\0{entry.mark}\n".encode("utf-8", "surrogateescape"))
        return running.hexdigest()

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the folders that pictures lie in, in order; empty if some lie in none."""
        found = {entry.folder for entry in self.entries}
        return () if "" in found or len(found) < 2 else tuple(sorted(found))

    def __len__(self) -> int:
        return len(self.entries)


def _open_beneath(root: Path, parts: Sequence[str], flags: int) -> int:
    """A descriptor of what lies at `parts` under `root`, no step of which is a link. Raises OSError."""
    with ExitStack() as opened:
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, at)
        for part in parts[:-1]:
            at = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            opened.callback(os.close, at)
        return os.open(parts[-1], flags | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)


def _read_beneath(root: Path, name: str) -> bytes:
    """The bytes of a regular file under `root`, at most one more than MAX_BYTES: a pipe would wait for ever, a device never end."""
    try:
        descriptor = _open_beneath(root, name.split("/"), os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotAFile()
            return file.read(MAX_BYTES + 1)
    except OSError:
        raise NotAFile() from None


def _hidden(name: str) -> bool:
    """Files that systems leave behind: `.DS_Store`, `__MACOSX`, `Thumbs.db`."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _walk(root: Path, parts: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Every file under `root`; links are listed, to be refused when they are read, and never entered."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY) if not parts else _open_beneath(root, parts, os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as listed:
            found = [(entry.name, entry.is_dir(follow_symlinks=False), entry.stat(follow_symlinks=False)) for entry in listed]
    finally:
        os.close(descriptor)
    for name, is_folder, facts in found:
        if _hidden(name):
            continue
        if not is_folder:
            yield Entry("/".join((*parts, name)), facts.st_size, facts.st_mtime_ns)
        elif len(parts) < MAX_DEPTH:
            yield from _walk(root, (*parts, name))


def _ordered(name: str, entries: Iterator[Entry], most: int) -> tuple[Entry, ...]:
    found = []
    for entry in entries:
        found.append(entry)
        if len(found) > most:
            raise TooManyPictures(name=name, allowed=most)
    if not found:
        raise NoPictures(name=name)
    return tuple(sorted(found, key=lambda entry: os.fsencode(entry.name)))


def folder(path: Path, most: int = MAX_PICTURES) -> Corpus:
    """The files under a folder. Raises NotAFolder, NoPictures or TooManyPictures."""
    name = images.shown_name(path.name or str(path))
    try:
        entries = _ordered(name, _walk(path), most)
    except OSError:
        raise NotAFolder(name=name) from None
    return Corpus(name, entries, lambda number: _read_beneath(path, entries[number].name), str(path.absolute()))


def archive(source: Path | bytes, name: str, most: int = MAX_PICTURES) -> Corpus:
    """The files in a zip, by its path or its bytes. Raises NotAFolder, BadZip, NoPictures or TooManyPictures."""
    shown = images.shown_name(name)
    try:
        opened = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        members = [member for member in opened.infolist() if not member.is_dir()]
    except OSError:
        raise NotAFolder(name=shown) from None
    except Exception:  # zipfile raises many kinds of exception on broken files
        raise BadZip(name=shown) from None
    if any(member.flag_bits & 1 for member in members) or sum(member.file_size for member in members) > MAX_ZIP_BYTES:
        raise BadZip(name=shown)
    by_entry = {
        Entry(member.filename, member.file_size, member.CRC): member
        for member in members
        if not any(_hidden(part) for part in member.filename.split("/"))
    }
    entries, lock = _ordered(shown, iter(by_entry), most), Lock()

    def read(number: int) -> bytes:
        try:
            with lock, opened.open(by_entry[entries[number]]) as member:
                return member.read(MAX_BYTES + 1)  # however long the zip says that it is
        except Exception:
            raise NotAFile() from None

    return Corpus(shown, entries, read, "" if isinstance(source, bytes) else str(source.absolute()))


def listed(name: str, files: Sequence[tuple[str, bytes]]) -> Corpus:
    """Files that are in memory, such as uploads, in the order of their names."""
    ranked = sorted(files, key=lambda file: os.fsencode(file[0]))
    entries = tuple(Entry(n, len(data), int.from_bytes(hashlib.sha256(data).digest()[:7])) for n, data in ranked)
    if not entries:
        raise NoPictures(name=name)
    return Corpus(name, entries, lambda number: ranked[number][1])


def open_path(path: Path, most: int = MAX_PICTURES) -> Corpus:
    """The corpus at a path: a folder or a zip. Raises NotAFolder, BadZip, NoPictures or TooManyPictures."""
    return archive(path, path.name, most) if path.is_file() else folder(path, most)


def sampled(corpus: Corpus, count: int, seed: int) -> Corpus:
    """`count` files drawn at random by `seed`, in the order of the corpus; all if there are no more."""
    if count >= len(corpus):
        return corpus
    drawn = np.sort(np.random.default_rng(seed).choice(len(corpus), count, replace=False))
    return replace(corpus, entries=tuple(corpus.entries[i] for i in drawn), read=lambda number: corpus.read(int(drawn[number])))


def roots() -> tuple[Path, ...]:
    """The folders that visitors of the app may read from, as INCEPTION_VIZ_FOLDERS names them; none if it is not set."""
    return tuple(Path(part) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part and Path(part).is_dir())


def beneath(root: Path, relative: str) -> Path:
    """The folder or zip at `relative` under a root. Raises OutsideRoots if any step leaves it: an absolute path, “..”, or a link."""
    parts = [part for part in relative.split("/") if part]
    if relative.startswith("/") or "\0" in relative or "\\" in relative or any(part in (".", "..") for part in parts):
        raise OutsideRoots(name=images.shown_name(relative))
    if not parts:
        return root
    try:
        os.close(_open_beneath(root, parts, os.O_NONBLOCK))
    except OSError:
        raise OutsideRoots(name=images.shown_name(relative)) from None
    return root.joinpath(*parts)


def choices(root: Path, most: int = 500) -> list[str]:
    """What a visitor may choose under a root: itself (""), its folders and their folders, and zips; no links; at most `most`."""
    found = [""]
    for first in sorted(os.scandir(root), key=lambda entry: entry.name):
        if first.is_symlink() or _hidden(first.name):
            continue
        if first.is_dir():
            inner = [e for e in os.scandir(first) if not e.is_symlink() and not _hidden(e.name) and (e.is_dir() or e.name.endswith(".zip"))]
            found += [first.name, *sorted(f"{first.name}/{entry.name}" for entry in inner)]
        elif first.name.endswith(".zip"):
            found.append(first.name)
    return found[:most]


@dataclass(frozen=True)
class Unreadable:
    """A file that was left out: its place and name in the corpus, and why."""

    number: int
    name: str
    error: PictureError


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures in a row: their `numbers` in the corpus, the network's `inputs` (N, 3, S, S) on the CPU, and the files among them that are none."""

    numbers: tuple[int, ...]
    inputs: Tensor
    unreadable: tuple[Unreadable, ...]


Prepare = Callable[[Picture], Tensor]


def _decoded(corpus: Corpus, number: int, prepare: Prepare) -> Tensor | Unreadable:
    entry = corpus.entries[number]
    try:
        if entry.size > MAX_BYTES:
            raise TooManyBytes(found=round(entry.size / 1e6, 1), allowed=MAX_BYTES // 1_000_000)
        return prepare(images.decode(corpus.read(number), entry.name))
    except PictureError as error:
        return Unreadable(number, images.shown_name(entry.name), error)


def _batch(numbers: range, found: Sequence["Future[Tensor | Unreadable]"]) -> Batch:
    results = [future.result() for future in found]
    good = [(number, result) for number, result in zip(numbers, results, strict=True) if isinstance(result, Tensor)]
    inputs = torch.cat([tensor for _, tensor in good]) if good else torch.empty(0)
    return Batch(tuple(number for number, _ in good), inputs, tuple(result for result in results if isinstance(result, Unreadable)))


def batches(corpus: Corpus, places: range, size: int, prepare: Prepare, decoders: int = DECODERS) -> Iterator[Batch]:
    """The pictures at `places` in batches of `size` places, decoded by `decoders` threads ahead of the reader.

    A batch is smaller where files cannot be read: what lies in which batch does not depend on what the files hold.
    """
    pool = ThreadPoolExecutor(decoders, "decoder")
    waiting: list[tuple[range, list[Future[Tensor | Unreadable]]]] = []
    try:
        for first in range(0, len(places), size):
            cut = places[first : first + size]
            waiting.append((cut, [pool.submit(_decoded, corpus, number, prepare) for number in cut]))
            if len(waiting) > AHEAD:
                yield _batch(*waiting.pop(0))
        while waiting:
            yield _batch(*waiting.pop(0))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever stops does not wait for pictures that nobody looks at
