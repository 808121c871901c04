"""The main job in one call: what a network answers to a picture, and how the channels of every block fire together in doing so."""

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import cached_property
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import torch

from inception_viz.activations import Capture, Target, capture
from inception_viz.architecture import Architecture, Block, describe
from inception_viz.attributions import Attribution, from_capture
from inception_viz.clusters import DEFAULT, Clusters, find
from inception_viz.correlations import PLAIN, Correlation, measure
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.text import LANGUAGES

PREDICTIONS = 10
REMEMBERED = 24  # correlations, of 4 MB at most


@dataclass(frozen=True)
class Prediction:
    """One class with its probability (softmax of the logits); `names` by language."""

    index: int
    names: Mapping[str, str]
    probability: float


@dataclass(frozen=True)
class PictureFacts:
    """Which picture it was; `sha256` of the bytes as they were given, width and height in pixels, upright."""

    name: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class ModelFacts:
    """Which network answered, with which weights, where."""

    architecture: str
    weights: str
    weights_sha256: str
    device: str
    dtype: str
    key: str


@dataclass(frozen=True, eq=False)
class BlockAnalysis:
    """One block: activation and gradient `(C, H, W)` float32, the correlation of its channels, and what each gives to the target.

    `transform`, one of `correlations.TRANSFORMS`, is done to the activations before they are correlated.

    The correlation is computed when it is asked for: those of all blocks would be three quarters of an analysis' memory, and who looks at one
    block does not pay for nine. The last few are remembered.
    """

    block: Block
    activation: np.ndarray
    gradient: np.ndarray
    attribution: Attribution
    transform: str = PLAIN

    @property
    def correlation(self) -> Correlation:
        """How the block's channels correlate over its positions."""
        return _correlation(self)


_newest: WeakKeyDictionary[BlockAnalysis, Correlation] = WeakKeyDictionary()  # gone with what they are of
_lock = Lock()


def _correlation(block: BlockAnalysis) -> Correlation:
    with _lock:
        found = _newest.pop(block, None)
    found = found or measure("spatial", block.transform)(torch.from_numpy(np.array(block.activation)))
    with _lock:
        _newest[block] = found
        while len(_newest) > REMEMBERED:
            _newest.pop(next(iter(_newest)), None)
    return found


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that one forward and one backward pass tell about one picture; `view` is what the network saw, `(S, S, 3)` uint8."""

    picture: PictureFacts
    view: np.ndarray
    model: ModelFacts
    target: Target
    logits: np.ndarray
    predictions: tuple[Prediction, ...]
    class_names: Mapping[str, tuple[str, ...]]
    architecture: Architecture
    blocks: Mapping[str, BlockAnalysis]

    @cached_property
    def key(self) -> str:
        """Names model, picture and target: two analyses with one key are equal."""
        return f"{self.without_target}/{self.target.index}-{self.target.against}"

    @property
    def without_target(self) -> str:
        """Names model and picture: all that activations, correlations and clusters depend on."""
        return f"{self.model.key}/{self.picture.sha256}"


def class_names(model: Model) -> Mapping[str, tuple[str, ...]]:
    """The name of every class in every language; English where the weights bring no other."""
    return {language: tuple(model.class_name(i, language) for i in range(model.classes)) for language in LANGUAGES}


def facts(model: Model) -> ModelFacts:
    """Name, weights, hash, device and precision of a model."""
    dtype = str(model.dtype).removeprefix("torch.")
    return ModelFacts(model.architecture, model.weights.name, model.weights.sha256, str(model.device), dtype, model.key)


def predictions(model: Model, logits: torch.Tensor) -> tuple[Prediction, ...]:
    """The ten likeliest classes for logits `(K,)`, likeliest first."""
    top = logits.softmax(0).topk(min(PREDICTIONS, len(logits)))
    return tuple(
        Prediction(index, {language: model.class_name(index, language) for language in LANGUAGES}, probability)
        for probability, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    )


def _read_only(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.float().cpu().numpy()
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Look:
    """What an analysis is of: facts of a picture, the view of it `(S, S, 3)` uint8 that the network gets, and a target (None: the likeliest class)."""

    picture: PictureFacts
    view: np.ndarray
    target: Target | None = None


def look(model: Model, picture: Picture, target: Target | None = None) -> Look:
    """A picture as the model sees it."""
    facts = PictureFacts(picture.name, picture.sha256, picture.width, picture.height)
    return Look(facts, model.weights.preprocessing.view(picture), target)


def analyze(model: Model, picture: Picture, target: Target | None = None) -> Analysis:
    """Predictions, and for every block activation, gradient, correlation and gradient x activation of `target` (top-1 by default).

    A correlation over the few positions of a small map is large by chance even in an untrained network: see `nulls`.
    """
    return analyze_together(model, [look(model, picture, target)])[0]


def analyze_together(model: Model, looks: Sequence[Look]) -> list[Analysis]:
    """The analysis of each look, from one forward and one backward pass over all of them; equal to one by one up to rounding.

    Gradients too, except behind a gate that lies within rounding of zero and falls the other way: 0.3% of the largest on six sample pictures.
    """
    views = [model.weights.preprocessing.normalised(one.view) for one in looks]
    inputs = torch.cat(views).to(model.device, model.dtype, memory_format=torch.channels_last)
    taken = capture(model, inputs, [one.target for one in looks])
    return [_analysis(model, one, taken, number) for number, one in enumerate(looks)]


def _analysis(model: Model, looked: Look, taken: Capture, number: int) -> Analysis:
    architecture = describe(model)
    given = from_capture(taken, number)
    blocks = {
        block.name: BlockAnalysis(
            block,
            _read_only(taken.activations[block.name][number]),
            _read_only(taken.gradients[block.name][number]),
            given[block.name],
        )
        for block in architecture.blocks
    }
    logits = taken.logits[number].float().cpu()
    return Analysis(
        looked.picture,
        looked.view,
        facts(model),
        taken.targets[number],
        _read_only(logits),
        predictions(model, logits),
        class_names(model),
        architecture,
        blocks,
    )


def transformed(analysis: Analysis, transform: str) -> Analysis:
    """The same analysis, its channels correlated after one of `correlations.TRANSFORMS` of their activations."""
    return changed(analysis, blocks={name: changed(block, transform=transform) for name, block in analysis.blocks.items()})


def clustered(analysis: Analysis, method: str = DEFAULT, count: int | None = None) -> Iterator[tuple[str, Clusters]]:
    """The clusters of every block, block by block."""
    for name, block in analysis.blocks.items():
        yield name, find(block.correlation, method=method, count=count)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def summary(analysis: Analysis, clusters: Mapping[str, Clusters], language: str = "en") -> dict:
    """The analysis as plain numbers and names: the contract of `analysis.json` (README, "For scripts")."""
    target = analysis.target

    names = analysis.class_names[language]

    def described(block: BlockAnalysis, found: Clusters) -> dict:
        constant = block.correlation.constant
        return {
            "name": block.block.name,
            "channels": block.block.channels,
            "height": block.activation.shape[1],
            "width": block.activation.shape[2],
            "branches": [
                {"name": b.name, "start": b.start, "stop": b.stop, "constant_channels": int(constant[b.start : b.stop].sum())}
                for b in block.block.branches
            ],
            "clusters": {
                "definition": found.definition,
                "transform": block.transform,
                "method": found.method,
                "criterion": found.criterion,
                "silhouette": _number(found.score),
                "labels": found.labels.tolist(),
                "attribution": block.attribution.by_cluster(found.labels).tolist(),
                "attribution_method": block.attribution.method,
                "completeness_delta": _number(block.attribution.completeness_delta),
            },
        }

    return {
        "picture": vars(analysis.picture).copy(),
        "model": {
            "name": analysis.model.architecture,
            "weights": analysis.model.weights,
            "weights_sha256": analysis.model.weights_sha256,
            "device": analysis.model.device,
            "dtype": analysis.model.dtype,
        },
        "target": {"index": target.index, "name": names[target.index]}
        | ({} if target.against is None else {"against": {"index": target.against, "name": names[target.against]}}),
        "predictions": [{"index": p.index, "name": p.names[language], "probability": p.probability} for p in analysis.predictions],
        "blocks": [described(block, clusters[block_name]) for block_name, block in analysis.blocks.items()],
    }


def arrays(analysis: Analysis) -> dict[str, np.ndarray]:
    """`<block>/activation` (C, H, W), `<block>/correlation` (C, C), `<block>/attribution` (C,), all float32."""
    return {
        f"{name}/{kind}": array.astype(np.float32, copy=False)
        for name, block in analysis.blocks.items()
        for kind, array in (
            ("activation", block.activation),
            ("correlation", block.correlation.r),
            ("attribution", block.attribution.channels),
        )
    }


def replace(path: Path, data: bytes) -> None:
    """Write aside, then rename: a full disk harms no older file."""
    aside = path.with_name(path.name + ".partial")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write(
    analysis: Analysis,
    clusters: Mapping[str, Clusters],
    folder: Path,
    evidence: Mapping[str, dict] | None = None,
    more: Mapping[str, object] | None = None,
    more_arrays: Mapping[str, np.ndarray] | None = None,
) -> dict:
    """Write `analysis.json` and `arrays.npz` into `folder`; returns what the JSON holds.

    `evidence` is what else is known, by block; `more` what is known of the whole; `more_arrays` are written beside the others.
    """
    told = summary(analysis, clusters) | dict(more or {})
    for block in told["blocks"]:
        block |= {"evidence": evidence[block["name"]]} if evidence else {}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays(analysis), **(more_arrays or {}))
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "analysis.json", json.dumps(told, ensure_ascii=False, indent=1, allow_nan=False).encode())
    replace(folder / "arrays.npz", packed.getvalue())
    return told
