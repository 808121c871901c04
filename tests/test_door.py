"""The door of the real server: who is answered, what may be left here, what a browser may load, and what stays when a visitor has gone."""

import asyncio
import errno
import gzip
import http.client
import io
import json
import math
import re
import threading
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks._visitor import Visitor
from benchmarks.load import ROOT, Server, photo
from inception_viz import images, models
from inception_viz.figures import pictures
from inception_viz.models import Preprocessing
from pages.shell import door
from pages.shell.results import THUMBNAIL

LONG = 30.0
HERE = {"INCEPTION_VIZ_DEVICE": "cpu", "TORCH_HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server("--server.disconnectedSessionTTL", "1", script="tests/servers/observed.py", environment=HERE)
    yield server
    server.stop()


def fetch(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Message, bytes]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=LONG)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def ask(server: Server, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
    status, told, answer = fetch(server, method, path, body, **headers)
    return status, dict(told.items()), answer.decode("utf-8", "replace")


def observed(server: Server) -> dict[str, int]:
    return json.loads(ask(server, "GET", "/observed")[2])


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, at most LONG seconds."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def visit(server: Server, stay: Callable[[Visitor], Awaitable[None]], **headers: str) -> None:
    """Open the first page, stay for a while, and go."""

    async def come_and_go() -> None:
        async with Visitor(server.address, headers) as visitor:
            await visitor.draw()
            await stay(visitor)

    asyncio.run(come_and_go())


def test_every_answer_says_what_a_browser_may_load(running: Server) -> None:
    for path in ("/", "/clusters", "/_stcore/health", "/static/nowhere.js"):
        _, headers, _ = ask(running, "GET", path)
        policy = {name.lower(): value for name, value in headers.items()}["content-security-policy"]
        assert "img-src 'self' data: blob:;" in policy
        assert not re.search(r"script-src[^;]*unsafe", policy)
        assert "http:" not in policy


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8501", 200), ("localhost", 200), ("[::1]:80", 200), ("192.168.1.7:8501", 200),
    ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403),
])  # fmt: skip
def test_it_answers_to_its_own_names_only(running: Server, host: str, status: int) -> None:
    assert ask(running, "GET", "/_stcore/health", Host=host)[0] == status


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_foreign_page_gets_no_web_socket(running: Server, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection(running.address.removeprefix("http://"), timeout=LONG)
    wanted = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    connection.request("GET", "/_stcore/stream", headers=wanted | {"Sec-WebSocket-Protocol": "streamlit"} | headers)
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/agent/openapi.json"])
def test_what_nobody_needs_is_closed(running: Server, path: str) -> None:
    assert ask(running, "GET", path)[0] == 404


@pytest.mark.parametrize("path", [
    "/app.py", "/../app.py", "/%2e%2e/app.py", "/static/../../app.py", "/static/%2e%2e/%2e%2e/app.py", "/app/static/../app.py", "/app/static/app.py",
    "/app/static/%2e%2e/app.py", "/app/static/..%2f..%2fapp.py", "/media/../app.py", "/media/%2fetc%2fpasswd", "/static/..%5c..%5capp.py",
    "//etc/passwd", "/static//etc/passwd", "/component/../../app.py", "/component/direction/../../../app.py", "/.streamlit/config.toml",
    "/pages/clusters.py", "/_stcore/bidi-components/direction/../../app.py", "/_stcore/upload_file/../../app.py", "/pyproject.toml", "/.git/config",
    "/etc/passwd", "/static/%00", "/%2fetc%2fpasswd",
])  # fmt: skip
def test_no_file_of_the_server_can_be_read_by_its_address(running: Server, path: str) -> None:
    _, _headers, body = ask(running, "GET", path)
    shell = "<title>Streamlit</title>" in body  # the page that every unknown address gets
    assert shell or len(body) < 300
    assert not any(words in body for words in ("root:", "maxUploadSize", "import streamlit", "st.App", "[project]"))


def test_scripts_come_packed_to_who_can_unpack_them(running: Server) -> None:
    """All that a first visit loads: as many bytes as the files have to others, a third of it to browsers."""
    page = fetch(running, "GET", "/")[2].decode()
    paths = ["/" + path for path in re.findall(r"static/(?:js|css)/[^\"]+", page)]
    sent = whole = 0
    for path in paths:
        file = (door.STATIC.parent / path[1:]).read_bytes()
        status, headers, body = fetch(running, "GET", path, Accept_Encoding="gzip, deflate, br")
        assert (status, gzip.decompress(body)) == (200, file)
        assert headers["Content-Type"].split(";")[0] in ("text/javascript", "application/javascript", "text/css")
        assert "immutable" in headers["Cache-Control"]
        assert headers["Vary"] == "Accept-Encoding"
        assert headers["X-Content-Type-Options"] == "nosniff"
        sent, whole = sent + len(body), whole + len(file)
        status, headers, body = fetch(running, "GET", path, Accept_Encoding="identity")
        assert (status, headers["Content-Encoding"], body) == (200, None, file)
    assert len(paths) > 20
    assert sent < whole / 2.5
    assert fetch(running, "GET", paths[0], Accept_Encoding="gzip", Range="bytes=0-9")[::2] == (
        206,
        (door.STATIC.parent / paths[0][1:]).read_bytes()[:10],
    )
    assert b"<!DOCTYPE html>" in fetch(running, "GET", "/static/js/nothing.js", Accept_Encoding="gzip")[2]  # what Streamlit says to it


def test_a_file_is_packed_once_even_if_who_asked_first_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    name, packed, go = next(file.name for file in sorted(door.STATIC.glob("js/*.js"))), [], threading.Event()

    def pack(file: Path) -> bytes:
        assert go.wait(LONG)
        packed.append(file.name)
        return b"packed"

    monkeypatch.setattr(door, "_packed", pack)
    door_of = door.Packed(None)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "GET", "path": f"/static/js/{name}", "headers": [(b"accept-encoding", b"gzip")]}
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    async def come_and_go() -> None:
        first = asyncio.create_task(door_of(scope, None, send))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        first.cancel()
        others = [asyncio.create_task(door_of(scope, None, send)) for _ in range(2)]  # type: ignore[arg-type]
        go.set()
        await asyncio.gather(*others)

    asyncio.run(come_and_go())
    assert packed == [name]
    assert [message.get("body") for message in sent if message["type"] == "http.response.body"] == [b"packed"] * 2


def test_what_cannot_be_packed_comes_as_it_is_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    name, tries, plain = next(file.name for file in sorted(door.STATIC.glob("js/*.js"))), [], []

    def pack(file: Path) -> bytes:
        tries.append(file.name)
        if len(tries) == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return b"packed"

    async def streamlit(scope: dict, receive: object, send: object) -> None:
        plain.append(scope["path"])

    monkeypatch.setattr(door, "_packed", pack)
    packed = door.Packed(streamlit)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "GET", "path": f"/static/js/{name}", "headers": [(b"accept-encoding", b"gzip")]}
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    async def twice() -> None:
        for _ in range(2):
            await packed(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(twice())
    assert (plain, len(tries)) == ([scope["path"]], 2)
    assert sent[-1]["body"] == b"packed"


def test_a_session_may_leave_so_many_files_and_no_more(running: Server) -> None:
    async def leave(visitor: Visitor) -> None:
        urls = await visitor.urls(*(f"{i}.png" for i in range(door.MOST_FILES + 21)))
        statuses = [await asyncio.to_thread(visitor.put, u, "a.png", bytes(100)) for u in urls]
        assert statuses == [204] * door.MOST_FILES + [429] * 21
        visitor.request("DELETE", urls[0].delete_url)
        assert await asyncio.to_thread(visitor.put, urls[-1], "a.png", bytes(100)) == 204

    visit(running, leave)


def test_a_session_may_leave_so_many_bytes_and_no_more(running: Server) -> None:
    async def leave(visitor: Visitor) -> None:
        urls = await visitor.urls("a.png", "b.png", "c.png")
        statuses = [await asyncio.to_thread(visitor.put, u, "a.png", bytes(65_000_000)) for u in urls]
        assert statuses == [204, 204, 429]

    visit(running, leave)
    until(lambda: observed(running)["files"] == 0)


def test_an_upload_needs_a_token_a_session_and_a_length(running: Server) -> None:
    async def leave(visitor: Visitor) -> None:
        (urls,) = await visitor.urls("a.png")
        assert ask(running, "PUT", urls.upload_url, b"data")[0] == 403
        assert visitor.request("PUT", urls.upload_url.replace(visitor.session, "0" * 32), b"data")[0] == 400
        assert visitor.request("PUT", urls.upload_url, None, {"Content-Length": "-1"})[0] in (400, 411)
        assert visitor.request("PUT", urls.upload_url, b"", {"Content-Length": str(139_000_000)})[0] == 413

    visit(running, leave)


def test_who_has_gone_leaves_nothing_running_and_nothing_in_memory(running: Server) -> None:
    async def start_long_work(visitor: Visitor) -> None:
        await visitor.upload("pictures", ("a.jpg", photo(1)))
        assert (await visitor.draw("clusters")).numbers
        assert (await asyncio.to_thread(observed, running))["files"] == 1
        await visitor.draw("attributions")
        box, option = next((box, o) for box in visitor.seen.of("selectbox") for o in box.options if "conductance" in o.lower())
        visitor.states[box.id] = WidgetState(id=box.id, string_value=option)
        before = (await asyncio.to_thread(observed, running))["runs"]
        drawing = asyncio.ensure_future(visitor.draw())
        while (await asyncio.to_thread(observed, running))["runs"] == before:
            await asyncio.sleep(0)
        drawing.cancel()

    def remembered() -> int:
        return observed(running)["remembered"]

    until(lambda: observed(running)["sessions"] == 0)
    before = remembered()
    visit(running, start_long_work)
    assert remembered() > before
    until(lambda: not observed(running)["busy"])
    assert observed(running)["waiting"] == 0
    until(lambda: observed(running)["sessions"] == 0)
    until(lambda: observed(running)["files"] == 0)  # they go a moment after their session
    until(lambda: remembered() <= before)  # and so does all that was computed of them


def test_pictures_reach_the_browser_as_they_were_packed(running: Server) -> None:
    """Streamlit packs none of them anew: what the network sees comes pixel by pixel, the samples as small JPEGs."""
    came: list[bytes] = []

    async def look(visitor: Visitor) -> None:
        for element in visitor.seen.of("imgs"):
            status, body = await asyncio.to_thread(visitor.request, "GET", element.imgs[0].url)
            assert status == 200
            came.append(body)

    visit(running, look)
    first, *_ = images.samples().values()
    view = models.load(device="cpu").weights.preprocessing.view(images.decode(first.read()))
    *samples, seen = came
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(seen))), view)
    assert samples == [
        pictures.photograph(Preprocessing(THUMBNAIL, THUMBNAIL).view(images.decode(s.read()))) for s in images.samples().values()
    ]


def test_the_same_again_asks_the_network_nothing(running: Server) -> None:
    async def again(visitor: Visitor) -> None:
        await visitor.upload("pictures", ("a.jpg", photo(2)))
        first = {}
        for page in ("activations", "correlations", "clusters", "attributions"):
            first[page] = (await visitor.draw(page)).numbers
        before = (await asyncio.to_thread(observed, running))["runs"]
        for page, numbers in first.items():
            assert (await visitor.draw(page)).numbers == numbers
        await visitor.draw("")
        await visitor.upload("pictures", ("b.jpg", photo(2)))
        assert (await asyncio.to_thread(observed, running))["runs"] == before

    visit(running, again)


def test_visitors_are_never_mixed_up(running: Server) -> None:
    async def shown(seed: int) -> str:
        async with Visitor(running.address) as visitor:
            await visitor.draw()
            return (await visitor.upload("pictures", ("a.jpg", photo(100 + seed)))).numbers

    async def alone_and_together() -> None:
        alone = [await shown(seed) for seed in range(4)]
        assert len(set(alone)) == 4
        assert await asyncio.gather(*(shown(seed % 4) for seed in range(8))) == alone * 2

    asyncio.run(alone_and_together())


def test_states_that_no_browser_would_send_end_no_page_with_a_traceback(running: Server) -> None:
    async def odd(visitor: Visitor) -> None:
        await visitor.draw("correlations")
        box = visitor.seen.of("selectbox")[-1].id
        for state in (
            WidgetState(id=box, string_value="nonsense"), WidgetState(id=box, int_value=3), WidgetState(id="nobody", int_value=3),
            WidgetState(id="$$ID-0-choose block en", string_value="x" * 10_000),
        ):  # fmt: skip
            visitor.states = {state.id: state}
            for page in ("clusters", "correlations"):
                seen = await visitor.draw(page)
                assert not seen.of("exception")
                assert "Traceback" not in str(seen.errors)

    assert "Traceback" not in running.said, running.said  # of all that came before
    visit(running, odd)


def test_after_a_restart_under_an_open_page_the_visitor_is_asked_to_upload_again(running: Server) -> None:
    async def upload() -> Visitor:
        async with Visitor(running.address) as visitor:
            await visitor.draw()
            await visitor.upload("pictures", ("a.jpg", photo(3)))
            return visitor

    async def come_again(before: Visitor) -> None:
        for page, states in (("", before.states), ("clusters", {})):
            visitor = Visitor(running.address)
            visitor.session, visitor.states = before.session, dict(states)  # as the browser's tab connects again
            async with visitor:
                seen = await visitor.draw(page, "lang=en&own=1")
                assert visitor.session != before.session
                assert seen.errors == []
                assert any("please upload them again" in a.body for a in seen.of("alert"))

    before = asyncio.run(upload())
    assert running.stop() < 10
    running.begin()
    asyncio.run(come_again(before))


def test_garbage_is_collected_while_somebody_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit's own collection after every run is off."""
    here: list[str] = []
    sessions = SimpleNamespace(list_active_sessions=lambda: here)
    monkeypatch.setattr(door.Runtime, "instance", lambda: SimpleNamespace(_session_mgr=sessions))
    monkeypatch.setattr(door, "COLLECT", 0)
    monkeypatch.setattr(door, "SHARE", math.inf)
    collected: list[bool] = []
    monkeypatch.setattr(door.gc, "collect", lambda: collected.append(bool(here)))

    async def look() -> None:
        collecting = asyncio.create_task(door._collect())
        for _ in range(5):
            await asyncio.sleep(0)
        here.append("somebody")
        while not collected:
            await asyncio.sleep(0)
        collecting.cancel()

    asyncio.run(look())
    assert all(collected)
    assert not tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["runner"]["postScriptGC"]


def test_collecting_garbage_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one collection takes longer, the next comes later."""
    took, pauses = iter((0.001, 0.1, 0.4)), []
    now = [0.0]
    sessions = SimpleNamespace(list_active_sessions=lambda: ["somebody"])
    monkeypatch.setattr(door.Runtime, "instance", lambda: SimpleNamespace(_session_mgr=sessions))
    monkeypatch.setattr(door, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def collect() -> None:
        now[0] += next(took)

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(door.gc, "collect", collect)
    monkeypatch.setattr(door.asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(door._collect())
    assert pauses == pytest.approx([2, 2, 10, 40])
