"""The process between the app and a Ray cluster: Ray ends the process that joined a cluster when that has gone, and the app should live on.

`python -m inception_viz.engine.between DESCRIPTOR` talks over the socket that it inherits. In come `("begin", settings)`, `("model", ticket, bytes)`,
`("forget", ticket)`, `("do", number, parcel, evaluations)` `("stop", number)` and `("bye",)`; out go `("ready", facts)`, `("gone", reason)`, and for a number
`("at", number, fraction)`, `("again", number)` or `("end", number, answer)`. When the app's side closes, everything here ends too.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import ray
from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from inception_viz.engine import parcels
from inception_viz.engine.cluster import Lost, Settings, reachable
from inception_viz.engine.local import Answer
from inception_viz.engine.parcels import Parcel
from inception_viz.engine.ray import ROOT, start
from inception_viz.engine.replica import Replica

TRIES = 3  # how often work is begun before it is taken to be what kills the replicas
WATCH = 1.0  # seconds between two looks at the cluster
MISSED = 3  # looks in a row that find nobody
NAME = "inception-viz"
DIED = (RayActorError, ActorDiedError, ActorUnavailableError, DeploymentUnavailableError)


def _name(process: int) -> str:
    return f"{NAME}-{socket.gethostname()}-{process}"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _tidy() -> None:
    """Take away what servers of this machine have left that were killed."""
    mine = f"{NAME}-{socket.gethostname()}-"
    for name in serve.status().applications:
        if name.startswith(mine) and not _alive(int(name.removeprefix(mine))):
            serve.delete(name)


def deployed(settings: Settings) -> tuple[DeploymentHandle, dict[str, object]]:
    """The way to the replicas, and how many there are on what."""
    start(None, settings.address)
    have = ray.cluster_resources()
    gpus, cores = int(have.get("GPU", 0)), max(1, int(have.get("CPU", 1)))
    replicas = settings.replicas or gpus or max(1, cores // 2)
    device = "cuda" if gpus else "cpu"
    share = min(1.0, gpus / replicas) if gpus else 0.0
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    serve.start(proxy_location="Disabled", logging_config=quiet)
    _tidy()
    deployment = serve.deployment(
        Replica,
        name="replica",
        num_replicas=replicas,
        max_ongoing_requests=4 * settings.batch,
        graceful_shutdown_timeout_s=2,
        health_check_period_s=2,
        ray_actor_options={
            "num_cpus": 0 if gpus else min(1.0, cores / replicas),
            "num_gpus": share,
            "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}},
        },
    )
    threads = settings.threads or max(1, cores // replicas)
    bound = deployment.bind(device, threads, settings.batch)  # type: ignore[attr-defined]
    handle = serve.run(bound, name=_name(os.getpid()), route_prefix=None, logging_config=quiet)
    return handle, {"replicas": replicas, "device": device}


@dataclass(eq=False)
class Between:
    """What the process knows: the way to the replicas, the models it holds for them, and the work that is under way."""

    connection: Connection
    handle: DeploymentHandle
    models: dict[str, Any] = field(default_factory=dict)
    under_way: dict[int, asyncio.Task] = field(default_factory=dict)

    async def listen(self) -> None:
        """Do what the app says, until it has gone."""
        loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch())
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, *given = await loop.run_in_executor(None, self.connection.recv)
                if kind == "bye":
                    break
                getattr(self, f"_{kind}")(*given)
        for task in [watching, *self.under_way.values()]:
            task.cancel()

    def _model(self, ticket: str, data: bytes) -> None:
        self.models[ticket] = ray.put(data)

    def _forget(self, ticket: str) -> None:
        self.models.pop(ticket, None)

    def _do(self, number: int, parcel: Parcel, evaluations: int) -> None:
        references = {name: self.models[name] for name in parcel.tickets}
        task = asyncio.create_task(self._done(number, parcel, evaluations, references))
        self.under_way[number] = task
        task.add_done_callback(lambda ended: self.under_way.pop(number, None))

    def _stop(self, number: int) -> None:
        if number in self.under_way:
            self.under_way[number].cancel()

    async def _done(self, number: int, parcel: Parcel, evaluations: int, references: dict[str, Any]) -> None:
        for _ in range(TRIES):
            try:
                self.connection.send(("end", number, await self._asked(number, parcel, evaluations, references)))
                return
            except DIED:
                self.connection.send(("again", number))
            except Exception as error:
                self.connection.send(("end", number, parcels.packed_answer(Answer(error=error))))
                return
        self.connection.send(("end", number, parcels.packed_answer(Answer(error=Lost(tries=TRIES)))))

    async def _asked(self, number: int, parcel: Parcel, evaluations: int, references: dict[str, Any]) -> bytes:
        if parcel.joins:
            response = self.handle.analysis.remote(parcel, references)
            try:
                return await response
            except asyncio.CancelledError:
                response.cancel()
                raise
        work = self.handle.work.options(stream=True)
        steps: Any = work.remote(parcel, evaluations, references)  # a generator of responses, as its type does not say
        try:
            async for told in steps:
                if isinstance(told, bytes):
                    return told
                self.connection.send(("at", number, told))
        except asyncio.CancelledError:
            steps.cancel()
            raise
        raise RuntimeError("the replica ended without an answer")

    async def _watch(self) -> None:
        """Say so when the cluster has gone, before Ray ends this process for it."""
        address, missed = ray.get_runtime_context().gcs_address, 0
        while missed < MISSED:
            await asyncio.sleep(WATCH)
            missed = 0 if await asyncio.to_thread(reachable, address) else missed + 1
        self.connection.send(("gone", f"nobody answers at {address}"))
        os._exit(1)  # to leave a cluster that has gone in order would take Ray a minute


def main(descriptor: int) -> None:
    """Serve until the app's side of the socket closes."""
    connection = Connection(descriptor)
    _, settings = connection.recv()
    try:
        handle, facts = deployed(settings)
    except Exception as error:
        connection.send(("gone", repr(error)))
        return
    connection.send(("ready", facts))
    try:
        asyncio.run(Between(connection, handle).listen())
    finally:
        with contextlib.suppress(Exception):
            serve.delete(_name(os.getpid()))
        ray.shutdown()


if __name__ == "__main__":
    logging.getLogger("ray").setLevel(logging.ERROR)
    main(int(sys.argv[1]))
