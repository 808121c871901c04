"""Work on its way to another process of ours: a pickled function in which a ticket stands for every model, so that no network travels twice.

A ticket names the model's values, structure and facts: whoever holds a model of that ticket gives the same answers. Only what this project's own
processes have packed is ever opened. Needs Ray, for its way of pickling functions.
"""

import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from ray import cloudpickle

from inception_viz.analysis import Look, look
from inception_viz.engine.analyzing import Analyzing
from inception_viz.engine.local import Answer, Progress, WithModel, on_cpu
from inception_viz.models import Model, once_per_model
from inception_viz.weights import digest


@dataclass(frozen=True)
class Parcel:
    """Work (or a look for an analysis) without its models, and the tickets of these; the first is that of the model that does it."""

    work: bytes
    tickets: tuple[str, ...]
    joins: bool


@once_per_model
def _values(model: Model) -> str:
    return hashlib.sha256(f"{digest(model.network.state_dict())} {model.network!r}".encode()).hexdigest()


def ticket(model: Model) -> str:
    """The name of a model wherever it is."""
    facts = f"{_values(model)} {model.architecture} {model.weights!r} {model.dtype}"
    return hashlib.sha256(facts.encode()).hexdigest()


class _Packer(cloudpickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.models: dict[str, Model] = {}

    def persistent_id(self, thing: object) -> str | None:
        """The ticket of a model; None for what is packed as it is."""
        if not isinstance(thing, Model):
            return None
        name = ticket(thing)
        self.models[name] = thing
        return name


class _Opener(pickle.Unpickler):
    def __init__(self, data: bytes, models: Mapping[str, Model]) -> None:
        super().__init__(io.BytesIO(data))
        self._models = models

    def persistent_load(self, name: str) -> Model:
        """The model of a ticket."""
        return self._models[name]


def packed(work: WithModel) -> tuple[Parcel, dict[str, Model]]:
    """The parcel, and the models of its tickets; of an analysis only what the network sees of the picture goes in."""
    joins = isinstance(work.do, Analyzing)
    inner = look(work.model, work.do.picture, work.do.target) if isinstance(work.do, Analyzing) else work.do
    file = io.BytesIO()
    packer = _Packer(file)
    packer.dump(inner)
    models = {ticket(work.model): work.model} | packer.models
    return Parcel(file.getvalue(), tuple(models), joins), models


def opened(parcel: Parcel, models: Mapping[str, Model]) -> Callable[[Progress], object]:
    """The work, to be done with these models."""
    do = _Opener(parcel.work, models).load()
    return WithModel(do, models[parcel.tickets[0]])


def looked(parcel: Parcel) -> Look:
    """What an analysis is asked of."""
    return pickle.loads(parcel.work)  # noqa: S301  packed by this project


def packed_model(model: Model) -> bytes:
    """A model as it travels, on the CPU."""
    return pickle.dumps(model if model.device.type == "cpu" else on_cpu(model), pickle.HIGHEST_PROTOCOL)


def opened_model(data: bytes, device: str) -> Model:
    """The model that came, on a device."""
    model: Model = pickle.loads(data)  # noqa: S301  packed by this project
    where = torch.device(device)
    return replace(model, network=model.network.to(where, memory_format=torch.channels_last), device=where)  # type: ignore[call-overload]


def packed_answer(answer: Answer) -> bytes:
    """An answer as it travels; an error that can't is told in its words."""
    try:
        return cloudpickle.dumps(answer)
    except Exception as error:
        return pickle.dumps(Answer(error=RuntimeError(f"{answer.error!r} ({type(error).__name__} on the way)")))
