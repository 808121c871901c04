"""Waste as the engine finds it for the pages."""

import hashlib

import numpy as np
import streamlit as st

from inception_viz import corpus, images, nulls, pruning, waste
from inception_viz import labelled as library
from inception_viz.engine.local import Progress
from inception_viz.images import Picture
from inception_viz.labelled import Labelled
from inception_viz.measurement import Conditions, conditions
from inception_viz.pruning import Pruning
from inception_viz.text import Text
from inception_viz.waste import Idle, LayerWeights, Looking, Seen
from pages.shell import controls, results, session

ZIP_MB = 50
ENOUGH = 4  # pictures of the visitor's own; with fewer the samples join them


def pictures() -> list[Picture]:
    """The session's pictures; with few of them the samples too."""
    own = session.current().pictures or [session.current().picture]
    known = {picture.sha256 for picture in own}
    samples = [session.sample(name) for name in images.samples()] if len(own) < ENOUGH else []
    return [*own, *(sample for sample in samples if sample.sha256 not in known)]


def _digest() -> str:
    return hashlib.sha256("".join(picture.sha256 for picture in pictures()).encode()).hexdigest()


def threshold(text: Text) -> float:
    """From which share of its layer's root mean square on a weight is no longer near zero."""
    label = text("Near zero: smaller than this share of the layer's root mean square, %")
    return controls.number("near zero", label, 1, 100, round(100 * waste.THRESHOLD)) / 100


def similar(text: Text) -> float:
    """From which |r| on a channel is a copy of another."""
    return controls.number("similar", text("Copies: channels whose |r| is above this, %"), 50, 100, round(100 * waste.SIMILAR)) / 100


def where(text: Text) -> Conditions:
    """On which device the network is."""
    used = results.model(text)
    return conditions(used.device, used.dtype)


def near_zero(text: Text, below: float) -> list[LayerWeights]:
    """Every layer's near-zero weights."""
    used = results.model(text)
    return results.compute(text, used, "near zero", ("near zero", used.key, below), lambda progress: waste.near_zero(used, below))


def histogram(text: Text) -> np.ndarray:
    """How the weights are distributed."""
    used = results.model(text)
    return results.compute(text, used, "histogram", ("histogram", used.key), lambda progress: waste.histogram(used))


def _looked(text: Text, twin: bool) -> dict[str, Seen]:
    used, shown = results.model(text), pictures()

    def work(progress: Progress) -> Looking:
        return waste.look(nulls.twin(used, waste.SEED) if twin else used, shown, progress.check)

    return results.compute(text, used, f"looked {twin}", ("looked", used.key, twin, _digest()), work)


def idle(text: Text, above: float) -> Idle:
    """Every block's wasted channels, and those of an untrained twin."""
    used = results.model(text)
    seen, twin_seen = _looked(text, False), _looked(text, True)
    key = ("idle", used.key, _digest(), above)
    return results.compute(text, used, "idle", key, lambda progress: Idle.of(seen, twin_seen, above))


def labelled(text: Text) -> Labelled | None:
    """Pictures whose class is known, if the visitor gives a zip of them."""
    with st.expander(text("Labelled pictures of your own: judge by who is right")):
        upload = st.file_uploader(
            text("A zip of folders, each called after a class of this network (or its WordNet id)"), type=["zip"], key="labelled zip",
            max_upload_size=ZIP_MB,
        )  # fmt: skip
        st.caption(text("Up to {n} pictures are drawn from it; they stay in this server's memory and go when you do.", n=library.MOST))
    if upload is None:
        return None
    used, data = results.model(text), upload.getvalue()
    key = ("labelled", used.key, used.weights.class_names.get("en"), hashlib.sha256(data).hexdigest())

    def work(progress: Progress) -> Labelled:
        return library.labelled(used, corpus.archive(data, upload.name), tick=progress.check)

    found = results.compute(text, used, "labelled", key, work)
    if found.left_out:
        st.caption(text.plural("{n} file was left out.", "{n} files were left out.", found.left_out))
    return found


def pruned(text: Text, below: float, above: float, known: Labelled | None) -> Pruning:
    """What removing waste does, judged by labelled pictures if there are any."""
    used, shown = results.model(text), pictures()
    key = ("pruned", used.key, _digest(), below, above, known and known.digest)
    return results.compute(text, used, "pruned", key, lambda progress: pruning.prune(used, shown, below, above, known, tick=progress.check))


def looked_at(text: Text) -> None:
    """On how many views of how many pictures waste was looked for."""
    shown = len(pictures())
    st.caption(
        text.plural(
            "Looked for on {views} views (parts of it, some mirrored) of {n} picture; on others a channel may wake up.",
            "Looked for on {views} views (parts of them, some mirrored) of {n} pictures; on others a channel may wake up.",
            shown, views=waste.LOOKED_AT * shown,
        )
    )  # fmt: skip


def judged_on(text: Text, found: Pruning) -> None:
    """On what the network without its waste was judged, and what that is worth."""
    n = found.judged[0].n
    if found.labelled:
        st.caption(text("Judged on {n} labelled pictures. Lines are 95% intervals; dotted: the whole network.", n=n))
    else:
        st.caption(
            text(
                "Judged on {n} other views of the same pictures, by whether the network says what it said before: not by whether it is right. "
                "On unlike pictures it may change more. Lines are 95% intervals.",
                n=n,
            )
        )
