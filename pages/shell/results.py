"""What the pages show, computed by the engine and remembered; every cache of the app is here, keyed by names and digests."""

import dataclasses
import gc
import hashlib
import logging
import os
import uuid
from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np
import streamlit as st
import torch

from inception_viz import analysis as analyses
from inception_viz import attributions, clusters, correlations, models
from inception_viz.activations import Target, capture
from inception_viz.analysis import Analysis
from inception_viz.attributions import Attribution
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation
from inception_viz.engine.local import Engine, Job, Progress
from inception_viz.errors import Cancelled, VisitorError
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.text import Text
from pages.shell import session

THUMBNAIL = 200
POLL = 0.1  # seconds between two looks at a running job
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@st.cache_resource(show_spinner=False)
def engine(device: str) -> Engine:
    """The one owner of a device."""
    threads = os.environ.get("INCEPTION_VIZ_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    return Engine(device)


@st.cache_resource(show_spinner=False, max_entries=4)
def _load(
    architecture: str, weights: str | None, device: str | None, digest: str, _file: tuple[bytes, str] | None, _names: bytes | None
) -> Model:
    model = models.load(architecture, weights, device, _file, _names)
    gc.collect()
    gc.freeze()  # Streamlit collects garbage after every run: without this it would walk through torch and plotly each time
    return model


@st.cache_data(show_spinner=False, max_entries=100)
def _thumbnail(sha256: str, _picture: Picture) -> np.ndarray:
    return models.Preprocessing(THUMBNAIL, THUMBNAIL).view(_picture)


def thumbnail(picture: Picture) -> np.ndarray:
    """The middle of a picture as a small square, `(THUMBNAIL, THUMBNAIL, 3)`."""
    return _thumbnail(picture.sha256, picture)


def tell(text: Text, error: Exception) -> None:
    """Say what went wrong in the visitor's language, and end the page: no traceback, the details go into the log under a short name."""
    if isinstance(error, VisitorError):
        st.error(error.told(text))
    else:
        name = uuid.uuid4().hex[:8]
        log.error("unexpected error %s", name, exc_info=error)
        st.error(text("Something went wrong on our side. If it happens again, tell whoever runs this server the name {name}.", name=name))
    st.stop()


def model(text: Text) -> Model:
    """The model of this session, loaded once for all who choose the same."""
    chosen = session.current()
    parts = [*(chosen.file or (b"", "")), chosen.class_names or b""]
    digest = hashlib.sha256(b"\0".join(p if isinstance(p, bytes) else p.encode() for p in parts)).hexdigest() if chosen.file else ""
    try:
        with st.spinner(text("The network is being loaded …"), show_time=False):
            return _load(chosen.architecture, chosen.weights, chosen.device, digest, chosen.file, chosen.class_names)
    except Exception as error:
        tell(text, error)
        raise


def _stop(key: Hashable) -> None:
    session.current().choices["stopped"] = key


def _start_again() -> None:
    session.current().choices.pop("stopped", None)


def compute(text: Text, model: Model, slot: str, key: Hashable, work: Callable[[Progress], Result], evaluations: int = 1) -> Result:
    """The result of `work`, from memory or from the owner of the model's device, with place in the queue, progress and a way to stop.

    While it waits, every call to Streamlit is a point where a new click or a closed tab ends this run: then `finally` gives the work up.
    """
    owner, visitor = engine(str(model.device)), session.current().id
    if session.current().choices.get("stopped") == key:
        st.info(text(Cancelled.words))
        st.button(text("Start again"), on_click=_start_again)
        st.stop()
    try:
        job = owner.submit(visitor, slot, key, work, evaluations)
        if not job.wait(3 * POLL):
            _watch(text, owner, job)
        return job.result()
    except Exception as error:
        tell(text, error)
        raise
    finally:
        owner.cancel(visitor, slot)


def _watch(text: Text, owner: Engine, job: Job) -> None:
    place = st.empty()
    with place.container():
        bar = st.progress(0.0, text("Waiting …"))
        st.button(text("Stop"), key=f"stop {job.key}", on_click=_stop, args=(job.key,))
    while not job.wait(POLL):
        ahead = owner.place(job)
        told = (
            text.plural("{n} request is before yours.", "{n} requests are before yours.", ahead)
            if ahead
            else text("The network is at work …")
        )
        bar.progress(job.progress.fraction, told)
    place.empty()


def analysis(text: Text, target: Target | None = None, picture: Picture | None = None, model_: Model | None = None) -> Analysis:
    """The analysis of the session's picture by the session's model."""
    chosen, used = picture or session.current().picture, model_ or model(text)
    key = ("analysis", used.key, chosen.sha256, target)
    found = compute(text, used, "analysis", key, lambda progress: analyses.analyze(used, chosen, target))
    facts = analyses.PictureFacts(chosen.name, chosen.sha256, chosen.width, chosen.height)
    return dataclasses.replace(found, picture=facts)  # equal files share a result, but each visitor's file keeps its own name


@st.cache_data(show_spinner=False, max_entries=200)
def _clusters(key: str, block: str, definition: str, method: str, count: int | None, _correlation: Correlation) -> Clusters:
    return clusters.find(_correlation, method, count, definition)


def similarity(analysis: Analysis, block: str, definition: str = "spatial") -> Correlation:
    """The similarity of a block's channels on one picture, in one of the definitions of firing together."""
    if definition == "binary":
        return _jaccard(analysis.key, block, analysis.blocks[block].activation)
    return analysis.blocks[block].correlation


@st.cache_data(show_spinner=False, max_entries=50)
def _jaccard(key: str, block: str, _activation: np.ndarray) -> Correlation:
    return correlations.jaccard(torch.from_numpy(np.array(_activation)))


def clustered(
    text: Text, key: str, block: str, correlation: Correlation, method: str, count: int | None, definition: str = "spatial"
) -> Clusters:
    """Clusters of a block's channels."""
    try:
        return _clusters(key, block, definition, method, count, correlation)
    except VisitorError as error:
        tell(text, error)
        raise


@st.cache_data(show_spinner=False, max_entries=200)
def _order(key: str, block: str, definition: str, _correlation: Correlation) -> np.ndarray:
    return correlations.order(_correlation)


def order(analysis: Analysis, block: str, definition: str = "spatial") -> np.ndarray:
    """An order of the block's channels in which similar ones lie side by side."""
    return _order(analysis.key, block, definition, similarity(analysis, block, definition))


def pooled(text: Text, block: str) -> np.ndarray:
    """Mean activation of every channel of a block on each of the session's pictures, `(N, C)`."""
    used, pictures = model(text), session.current().pictures

    def work(progress: Progress) -> np.ndarray:
        rows = []
        for picture in pictures:
            progress.tick()
            rows.append(capture(used, used.input(picture), gradients=False).activations[block].mean((2, 3)).cpu().numpy())
        return np.concatenate(rows)

    key = ("pooled", used.key, block, tuple(p.sha256 for p in pictures))
    return compute(text, used, "pooled", key, work, len(pictures))


def attribution(text: Text, analysis: Analysis, block: str, method: str, labels: np.ndarray) -> Attribution:
    """What each channel of a block gives to the analysis' target, by any method."""
    if method == "gradient x activation":
        return analysis.blocks[block].attribution
    used, picture, target = model(text), session.current().picture, analysis.target
    key = ("attribution", analysis.key, block, method, hashlib.sha256(labels.tobytes()).hexdigest())
    entry = attributions.METHODS[method]

    def work(progress: Progress) -> Attribution:
        return attributions.attribute(used, used.input(picture), target, block, method, labels, progress.tick)

    return compute(text, used, "attribution", key, work, entry.evaluations)


def pixel_map(text: Text, analysis: Analysis, method: str) -> np.ndarray:
    """What each place of the picture gives to the analysis' target."""
    used, picture, target = model(text), session.current().picture, analysis.target

    def work(progress: Progress) -> np.ndarray:
        return attributions.attribute_pixels(used, used.input(picture), target, method, progress.tick)

    return compute(text, used, "pixels", ("pixels", analysis.key, method), work, attributions.PIXEL_METHODS[method].evaluations)
