"""What several tests share: small networks, a picture, and a server of files that misbehaves."""

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import settings

from inception_viz import images, models
from inception_viz.models import Model

settings.register_profile("untimed", deadline=None)  # a busy machine is no error
settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Where several processes test: a file stays in one, and so do all browser tests, which share a server and a browser."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/e2e" if nodeid.startswith("tests/e2e/") else super()._split_scope(nodeid)

    return Scheduling(config, log)


def looking_at(model: Model, side: int) -> Model:
    """The same model, seeing pictures of `side` x `side` pixels."""
    return dataclasses.replace(model, weights=dataclasses.replace(model.weights, preprocessing=models.Preprocessing(side, side)))


@pytest.fixture(scope="session")
def googlenet() -> Model:
    """GoogLeNet with random weights, looking at 64 pixels a side."""
    return looking_at(models.load("googlenet", "random", "cpu"), 64)


@pytest.fixture(scope="session")
def inception_v3() -> Model:
    """Inception v3 with random weights, looking at 96 pixels a side."""
    return looking_at(models.load("inception_v3", "random", "cpu"), 96)


@pytest.fixture(scope="session")
def chelsea() -> images.Picture:
    """A photograph of a cat."""
    return images.decode(images.samples()["chelsea"].read(), "chelsea.png")


BODY = bytes(range(256)) * 4000
HASH = hashlib.sha256(BODY).hexdigest()
LOGIN = b"<html><form action=login>"


class Server(BaseHTTPRequestHandler):
    """Answers by the path; `cuts` says how many more times /cut breaks off."""

    cuts = 1
    ranges: tuple[str | None, ...] = ()
    silence = threading.Event()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        cls = type(self)
        cls.ranges += (self.headers.get("Range"),)
        if self.path == "/silent":
            cls.silence.wait(20)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/login":
            self._send(LOGIN)
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if self.path == "/norange":
            start = 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self._send(BODY[start:], 206 if start else 200, cut=self.path == "/cut" and cls.cuts > 0)

    def _send(self, body: bytes, status: int = 200, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            type(self).cuts -= 1
            body = body[: len(body) // 3]
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[str]:
    Server.cuts, Server.ranges, Server.silence = 1, (), threading.Event()
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    Server.silence.set()
    running.shutdown()
    running.server_close()
    thread.join()
