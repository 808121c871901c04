"""A picture made to excite what was chosen, with the caution that belongs beside it."""

from collections.abc import Generator

import numpy as np
import streamlit as st

from inception_viz import features
from inception_viz.analysis import Analysis
from inception_viz.engine.local import Progress
from inception_viz.features import Feature
from inception_viz.models import Model
from inception_viz.text import Text
from pages.shell import controls, results


def _made(text: Text, analysis: Analysis, block: str, channels: np.ndarray, seed: int) -> Feature:
    used, wanted = results.model(text), tuple(int(c) for c in channels)

    def work(on: Model, progress: Progress) -> Feature:
        climb: Generator[float, None, Feature] = features.maximise(on, block, wanted, seed)
        while True:
            try:
                progress.set(next(climb))
            except StopIteration as end:
                made: Feature = end.value
                return made

    here, smaller = results.here_or_on_cpu(used, work)
    return results.compute(text, used, "feature", ("feature", used.key, block, wanted, seed), here, smaller=smaller)


def _told(text: Text, analysis: Analysis, made: Feature) -> None:
    real = float(analysis.blocks[made.block].activation[list(made.channels)].mean())
    st.metric(text("Mean activation on the picture made"), text.isolated(f"{made.reached:.3g}"))
    st.metric(text("Mean activation on your picture"), text.isolated(f"{real:.3g}"))
    st.metric(text("Mean activation on noise, where it began"), text.isolated(f"{made.begun:.3g}"))
    st.caption(
        text(
            "{n} steps of Adam in a Fourier basis, each under a random shift, zoom and noise; seed {seed}.",
            n=len(made.course),
            seed=made.seed,
        )
    )
    if made.reached <= made.begun:
        st.warning(text("Nothing was found that excites these channels more than noise does."))


def expander(text: Text, analysis: Analysis, block: str, channels: np.ndarray) -> None:
    """On request, the picture that excites some channels of a block most, made by the engine."""
    with st.expander(text("A picture made to excite it")):
        st.warning(
            text(
                "Made by climbing, not photographed: it shows what can drive these channels, not what they look for. Other pictures drive them as much."
            )
        )
        if len(channels) == 0:
            return
        seed = controls.number("seed", text("Seed: another beginning, often another picture"), 0, 9, 0)
        if not controls.switch("excite", text("Make the picture (some seconds)")):
            return
        made = _made(text, analysis, block, channels, seed)
        left, right = st.columns([1, 1])
        with left:
            seen = text.plural(
                "Made to excite {n} channel of block {block}", "Made to excite {n} channels of block {block}", len(channels), block=block
            )
            st.image(made.picture, caption=seen, alt=seen, width="stretch")
        with right:
            _told(text, analysis, made)
