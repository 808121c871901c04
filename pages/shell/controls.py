"""Pickers that return plain values; what they hold lives in the session, so it survives a change of page."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import streamlit as st

from inception_viz import images, models, nulls
from inception_viz.activations import Target
from inception_viz.analysis import Analysis
from inception_viz.clusters import METHODS
from inception_viz.correlations import DEFINITIONS, PLAIN, TRANSFORMS
from inception_viz.images import Picture
from inception_viz.text import Text
from pages.shell import links, session

Value = TypeVar("Value")
FEWEST = 3  # pictures for a correlation over pictures


def _key(name: str) -> str:
    """One widget a language: a select box keeps the words it showed, and would go on showing them in the old language."""
    return f"choose {name} {session.current().language}"


def _offered(value: object) -> object:
    """What a widget holds for a choice: to Streamlit None in a widget's state is no choice at all, told in English."""
    return links.NONE if value is None else value


def _meant(held: object) -> object:
    return None if held == links.NONE else held


def _keep(name: str) -> None:
    if _key(name) in st.session_state:  # or the message came from another page, or from no browser at all
        session.current().choices[name] = _meant(st.session_state[_key(name)])


def put(name: str, value: object) -> None:
    """Choose for the visitor. Set, not forgotten: the browser would send what its widget showed before, and undo it."""
    session.current().choices[name] = value
    st.session_state[_key(name)] = _offered(value)


def _ask_address(name: str, options: Iterable[object]) -> None:
    """Choose what the address asks for, if it is among the options."""
    wanted = links.asked(name)
    if wanted is None:
        return
    found = [value for value in options if links.identity(value) == wanted]
    if found:
        put(name, found[0])
    else:
        links.refuse(name, wanted)


def _remembered(name: str, options: list[Value], default: Value | None) -> int:
    wanted = (session.current().choices.get(name, default), default)
    return next((options.index(value) for value in wanted if value in options), 0)


def choice(name: str, label: str, options: Mapping[Value, str], default: Value | None = None, help: str | None = None) -> Value:
    """One of `options` (value -> words to show), remembered under `name` and written into the address."""
    values = list(options)
    _ask_address(name, values)
    told = {_offered(value): (value, words) for value, words in options.items()}
    held = st.selectbox(
        label,
        list(told),
        _remembered(name, values, default),
        format_func=lambda v: told[v][1],
        key=_key(name),
        on_change=_keep,
        args=(name,),
        help=help,
    )
    chosen = told[held][0]
    links.say(name, chosen)
    return chosen


def one_of(name: str, label: str, options: Mapping[Value, str]) -> Value:
    """One of a few `options` (value -> words to show) side by side, remembered under `name` and written into the address."""
    values = list(options)
    _ask_address(name, values)
    chosen = st.segmented_control(
        label, values, format_func=lambda v: options[v], default=values[_remembered(name, values, None)], required=True, key=_key(name),
        on_change=_keep, args=(name,),
    )  # fmt: skip
    links.say(name, chosen)
    return chosen


def pictures(text: Text) -> dict[str, tuple[Picture, str]]:
    """The pictures that can be looked at, by SHA-256, each with its name: the one on show, the session's others, then the samples."""
    chosen, samples = session.current(), images.samples()
    here = [chosen.picture, *chosen.pictures, *(session.sample(name) for name in samples)]
    found: dict[str, tuple[Picture, str]] = {}
    for picture in here:
        found.setdefault(picture.sha256, (picture, text(samples[picture.name].title) if picture.name in samples else picture.name))
    return found


def some(name: str, label: str, options: list[str], default: list[str], told: Mapping[str, str] | None = None) -> list[str]:
    """Any number of `options`, shown as they are `told` if that is given, remembered under `name` and written into the address."""
    wanted = links.asked(name)
    if wanted is not None:
        parts = [part for part in wanted.split(links.BETWEEN) if part]
        if set(parts) <= set(options):
            put(name, parts)
        else:
            links.refuse(name, wanted)
    kept = [o for o in session.current().choices.get(name, default) if o in options]
    shown = told.__getitem__ if told else str
    chosen = st.multiselect(label, options, kept, format_func=shown, key=_key(name), on_change=_keep, args=(name,))
    links.say(name, chosen)
    return chosen


def number(name: str, label: str, low: int, high: int, default: int, help: str | None = None) -> int:
    """A whole number from `low` to `high`, remembered under `name` and written into the address."""
    if low >= high:
        return low
    _ask_address(name, range(low, high + 1))
    kept = min(max(session.current().choices.get(name, default), low), high)
    chosen = st.slider(label, low, high, kept, key=_key(name), on_change=_keep, args=(name,), help=help)
    links.say(name, chosen)
    return chosen


def typed(name: str, label: str, low: int, high: int, default: int, step: int) -> int:
    """A whole number from `low` to `high` to type, or to change by `step`, remembered under `name` and written into the address."""
    _ask_address(name, range(low, high + 1))
    kept = min(max(session.current().choices.get(name, default), low), high)
    chosen = st.number_input(label, low, high, kept, step, key=_key(name), on_change=_keep, args=(name,))
    links.say(name, chosen)
    return chosen


def switch(name: str, label: str, default: bool = False, help: str | None = None) -> bool:
    """On or off, remembered under `name` and written into the address."""
    _ask_address(name, (True, False))
    chosen = st.toggle(label, session.current().choices.get(name, default), key=_key(name), on_change=_keep, args=(name,), help=help)
    links.say(name, chosen)
    return chosen


def _train() -> None:
    chosen = session.current()
    chosen.weights = st.session_state[_key("training")]


def training(text: Text) -> None:
    """A slider over the checkpoints of the boxed network, where that is the network on show: how does what we see form while it learns?"""
    chosen = session.current()
    here = models.choices(chosen.architecture)
    weights = chosen.weights or here[0]
    if chosen.file or weights not in models.CHECKPOINTS or models.BOXED not in here:
        return
    told = {c: text("epoch {n}", n=models.epoch(c)) for c in models.CHECKPOINTS}
    st.select_slider(
        text("Training of the boxed network"), list(models.CHECKPOINTS), weights, format_func=told.__getitem__, key=_key("training"), on_change=_train,
        help=text("Earlier states of the same training run; epoch 0 is untrained."),
    )  # fmt: skip


def block(text: Text, analysis: Analysis) -> str:
    """The block to look at, by name."""
    names = [b.name for b in analysis.architecture.blocks]
    told = {n: text("{name} · {channels} channels", name=n, channels=analysis.blocks[n].block.channels) for n in names}
    return choice("block", text("Block"), told, names[len(names) // 2])


def target(text: Text, analysis: Analysis) -> Target:
    """The class to explain, and the one to set it against, if any."""
    names = analysis.class_names[text.language]
    first = [p.index for p in analysis.predictions]
    order = first + [i for i in range(len(names)) if i not in set(first)]
    told = {i: names[i] for i in order}
    left, right = st.columns(2)
    with left:
        index = choice("target", text("Class to explain"), told, first[0])
    with right:
        against = choice(
            "against", text("Set against"), {None: text("nothing: the class alone")} | {i: n for i, n in told.items() if i != index}, None
        )
    return Target(index, against)


def firing(text: Text) -> tuple[str, str]:
    """What firing together means, and what is done to the activations first: a definition and a transform of `correlations`."""
    enough = len(session.current().pictures) >= FEWEST
    kinds = {key: text(words) for key, words in DEFINITIONS.items() if enough or key != "image"}
    left, right = st.columns(2)
    with left:
        more = text(
            "With three or more pictures, chosen on the first page, also over pictures; then permuted pictures are a null to hold it against."
        )
        definition = choice("definition", text("Firing together"), kinds, help=None if enough else more)
    if definition == "binary":  # it knows only more and less
        return definition, PLAIN
    with right:
        return definition, choice("transform", text("Activations"), {key: text(key) for key in TRANSFORMS})


def null(text: Text, definition: str) -> str:
    """What the similarity is held against: one of the nulls that suit the definition."""
    suited = [nulls.PICTURES, nulls.UNTRAINED] if definition == "image" else [nulls.SHIFT, nulls.UNTRAINED]
    kept = session.current().choices.get("null")
    told = {kind: text(nulls.KINDS[kind]) for kind in suited}
    why = text(
        "What would be there by chance: the same maps shifted round at random, the same network before any training, "
        "or the pictures in another order for every channel."
    )
    return choice("null", text("Compared with"), told, kept, why)


def method_and_count(text: Text, most: int) -> tuple[str, int | None]:
    """How clusters are found, and how many (None: by silhouette)."""
    left, right = st.columns(2)
    with left:
        method = choice("method", text("How clusters are found"), {m: text(m) for m in METHODS})
    with right:
        counts = {None: text("as the method says")} | {k: str(k) for k in range(2, min(24, most) + 1)}
        return method, choice("count", text("Number of clusters"), counts)
