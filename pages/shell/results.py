"""What the pages show, computed by the engine and remembered; every cache of the app is here, keyed by names and digests."""

import dataclasses
import gc
import hashlib
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TypeVar

import numpy as np
import streamlit as st
import torch

from inception_viz import analysis as analyses
from inception_viz import attributions, clusters, correlations, images, models
from inception_viz.activations import Target, capture
from inception_viz.analysis import Analysis
from inception_viz.attributions import Attribution
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation
from inception_viz.engine import cluster
from inception_viz.engine.analyzing import Analyzing
from inception_viz.engine.local import Engine, Job, Progress, WithModel, on_cpu
from inception_viz.errors import Cancelled, VisitorError
from inception_viz.figures import pictures
from inception_viz.images import Picture
from inception_viz.memory import Memory, remembered
from inception_viz.models import Model
from inception_viz.text import Text
from pages.shell import session

THUMBNAIL = 200
KEPT = 4  # models
POLL = 0.1  # seconds between two looks at a running job
Result = TypeVar("Result")
# What only the interpreter does goes one at a time: it does no two things at once, and the thread that answers would wait for all.
TURN = threading.RLock()
log = logging.getLogger(__name__)


@st.cache_resource(show_spinner=False)
def engine(device: str) -> Engine:
    """The one owner of a device. Torch gets all processors but one, which draws the pages, or as many as INCEPTION_VIZ_THREADS says."""
    threads = os.environ.get("INCEPTION_VIZ_THREADS", "")
    torch.set_num_threads(int(threads) if threads.isdecimal() and int(threads) else max(1, (os.cpu_count() or 1) - 1))
    return Engine(device)


@cache  # asked at every page, and quicker than Streamlit's, which sees to it that two who ask at once don't make two
@st.cache_resource(show_spinner=False)
def shared() -> Engine | None:
    """The engine of a Ray cluster, where the environment asks for one. Raises UnknownChoice or Missing."""
    asked = cluster.settings()
    return cluster.engine(cluster.Cluster(asked)) if asked else None


def _owner(model: Model, work: Callable[[Progress], object]) -> Engine:
    """Who does it: a cluster what it can do, which is all that needs nothing but a model; else the owner of the model's device."""
    return (shared() if isinstance(work, WithModel) else None) or engine(str(model.device))


def _device() -> str:
    """Where this session's networks are: work on a cluster is prepared on the CPU."""
    return "cpu" if shared() else str(models.choose_device(session.current().device))


@st.cache_resource(show_spinner=False, max_entries=KEPT)
def _load(
    architecture: str, weights: str | None, device: str, digests: tuple[str, ...], _file: tuple[bytes, str] | None, _names: bytes | None
) -> Model:
    return models.load(architecture, weights, device, _file, _names)


@st.cache_resource(show_spinner=False)
def _settle(_model: Model) -> None:
    """Once a server: one pass through the first network, then freeze what is in memory by now.

    Streamlit collects garbage after every run: without this it would walk through torch and plotly each time. Not after later networks: what
    is frozen is never collected, and a network and its extractors refer to each other.
    """
    first = session.sample(next(iter(images.samples())))
    key = _analysis_key(_model, first, None)
    work = WithModel(Analyzing(first), _model)
    _owner(_model, work).submit("settle", "settle", key, work).wait()
    gc.collect()
    gc.freeze()


@remembered(100)
def _thumbnail(sha256: str, _picture: Picture) -> bytes:
    return pictures.photograph(models.Preprocessing(THUMBNAIL, THUMBNAIL).view(_picture))


def thumbnail(picture: Picture) -> bytes:
    """The middle of a picture as a small square of THUMBNAIL pixels, as JPEG; packed once."""
    return _thumbnail(picture.sha256, picture)


@remembered(100)
def _exact(digest: str, _view: np.ndarray) -> bytes:
    return pictures.exact(_view)


def seen(analysis: Analysis) -> bytes:
    """What the network saw, as PNG; packed once."""
    return _exact(hashlib.sha256(analysis.view.tobytes()).hexdigest(), analysis.view)


def plain(words: str) -> str:
    """Words that came from outside, such as a file name, as Markdown that shows them and does nothing else: no link, no foreign picture."""
    return re.sub(r"([\\`*_\[\]<>!#|~$&:])", r"\\\1", words)


def tell(text: Text, error: Exception) -> None:
    """Say what went wrong in the visitor's language, and end the page: no traceback, the details go into the log under a short name."""
    if isinstance(error, VisitorError):
        st.error(plain(error.told(text)))
    else:
        name = uuid.uuid4().hex[:8]
        log.error("unexpected error %s", name, exc_info=error)
        st.error(text("Something went wrong on our side. If it happens again, tell whoever runs this server the name {name}.", name=name))
    st.stop()


_loaded: Memory[bool] = Memory(KEPT)  # which models `_load` has at hand: a spinner starts a thread, whether it will turn or not
_at_hand: ContextVar[tuple[Hashable, Model] | None] = ContextVar("model", default=None)  # of the page that this thread draws


def model(text: Text) -> Model:
    """The model of this session, loaded once for all who choose the same."""
    chosen = session.current()
    file, names = chosen.file, chosen.class_names
    digests = (file.sha256, file.name, names.sha256 if names else "") if file else ()
    try:
        device = _device()
        weights = None if chosen.file else chosen.weights or models.choices(chosen.architecture)[0]
        key = (chosen.architecture, weights, device, digests)
        if (held := _at_hand.get()) is not None and held[0] == key:
            return held[1]
        there = _loaded.find(key, chosen.id)
        with nullcontext() if there else st.spinner(text("The network is being loaded …"), show_time=False):
            own, listed = (file.data, file.name) if file else None, names.data if names else None
            loaded = _load(*key, own, listed)
            _settle(loaded)
        _loaded.keep(key, True, [chosen.id])
        _at_hand.set((key, loaded))
        return loaded
    except Exception as error:
        if chosen.has_own_model:  # or the visitor could not get to the place where another is chosen
            st.button(text("Back to the network that comes first"), on_click=chosen.forget_model, type="primary")
        tell(text, error)
        raise


def named_model(text: Text, architecture: str, weights: str) -> Model:
    """A network of this machine beside the session's own, on the session's device."""
    try:
        with st.spinner(text("The network is being loaded …"), show_time=False):
            return _load(architecture, weights, _device(), (), None, None)
    except Exception as error:
        tell(text, error)
        raise


def _stop(key: Hashable, owner: Engine, slot: str) -> None:
    chosen = session.current()
    chosen.choices["stopped"] = key
    owner.cancel(chosen.id, slot)


def _start_again() -> None:
    session.current().choices.pop("stopped", None)


def compute(
    text: Text,
    model: Model,
    slot: str,
    key: Hashable,
    work: Callable[[Progress], Result],
    evaluations: int = 1,
    smaller: Callable[[Progress], Result] | None = None,
    in_turns: bool = False,
) -> Result:
    """The result of `work`, from memory or from the owner of the model's device, with place in the queue, progress and a way to stop.

    While it waits, every call to Streamlit is a point where a new click or a closed tab ends this run, and `finally` leaves the work: it goes
    on if the next run asks for the same, and stops if that asks for something else or nobody comes back. So `runner.fastReruns` can stay on:
    a click counts at once, and the owner still does one thing at a time. `smaller` answers where the device's memory is too small.
    """
    owner, visitor = _owner(model, work), session.current().id
    if session.current().choices.get("stopped") == key:
        st.info(text(Cancelled.words))
        st.button(text("Start again"), on_click=_start_again)
        st.stop()
    job: Job[Result] | None = None
    try:
        job = owner.submit(visitor, slot, key, work, evaluations, smaller, in_turns)
        if not job.wait(3 * POLL):
            _watch(text, owner, job)
        if job.smaller:
            st.warning(text("{device} ran out of memory; the CPU answered instead.", device=owner.name))
        if job.fewer:
            st.warning(text("{device} ran out of memory; it answered in smaller steps, which takes longer.", device=owner.name))
        return job.result()
    except Exception as error:
        tell(text, error)
        raise
    finally:
        if job:
            job.leave()


def _watch(text: Text, owner: Engine, job: Job) -> None:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, text("Waiting …"))
        st.button(text("Stop"), key=f"stop {hash(job.key)}", on_click=_stop, args=(job.key, owner, job.slot))
    while not job.wait(POLL):
        ahead = job.place
        told = (
            text.plural("{n} request is before yours.", "{n} requests are before yours.", ahead)
            if ahead
            else text("The network is at work …")
        )
        bar.progress(job.progress, told)
    place.empty()


def here_or_on_cpu(
    model: Model, do: Callable[[Model, Progress], Result]
) -> tuple[Callable[[Progress], Result], Callable[[Progress], Result] | None]:
    """`do` with the model where it is, and with its copy on the CPU if that is elsewhere."""
    elsewhere = None if model.device.type == "cpu" else lambda progress: do(on_cpu(model), progress)
    return WithModel(do, model), elsewhere


def _analysis_key(model: Model, picture: Picture, target: Target | None) -> Hashable:
    """Equal files of weights may come with other class names, and under another name: these are part of the answer."""
    return ("analysis", model.key, model.weights.name, model.weights.class_names.get("en"), picture.sha256, target)


def analysis(text: Text, target: Target | None = None, picture: Picture | None = None, model_: Model | None = None) -> Analysis:
    """The analysis of the session's picture by the session's model; for `target`, or for the likeliest class."""
    chosen, used = picture or session.current().picture, model_ or model(text)
    if target is not None and (likeliest := analysis(text, None, chosen, used)).target == target:
        return likeliest
    work, smaller = here_or_on_cpu(used, Analyzing(chosen, target))
    found = compute(text, used, "analysis", _analysis_key(used, chosen, target), work, smaller=smaller)
    facts = analyses.PictureFacts(chosen.name, chosen.sha256, chosen.width, chosen.height)
    return dataclasses.replace(found, picture=facts)  # equal files share a result, but each visitor's file keeps its own name


@remembered(200)
def _clusters(key: str, block: str, definition: str, method: str, count: int | None, _correlation: Correlation) -> Clusters:
    with TURN:
        return clusters.find(_correlation, method, count, definition)


@remembered(50)
def _similarity(key: str, block: str, definition: str, transform: str, _values: np.ndarray) -> Correlation:
    with TURN:
        return correlations.measure(definition, transform)(torch.from_numpy(np.array(_values)))


def similarity(text: Text, analysis: Analysis, block: str, definition: str = "spatial", transform: str = correlations.PLAIN) -> Correlation:
    """The similarity of a block's channels, in one of the definitions of firing together; "image" needs three pictures or more."""
    if (definition, transform) == ("spatial", correlations.PLAIN):
        return analysis.blocks[block].correlation
    values = pooled(text, block) if definition == "image" else analysis.blocks[block].activation
    return _similarity(similarity_key(analysis, definition), block, definition, transform, values)


def similarity_key(analysis: Analysis, definition: str) -> str:
    """What a similarity was computed from: one picture, or all of the session's."""
    return analysis.model.key + "".join(p.sha256 for p in session.current().pictures) if definition == "image" else analysis.without_target


def clustered(
    text: Text, key: str, block: str, correlation: Correlation, method: str, count: int | None, definition: str = "spatial"
) -> Clusters:
    """Clusters of a block's channels."""
    try:
        return _clusters(key, block, definition, method, count, correlation)
    except VisitorError as error:
        tell(text, error)
        raise


def order(similar: Correlation) -> np.ndarray:
    """An order of the channels in which similar ones lie side by side."""
    with TURN:
        return correlations.order(similar)


def pooled(text: Text, block: str) -> np.ndarray:
    """Mean activation of every channel of a block on each of the session's pictures, `(N, C)`."""
    used, pictures = model(text), session.current().pictures

    def pool(on: Model, progress: Progress) -> np.ndarray:
        rows = []
        for picture in pictures:
            progress.tick()
            rows.append(capture(on, on.input(picture), gradients=False).activations[block].mean((2, 3)).cpu().numpy())
        return np.concatenate(rows)

    key = ("pooled", used.key, block, tuple(p.sha256 for p in pictures))
    work, smaller = here_or_on_cpu(used, pool)
    return compute(text, used, "pooled", key, work, len(pictures), smaller)


def attribution(text: Text, analysis: Analysis, block: str, method: str, labels: np.ndarray) -> Attribution:
    """What each channel of a block gives to the analysis' target, by any method."""
    if method == "gradient x activation":
        return analysis.blocks[block].attribution
    used, picture, target = model(text), session.current().picture, analysis.target
    key = ("attribution", analysis.key, block, method, hashlib.sha256(labels.tobytes()).hexdigest())
    entry = attributions.METHODS[method]

    def attribute(on: Model, progress: Progress) -> Attribution:
        return attributions.attribute(on, on.input(picture), target, block, method, labels, progress.tick)

    work, smaller = here_or_on_cpu(used, attribute)
    return compute(text, used, "attribution", key, work, entry.evaluations, smaller)


def everywhere(text: Text, analysis: Analysis, method: str) -> dict[str, Attribution]:
    """What the channels of every block give to the analysis' target, by one method, in one job with one progress bar."""
    if method == "gradient x activation":
        return {name: block.attribution for name, block in analysis.blocks.items()}
    used, picture, target = model(text), session.current().picture, analysis.target
    entry = attributions.METHODS[method]
    labels = dict.fromkeys(analysis.blocks) if not entry.needs_clusters else {n: c.labels for n, c in analyses.clustered(analysis)}

    def attribute(on: Model, progress: Progress) -> dict[str, Attribution]:
        inputs = on.input(picture)
        return {n: attributions.attribute(on, inputs, target, n, method, labels[n], progress.tick).without_maps() for n in analysis.blocks}

    work, smaller = here_or_on_cpu(used, attribute)
    key = ("everywhere", analysis.key, method)
    return compute(text, used, "everywhere", key, work, entry.evaluations * len(analysis.blocks), smaller)


def pixel_map(text: Text, analysis: Analysis, method: str) -> np.ndarray:
    """What each place of the picture gives to the analysis' target."""
    used, picture, target = model(text), session.current().picture, analysis.target

    def attribute(on: Model, progress: Progress) -> np.ndarray:
        return attributions.attribute_pixels(on, on.input(picture), target, method, progress.tick)

    work, smaller = here_or_on_cpu(used, attribute)
    return compute(text, used, "pixels", ("pixels", analysis.key, method), work, attributions.PIXEL_METHODS[method].evaluations, smaller)
