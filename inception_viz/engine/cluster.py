"""A Ray cluster as the app's engine: work with a model goes to its replicas, and what is known, asked for twice or no longer wanted is settled here.

The app itself never joins the cluster (see `between`): where the cluster goes, the app stays and says so, and the next request tries again.
"""

import itertools
import logging
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from inception_viz.engine.local import Answer, Engine, Progress, WithModel, Work
from inception_viz.errors import UnknownChoice, VisitorError
from inception_viz.models import Model
from inception_viz.text import message

ENGINE = "INCEPTION_VIZ_ENGINE"  # "local" or "ray"
ADDRESS = "INCEPTION_VIZ_RAY_ADDRESS"  # of a running cluster; without it one is started on this machine
REPLICAS = "INCEPTION_VIZ_RAY_REPLICAS"
BATCH = "INCEPTION_VIZ_RAY_BATCH"
THREADS = "INCEPTION_VIZ_THREADS"
LOCAL, RAY = "local", "ray"
ROOT = Path(__file__).parent.parent.parent
LANES = 64  # requests that are with the cluster at once
BOUND = 1000  # requests that wait behind those
MODELS = 8  # that the process between holds for the replicas
POLL = 0.1
START_SECONDS = 180.0  # until all replicas are there
CONNECT_SECONDS = 2.0

log = logging.getLogger(__name__)


class Gone(VisitorError):
    """The cluster does not answer."""

    words = message("The Ray cluster that works for this server does not answer. Try again in a minute, or tell whoever runs the server.")


class Missing(VisitorError):
    """The server was told to use Ray, which it does not have."""

    words = message("This server was told to work on a Ray cluster, but Ray is not installed on it (pip install -r requirements-ray.txt).")


class Lost(VisitorError):
    """The replicas died over one piece of work again and again."""

    words = message(
        "{tries} processes of the cluster died over this. Try it with a smaller picture or fewer steps, or tell whoever runs the server."
    )


@dataclass(frozen=True)
class Settings:
    """Where the cluster is (None: one of this machine's own), how many replicas it gets (None: as many as it has GPUs, else half its processor cores),
    how many analyses go through the network together at most, and processor threads a replica (None: the cores shared).
    """

    address: str | None = None
    replicas: int | None = None
    batch: int = 8
    threads: int | None = None


def _count(name: str) -> int | None:
    told = os.environ.get(name, "")
    if told and not (told.isdecimal() and int(told)):
        raise UnknownChoice(found=told, kind=message("number"), allowed="1, 2, 3, …")
    return int(told) if told else None


def settings() -> Settings | None:
    """What the environment says; None for the local engine. Raises UnknownChoice or Missing."""
    told = os.environ.get(ENGINE) or LOCAL
    if told not in (LOCAL, RAY):
        raise UnknownChoice(found=told, kind=message("engine"), allowed=f"{LOCAL}, {RAY}")
    if told == LOCAL:
        return None
    if find_spec("ray") is None:
        raise Missing()
    return Settings(os.environ.get(ADDRESS) or None, _count(REPLICAS), _count(BATCH) or Settings.batch, _count(THREADS))


def reachable(address: str) -> bool:
    """Whether anything listens at `host:port`; what is no such thing ("auto") is left to Ray."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


class _Life:
    """One life of the process between, from its start until it or the cluster has gone."""

    def __init__(self, settings: Settings) -> None:
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", "inception_viz.engine.between", str(theirs.fileno())]
        environment = os.environ | {"RAY_SERVE_LOG_TO_STDERR": "0"}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.changed = threading.Event()
        self.ready = self.gone = False
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue] = {}
        self._models: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._say("begin", settings)
        threading.Thread(target=self._listen, args=(self._connection,), name="from the cluster", daemon=True).start()

    def _say(self, *told: object) -> None:
        try:
            self._connection.send(told)
        except OSError:
            self.gone = True

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                kind, *told = connection.recv()
            except (EOFError, OSError):
                break
            if kind == "ready":
                log.info("the cluster is ready: %s", told[0])
                self.ready = True
                self.changed.set()
            elif kind == "gone":
                log.error("the cluster has gone: %s", told[0])
                break
            elif (answers := self._waiting.get(told[0])) is not None:
                answers.put((kind, *told[1:]))
        with self._lock:
            self.gone = True
            for answers in self._waiting.values():
                answers.put(("gone",))
        self.changed.set()
        connection.close()
        self.process.wait()

    def ask(self, work: WithModel, evaluations: int) -> tuple[int, "queue.SimpleQueue"]:
        """Send work on its way: its number, and where the words about it arrive."""
        from inception_viz.engine import parcels

        parcel, models = parcels.packed(work)
        with self._lock:
            number, answers = next(self._numbers), queue.SimpleQueue[tuple]()
            self._waiting[number] = answers
            if self.gone:
                answers.put(("gone",))
            for name, model in models.items():
                self._give(name, model)
            self._say("do", number, parcel, evaluations)
        return number, answers

    def _give(self, name: str, model: Model) -> None:
        from inception_viz.engine import parcels

        if name not in self._models:
            self._say("model", name, parcels.packed_model(model))
        self._models[name] = None
        self._models.move_to_end(name)
        while len(self._models) > MODELS:
            self._say("forget", self._models.popitem(last=False)[0])

    def end(self, number: int, finished: bool) -> None:
        """Nobody listens for this number any longer."""
        with self._lock:
            self._waiting.pop(number, None)
            if not finished and not self.gone:
                self._say("stop", number)

    def close(self) -> None:
        """Let the process between take leave of the cluster."""
        with self._lock:
            self.gone = True
            self._say("bye")
        self.process.wait()


class Cluster:
    """The way to a cluster; it is looked for when it is first needed, and again when it was lost."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._life: _Life | None = None
        self._lock = threading.Lock()

    def answer(self, work: Work, progress: Progress, evaluations: int) -> Answer:
        """How the work ended on the cluster. Raises Gone, or Cancelled when nobody waits for it any longer."""
        assert isinstance(work, WithModel)
        life = self._living(progress)
        number, answers = life.ask(work, evaluations)
        finished = False
        try:
            while True:
                try:
                    kind, *told = answers.get(timeout=POLL)
                except queue.Empty:
                    progress.check()
                    continue
                if kind == "at":
                    progress.set(told[0])
                elif kind == "again":
                    progress.restart()
                else:
                    finished = True
                    return _ended(kind, told)
        finally:
            life.end(number, finished)

    def _living(self, progress: Progress) -> _Life:
        with self._lock:
            life = self._life
            if life is None or life.gone:
                if self.settings.address and not reachable(self.settings.address):
                    raise Gone()
                self._life = life = _Life(self.settings)
        waited = 0.0
        while not life.changed.wait(POLL):
            progress.check()
            waited += POLL
            if waited > START_SECONDS:
                life.process.kill()
        if life.gone:
            raise Gone()
        return life

    def close(self) -> None:
        """Leave the cluster, and end it if it was started for us alone."""
        with self._lock:
            if self._life is not None:
                self._life.close()
                self._life = None


def _ended(kind: str, told: list) -> Answer:
    if kind == "gone":
        raise Gone()
    answer: Answer = pickle.loads(told[0])  # noqa: S301  packed by the process between, which is ours
    return answer


def engine(cluster: Cluster) -> Engine:
    """An engine whose work is done by a cluster."""
    return Engine("Ray", bound=BOUND, elsewhere=cluster.answer, lanes=LANES)
