"""Statistics of a network over a whole corpus: gathered in constant memory, resumed after any end, saved with a card that says of what they are.

The corpus is cut into shards of some batches. A shard is gathered in one go (here, or by a worker elsewhere) and merged into what there is, in the order of
the corpus, and only then counted as done: so nothing is counted twice or lost, and the result has the same bits wherever a run was cut and whoever did
the work, as long as the same program runs with as many threads on the same kind of machine.
"""

import contextlib
import dataclasses
import platform
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from inception_viz import clusters, images, sealed, tallies
from inception_viz import corpus as corpora
from inception_viz import examples as best
from inception_viz.activations import capture
from inception_viz.architecture import Block, Branch, describe
from inception_viz.corpus import Batch, Corpus, Unreadable
from inception_viz.correlations import from_moments
from inception_viz.errors import UnknownChoice, VisitorError
from inception_viz.examples import Collection, Examples
from inception_viz.images import PictureError
from inception_viz.models import Model, folded
from inception_viz.moments import CrossMoments, Moments
from inception_viz.sealed import Arrays
from inception_viz.tallies import STANDARD, Gatherer, Seen, Setting, Tally, Told
from inception_viz.text import LANGUAGES, message

FORMAT = 1
MAX_RESULT = 2_000_000_000  # bytes of a file of results
MAX_CLASSES = 1000
CHECKPOINT_SECONDS = 30.0
FOLDER, PREDICTED = "folder", "predicted"
CLASSES: Mapping[str, str] = {
    FOLDER: message("the folder that a picture lies in"),
    PREDICTED: message("the class that the network predicts"),
}


class OtherRun(VisitorError):
    """A checkpoint of another network, another corpus or other settings."""

    words = message(
        "The unfinished run in “{name}” is of another network, other pictures or other settings. Give another name, or remove it."
    )


class Unfinished(VisitorError):
    """A run was cut here, and nobody said whether to go on."""

    words = message(
        "“{name}” holds an unfinished run of {done} of {total} files. Go on with it (--resume), give another name, or remove it."
    )


class NoFolders(VisitorError):
    """Classes by folder need pictures that all lie in folders, of which there are at least two."""

    words = message("The pictures lie in {found} folders; classes by folder need from 2 to {allowed}.")


class NothingRead(VisitorError):
    """Not one file was a picture."""

    words = message("None of the {n} files could be read as a picture.")


@dataclass(frozen=True)
class Plan:
    """How a corpus is gone through: places a batch, batches a shard, what a picture's class is, and how many pictures are drawn (None: all) by which seed."""

    batch: int = 32
    shard: int = 8
    classes: str = PREDICTED
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a run is, in files; how many of those could not be read; and when the checkpoint was last written, in files (None: never)."""

    done: int
    total: int
    unreadable: int
    saved: int | None = None

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.done / max(1, self.total)


@dataclass(frozen=True, eq=False)
class Shard:
    """What was gathered of the files at `places`."""

    places: range
    arrays: Arrays
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, eq=False)
class ClassMoments:
    """Of K classes: how many pictures `n` (K,); mean and sum of squared deviations of each channel's mean activation, `mean` and `squares` (K, C)."""

    n: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True, eq=False)
class LagMoments:
    """Of the pairs of positions one and two apart: how many `n` (2,), their mean `mean` (2, C), and about it the sums of products and squares (2, C)."""

    n: np.ndarray
    mean: np.ndarray
    product: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was gathered: `arrays` as the tallies name them, and a `card` that says of which network, on which pictures, how."""

    arrays: Arrays
    card: Mapping

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of the network."""
        return tuple(_block(entry) for entry in self.card["blocks"])

    @cached_property
    def sha256(self) -> str:
        """The checksum of all arrays."""
        return sealed.digest(self.arrays)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The neighbouring blocks."""
        return list(pairwise(block.name for block in self.blocks))

    @property
    def pictures(self) -> int:
        """How many pictures were read."""
        return int(self.arrays[f"images/{self.blocks[0].name}/n"])

    def positions(self, block: str) -> Moments:
        """The moments of a block's channels over all positions of all pictures."""
        return tallies.to_moments(self.arrays, f"positions/{block}")

    def across(self, a: str, b: str) -> CrossMoments:
        """The moments between neighbouring blocks over the positions of their common grid."""
        return tallies.to_cross(self.arrays, f"positions/{a}-{b}")

    def images(self, block: str) -> Moments:
        """The moments over pictures of the channels' mean activations."""
        return tallies.to_moments(self.arrays, f"images/{block}")

    def classes(self, block: str) -> ClassMoments:
        """The moments of every class of pictures."""
        return ClassMoments(self.arrays["classes/n"], self.arrays[f"classes/{block}/mean"], self.arrays[f"classes/{block}/squares"])

    def lags(self, block: str) -> LagMoments | None:
        """How each channel goes with itself one and two positions away; None in files from before that was gathered."""
        if f"lags/{block}/n" not in self.arrays:
            return None
        return LagMoments(*(self.arrays[f"lags/{block}/{key}"] for key in ("n", "mean", "product", "squares")))

    @cached_property
    def examples(self) -> Collection | None:
        """The best examples, where they were gathered."""
        told = self.card.get("examples")
        mine = {name.removeprefix("examples/"): array for name, array in self.arrays.items() if name.startswith("examples/")}
        return None if told is None else Collection(mine, told)

    def class_names(self, language: str) -> list[str]:
        """The names of the classes, in English where there are no others."""
        names = self.card["classes"]["names"]
        return names.get(language) or names["en"]


def _block(entry: Mapping) -> Block:
    branches = tuple(Branch(b["name"], b["start"], b["stop"]) for b in entry["branches"])
    return Block(entry["name"], "", entry["channels"], entry["height"], entry["width"], branches, "")


def _blocks_told(blocks: Iterable[Block]) -> list[dict]:
    return [
        {
            "name": block.name,
            "channels": block.channels,
            "height": block.height,
            "width": block.width,
            "branches": [{"name": b.name, "start": b.start, "stop": b.stop} for b in block.branches],
        }
        for block in blocks
    ]


class Run:
    """One network, one corpus, one plan: the shards, what they hold, and what they are merged into."""

    def __init__(
        self, model: Model, corpus: Corpus, plan: Plan = Plan(), more: Sequence[Tally] = (), standard: Sequence[Tally] = STANDARD
    ) -> None:
        if plan.classes not in CLASSES:
            raise UnknownChoice(found=plan.classes, kind=message("definition"), allowed=", ".join(CLASSES))
        self.model, self.plan, self.whole, self.more, self.standard = model, plan, corpus, tuple(more), tuple(standard)
        self.device = model.device.type
        self.threads = 0  # of processor, that each shard is gathered with; 0: as many as this process uses
        self.corpus = corpora.sampled(corpus, plan.sample, plan.seed) if plan.sample else corpus
        if plan.classes == FOLDER and not 2 <= len(self.corpus.folders) <= MAX_CLASSES:
            raise NoFolders(found=len(self.corpus.folders), allowed=MAX_CLASSES)
        self.tallies = (*standard, *more)
        self.setting = Setting(describe(model).blocks, model.device, len(self._names["en"]))
        self._place = {name: number for number, name in enumerate(self.corpus.folders)}

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        if self.plan.classes == FOLDER:
            return {"en": [images.shown_name(name) for name in self.corpus.folders]}
        return {language: [self.model.class_name(i, language) for i in range(self.model.classes)] for language in LANGUAGES}

    @property
    def shards(self) -> list[range]:
        """The places of the files of each shard."""
        size = self.plan.batch * self.plan.shard
        return [range(first, min(first + size, len(self.corpus))) for first in range(0, len(self.corpus), size)]

    def card(self) -> dict:
        """Of what the statistics are: equal for runs that must give equal results."""
        model, preprocessing = self.model, self.model.weights.preprocessing
        return {
            "format": FORMAT,
            "model": {
                "architecture": model.architecture,
                "weights": model.weights.name,
                "weights_sha256": model.weights.sha256,
                "dtype": str(model.dtype).removeprefix("torch."),
            },
            "transform": dataclasses.asdict(preprocessing) | {"mean": list(preprocessing.mean), "deviation": list(preprocessing.deviation)},
            "corpus": {"name": self.corpus.name, "sha256": self.corpus.digest, "files": len(self.corpus)},
            "classes": {"by": self.plan.classes, "names": self._names},
            "plan": {"batch": self.plan.batch, "shard": self.plan.shard, "sample": self.plan.sample},
            "seed": self.plan.seed,
            "blocks": _blocks_told(self.setting.blocks),
            "tallies": [tally.name for tally in self.tallies],
            "made_with": {
                "device": self.device,
                "torch": torch.__version__,
                "threads": self.threads or torch.get_num_threads(),
                "machine": platform.machine(),
            },
        } | ({"settings": settings} if (settings := {tally.name: tally.card for tally in self.tallies if isinstance(tally, Told)}) else {})

    def seen(self, batch: Batch) -> Seen:
        """What the network answers to a batch."""
        model = folded(self.model)
        inputs = batch.inputs.to(model.device, model.dtype, memory_format=torch.channels_last)
        gradients = any(tally.gradients for tally in self.tallies)
        with contextlib.nullcontext() if gradients else torch.inference_mode():
            taken = capture(model, inputs, gradients=gradients)
        predicted = taken.logits.argmax(1).cpu().numpy()
        classes = predicted if self.plan.classes == PREDICTED else self._folder_classes(batch.numbers)
        return Seen(np.array(batch.numbers), classes, inputs, taken.logits, taken.activations, taken.gradients)

    def _folder_classes(self, numbers: Sequence[int]) -> np.ndarray:
        return np.array([self._place.get(self.corpus.entries[number].folder, -1) for number in numbers])

    def batches(self, places: range) -> Iterable[Batch]:
        """The pictures at `places`, decoded ahead."""
        return corpora.batches(self.corpus, places, self.plan.batch, self.model.weights.preprocessing.tensor)

    def gathered(self, batches: Iterable[Batch], places: range) -> Generator[int, None, Shard]:
        """The shard at `places` from as many of `batches` as it has; yields how many files of it are done."""
        gatherers: list[Gatherer] = []
        unreadable: list[Unreadable] = []
        remaining = iter(batches)
        for first in range(places.start, places.stop, self.plan.batch):
            batch = next(remaining)
            unreadable += batch.unreadable
            if batch.numbers:
                gatherers = gatherers or [tally.begin(self.setting) for tally in self.tallies]
                seen = self.seen(batch)
                with torch.no_grad():
                    for gatherer in gatherers:
                        gatherer.add(seen)
            yield min(first + self.plan.batch, places.stop) - places.start
        arrays = {
            f"{tally.name}/{key}": array
            for tally, gatherer in zip(self.tallies, gatherers, strict=False)
            for key, array in gatherer.arrays().items()
        }
        return Shard(places, arrays, tuple(unreadable))

    def view(self, number: int) -> np.ndarray | None:
        """What the network sees of one file, `(S, S, 3)` uint8; None where it cannot be read."""
        entry = self.corpus.entries[number]
        try:
            if entry.size <= images.MAX_BYTES:
                return self.model.weights.preprocessing.view(images.decode(self.corpus.read(number), entry.name))
        except PictureError:
            pass
        return None

    def class_list(self, language: str) -> list[str]:
        """The names of the classes of pictures, in English where there are no others."""
        return self._names.get(language) or self._names["en"]

    def merged(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of two neighbouring stretches of the corpus."""
        return tallies.merged(self.tallies, a, b)

    def finished(self, arrays: Arrays, unreadable: Sequence[Unreadable]) -> Statistics:
        """The result. Raises NothingRead."""
        if not arrays:
            raise NothingRead(n=len(self.corpus))
        return Statistics(arrays, self.card() | {"unreadable": [_unreadable_told(u) for u in unreadable]})


def _unreadable_told(found: Unreadable) -> dict:
    return {"number": found.number, "name": found.name, "reason": type(found.error).__name__, "facts": found.error.facts}


def _kinds(root: type[PictureError]) -> dict[str, type[PictureError]]:
    found = {root.__name__: root}
    for kind in root.__subclasses__():
        found |= _kinds(kind)
    return found


def unreadable(card: Mapping) -> list[Unreadable]:
    """The files that were left out, as a card tells them."""
    kinds = _kinds(PictureError)
    return [Unreadable(e["number"], e["name"], kinds.get(e["reason"], PictureError)(**e["facts"])) for e in card["unreadable"]]


@dataclass(frozen=True, eq=False)
class State:
    """A run so far: the places before `done` are merged into `arrays`."""

    done: int
    arrays: Arrays
    unreadable: tuple[Unreadable, ...]


START = State(0, {}, ())


def is_of(card: Mapping, run: Run) -> bool:
    """Whether a card is of the same network, pictures and settings as a run, wherever it was made."""
    mine = sealed.as_read(run.card())
    mine.pop("made_with")
    return all(card.get(key) == value for key, value in mine.items())


class Checkpoint:
    """Where a run keeps its state: the newest, and the one before it for the case that the newest is damaged."""

    def __init__(self, path: Path, run: Run, seconds: float = CHECKPOINT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self.before = path, path.with_name(path.name + ".before")
        self._run, self._seconds, self._clock = run, seconds, clock
        self._last = clock()
        self.damaged = False

    def due(self) -> bool:
        """Whether enough time has gone by."""
        return self._clock() - self._last >= self._seconds

    def save(self, state: State) -> None:
        """Keep the state; what was kept becomes the one before. Raises NotSaved."""
        card = self._run.card() | {"done": state.done, "unreadable": [_unreadable_told(u) for u in state.unreadable]}
        sealed.write(self.path, state.arrays, card, keep=self.before)
        self._last = self._clock()

    def load(self) -> State:
        """The newest state that is whole; `damaged` says that a newer one was not. Raises OtherRun or NotWhole."""
        for path in (self.path, self.before):
            if not path.exists():
                continue
            try:
                arrays, card = sealed.read(path, path.name, MAX_RESULT)
                return self._checked(State(int(card["done"]), arrays, tuple(unreadable(card))), card)
            except (sealed.NotWhole, OSError, KeyError, TypeError, ValueError):
                self.damaged = True
        if self.damaged:
            raise sealed.NotWhole(name=self.path.name)
        return START

    def _checked(self, state: State, card: Mapping) -> State:
        if not is_of(card, self._run):
            raise OtherRun(name=self.path.name)
        return state

    def done(self) -> int:
        """How many files were done, as far as the newest state tells; whatever run it is of."""
        with contextlib.suppress(sealed.NotWhole, OSError, KeyError, TypeError, ValueError):
            return int(sealed.read(self.path, self.path.name, MAX_RESULT)[1]["done"])
        return 0

    def exists(self) -> bool:
        """Whether there is anything to go on with."""
        return self.path.exists() or self.before.exists()

    def remove(self) -> None:
        """The run is finished and saved."""
        self.path.unlink(missing_ok=True)
        self.before.unlink(missing_ok=True)


Shards = Generator[int | Shard, None, None]
Engine = Callable[[Run, int], Shards]  # gives the shards from a place on, in their order, and between them how many files more are done


def here(run: Run, done: int) -> Shards:
    """The shards from place `done` on, gathered in this process in their order; between them how many files of the next are done."""
    batches = iter(run.batches(range(done, len(run.corpus))))
    for places in run.shards:
        if places.start >= done:
            shard = yield from run.gathered(batches, places)
            yield shard


def gather(
    run: Run, checkpoint: Checkpoint | None = None, state: State = START, engine: Engine = here
) -> Generator[Progress, None, Statistics]:
    """The statistics of a whole corpus, from `state` on; yields Progress after every batch.

    `engine` gives the shards in their order, by default from this process. Raises NothingRead or NotSaved.
    """
    saved, far = state.done or None, state.done
    shards = engine(run, state.done)
    with contextlib.closing(shards):
        for found in shards:
            if isinstance(found, int):
                far = max(far, state.done + found)
                yield Progress(far, len(run.corpus), len(state.unreadable), saved)
                continue
            state = State(found.places.stop, run.merged(state.arrays, found.arrays), state.unreadable + found.unreadable)
            if checkpoint and checkpoint.due():
                checkpoint.save(state)
                saved = state.done
            far = max(far, state.done)  # others may be further than what is merged
            yield Progress(far, len(run.corpus), len(state.unreadable), saved)
    return run.finished(state.arrays, state.unreadable)


PACED = 8  # pictures


def pace(run: Run) -> float:
    """Seconds a picture in this process, decoding and all: from some pictures of the corpus in one batch, after one time that is not counted."""
    places = range(min(PACED, run.plan.batch, len(run.corpus)))
    for _ in range(2):
        started = time.perf_counter()
        with contextlib.closing(run.gathered(run.batches(places), places)) as steps:
            next(steps)
        seconds = time.perf_counter() - started
    return seconds / len(places)


def clusterings(found: Statistics, method: str = clusters.DEFAULT, count: int | None = None) -> dict[str, np.ndarray]:
    """The clusters of every block over all positions, as labels (C,); with a wished number, as many as a block has live channels."""
    labels = {}
    for block in found.blocks:
        similar = from_moments(found.positions(block.name))
        live = int((~similar.constant).sum())
        labels[block.name] = clusters.find(similar, method, None if count is None else min(count, live) or None).labels
    return labels


def second_pass(run: Run, labels: Mapping[str, np.ndarray]) -> Run:
    """The run over the same pictures that gathers the best examples of the channels and clusters `labels` (C,) of the blocks named, and nothing else."""
    return Run(run.model, run.whole, run.plan, [Examples(labels, blocks=tuple(labels))], standard=())


def gather_examples(
    run: Run, how: Mapping[str, object], checkpoint: Checkpoint | None = None, state: State = START, engine: Engine = here
) -> Generator[Progress, None, Collection]:
    """The best examples of a corpus by a run of `second_pass`, as `gather` goes; `how` says for the card how the clusters were found.

    At the end the pictures that are kept small are read once more. Raises NothingRead or NotSaved.
    """
    found = yield from gather(run, checkpoint, state, engine)
    arrays = {name.removeprefix("examples/"): array for name, array in found.arrays.items()}
    steps = best.collected(
        arrays,
        _told_of(run, arrays, len(run.corpus) - len(found.card["unreadable"]), how),
        lambda number: images.shown_name(run.corpus.entries[number].name),
        run.view,
    )
    while True:
        try:
            next(steps)
            yield Progress(len(run.corpus), len(run.corpus), len(found.card["unreadable"]))
        except StopIteration as end:
            collection: Collection = end.value
            return collection


def _told_of(run: Run, arrays: Arrays, pictures: int, how: Mapping[str, object]) -> dict:
    return {
        "most": best.MOST,
        "pictures": pictures,
        "side": run.model.weights.preprocessing.crop,
        "clusters": dict(how),
        "fields": best.fields([block for block in run.setting.blocks if f"{block.name}/labels" in arrays]),
        "folders": run.class_list("en") if run.plan.classes == FOLDER else [],
        "class_names": best.names_of(run.model),
    }


def with_examples(found: Statistics, collection: Collection) -> Statistics:
    """The same statistics with the best examples of the same pictures, to be saved together."""
    mine = {name: array for name, array in found.arrays.items() if not name.startswith("examples/")}
    card = {
        key: value for key, value in found.card.items() if key not in ("sha256", "examples")
    }  # a loaded card has the checksum of what was
    return Statistics(
        mine | {f"examples/{name}": array for name, array in collection.arrays.items()}, card | {"examples": dict(collection.card)}
    )


def save(found: Statistics, path: Path) -> None:
    """Write `path` (.npz), and beside it the card alone as .json. Raises NotSaved."""
    sealed.write(path, found.arrays, found.card)
    sealed.replace(path.with_suffix(".json"), sealed.told(found.sha256, found.card))


def load(source: Path | bytes, name: str, most: int = MAX_RESULT) -> Statistics:
    """Statistics that were saved. Raises NotWhole or TooLarge."""
    try:
        arrays, card = sealed.read(source, name, most)
        found = Statistics(arrays, card)
        _check(found)
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        raise sealed.NotWhole(name=name) from None
    return found


def _check(found: Statistics) -> None:
    """Raise ValueError unless every array has the shape that the card promises."""
    if found.card["format"] != FORMAT or not found.blocks:
        raise ValueError("another format")
    count = len(found.card["classes"]["names"]["en"])
    channels = {block.name: block.channels for block in found.blocks}
    shapes: dict[str, tuple[int, ...]] = {"classes/n": (count,)}
    for block in found.blocks:
        if [b.start for b in block.branches] != [0, *(b.stop for b in block.branches[:-1])] or block.branches[-1].stop != block.channels:
            raise ValueError("branches that do not make a block")
        c = block.channels
        for kind in ("positions", "images"):
            shapes |= {f"{kind}/{block.name}/n": (), f"{kind}/{block.name}/mean": (c,), f"{kind}/{block.name}/comoment": (c, c)}
        shapes |= {f"classes/{block.name}/mean": (count, c), f"classes/{block.name}/squares": (count, c)}
        if f"lags/{block.name}/n" in found.arrays:
            shapes |= {f"lags/{block.name}/n": (2,)} | {f"lags/{block.name}/{key}": (2, c) for key in ("mean", "product", "squares")}
    for a, b in found.pairs:
        sides = {"n": (), "mean_a": (channels[a],), "mean_b": (channels[b],), "comoment": (channels[a], channels[b])}
        sides |= {"squares_a": (channels[a],), "squares_b": (channels[b],)}
        shapes |= {f"positions/{a}-{b}/{part}": shape for part, shape in sides.items()}
    if any(found.arrays[name].shape != shape for name, shape in shapes.items()):
        raise ValueError("arrays that do not fit the card")
    unreadable(found.card)
    if found.examples:
        best.check(found.examples, found.blocks)


def usual_classes(corpus: Corpus) -> str:
    """By folder where all pictures lie in folders, and there are not too many; else by what is predicted."""
    return FOLDER if 2 <= len(corpus.folders) <= MAX_CLASSES else PREDICTED


def within_classes(found: Statistics, block: str) -> Moments:
    """The moments over pictures with each class's own mean taken out: channels that correlate here do so among pictures of one class.

    What all pictures' co-moment holds beyond this comes from the classes' means alone (the decomposition of a multivariate analysis of variance).
    """
    whole, classes = found.images(block), found.classes(block)
    apart = torch.from_numpy((classes.mean - whole.mean.numpy()) * np.sqrt(classes.n)[:, None])  # (K, C)
    return Moments(whole.n, whole.mean, whole.comoment - apart.T @ apart)


@dataclass(frozen=True, eq=False)
class Selectivity:
    """How much of each channel's variance over pictures lies between classes: `share` (C,), from 0 to 1, nan for constant channels.

    By chance alone it would be `chance`, (classes - 1) / (pictures - 1); `strongest` (C,) is the class with the highest mean among those with at least
    `LEAST` pictures.
    """

    share: np.ndarray
    chance: float
    strongest: np.ndarray


LEAST = 2


def selectivity(found: Statistics, block: str) -> Selectivity:
    """Eta squared of every channel: which channels tell the classes of the corpus apart."""
    classes, whole = found.classes(block), found.images(block)
    total = whole.comoment.diagonal().numpy()
    flat = from_moments(whole).constant
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(flat, np.nan, 1 - classes.squares.sum(0) / total)
    many = classes.n >= min(LEAST, classes.n.max(initial=0))
    strongest = np.flatnonzero(many)[classes.mean[many].argmax(0)]
    return Selectivity(share, ((classes.n > 0).sum() - 1) / max(1, whole.n - 1), strongest)


def branch_means(r: np.ndarray, a: Block, b: Block) -> np.ndarray:
    """Mean |r| between the channels of every branch of one block and every branch of another, `(branches of a, branches of b)`.

    Within one block a channel's r with itself is left out; nan where no pair is left.
    """
    size = np.abs(r).astype(np.float64)
    if a.name == b.name:
        np.fill_diagonal(size, np.nan)
    means = np.full((len(a.branches), len(b.branches)), np.nan)
    for i, first in enumerate(a.branches):
        for j, second in enumerate(b.branches):
            part = size[first.start : first.stop, second.start : second.stop]
            known = part[~np.isnan(part)]
            means[i, j] = known.mean() if len(known) else np.nan
    return means


def cluster_means(found: Statistics, block: str, labels: np.ndarray) -> np.ndarray:
    """What each cluster answers to each class, `(K, clusters)`: the mean over the cluster's channels of their mean on the class.

    In standard deviations of each channel over all pictures, from its mean over all pictures; nan for classes without a picture.
    """
    whole, classes = found.images(block), found.classes(block)
    deviation = np.sqrt(np.clip(whole.comoment.diagonal().numpy(), 0, None) / max(1, whole.n))
    live = (labels >= 0) & ~from_moments(whole).constant
    standard = (classes.mean[:, live] - whole.mean.numpy()[live]) / deviation[live]
    member = np.eye(int(labels.max(initial=-1)) + 1)[labels[live]]
    means = standard @ member / np.maximum(member.sum(0), 1)
    return np.where(classes.n[:, None] > 0, means, np.nan)
