"""Pictures whose class is known, because the folder that each lies in is called after it: the only way to know how often a network is right."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from inception_viz import corpus as corpora
from inception_viz import images
from inception_viz.activations import Tick, no_tick
from inception_viz.corpus import Corpus
from inception_viz.errors import VisitorError
from inception_viz.images import MAX_BYTES, PictureError
from inception_viz.models import CLASSES, Model
from inception_viz.text import message

MOST = 500
MOST_ASKED = 10_000
PICTURES = message("The number of labelled pictures")
LISTED = 5  # class names that an error shows
SEED = 0


class NoLabels(VisitorError):
    """No folder is called after a class of this network."""

    words = message(
        "No folder in “{name}” is called after a class of this network, such as {allowed}. Give each class a folder with its name."
    )


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a network sees of pictures, `views` (N, S, S, 3) uint8, and the index of each one's class, `truth` (N,).

    `left_out` files lay in other folders or could not be read (not those that a sample leaves); `digest` names corpus and sample.
    """

    views: np.ndarray
    truth: np.ndarray
    left_out: int
    digest: str


@lru_cache(maxsize=1)
def _wnids() -> tuple[str, ...]:
    return tuple(entry["wnid"] for entry in json.loads(CLASSES.read_text(encoding="utf-8")))


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def folders(model: Model) -> dict[str, int]:
    """What a class's folder may be called (in small letters, “_” and “-” as spaces): its name in any language, its WordNet id, or its number."""
    named: dict[str, int] = {}
    for names in model.weights.class_names.values():
        for index, name in enumerate(names):
            named.setdefault(_plain(name), index)
    if model.weights.name.startswith("boxed"):
        named |= {wnid: index for index, wnid in enumerate(_wnids())}
    return {str(index): index for index in range(model.classes)} | named


def class_of(model: Model) -> Callable[[str], int | None]:
    """Which class a word names: as a folder may be called; None for a word that names none."""
    named = folders(model)
    return lambda word: named.get(_plain(word))


def examples(model: Model) -> list[str]:
    """A few words that name classes of this network, for an error to show."""
    return list(folders(model))[-LISTED:]


def _class(entry: corpora.Entry, named: dict[str, int]) -> int | None:
    """The class of the nearest folder above a file that is called after one: data sets often put an `images` folder in between."""
    for part in reversed(entry.name.split("/")[:-1]):
        if _plain(part) in named:
            return named[_plain(part)]
    return None


def labelled(model: Model, corpus: Corpus, most: int = MOST, seed: int = SEED, tick: Tick = no_tick) -> Labelled:
    """The pictures of a corpus whose folders are called after classes; of more than `most`, a sample drawn by `seed`. Raises NoLabels."""
    named = folders(model)
    known = [(number, index) for number, entry in enumerate(corpus.entries) if (index := _class(entry, named)) is not None]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(known))[:most])
    views, truth = [], []
    for number, index in (known[i] for i in drawn):
        tick()
        entry = corpus.entries[number]
        try:
            if entry.size <= MAX_BYTES:
                views.append(model.weights.preprocessing.view(images.decode(corpus.read(number), entry.name)))
                truth.append(index)
        except PictureError:
            continue
    if not views:
        shown = ", ".join(f"“{name}”" for name in examples(model))
        raise NoLabels(name=corpus.name, allowed=shown)
    left_out = len(corpus) - len(known) + len(drawn) - len(views)  # what a sample leaves is no fault of the files
    return Labelled(np.stack(views), np.array(truth), left_out, f"{corpus.digest}/{most}/{seed}")
