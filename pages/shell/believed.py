"""Whether an attribution is to be believed: curves, numbers and a verdict beside it; failing methods are marked, not hidden."""

from collections.abc import Mapping

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from inception_viz import attributions as library
from inception_viz.analysis import Analysis
from inception_viz.attributions import MOST_MISSED, MOST_MOVED, NUDGES, ORDERS, RADIUS, SUBSETS, Check
from inception_viz.figures import attributions as drawing
from inception_viz.text import Text
from pages.shell import controls, evidence, frame


def _verdict(text: Text, method: str, found: Check) -> None:
    failures = " · ".join(text(words) for words in found.failures)
    if failures:
        st.warning(text("✗ {method} fails here: {failures}.", method=text(method), failures=failures))
    else:
        st.success(text("✓ {method} passes all checks on this network, block and picture.", method=text(method)))


def _numbers(text: Text, found: Check) -> dict[str, str]:
    faith = found.faithfulness
    return {
        text("Gap, logits"): f"{faith.gap:+.2f}",
        text("p of the gap"): f"{faith.p:.2f}",
        text("Infidelity"): f"{faith.unexplained:.2f}",
        text("Sensitivity"): f"{found.sensitivity:.2f}",
        text("Completeness"): "–" if found.delta is None else f"{found.delta:+.1%}",
    }


def _meanings(text: Text) -> list[str]:
    return [
        text("The area between both curves: a good ranking falls early when its first goes, and rises early when its first comes back."),
        text("How many of {n} random orders have as large a gap; p cannot be below {least}.", n=ORDERS, least=f"{1 / (1 + ORDERS):.2f}"),
        text("How far the values miss what happens when random subsets go (n = {n}), over what saying nothing would miss; 1 or more fails.", n=SUBSETS),
        text("The largest relative change of the values when no pixel moves by more than {radius} (n = {n} nudges); above {most} fails.",
             radius=RADIUS, n=NUDGES, most=MOST_MOVED),
        text("How far the sum of the values misses the change of the target that it promises; above {most} fails.", most=f"{MOST_MISSED:.0%}"),
    ]  # fmt: skip


def _shown(text: Text, method: str, found: Check, pieces: str, name: str) -> None:
    _verdict(text, method, found)
    left, right = st.columns([3, 2])
    with left:
        frame.show(drawing.curves(found.faithfulness, text), name)
        st.caption(pieces)
    columns = right.columns(2)
    for index, ((label, value), meaning) in enumerate(zip(_numbers(text, found).items(), _meanings(text), strict=True)):
        columns[index % 2].metric(label, text.isolated(value), help=meaning)


def _mark(text: Text, found: Mapping[str, Check], place: DeltaGenerator) -> None:
    """Methods that passed and failed, at the top of the page, where methods are chosen."""
    verdicts = [("✗ " if one.failures else "✓ ") + text(method) for method, one in found.items()]
    place.caption(text("Checked on this network, block and picture: {list}", list=" · ".join(verdicts)))


def block(text: Text, analysis: Analysis, name: str, labels: np.ndarray, method: str, marks: DeltaGenerator) -> None:
    """The check of one method at a block, and of all methods: each on request, for it takes as long as the method many times over.

    What failed is marked in `marks`, too.
    """
    if not controls.switch("check method", text("Check this method (takes longer)")):
        st.info(text("Not checked yet: a method can draw convincing bars that have little to do with what the network does."))
        return
    found = evidence.checked(text, analysis, name, labels, method)
    pieces = text("Clusters go one by one (n = {n}), set to zero", n=int(labels.max(initial=-1)) + 1)
    _shown(text, method, found, pieces, f"attributions-check-{name}")
    tried = {method: found}
    if controls.switch("check every", text("Check every method (slow)")):
        tried = {other: evidence.checked(text, analysis, name, labels, other) for other in library.METHODS}
        st.dataframe([_row(text, other, one) for other, one in tried.items()], hide_index=True)
    _mark(text, tried, marks)


def _row(text: Text, method: str, found: Check) -> dict[str, str]:
    verdict = "✗ " + " · ".join(text(words) for words in found.failures) if found.failures else "✓"
    return {text("Method"): text(method), text("Checks"): verdict} | _numbers(text, found)


def beside(text: Text, method: str, found: Mapping[str, Check]) -> None:
    """The checks of one method on the sides of a comparison, by the sides' names."""
    for (name, one), column in zip(found.items(), st.columns(len(found)), strict=True):
        with column:
            _verdict(text, method, one)
            frame.show(drawing.curves(one.faithfulness, text), f"compared-check-{name}")
    st.dataframe([{text("Side"): name} | _numbers(text, one) for name, one in found.items()], hide_index=True)


def pixels(text: Text, analysis: Analysis, method: str) -> None:
    """The check of one pixel map, on request."""
    if controls.switch("check pixels", text("Check the pixel map too (slow)")):
        found = evidence.checked_pixels(text, analysis, method)
        pieces = text("Places go one by one (n = {n}), set to the mean colour", n=library.GRID**2)
        _shown(text, method, found, pieces, "attributions-check-pixels")
