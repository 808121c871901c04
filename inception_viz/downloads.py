"""Files fetched on request: with time-outs, resumed where they broke off, checked by hash, written aside and renamed."""

import hashlib
import os
import socket
import ssl
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import HTTPHandler, HTTPSHandler, Request, build_opener

from inception_viz.errors import VisitorError
from inception_viz.text import Text, message

MAX_BYTES = 600_000_000
CHUNK = 2**18
CONNECT = 10.0  # seconds until a server must have taken the call
SILENCE = 30.0  # seconds without a byte
SLOWEST = 1_000  # bytes a second, over a stretch of SILENCE


class DownloadError(VisitorError):
    """The root of what can go wrong with a download."""

    words = message("The download did not work.")


class Unreachable(DownloadError):
    """No connection, no answer in time, or an answer that says no."""

    words = message("The server could not be reached ({reason}). Check the network and try again; what has arrived is kept.")

    def told(self, text: Text) -> str:
        """The sentence in the language of `text`, its reason too."""
        return text(self.words, **(self.facts | {"reason": text(str(self.facts["reason"]))}))


class BrokenOff(DownloadError):
    """The connection ended before the file did."""

    words = message("The connection broke off after {received} of {total} MB. Try again: the download goes on where it stopped.")


class NotTheFile(DownloadError):
    """Something arrived, but its hash is another: a login page, a changed file, a damaged proxy."""

    words = message(
        "What arrived is not the expected file (its SHA-256 begins with {found}, not {allowed}). A login page may stand in between."
    )


class LoginPage(DownloadError):
    """A page to read came instead of a file: most often the network wants somebody to log in. Nothing of it is kept."""

    words = message(
        "A web page came instead of the file. Perhaps the network asks you to log in: open any page in a browser first, then try again."
    )


class TooLarge(DownloadError):
    """The file is larger than any that belongs here."""

    words = message("The file has more than {allowed} MB, so it is not the expected one.")


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


class _Plain(HTTPConnection):
    """Two time-outs: one to be connected, the other for every answer after that."""

    def __init__(self, host: str, silence: float, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self.silence = silence

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self.silence)


class _Secure(HTTPSConnection):
    def __init__(self, host: str, silence: float, timeout: float) -> None:
        super().__init__(host, timeout=timeout, context=ssl.create_default_context())
        self.silence = silence

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self.silence)


class _Http(HTTPHandler):
    def __init__(self, silence: float) -> None:
        super().__init__()
        self.silence = silence

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_Plain, silence=self.silence), req)


class _Https(HTTPSHandler):
    def __init__(self, silence: float) -> None:
        super().__init__()
        self.silence = silence

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_Secure, silence=self.silence), req)


def _reason(error: BaseException) -> str:
    """Why there is no answer, as a marked sentence; the system's own words differ from machine to machine and are in one language."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
    if isinstance(cause, TimeoutError):
        return message("no answer in time")
    if isinstance(cause, ConnectionRefusedError):
        return message("the connection was refused")
    if isinstance(cause, socket.gaierror):
        return message("its name was not found")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return message("its certificate is not trusted")
    return message("the connection broke off")


def _open(url: str, start: int, connect: float, silence: float) -> HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise Unreachable(reason=message("its address is not one"))
    try:
        request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310 - our own addresses
        return build_opener(_Http(silence), _Https(silence)).open(request, timeout=connect)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing is left to fetch: begin anew, the hash decides
            return _open(url, 0, connect, silence)
        raise Unreachable(reason=f"HTTP {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(reason=_reason(error)) from None


def _total(answer: HTTPResponse, start: int) -> int | None:
    """Bytes of the whole file, as the server tells it. Raises LoginPage and TooLarge before a byte is kept."""
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise LoginPage()
    length = answer.headers.get("Content-Length")
    total = start + int(length) if length and length.isdecimal() else None
    if total is not None and total > MAX_BYTES:
        raise TooLarge(allowed=_megabytes(MAX_BYTES))
    return total


def _megabytes(count: int) -> float:
    return round(count / 1e6, 1)


def _chunks(answer: HTTPResponse, silence: float) -> Generator[bytes, None, None]:
    """What arrives, piece by piece. Raises ConnectionError if it is cut off, falls silent, or only drips."""
    since, lately = time.monotonic(), 0
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, HTTPException) as error:
            raise ConnectionError from error
        if not chunk:
            return
        yield chunk
        lately += len(chunk)
        if time.monotonic() - since > silence:
            if lately < SLOWEST * silence:
                raise ConnectionError
            since, lately = time.monotonic(), 0


def _receive(answer: HTTPResponse, aside: Path, start: int, silence: float) -> Generator[Progress, None, None]:
    received, total, ended = start, _total(answer, start), False
    yield Progress(received, total)
    with aside.open("ab" if start else "wb") as file:
        with suppress(ConnectionError):
            for chunk in _chunks(answer, silence):
                file.write(chunk)
                received += len(chunk)
                if received > MAX_BYTES:
                    raise TooLarge(allowed=_megabytes(MAX_BYTES))
                yield Progress(received, total)
            ended = total is None or received >= total
        file.flush()
        os.fsync(file.fileno())
    if not ended:
        raise BrokenOff(received=_megabytes(received), total=_megabytes(total) if total else "?")


def fetch(url: str, path: Path, sha256: str, silence: float = SILENCE, connect: float = CONNECT) -> Generator[Progress, None, None]:
    """Fetch `url` into `path`, yielding Progress; a file that is there and right is not fetched again.

    `sha256` may be the first digits of the hash, eight at least. What has arrived is kept in `<path>.partial` and continued by the next call;
    if the whole turns out wrong it is removed, and, had it been continued, fetched once more from its beginning. Raises a subclass of
    DownloadError; an older file at `path` is never harmed.
    """
    assert len(sha256) >= 8
    if verified(path, sha256):
        return
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = aside.stat().st_size if aside.exists() else 0
        while True:
            with _open(url, start, connect, silence) as answer:
                start = start if answer.status == 206 else 0
                yield from _receive(answer, aside, start, silence)
            found = _hash(aside)
            if found.startswith(sha256):
                break
            aside.unlink()
            if not start:
                raise NotTheFile(found=found[: len(sha256)], allowed=sha256)
            start = 0
        os.replace(aside, path)
    except TooLarge:
        aside.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise CannotWrite(reason=error.strerror or "unknown") from None
