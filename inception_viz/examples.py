"""The pictures and patches that excite a channel or a cluster most, and the pictures where it gives most to the class; kept while a corpus streams by.

Two questions of one map, the same as everywhere in this library. What EXCITES a channel is its strongest activation; a cluster's map is the mean of its
channels' maps (`attributions.cluster_map` over their number). What it GIVES to the class is activation x gradient of the picture's likeliest class,
summed over positions (`attributions.from_capture`), in logits; a cluster gives what its channels give together. Either way the patch is the receptive
field of the position where the map is highest: what the channel can have seen, not what it looked at.

Clusters have to be known before the pictures stream: they come from a pass before this one, or from other pictures. For the clusters that were given
the result is exact, as for channels: the best of all pictures, not of a choice of candidates.

Pictures that excite a channel most say what drives it hardest, not what it usually answers to (Borowski et al. 2021 measured how far they help).
"""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from inception_viz import images, sealed
from inception_viz.activations import Tick, capture, no_tick
from inception_viz.architecture import Block, Field, describe
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.sealed import Arrays
from inception_viz.tallies import Gatherer, Seen, Setting
from inception_viz.text import LANGUAGES

MOST = 9  # examples of each channel and cluster
PICTURES = 1500  # pictures that are kept small beside their numbers
MOST_SIDE = 4096  # pixels that a network may look at, as a file claims
SIDE, QUALITY = 128, 85  # pixels a side of a kept picture at most, and how finely JPEG keeps it
CHANNELS, CLUSTERS = "channels", "clusters"
EXCITES, GIVES = "excites", "gives"
KINDS = (EXCITES, GIVES)
PARTS: Mapping[str, str] = {"value": "<f4", "number": "<i4", "row": "<u2", "column": "<u2", "label": "<i4", "target": "<i4"}
Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Best:
    """The best m examples of each of M channels or clusters, the best first, every array `(M, m)`; equal ones stand in the order of the corpus.

    `value` is an activation, or logits; `number` the picture's place in the corpus; `row` and `column` the position where the map is highest; `label`
    the picture's class in the corpus (-1: none); `target` the class that the network finds likeliest.
    """

    value: np.ndarray
    number: np.ndarray
    row: np.ndarray
    column: np.ndarray
    label: np.ndarray
    target: np.ndarray


def kept(found: Columns, most: int) -> Columns:
    """Of examples in any order, the best `most` of every row: the highest value first, of equal ones the earliest picture."""
    order = np.lexsort((found["number"], -found["value"]), axis=-1)[:, :most]
    return {part: np.take_along_axis(array, order, 1) for part, array in found.items()}


def _scores(maps: Tensor, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Of maps `(N, M, H, W)` their value and the place of their highest position, row by row, both `(M, N)`."""
    flat = maps.flatten(2)
    place = flat.argmax(2)
    value = flat.gather(2, place[..., None])[..., 0] if kind == EXCITES else flat.sum(2, dtype=_wide(flat))
    return value.float().cpu().numpy().T, place.cpu().numpy().T


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # as much as the device has


def _columns(maps: Tensor, kind: str, seen: Seen) -> Columns:
    value, place = _scores(maps, kind)
    width = maps.shape[3]
    pictures = {"number": seen.numbers, "label": seen.classes, "target": seen.logits.argmax(1).cpu().numpy()}
    found = {"value": value, "row": place // width, "column": place % width}
    found |= {part: np.broadcast_to(numbers, value.shape) for part, numbers in pictures.items()}
    return {part: np.ascontiguousarray(found[part], dtype=kind_) for part, kind_ in PARTS.items()}


def members(labels: np.ndarray) -> np.ndarray:
    """Which channels each cluster holds, `(clusters, C)`, 1 or 0; constant channels (-1) are in none."""
    return (labels == np.arange(int(labels.max(initial=-1)) + 1)[:, None]).astype(np.float64)


class _Examples:
    def __init__(self, setting: Setting, wanted: "Examples") -> None:
        self._wanted = wanted
        self._blocks = [block.name for block in setting.blocks if not wanted.blocks or block.name in wanted.blocks]
        self._found: dict[str, Columns] = {}

    def add(self, seen: Seen) -> None:
        for name in self._blocks:
            activation = seen.activations[name]
            for kind, maps in ((EXCITES, activation), (GIVES, activation * seen.gradients[name])):
                self._keep(f"{name}/{CHANNELS}/{kind}", _columns(maps, kind, seen))
                if name in self._wanted.labels:
                    self._keep(f"{name}/{CLUSTERS}/{kind}", _columns(self._together(name, kind, maps), kind, seen))

    def _together(self, name: str, kind: str, maps: Tensor) -> Tensor:
        """The maps of the clusters, `(N, clusters, H, W)`: the mean of what excites their channels, the sum of what they give."""
        member = members(self._wanted.labels[name])
        shares = member / member.sum(1, keepdims=True) if kind == EXCITES else member
        wide = _wide(maps)
        together = torch.from_numpy(shares).to(wide).to(maps.device) @ maps.flatten(2).to(wide)  # (N, clusters, H W)
        return together.float().unflatten(2, maps.shape[2:])

    def _keep(self, name: str, columns: Columns) -> None:
        before = self._found.get(name)
        both = columns if before is None else {part: np.concatenate([before[part], columns[part]], axis=1) for part in PARTS}
        self._found[name] = kept(both, self._wanted.most)

    def arrays(self) -> dict[str, np.ndarray]:
        found = {f"{name}/{part}": array for name, columns in self._found.items() for part, array in columns.items()}
        given = {
            f"{name}/labels": np.asarray(self._wanted.labels[name], dtype="<i4") for name in self._blocks if name in self._wanted.labels
        }
        return found | given


@dataclass(frozen=True, eq=False)
class Examples:
    """A tally of best examples: `<block>/{channels,clusters}/{excites,gives}/<part>` (M, m) for the PARTS, and the clusters as `<block>/labels` (C,).

    `labels` are clusters found before, by block; a block without has examples of channels only. `blocks` are those to look at (none named: all).
    The memory it takes is bounded: `most` examples of each, whatever the number of pictures.
    """

    labels: Mapping[str, np.ndarray]
    most: int = MOST
    blocks: tuple[str, ...] = ()
    name = "examples"
    gradients = True

    def begin(self, setting: Setting) -> Gatherer:
        """A gatherer for one shard."""
        return _Examples(setting, self)

    def merge(self, a: Arrays, b: Arrays) -> dict[str, np.ndarray]:
        """The arrays of both."""
        found = {name: array for name, array in a.items() if name.endswith("/labels")}
        for name in (key.removesuffix("/value") for key in a if key.endswith("/value")):
            both = {part: np.concatenate([a[f"{name}/{part}"], b[f"{name}/{part}"]], axis=1) for part in PARTS}
            found |= {f"{name}/{part}": array for part, array in kept(both, self.most).items()}
        return found

    @property
    def card(self) -> dict:
        """What is wanted: a run that was cut goes on only with the same."""
        digests = {name: hashlib.sha256(np.asarray(labels, dtype="<i4").tobytes()).hexdigest() for name, labels in self.labels.items()}
        return {"most": self.most, "blocks": list(self.blocks), "clusters": digests}


@dataclass(frozen=True, eq=False)
class Collection:
    """Best examples, read to be shown: `arrays` as the tally names them, with the names of their pictures and small copies; `card` says whose they are.

    Beside the tally's there are `pictures/{number,text,end}`: the place in the corpus, in order, of every picture that is an example, and its name; and
    `small/{number,data,end}`: the same for JPEG copies of what the network saw, of at most PICTURES of them.
    """

    arrays: Arrays
    card: Mapping

    @cached_property
    def sha256(self) -> str:
        """The checksum of all arrays."""
        return sealed.digest(self.arrays)

    @property
    def blocks(self) -> list[str]:
        """The names of the blocks that have examples."""
        return list(self.card["fields"])

    def best(self, block: str, of: str, kind: str) -> Best:
        """The best examples of every channel or cluster of a block."""
        return Best(*(self.arrays[f"{block}/{of}/{kind}/{part}"] for part in PARTS))

    def channels(self, block: str) -> int:
        """How many channels of a block have examples; 0 for a block that is not here."""
        found = self.arrays.get(f"{block}/{CHANNELS}/{EXCITES}/value")
        return 0 if found is None else len(found)

    def labels(self, block: str) -> np.ndarray | None:
        """The clusters of a block's channels, `(C,)`; None where none were given."""
        return self.arrays.get(f"{block}/labels")

    def _place(self, table: str, number: int) -> int | None:
        numbers = self.arrays[f"{table}/number"]
        place = int(np.searchsorted(numbers, number))
        return place if place < len(numbers) and numbers[place] == number else None

    def _piece(self, table: str, part: str, number: int) -> bytes | None:
        place = self._place(table, number)
        if place is None:
            return None
        end = self.arrays[f"{table}/end"]
        return self.arrays[f"{table}/{part}"][int(end[place - 1]) if place else 0 : int(end[place])].tobytes()

    def name(self, number: int) -> str:
        """The name of a picture that is an example."""
        return images.shown_name((self._piece("pictures", "text", number) or b"").decode("utf-8", "replace"))

    def view(self, number: int) -> np.ndarray | None:
        """What the network saw of a picture, `(side, side, 3)` uint8, side SIDE at most; None where no copy was kept."""
        data = self._piece("small", "data", number)
        try:
            return None if data is None else images.decode(data).pixels
        except images.PictureError:
            return None

    def field(self, block: str, channels: Sequence[int] | np.ndarray) -> Field:
        """The receptive field of some channels of a block: that of their branches together."""
        fields = [(start, stop, Field(*numbers)) for start, stop, numbers in self.card["fields"][block]]
        touched = [field for start, stop, field in fields if any(start <= channel < stop for channel in channels)]
        first, *others = touched or [field for _, _, field in fields]
        return first.with_all(others)


@dataclass(frozen=True, eq=False)
class Example:
    """One example to show: its value, the picture's name and place in the corpus, its class by folder and the likeliest one ("" where there is none).

    `view` is what the network saw, `(s, s, 3)`, or None; `box` the receptive field on it, top, bottom, left, right, and `centre` the middle of the field
    before it was cut to the picture, row and column, all in shares of its side.
    """

    value: float
    name: str
    number: int
    label: str
    target: str
    view: np.ndarray | None
    box: tuple[float, float, float, float]
    centre: tuple[float, float]

    @property
    def patch(self) -> np.ndarray | None:
        """The receptive field cut out of the view."""
        if self.view is None:
            return None
        top, bottom, left, right = pixels(self.box, len(self.view))
        return self.view[top:bottom, left:right]


def pixels(box: tuple[float, float, float, float], side: int) -> tuple[int, int, int, int]:
    """A box in whole pixels of a picture of `side` x `side`, grown to hold every pixel it touches."""
    top, bottom, left, right = (share * side for share in box)
    return int(np.floor(top + 1e-6)), int(np.ceil(bottom - 1e-6)), int(np.floor(left + 1e-6)), int(np.ceil(right - 1e-6))


def examples(found: Collection, block: str, of: str, index: int, kind: str, language: str = "en") -> list[Example]:
    """The best examples of one channel or cluster, the best first, as they are shown.

    Only those above zero: a channel that fires on fewer pictures has fewer examples, and who gives nothing or less is no example of giving.
    """
    best, side = found.best(block, of, kind), found.card["side"]
    labels = found.labels(block)
    channels = np.array([index]) if of == CHANNELS or labels is None else np.flatnonzero(labels == index)
    field = found.field(block, channels)
    shown = []
    for place in np.flatnonzero(best.value[index] > 0):
        number, label = int(best.number[index, place]), int(best.label[index, place])
        row, column = int(best.row[index, place]), int(best.column[index, place])
        top, bottom, left, right = field.at(row, column, side)
        centre = field.centre(row, column)
        shown.append(
            Example(
                float(best.value[index, place]),
                found.name(number),
                number,
                found.card["folders"][label] if found.card["folders"] and label >= 0 else "",
                class_name(found, int(best.target[index, place]), language),
                found.view(number),
                (top / side, bottom / side, left / side, right / side),
                (min(max(centre[0] / side, 0.0), 1.0), min(max(centre[1] / side, 0.0), 1.0)),
            )
        )
    return shown


def class_name(found: Collection, index: int, language: str) -> str:
    """The name of a class that the network tells apart, in English where there is no other."""
    names = found.card["class_names"]
    return (names.get(language) or names["en"])[index]


def _table(pieces: Mapping[int, bytes], name: str, part: str) -> dict[str, np.ndarray]:
    numbers = sorted(pieces)
    data = np.frombuffer(b"".join(pieces[number] for number in numbers), np.uint8)
    end = np.cumsum([len(pieces[number]) for number in numbers], dtype=np.int64)
    return {f"{name}/number": np.array(numbers, dtype="<i4"), f"{name}/{part}": data, f"{name}/end": end}


def worth_keeping(arrays: Arrays, most: int = PICTURES) -> tuple[np.ndarray, np.ndarray]:
    """The pictures that are examples, and those among them worth a small copy, both in order.

    First those of clusters, then those that are an example of most channels; of equal ones the earliest.
    """
    found = {
        of: [a.reshape(-1) for name, a in arrays.items() if name.endswith("/number") and f"/{of}/" in name] for of in (CLUSTERS, CHANNELS)
    }
    numbers, counts = np.unique(np.concatenate([*found[CLUSTERS], *found[CHANNELS]]), return_counts=True)
    ours = np.isin(numbers, np.concatenate([*found[CLUSTERS], np.empty(0, np.int32)]))
    order = np.lexsort((numbers, -counts, ~ours))
    return numbers, np.sort(numbers[order[:most]])


def _small(view: np.ndarray, side: int) -> bytes:
    return images.jpeg(view, min(side, len(view)), QUALITY)


def collected(
    arrays: Arrays,
    card: Mapping,
    name: Callable[[int], str],
    view: Callable[[int], np.ndarray | None],
    most: int = PICTURES,
    side: int = SIDE,
) -> Generator[float, None, Collection]:
    """What the tally gathered, with the names of its pictures and small copies of them, which are looked at once more; yields how far it is.

    `name` and `view` tell a picture's name and what the network sees of it (None where it can no longer be read) by its place in the corpus.
    """
    numbers, copied = worth_keeping(arrays, most)
    copies: dict[int, bytes] = {}
    for done, number in enumerate(copied.tolist()):
        yield done / len(copied)
        seen = view(number)
        if seen is not None:
            copies[number] = _small(seen, side)
    names = {number: name(number).encode("utf-8", "replace") for number in numbers.tolist()}
    return Collection({**arrays, **_table(names, "pictures", "text"), **_table(copies, "small", "data")}, dict(card))


def fields(blocks: Sequence[Block]) -> dict[str, list]:
    """The receptive fields of the branches of every block, as a card tells them."""
    return {block.name: [[b.start, b.stop, list(astuple(b.field))] for b in block.branches if b.field] for block in blocks}


def of_pictures(
    model: Model,
    pictures: Sequence[Picture],
    labels: Mapping[str, np.ndarray],
    how: Mapping[str, object] | None = None,
    tick: Tick = no_tick,
) -> Collection:
    """The best examples among a few pictures, for the channels and the clusters `labels` (C,) of the blocks named there; copies as large as the network sees.

    The same as a run over a corpus of these pictures, by the network as it is (a run folds its batch norms: equal up to rounding).
    """
    blocks = [block for block in describe(model).blocks if block.name in labels]
    gatherer = Examples(labels, blocks=tuple(labels)).begin(Setting(tuple(blocks), model.device, model.classes))
    for number, picture in enumerate(pictures):
        tick()
        inputs = model.input(picture)
        taken = capture(model, inputs)
        gatherer.add(Seen(np.array([number]), np.array([-1]), inputs, taken.logits, taken.activations, taken.gradients))
    side = model.weights.preprocessing.crop
    card = {
        "most": MOST,
        "pictures": len(pictures),
        "side": side,
        "clusters": dict(how or {}),
        "folders": [],
        "fields": fields(blocks),
        "class_names": names_of(model),
    }
    steps = collected(
        gatherer.arrays(),
        card,
        lambda number: pictures[number].name,
        lambda number: model.weights.preprocessing.view(pictures[number]),
        side=side,
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            collection: Collection = end.value
            return collection


def names_of(model: Model) -> dict[str, list[str]]:
    """The name of every class that a network tells apart, by language, for a card."""
    return {language: [model.class_name(index, language) for index in range(model.classes)] for language in LANGUAGES}


def _check_table(found: Collection, name: str, part: str) -> None:
    numbers, data, end = (found.arrays[f"{name}/{kind}"] for kind in ("number", part, "end"))
    rising = (np.diff(numbers) > 0).all() and (np.diff(end, prepend=0) >= 0).all()
    if numbers.ndim != 1 or numbers.shape != end.shape or not rising or len(data) != (end[-1] if len(end) else 0) or data.dtype != np.uint8:
        raise ValueError("pictures that are not there")


def _check_card(card: Mapping) -> None:
    names, folders = card["class_names"], card["folders"]
    words = [*folders, *(name for listed in names.values() for name in listed)]
    sizes = {len(listed) for listed in names.values()}
    numbers = [card["most"], card["side"], card["pictures"]]
    if not names["en"] or len(sizes) != 1 or not all(isinstance(word, str) for word in words) or not isinstance(card["clusters"], dict):
        raise ValueError("words that are none")
    if not all(isinstance(n, int) for n in numbers) or not (1 <= card["most"] <= MOST and 1 <= card["side"] <= MOST_SIDE):
        raise ValueError("numbers that make no sense")


def _check_fields(told: Sequence, block: Block) -> None:
    """Fields of all channels, each of six whole numbers of a size that a picture could have."""
    starts, stops = [start for start, _, _ in told], [stop for _, stop, _ in told]
    if starts != [0, *stops[:-1]] or stops[-1] != block.channels:
        raise ValueError("fields that do not make a block")
    for numbers in (numbers for _, _, numbers in told):
        top, bottom, left, right, down, across = numbers
        if (
            not all(isinstance(n, int) and abs(n) <= 100 * MOST_SIDE for n in numbers)
            or top >= bottom
            or left >= right
            or min(down, across) < 1
        ):
            raise ValueError("no receptive field")


def check(found: Collection, blocks: Sequence[Block]) -> None:
    """Raise ValueError, KeyError or TypeError unless every array fits the card and the blocks: a file may come from anybody."""
    card, known = found.card, {block.name: block for block in blocks}
    _check_card(card)
    for name in found.blocks:
        block, labels = known[name], found.labels(name)
        _check_fields(card["fields"][name], block)
        if labels is not None and (labels.shape != (block.channels,) or labels.min() < -1 or labels.max() >= block.channels):
            raise ValueError("clusters of other channels")
        counts = {CHANNELS: block.channels} | ({} if labels is None else {CLUSTERS: int(labels.max()) + 1})
        for of, count in counts.items():
            for kind in KINDS:
                _check_best(found.best(name, of, kind), count, block, card)
    _check_table(found, "pictures", "text")
    _check_table(found, "small", "data")


def _check_best(best: Best, count: int, block: Block, card: Mapping) -> None:
    if best.value.ndim != 2:
        raise ValueError("no table")
    shape = (count, best.value.shape[1])
    limits = {"number": 2**31, "row": block.height, "column": block.width, "target": len(card["class_names"]["en"])}
    limits["label"] = len(card["folders"]) or 2**31
    for part, kind in PARTS.items():
        array = getattr(best, part)
        if array.shape != shape or array.dtype != np.dtype(kind) or shape[1] > card["most"]:
            raise ValueError("examples of something else")
        if part in limits and array.size and (array.max() >= limits[part] or array.min() < -1):
            raise ValueError("examples of what is not there")
