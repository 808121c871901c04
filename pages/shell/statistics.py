"""The Statistics page's choices and its runs over many pictures; what they gather is kept while the visitor is here, and of folders while the server runs."""

import hashlib
from collections.abc import Generator, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import streamlit as st

from inception_viz import clusters as library
from inception_viz import corpus, correlations, images, nulls, sealed, statistics
from inception_viz.architecture import Block
from inception_viz.clusters import Clusters
from inception_viz.corpus import Corpus
from inception_viz.correlations import Correlation, CrossCorrelation
from inception_viz.engine.local import Progress
from inception_viz.errors import VisitorError
from inception_viz.examples import Collection
from inception_viz.memory import VISITOR, Memory, remembered
from inception_viz.statistics import Plan, Run, State, Statistics
from inception_viz.text import Text
from pages.shell import controls, frame, lab, results, session

MOST_UPLOADS = 50
UPLOAD_MB = 120
MOST_FILES = 200_000  # that a visitor may have counted
SAMPLES = (100, 500, 2000, 10_000)
UNASKED = 50  # files that are gathered without a question
KEPT = 3  # unfinished runs and files of results that the server remembers
Result = TypeVar("Result")

_unfinished: Memory[State] = Memory(KEPT)
_opened: Memory["Statistics | Last"] = Memory(KEPT)


def recalled(memory: Memory[Result], key: object) -> Result | None:
    """What is remembered for this visitor, or None."""
    found = memory.find(key, VISITOR.get())
    return found and found[0]


def _whose(run: Run) -> str | None:
    """Statistics of uploads go with their visitor; those of a folder, of minutes or hours, stay: its pictures are nobody's secret."""
    return None if run.corpus.where else VISITOR.get()


class _InMemory:
    """A checkpoint: a run that was stopped goes on where it was."""

    def __init__(self, key: object, run: Run) -> None:
        self._key, self._visitor = key, _whose(run)

    def due(self) -> bool:
        return True

    def begun(self) -> State:
        """Where the run was; asked on the owner's thread, for the visitor of the page."""
        found = _unfinished.find(self._key, self._visitor)
        return found[0] if found else statistics.START

    def save(self, state: State) -> None:
        _unfinished.keep(self._key, state, [self._visitor])


def _samples() -> Corpus:
    return corpus.listed("samples", [(f"{name}.png", sample.read()) for name, sample in images.samples().items()])


def _take_uploads() -> None:
    files = st.session_state["statistics uploads"] or []
    zips = [f for f in files if f.name.lower().endswith(".zip")]
    chosen = session.current().choices
    chosen["statistics problem"] = None
    chosen["statistics left out"] = 0
    try:
        if zips:
            chosen["statistics corpus"] = corpus.archive(zips[0].getvalue(), zips[0].name, MOST_FILES)
            chosen["statistics left out"] = len(files) - 1
        elif files:
            taken = files[:MOST_UPLOADS]
            chosen["statistics corpus"] = corpus.listed("uploads", [(images.shown_name(f.name), f.getvalue()) for f in taken])
            chosen["statistics left out"] = len(files) - len(taken)
        else:
            chosen.pop("statistics corpus", None)
    except VisitorError as error:
        chosen["statistics problem"] = error


def _take_folder() -> None:
    chosen = session.current().choices
    chosen["statistics problem"] = None
    name = st.session_state["statistics folder"]
    try:
        if name is None:
            chosen.pop("statistics corpus", None)
            return
        number, relative = name
        root = corpus.roots()[number]
        chosen["statistics corpus"] = corpus.open_path(corpus.beneath(root, relative), MOST_FILES)
    except VisitorError as error:
        chosen["statistics problem"] = error


def _take_saved() -> None:
    upload, chosen = st.session_state["statistics saved"], session.current().choices
    chosen["statistics problem"] = None
    chosen.pop("statistics loaded", None)
    if upload is None:
        return
    try:
        data = upload.getvalue()
        key = hashlib.sha256(data).hexdigest()
        _opened.keep(key, statistics.load(data, images.shown_name(upload.name), UPLOAD_MB * 2_000_000), [VISITOR.get()])
        chosen["statistics loaded"] = key
    except VisitorError as error:
        chosen["statistics problem"] = error


def _folders(text: Text) -> None:
    roots = corpus.roots()
    if not roots:
        st.info(text("No folder of this server is open to visitors. Who runs it names one in {variable}.", variable=corpus.FOLDERS))
        return
    offered = {None: text("the sample pictures")}
    for number, root in enumerate(roots):
        for relative in corpus.choices(root):
            offered[number, relative] = f"{root.name}/{relative}"
    st.selectbox(text("Folder or zip"), list(offered), format_func=offered.__getitem__, key="statistics folder", on_change=_take_folder)


def choose(text: Text) -> None:
    """Pick the pictures: a folder under a root of the server, uploads, a zip; or open statistics that were saved."""
    server, upload, saved = st.tabs([text("A folder on this server"), text("Upload"), text("Saved statistics")])
    with server:
        _folders(text)
    with upload:
        st.file_uploader(
            text("Up to {n} pictures, or one zip; they stay in this server's memory and go when you do", n=MOST_UPLOADS),
            accept_multiple_files=True, key="statistics uploads", on_change=_take_uploads, max_upload_size=UPLOAD_MB,
        )  # fmt: skip
        if extra := session.current().choices.get("statistics left out"):
            st.warning(text.plural("{n} picture more than allowed was left out.", "{n} pictures more than allowed were left out.", extra))
    with saved:
        open_saved(text)
    _told_problem(text)


def open_saved(text: Text) -> None:
    """Open statistics that were saved."""
    st.file_uploader(text("Statistics (.npz) from this page or the command line"), type=["npz"], key="statistics saved",
                     on_change=_take_saved, max_upload_size=UPLOAD_MB)  # fmt: skip


def _told_problem(text: Text) -> None:
    if problem := session.current().choices.get("statistics problem"):
        st.error(results.plain(problem.told(text)))


@dataclass(frozen=True, eq=False)
class Last:
    """The statistics that this visitor gathered or opened last, and the run that gathered them; None if they came from a file, without pictures."""

    found: Statistics
    run: Run | None


def last(text: Text) -> Last | None:
    """What was opened, else what was gathered last; None if there is neither, or the server has forgotten it. What can't be opened is told."""
    _told_problem(text)
    chosen = session.current().choices
    opened = recalled(_opened, chosen.get("statistics loaded"))
    if isinstance(opened, Statistics):
        return Last(opened, None)
    kept = recalled(_opened, chosen.get("statistics gathered"))
    return kept if isinstance(kept, Last) else None


def _plan(text: Text, pictures: Corpus) -> Plan:
    own = pictures.digest[:8]  # a choice is of these pictures: others have other folders and another number
    left, right = st.columns(2)
    with left:
        kinds = {key: text(words) for key, words in statistics.CLASSES.items() if key == statistics.PREDICTED or len(pictures.folders) >= 2}
        classes = controls.choice(f"statistics classes {own}", text("A picture's class is"), kinds, statistics.usual_classes(pictures))
    with right:
        sizes = {n: text("{n} drawn at random", n=n) for n in SAMPLES if n < len(pictures)} | {None: text("all {n}", n=len(pictures))}
        return Plan(classes=classes, sample=controls.choice(f"statistics sample {own}", text("Pictures"), sizes))


def _announced(text: Text, run: Run, key: Hashable) -> None:
    """Say how many pictures wait and for how long, and end the page until it is told to begin; few pictures need no word."""
    known, _ = results.engine(str(run.model.device)).known(key)
    if len(run.corpus) <= UNASKED or known or session.current().choices.get("started") == key:
        return
    paced = ("pace", run.model.key, run.corpus.digest)
    seconds = results.compute(text, run.model, "pace", paced, lambda progress: statistics.pace(run))
    state = recalled(_unfinished, key)
    done = state.done if state else 0
    left = len(run.corpus) - done
    st.info(
        text.plural(
            "{n} file, about {minutes} min on {device}. The run can be stopped, and then goes on where it was.",
            "{n} files, about {minutes} min on {device}. The run can be stopped, and then goes on where it was.",
            left, minutes=max(1, round(seconds * left / 60)), device=str(run.model.device),
        )
    )  # fmt: skip
    if done:
        st.caption(text("{done} of {n} files are done already.", done=done, n=len(run.corpus)))
    lab.started(text, run.model, key, text("Gather the statistics"))


def gathered(text: Text) -> Statistics:
    """The statistics of the pictures that were chosen, or those that were opened; the page waits, with progress and a stop, while they are gathered."""
    chosen = session.current().choices
    opened = recalled(_opened, chosen.get("statistics loaded"))
    if isinstance(opened, Statistics):
        chosen["statistics plan"] = None
        return opened
    pictures = chosen.get("statistics corpus") or _samples()
    chosen["statistics plan"] = _plan(text, pictures)
    run = run_on_show(text)
    assert run is not None
    key = ("statistics", *run_key(run))

    earlier = recalled(_opened, key)
    found = earlier.found if isinstance(earlier, Last) else _gathered(text, run, key)
    chosen["statistics gathered"] = key
    _opened.keep(key, Last(found, run), [_whose(run)])
    return found


def _gathered(text: Text, run: Run, key: Hashable) -> Statistics:
    _announced(text, run, key)
    checkpoint = _InMemory(key, run)

    def work(progress: Progress) -> Generator[float, None, Statistics]:
        found = yield from _fractions(statistics.gather(run, checkpoint, checkpoint.begun()))
        _unfinished.drop(key)
        return found

    return results.compute(text, run.model, "statistics", key, work, in_turns=True)


def of_twin(text: Text, run: Run) -> Statistics:
    """The statistics of the untrained twin over the same pictures."""
    key = ("statistics of the twin", run.model.key, run.model.weights.name, run.corpus.digest, run.plan)

    def work(progress: Progress) -> Generator[float, None, Statistics]:
        other = Run(nulls.twin(run.model, 0), run.whole, run.plan)
        return (yield from _fractions(statistics.gather(other)))

    return results.compute(text, run.model, "statistics of the twin", key, work, in_turns=True)


def own_files() -> int:
    """How many files the Statistics page was last asked to look at; 0 if none but the samples, or saved statistics."""
    pictures, plan = (session.current().choices.get(f"statistics {kind}") for kind in ("corpus", "plan"))
    return min(len(pictures), plan.sample or len(pictures)) if pictures is not None and plan is not None else 0


def run_on_show(text: Text) -> Run | None:
    """The run of the Statistics page in this session; None where statistics were opened from a file, or the page was never visited."""
    chosen = session.current().choices
    plan = chosen.get("statistics plan")
    if plan is None:
        return None
    used, pictures, made = results.model(text), chosen.get("statistics corpus") or _samples(), chosen.get("statistics run")
    if isinstance(made, Run) and made.model is used and made.whole is pictures and made.plan == plan:
        return made  # names and folders of two hundred thousand files are not gone through at every click
    try:
        chosen["statistics run"] = Run(used, pictures, plan)
    except VisitorError as error:
        results.tell(text, error)
        raise
    return chosen["statistics run"]


def run_key(run: Run) -> tuple:
    """Names a run: two of equal keys give equal results."""
    return run.model.key, run.model.weights.name, run.corpus.digest, run.plan


def collect(text: Text, run: Run, labels: Mapping[str, np.ndarray], how: Mapping[str, object]) -> Collection:
    """The best examples over the pictures of a run, for clusters by block; with progress and a stop, after which it goes on where it was."""
    second = statistics.second_pass(run, labels)
    digest = hashlib.sha256(b"".join(name.encode() + array.tobytes() for name, array in labels.items())).hexdigest()
    key = ("collected", *run_key(run), digest)
    checkpoint = _InMemory(key, run)

    def work(progress: Progress) -> Generator[float, None, Collection]:
        found = yield from _fractions(statistics.gather_examples(second, how, checkpoint, checkpoint.begun()))
        _unfinished.drop(key)
        return found

    return results.compute(text, run.model, "examples", key, work, in_turns=True)


def _fractions(steps: Generator[statistics.Progress, None, Result]) -> Generator[float, None, Result]:
    while True:
        try:
            yield next(steps).fraction
        except StopIteration as end:
            return end.value


def facts(text: Text, found: Statistics) -> None:
    """Of what these statistics are."""
    card = found.card
    numbers = {
        text("Pictures (n)"): str(found.pictures),
        text("Files left out"): str(len(card["unreadable"])),
        text("Classes with pictures"): str(int((found.arrays["classes/n"] > 0).sum())),
    }
    frame.numbers(text, numbers)
    st.caption(
        text("{corpus}, seen by {architecture} with the weights “{weights}” ({sha256}) at {side} x {side} pixels; a picture's class is {classes}.",
             corpus=results.plain(card["corpus"]["name"]), architecture=results.plain(card["model"]["architecture"]),
             weights=results.plain(card["model"]["weights"]), sha256=card["model"]["weights_sha256"][:8], side=card["transform"]["crop"],
             classes=text(statistics.CLASSES[card["classes"]["by"]]))
    )  # fmt: skip
    if card["unreadable"]:
        with st.expander(text("Files that were left out")):
            rows = [{text("File"): u.name, text("Why"): u.error.told(text)} for u in statistics.unreadable(card)[:1000]]
            st.dataframe(rows, hide_index=True)


def block(text: Text, found: Statistics) -> Block:
    """The block to look at."""
    names = {b.name: text("{name} · {channels} channels", name=b.name, channels=b.channels) for b in found.blocks}
    name = controls.choice("block", text("Block"), names, list(names)[len(names) // 2])
    return next(b for b in found.blocks if b.name == name)


@remembered(40)
def _correlation(digest: str, block: str, kind: str, _found: Statistics) -> Correlation:
    return correlations.from_moments(KINDS[kind](_found, block))


KINDS = {
    "positions": Statistics.positions,
    "images": Statistics.images,
    "within classes": statistics.within_classes,
}


def correlation(found: Statistics, block: str, kind: str) -> Correlation:
    """r of a block's channels: over positions, over pictures, or over pictures within their classes."""
    return _correlation(found.sha256, block, kind, found)


def order(found: Statistics, block: str, kind: str) -> np.ndarray:
    """Channels in an order in which similar ones lie side by side."""
    return correlations.order(correlation(found, block, kind))


@remembered(40)
def _clusters(digest: str, block: str, kind: str, method: str, count: int | None, _similar: Correlation) -> Clusters:
    return library.find(_similar, method, count, "image" if kind == "images" else "spatial")


def clustered(found: Statistics, block: str, kind: str, method: str, count: int | None) -> Clusters:
    """The clusters of a block's channels."""
    return _clusters(found.sha256, block, kind, method, count, correlation(found, block, kind))


@remembered(4)
def _labels(digest: str, method: str, count: int | None, _found: Statistics) -> dict[str, np.ndarray]:
    return statistics.clusterings(_found, method, count)


def clusterings(found: Statistics, method: str, count: int | None) -> dict[str, np.ndarray]:
    """The clusters of every block over all positions, by one method."""
    return _labels(found.sha256, method, count, found)


@remembered(4)
def _packed(digest: str, _found: Statistics) -> bytes:
    return sealed.packed(_found.arrays, _found.card)


def downloads(text: Text, found: Statistics) -> None:
    """Buttons that save the statistics and their card."""
    left, right = st.columns(2)
    with left:
        if st.toggle(text("Prepare the file of all statistics")):
            frame.download(text("Statistics (.npz)"), _packed(found.sha256, found), "statistics.npz", "application/octet-stream")
    with right:
        frame.download(text("Card (.json)"), sealed.told(found.sha256, found.card), "statistics.json", "application/json")


MOST_CLASSES, MOST_GROUPS = 20, 12


def told(text: Text, similar: Correlation, block: Block) -> None:
    """Of how many positions r is, and how many channels have none."""
    st.caption(
        text("n = {n} positions of all pictures; {constant} of {channels} channels are constant. "
            "Neighbouring positions are alike: compare with the untrained network, not with chance.",
             n=similar.n, constant=int(similar.constant.sum()), channels=block.channels)
    )  # fmt: skip


def pair(text: Text, found: Statistics) -> tuple[Block, Block]:
    """Two neighbouring blocks to look at."""
    by_name = {b.name: b for b in found.blocks}
    offered = {names: text("{a} and {b}", a=names[0], b=names[1]) for names in found.pairs}
    first, second = controls.choice("statistics pair", text("Blocks"), offered, found.pairs[len(found.pairs) // 2])
    return by_name[first], by_name[second]


@remembered(20)
def _across(digest: str, a: str, b: str, _found: Statistics) -> CrossCorrelation:
    return correlations.from_cross_moments(_found.across(a, b))


def across(found: Statistics, a: str, b: str) -> CrossCorrelation:
    """r between the channels of two neighbouring blocks."""
    return _across(found.sha256, a, b, found)


def branch_table(text: Text, found: Statistics, a: Block, b: Block) -> tuple[np.ndarray, list[str], list[str]]:
    """Mean |r| of the branches of block a itself and of b, as rows, against those of a, with the names of rows and columns."""
    inside = statistics.branch_means(correlation(found, a.name, "positions").r, a, a)
    between = statistics.branch_means(across(found, a.name, b.name).r, a, b)
    columns = [text("{branch} of {block}", branch=c.name, block=a.name) for c in a.branches]
    rows = columns + [text("{branch} of {block}", branch=c.name, block=b.name) for c in b.branches]
    return np.concatenate([inside, between], axis=1).T, rows, columns


def told_between(text: Text, found: CrossCorrelation) -> None:
    """Of how many positions the r between two blocks is."""
    st.caption(
        text("n = {n} positions of all pictures, on the coarser of the two blocks' grids. "
            "Mean |r| over all pairs of channels; a channel with itself is left out.",
             n=found.n)
    )  # fmt: skip


def told_images(text: Text, found: Correlation) -> None:
    """Of how many pictures r is, and how large it is by chance."""
    if found.n < 20:
        st.warning(text("n = {n} pictures: below 20 nearly any r is easily chance.", n=found.n))
        return
    st.caption(
        text("n = {n} pictures; a sample is a channel's mean activation on one picture. By chance one pair in twenty has |r| above {r}.",
             n=found.n, r=f"{1.96 / (found.n - 1) ** 0.5:.2f}")
    )  # fmt: skip


def class_means(text: Text, found: Statistics, block: Block, clusters: Clusters) -> tuple[np.ndarray, list[str], list[str]]:
    """What the largest clusters answer to the classes with most pictures, with the names of rows and columns."""
    counts = found.arrays["classes/n"]
    shown = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    shown = shown[counts[shown] > 0]
    means = statistics.cluster_means(found, block.name, clusters.labels)[shown][:, :MOST_GROUPS]
    names = found.class_names(text.language)
    rows = [text("{name} (n = {n})", name=names[k], n=int(counts[k])) for k in shown]
    return means, rows, [text("cluster {n}", n=k + 1) for k in range(means.shape[1])]


def told_classes(text: Text, found: Statistics) -> None:
    """What the colours mean, and of which classes."""
    st.caption(
        text("How far a cluster's mean activation on a class lies from that on all pictures, in standard deviations over pictures. "
            "The {n} classes with most pictures.",
             n=min(MOST_CLASSES, int((found.arrays["classes/n"] > 0).sum())))
    )  # fmt: skip
