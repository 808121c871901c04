"""What is told beside the figures of a race."""

import streamlit as st

from inception_viz.measurement import Timing
from inception_viz.text import Text


def run_on(text: Text, timing: Timing, more: str = "") -> None:
    """Device, threads, precision and rounds of a race; `more` is another sentence, already in the visitor's language."""
    where = timing.conditions
    told = text.plural(
        "Timed by turns on {device} with {n} thread, {precision}, in {rounds} rounds after a first one.",
        "Timed by turns on {device} with {n} threads, {precision}, in {rounds} rounds after a first one.",
        where.threads, device=where.device, precision=where.precision, rounds=timing.repeats,
    )  # fmt: skip
    st.caption(f"{told} {text('A ratio is the median over the rounds, bars are its 95% interval.')} {more}")
