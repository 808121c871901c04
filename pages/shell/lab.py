"""What every panel of the laboratory has: its claim and what this machine says about it, the conditions of the measurement, and the table to save."""

from collections.abc import Hashable

import streamlit as st

from inception_viz.measurement import Conditions, Finding, Outcome, Timing, as_csv
from inception_viz.models import Model
from inception_viz.text import Text
from pages.shell import frame, links, results, session


def panel(name: str, label: str, options: dict[str, str]) -> str:
    """One of a page's panels, remembered under `name` and written into the address: only what is looked at is measured."""
    key = f"panel {name} {session.current().language}"
    wanted = links.asked("panel")
    if wanted in options:
        session.current().choices[f"panel {name}"] = wanted
        st.session_state[key] = wanted
    elif wanted is not None:
        links.refuse("panel", wanted)
    kept = session.current().choices.get(f"panel {name}", next(iter(options)))
    st.segmented_control(
        label, list(options), format_func=options.__getitem__, default=kept, required=True, key=key, on_change=_look, args=(name, key)
    )
    shown: str = session.current().choices.get(f"panel {name}", kept)
    links.say("panel", shown)
    return shown


def _look(name: str, key: str) -> None:
    session.current().choices[f"panel {name}"] = st.session_state[key]


def again(text: Text, name: str) -> int:
    """A button to measure anew; returns how often it was pressed, which belongs into the key of what is measured."""
    st.button(text("Measure again"), key=f"again {name}", on_click=_once_more, args=(name,))
    return times(name)


def times(name: str) -> int:
    """How often it was asked to measure anew."""
    return session.current().choices.get(f"again {name}", 0)


def _once_more(name: str) -> None:
    choices = session.current().choices
    choices[f"again {name}"] = choices.get(f"again {name}", 0) + 1


def started(text: Text, model: Model, key: Hashable, label: str) -> None:
    """Ends the page with a button until it is pressed, unless the engine knows the result already."""
    known, _ = results.engine(str(model.device)).known(key)
    if known or session.current().choices.get("started") == key:
        return
    st.button(label, type="primary", on_click=_start, args=(key,))
    st.stop()


def _start(key: Hashable) -> None:
    session.current().choices["started"] = key


def finding(text: Text, found: Finding, repeated: bool = False) -> None:
    """The claim (unless it was told just before), what was found, and whether that supports it on this machine."""
    if not repeated:
        st.markdown(text("“{claim}”", claim=text(found.claim)))
    if found.supported is None:
        st.info(text("Neither supported nor refuted here: {found}", found=found.told(text)))
    elif found.supported:
        st.success(text("Supported on this machine: {found}", found=found.told(text)))
    else:
        st.warning(text("Not supported on this machine: {found}", found=found.told(text)))


def measured_on(text: Text, timing: Timing, more: str = "", steady: bool = True) -> None:
    """Device, threads, precision and repeats of a measured time; `more` is another sentence, already in the visitor's language."""
    if not steady:
        st.warning(text("The runs differ much: other work on this machine was measured as well. Measure again when it is quieter."))
    where = timing.conditions
    told = text.plural(
        "Measured on {device} with {n} thread, {precision}, median of {repeats} runs after a first one; the range is from the fastest to the slowest.",
        "Measured on {device} with {n} threads, {precision}, median of {repeats} runs after a first one; the range is from the fastest to the slowest.",
        where.threads, device=where.device, precision=where.precision, repeats=timing.repeats,
    )  # fmt: skip
    st.caption(f"{told} {more}")


def computed_on(text: Text, where: Conditions) -> None:
    """Device, threads and precision of what was computed, and not timed."""
    st.caption(
        text(
            "Computed on {device}, threads: {threads}, {precision}.", device=where.device, threads=where.threads, precision=where.precision
        )
    )


def outcome(text: Text, found: Outcome, name: str, again_: str | None = None) -> None:
    """All findings, every number as a file, and, for what is timed, a button to measure anew (`again_` as in `times`)."""
    for before, one in zip((None, *found.findings), found.findings, strict=False):
        finding(text, one, repeated=before is not None and before.claim == one.claim)
    with st.container(horizontal=True):
        frame.download(text("All numbers as CSV"), as_csv(found.rows), f"{name}.csv", "text/csv")
        if again_ is not None:
            again(text, again_)
