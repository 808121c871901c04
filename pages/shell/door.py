"""What stands between the network and the pages: who is answered, how much may be left here, what a browser may load, and that it comes packed.

Streamlit's own checks stay on behind it (XSRF tokens, the origin of web sockets, the size of one upload); measured without this door, one session
could leave any number of files here, any host name was answered, and a file name could make a browser fetch a foreign picture.
"""

import asyncio
import base64
import gc
import gzip
import hashlib
import ipaddress
import logging
import mimetypes
import re
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession

from inception_viz.text import Text
from pages.shell import ghost, session, sign_in

MOST_FILES = 40  # a session's: twelve pictures, twelve others, weights, class names, and some to spare
MOST_BYTES = 140_000_000  # a session's: the weights of Inception v3 have 109 MB
MOST_BYTES_OF_ALL = 2_000_000_000
SWEEP = 5.0  # seconds between two looks for sessions that have ended
COLLECT, SHARE = 2.0, 0.01  # seconds between two collections of garbage at the least, and the most of all time that they may take
# Seconds that a thread may keep the interpreter: while thirty pages are drawn, the thread that answers waits for as many turns.
TURN = 0.0005
CLOSED = ("/_stcore/metrics", "/_stcore/agent")  # open to everybody otherwise, and nothing here needs them
UPLOAD = re.compile(r"^/_stcore/upload_file/([^/]+)/([^/]+)$")

STATIC = Path(st.__file__).parent / "static" / "static"
BUNDLE = re.compile(r"/static/((?:js|css)/[\w.-]+\.(?:js|css))$")
PARTIAL = {"range", "if-none-match", "if-modified-since"}  # asks for a part, or whether there is anything new: not for the whole
# The names hold a hash of the content, and Streamlit says the same of them.
FOR_EVER = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding", "Cache-Control": "public, immutable, max-age=31536000"}

log = logging.getLogger(__name__)


def _inline_scripts() -> str:
    """The hashes of the scripts inside Streamlit's own page, so that no other inline script has to be allowed."""
    page = (STATIC.parent / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)


POLICY = "; ".join(
    (
        "default-src 'self'",
        f"script-src 'self' blob: data: {_inline_scripts()}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "media-src 'self' blob:",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
}


class Protected:
    """Adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, guarded if scope["type"] == "http" else send)


def _bare(host: str) -> str:
    """A host name or address without its port, as the Host header gives it.

    >>> _bare("[::1]:8501"), _bare("Example.org:80")
    ('::1', 'example.org')
    """
    host = host.strip().lower()
    return host[1:].split("]")[0] if host.startswith("[") else host.rsplit(":", 1)[0] if ":" in host else host.rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def answers_to(host: str) -> bool:
    """Whether this server answers to a name: an address in digits, this machine's own name, or one of `server.allowedHosts`.

    A foreign page can point a name of its own at this machine ("DNS rebinding"), but not an address.
    """
    bare, own = _bare(host), socket.gethostname().lower()
    named = {"localhost", own, f"{own.split('.')[0]}.local", *(name.strip().lower() for name in config.get_option("server.allowedHosts"))}
    return _is_address(bare) or bare in named or "*" in named


class Known:
    """Answers only to its own names, and closes CLOSED."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not answers_to(Headers(scope=scope).get("host", "")):
            await _refuse(scope, receive, send, 403, "This server does not answer to that name; see server.allowedHosts.")
        elif scope["path"].startswith(CLOSED):
            await _refuse(scope, receive, send, 404, "Not found.")
        else:
            await self.app(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await PlainTextResponse(words, status)(scope, receive, send)


def _held() -> dict[str, dict[str, Any]]:
    """Session -> file -> what was uploaded, as Streamlit keeps it in memory."""
    return Runtime.instance().uploaded_file_mgr.file_storage if Runtime.exists() else {}  # type: ignore[attr-defined]


def _admitted(session: str) -> bool:
    found = Runtime.instance()._session_mgr.get_active_session_info(session) if Runtime.exists() else None
    return found is not None and sign_in.admits(found.session._user_info)


REFUSED = {
    403: "Sign in first.",
    429: "This session has left too much here already. Close the page and open it again.",
    507: "Too much has been left here by everybody together. Try again in some minutes.",
}


class Bounded:
    """Refuses an upload (429) beyond MOST_FILES or MOST_BYTES of a session, or (507) MOST_BYTES_OF_ALL; what is on its way counts.

    Where visitors have to sign in, nothing is taken (403) from those who have not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.coming: dict[str, list[int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        upload = UPLOAD.match(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if upload is None:
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if not length.isdecimal():
            await _refuse(scope, receive, send, 411, "The length of an upload must be told.")
            return
        if (status := self._status(upload[1], int(length))) is not None:
            await _refuse(scope, receive, send, status, REFUSED[status])
            return
        coming = self.coming.setdefault(upload[1], [])
        coming.append(int(length))
        try:
            await self.app(scope, receive, send)
        finally:
            coming.remove(int(length))
            if not coming:
                self.coming.pop(upload[1], None)

    def _status(self, session: str, length: int) -> int | None:
        if sign_in.wanted() and not _admitted(session):
            return 403
        held = {name: [len(file.data) for file in list(files.values())] for name, files in list(_held().items())}
        mine = [*held.get(session, []), *self.coming.get(session, [])]
        if len(mine) >= MOST_FILES or sum(mine) + length > MOST_BYTES:
            return 429
        everything = sum(map(sum, held.values())) + sum(map(sum, self.coming.values()))
        return 507 if everything + length > MOST_BYTES_OF_ALL else None


class Packed:
    """Gives Streamlit's own scripts and styles packed, each packed once and kept: Streamlit gives them as they are, 9 MB to every new visitor.

    Elsewhere a proxy stands before the server and does it; here it is thirty browsers and one radio.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.packed: dict[str, asyncio.Task[bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        name = _wanted_packed(scope)
        if name is None:
            await self.app(scope, receive, send)
            return
        if name not in self.packed:
            self.packed[name] = asyncio.create_task(asyncio.to_thread(_packed, STATIC / name))
        try:
            body = await asyncio.shield(self.packed[name])  # whoever asked first may leave before it is there
        except OSError:  # too many open files, say: this time as it is, next time once more
            self.packed.pop(name, None)
            await self.app(scope, receive, send)
            return
        await Response(body, headers=FOR_EVER, media_type=mimetypes.guess_type(name)[0])(scope, receive, send)


def _wanted_packed(scope: Scope) -> str | None:
    """The file of Streamlit's that a request wants whole and can unpack; None for any other request."""
    found = BUNDLE.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
    if found is None or not (STATIC / found[1]).is_file():
        return None
    asked = Headers(scope=scope)
    return found[1] if "gzip" in asked.get("accept-encoding", "") and not PARTIAL & set(asked) else None


def _packed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), 6)


MIDDLEWARE = [Middleware(Protected), Middleware(Known), Middleware(Packed), Middleware(Bounded)]


def told(error: Exception) -> bool:
    """What a visitor sees when a page's script raises: a name to look for in the log, and nothing of the error."""
    from pages.shell import results

    with suppress(Exception):  # `tell` ends with Streamlit's own exception that stops a page; there is nothing left to stop
        results.tell(Text(session.current().language), error)
    return True


async def _sweep() -> None:
    """End the sessions whose time is over.

    Streamlit lets go of them only when another visitor comes or goes, and what was uploaded only when the garbage is collected after that.
    """
    before: dict[str, AppSession] = {}
    leaving: set[str] = set()
    while True:
        await asyncio.sleep(SWEEP)
        now = {info.session.id: info.session for info in Runtime.instance()._session_mgr.list_sessions()}
        gone = before.keys() - now.keys()
        for name in gone:
            before[name].shutdown()
        for name in leaving:  # a round later: a page that was being drawn has ended, and adds nothing more
            session.gone(name)
        if gone or leaving:
            gc.collect()
        before, leaving = now, gone


async def _collect() -> None:
    """Collect garbage while anybody is here: Streamlit would after every run of a page, which costs thirty tabs a third of the time.

    With ten tabs one collection was seen to take 0.15 s, in which nothing else happens: so the next waits the longer.
    """
    pause = COLLECT
    while True:
        await asyncio.sleep(pause)
        if Runtime.instance()._session_mgr.list_active_sessions():
            started = time.perf_counter()
            gc.collect()
            pause = max(COLLECT, (time.perf_counter() - started) / SHARE)


@asynccontextmanager
async def opened(app: st.App) -> AsyncGenerator[dict[str, Any], None]:
    """Before the first visitor: a ghost has been to the main pages; afterwards: nothing runs any more."""
    sys.setswitchinterval(TURN)
    await ghost.visit(Runtime.instance())
    keeping = [asyncio.create_task(_sweep()), asyncio.create_task(_collect())]
    yield {}
    for task in keeping:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
