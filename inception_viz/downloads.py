"""Files fetched on request: with time-outs, resumed where they broke off, checked by hash, written aside and renamed."""

import errno
import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from inception_viz.errors import VisitorError
from inception_viz.text import message

MAX_BYTES = 600_000_000
CHUNK = 2**18
SILENCE = 30.0  # seconds without a byte


class DownloadError(VisitorError):
    """The root of what can go wrong with a download."""

    words = message("The download did not work.")


class Unreachable(DownloadError):
    """No connection, no answer in time, or an answer that says no."""

    words = message("The server could not be reached ({reason}). Check the network and try again; what has arrived is kept.")


class BrokenOff(DownloadError):
    """The connection ended before the file did."""

    words = message("The connection broke off after {received} of {total} MB. Try again: the download goes on where it stopped.")


class NotTheFile(DownloadError):
    """Something arrived, but its hash is another: a login page, a changed file, a damaged proxy."""

    words = message(
        "What arrived is not the expected file (its SHA-256 begins with {found}, not {allowed}). A login page may stand in between."
    )


class CannotWrite(DownloadError):
    """The disk is full or the folder may not be written to."""

    words = message("The file could not be saved ({reason}). Make room or choose another folder with TORCH_HOME.")


@dataclass(frozen=True)
class Progress:
    """Bytes that have arrived, and how many there will be (None if the server does not say)."""

    received: int
    total: int | None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=32)
def _hash_of(path: Path, size: int, modified: int) -> str:
    return _hash(path)


def verified(path: Path, sha256: str) -> bool:
    """Whether the file is there and its SHA-256 begins with `sha256`; read again only when its size or time has changed."""
    try:
        facts = path.stat()
        return _hash_of(path, facts.st_size, facts.st_mtime_ns).startswith(sha256)
    except OSError:
        return False


def _open(url: str, start: int, silence: float) -> HTTPResponse:
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310 - our own addresses
    try:
        return urlopen(request, timeout=silence)  # noqa: S310
    except HTTPError as error:
        if error.code == 416 and start:  # nothing is left to fetch: begin anew, the hash decides
            return _open(url, 0, silence)
        raise Unreachable(reason=f"HTTP {error.code}") from None
    except (URLError, TimeoutError, OSError, HTTPException) as error:
        raise Unreachable(reason=str(getattr(error, "reason", error))[:80]) from None


def _total(answer: HTTPResponse, start: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return start + int(length) if length and length.isdigit() else None


def _receive(answer: HTTPResponse, aside: Path, start: int) -> Generator[Progress, None, None]:
    received, total = start, _total(answer, start)
    with aside.open("ab" if start else "wb") as file:
        while True:
            yield Progress(received, total)
            try:
                chunk = answer.read1(CHUNK)
            except (OSError, HTTPException):
                chunk = b""
            if not chunk:
                break
            file.write(chunk)
            received += len(chunk)
            if received > MAX_BYTES:
                raise NotTheFile(found="?", allowed="?")
    if total is not None and received < total:
        raise BrokenOff(received=round(received / 1e6, 1), total=round(total / 1e6, 1))


def fetch(url: str, path: Path, sha256: str, silence: float = SILENCE) -> Generator[Progress, None, None]:
    """Fetch `url` into `path`, yielding Progress; a file that is there and right is not fetched again.

    `sha256` may be the first digits of the hash. What has arrived is kept in `<path>.partial` and continued by the next call; a partial
    file whose hash turns out wrong is removed. Raises a subclass of DownloadError; an older file at `path` is never harmed.
    """
    if verified(path, sha256):
        return
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = aside.stat().st_size if aside.exists() else 0
        with _open(url, start, silence) as answer:
            if start and answer.status != 206:
                start = 0
            yield from _receive(answer, aside, start)
        found = _hash(aside)
        if not found.startswith(sha256):
            aside.unlink()
            raise NotTheFile(found=found[: max(8, len(sha256))], allowed=sha256)
        os.replace(aside, path)
    except OSError as error:
        if isinstance(error, TimeoutError) or error.errno in (errno.ECONNRESET, errno.EPIPE):
            raise Unreachable(reason="time-out") from None
        raise CannotWrite(reason=error.strerror or "unknown") from None
