"""Downloads from a local server that is slow, silent, cut off, wrong, or a login page."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inception_viz import downloads
from inception_viz.text import Text
from tests.conftest import BODY, HASH, Server

Answer = Callable[[socket.socket, threading.Event], None]


@contextmanager
def answering(*answers: Answer) -> Iterator[str]:
    """A server that meets its callers, one after the other, with `answers`; each may wait for the event, which comes at the end."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)

        def serve() -> None:
            for answer in answers:
                caller, _ = listening.accept()
                with caller:
                    caller.recv(65536)
                    try:
                        answer(caller, over)
                    except OSError:  # hung up on: what some of the tests want
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/file"
        finally:
            over.set()
            thread.join(20)
            assert not thread.is_alive()


def says(status: str, body: bytes = b"", **headers: str | int) -> Answer:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]

    def answer(caller: socket.socket, over: threading.Event) -> None:
        caller.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return answer


def test_a_file_arrives_whole_with_progress(server: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.pth"
    told = list(downloads.fetch(f"{server}/file", path, HASH[:8]))
    assert path.read_bytes() == BODY
    assert told[0] == downloads.Progress(0, len(BODY))
    assert told[-1] == downloads.Progress(len(BODY), len(BODY))
    assert [t.received for t in told] == sorted(t.received for t in told)
    assert list(path.parent.iterdir()) == [path]


def test_what_is_there_and_right_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(BODY)
    assert list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH)) == []
    assert Server.ranges == ()


def test_a_broken_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    with pytest.raises(downloads.BrokenOff):
        list(downloads.fetch(f"{server}/cut", path, HASH))
    kept = (tmp_path / "w.partial").stat().st_size
    assert 0 < kept < len(BODY)
    assert not path.exists()
    list(downloads.fetch(f"{server}/cut", path, HASH))
    assert path.read_bytes() == BODY
    assert Server.ranges == (None, f"bytes={kept}-")


def test_a_server_that_knows_no_ranges_sends_all_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "w.partial").write_bytes(BODY[:1000])
    list(downloads.fetch(f"{server}/norange", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == BODY


def test_a_partial_file_that_is_whole_already_is_taken(server: str, tmp_path: Path) -> None:
    (tmp_path / "w.partial").write_bytes(BODY)
    list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == BODY


@pytest.mark.parametrize("path", ["login", "file"])
def test_another_file_is_refused_and_the_older_one_kept(server: str, tmp_path: Path, path: str) -> None:
    (tmp_path / "w").write_bytes(b"older")
    with pytest.raises(downloads.NotTheFile):
        list(downloads.fetch(f"{server}/{path}", tmp_path / "w", "0" * 64))
    assert (tmp_path / "w").read_bytes() == b"older"
    assert not (tmp_path / "w.partial").exists()


def test_a_silent_server_is_given_up(server: str, tmp_path: Path) -> None:
    with pytest.raises(downloads.Unreachable):
        list(downloads.fetch(f"{server}/silent", tmp_path / "w", HASH, silence=0.3))


def test_a_server_that_falls_silent_in_the_middle_is_given_up_and_the_part_kept(tmp_path: Path) -> None:
    def silent(caller: socket.socket, over: threading.Event) -> None:
        says("200 OK", BODY[:5000], Content_Length=len(BODY))(caller, over)
        over.wait(20)

    with answering(silent) as url, pytest.raises(downloads.BrokenOff):
        list(downloads.fetch(url, tmp_path / "w", HASH, silence=0.3))
    assert (tmp_path / "w.partial").read_bytes() == BODY[:5000]


def test_a_server_that_drips_is_given_up(tmp_path: Path) -> None:
    def drip(caller: socket.socket, over: threading.Event) -> None:
        says("200 OK", Content_Length=len(BODY))(caller, over)
        for i in range(2000):
            if over.wait(0.02):
                return
            caller.sendall(BODY[i : i + 1])

    with answering(drip) as url, pytest.raises(downloads.BrokenOff):
        list(downloads.fetch(url, tmp_path / "w", HASH, silence=0.3))
    kept = (tmp_path / "w.partial").read_bytes()
    assert 0 < len(kept) < 300
    assert kept == BODY[: len(kept)]


def test_a_slow_but_steady_server_is_waited_for(tmp_path: Path) -> None:
    def slow(caller: socket.socket, over: threading.Event) -> None:
        says("200 OK", Content_Length=len(BODY))(caller, over)
        for i in range(0, len(BODY), len(BODY) // 8):
            over.wait(0.05)
            caller.sendall(BODY[i : i + len(BODY) // 8])

    with answering(slow) as url:
        told = list(downloads.fetch(url, tmp_path / "w", HASH, silence=0.2))
    assert len(told) > 8
    assert (tmp_path / "w").read_bytes() == BODY


def test_a_length_that_nobody_told_does_not_make_a_cut_file_whole(tmp_path: Path) -> None:
    """Chunks without their end: what came is kept, not thrown away as another file."""
    half = b"%x\r\n%s\r\n" % (5000, BODY[:5000])
    rest = says("206 Partial Content", BODY[5000:], Content_Length=len(BODY) - 5000)
    with answering(says("200 OK", half, Transfer_Encoding="chunked"), rest) as url:
        with pytest.raises(downloads.BrokenOff) as error:
            list(downloads.fetch(url, tmp_path / "w", HASH))
        assert error.value.facts == {"received": 0.0, "total": "?"}
        assert {p.total for p in downloads.fetch(url, tmp_path / "w", HASH)} == {len(BODY)}
    assert (tmp_path / "w").read_bytes() == BODY


def test_a_login_page_does_not_spoil_what_has_arrived(tmp_path: Path) -> None:
    (tmp_path / "w.partial").write_bytes(BODY[:70_000])
    page = says("200 OK", b"<html>", Content_Type="text/html; charset=utf-8", Content_Length=6)
    rest = says("206 Partial Content", BODY[70_000:], Content_Length=len(BODY) - 70_000)
    with answering(page, rest) as url:
        with pytest.raises(downloads.LoginPage):
            list(downloads.fetch(url, tmp_path / "w", HASH))
        list(downloads.fetch(url, tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == BODY


def test_a_damaged_part_is_fetched_anew_by_itself(server: str, tmp_path: Path) -> None:
    (tmp_path / "w.partial").write_bytes(b"something else")
    list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == BODY
    assert Server.ranges == ("bytes=14-", None)


@pytest.mark.parametrize("told", [True, False])
def test_a_file_beyond_the_limit_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(downloads, "MAX_BYTES", 100_000)
    headers: dict[str, str | int] = {"Content_Length": len(BODY)} if told else {}
    with answering(says("200 OK", BODY, **headers)) as url, pytest.raises(downloads.TooLarge):
        list(downloads.fetch(url, tmp_path / "w", HASH))
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_is_left_keeps_its_part_for_the_next(server: str, tmp_path: Path) -> None:
    running = downloads.fetch(f"{server}/file", tmp_path / "w", HASH)
    next(running)
    while next(running).received == 0:
        pass
    running.close()
    kept = (tmp_path / "w.partial").stat().st_size
    assert 0 < kept < len(BODY)
    list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert Server.ranges == (None, f"bytes={kept}-")
    assert (tmp_path / "w").read_bytes() == BODY


def test_the_wait_to_be_connected_is_not_the_wait_for_an_answer(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []
    connect = socket.create_connection

    def noted(address: tuple[str, int], timeout: float | None = None, *rest: object) -> socket.socket:
        waits.append(timeout)
        return connect(address, timeout)

    class Noted(downloads._Plain):
        def connect(self) -> None:
            self._create_connection = noted
            super().connect()
            waits.append(self.sock.gettimeout())

    monkeypatch.setattr(downloads, "_Plain", Noted)
    list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH, silence=7, connect=3))
    assert waits == [3, 7]


def test_the_reason_is_told_in_the_visitors_language(tmp_path: Path) -> None:
    with pytest.raises(downloads.Unreachable) as refused:
        list(downloads.fetch("http://127.0.0.1:9/", tmp_path / "w", HASH))
    assert "the connection was refused" in str(refused.value)
    assert "رفض الاتصال" in refused.value.told(Text("ar"))
    for url in ("file:///etc/hostname", "nonsense", "http://[::1", "http://", "ftp://127.0.0.1/w"):
        with pytest.raises(downloads.Unreachable):
            list(downloads.fetch(url, tmp_path / "w", HASH))
    with answering(lambda caller, over: None) as url, pytest.raises(downloads.Unreachable, match="the connection broke off"):
        list(downloads.fetch(url, tmp_path / "w", HASH))
    with answering(says("nonsense")) as url, pytest.raises(downloads.Unreachable):
        list(downloads.fetch(url, tmp_path / "w", HASH))


def test_no_and_nobody_are_told(server: str, tmp_path: Path) -> None:
    with pytest.raises(downloads.Unreachable, match="404"):
        list(downloads.fetch(f"{server}/missing", tmp_path / "w", HASH))
    with pytest.raises(downloads.Unreachable):
        list(downloads.fetch("http://127.0.0.1:9/", tmp_path / "w", HASH))


def test_a_folder_that_cannot_be_written_is_told(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    with pytest.raises(downloads.CannotWrite):
        list(downloads.fetch(f"{server}/file", tmp_path / "file" / "w", HASH))


def test_a_full_disk_is_told_and_the_older_file_kept(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").write_bytes(b"older")

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "replace", full)
    with pytest.raises(downloads.CannotWrite, match="No space"):
        list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == b"older"


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(BODY)
    assert downloads.verified(path, HASH)
    path.write_bytes(BODY[:-1])
    assert not downloads.verified(path, HASH)
    assert not downloads.verified(tmp_path / "nowhere", HASH)


def test_a_disk_that_fills_up_while_writing_is_told(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").write_bytes(b"older")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(downloads.CannotWrite, match="No space"):
        list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == b"older"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(server: str, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(downloads.CannotWrite):
        list(downloads.fetch(f"{server}/file", tmp_path / "closed" / "w", HASH))
