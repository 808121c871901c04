"""Small networks trained by the engine for the pages."""

from collections.abc import Sequence

import streamlit as st

from inception_viz import overfitting
from inception_viz.overfitting import Study
from inception_viz.text import Text
from pages.shell import controls, lab, results


def choices(text: Text) -> tuple[int, float]:
    """How often each network is trained, and which share of its labels is wrong."""
    left, right = st.columns(2)
    with left:
        seeds = controls.number("seeds", text("Seeds"), 2, 10, overfitting.SEEDS)
    with right:
        noise = controls.number("noise", text("Wrong training labels, %"), 0, round(100 * overfitting.MOST_NOISE), 0)
    return seeds, noise / 100


def size(text: Text) -> tuple[int, int]:
    """How wide the network is, and with how many labels it is trained."""
    left, right = st.columns(2)
    with left:
        chosen = width(text)
    with right:
        return chosen, labels(text)


def labels(text: Text) -> int:
    """With how many labels networks are trained."""
    return controls.choice("labels", text("Training labels"), {n: str(n) for n in overfitting.LABELS}, 100)


def width(text: Text) -> int:
    """How wide the network is."""
    return controls.choice("small width", text("Channels of the first convolution"), {n: str(n) for n in overfitting.WIDTHS}, 16)


def trained(text: Text, widths: Sequence[int], counts: Sequence[int], seeds: int, noise: float, ask: bool = False) -> Study:
    """All runs; with `ask` only after a click, unless they are known."""
    used = results.model(text)
    key = ("overfitting", tuple(widths), tuple(counts), seeds, noise)
    if ask:
        lab.started(text, used, key, text("Train {n} networks (up to a minute)", n=len(widths) * len(counts) * seeds))
    return results.compute(text, used, "overfitting", key, lambda progress: overfitting.study(widths, counts, seeds, noise), in_turns=True)


def told(text: Text, found: Study) -> None:
    """On what, how often and where networks were trained."""
    where, run = found.conditions, found.runs[0]
    seeds = len({one.seed for one in found.runs})
    st.caption(
        text(
            "scikit-learn's digits, 8 x 8 pixels; {held} other pictures for testing; {steps} steps of Adam; {n} seeds, mean and 95% interval.",
            held=overfitting.HELD_OUT, steps=int(run.steps[-1]), n=seeds,
        )
        + " " + text("Trained on {device}, threads: {threads}, {precision}.", device=where.device, threads=where.threads, precision=where.precision)
    )  # fmt: skip
