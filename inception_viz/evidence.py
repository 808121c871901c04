"""What speaks for and against the clusters of an analysis: nulls, stability, branches and knock-outs of every block, and their numbers for scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inception_viz import knockouts, nulls, validation
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.clusters import Clusters
from inception_viz.correlations import measure
from inception_viz.errors import UnknownChoice
from inception_viz.images import Picture
from inception_viz.knockouts import Knockouts
from inception_viz.models import Model
from inception_viz.nulls import AgainstChance, Null
from inception_viz.text import message
from inception_viz.validation import ClusterTests, Specialisation, Stability

KINDS = (nulls.SHIFT, nulls.UNTRAINED)  # nulls of one picture


@dataclass(frozen=True, eq=False)
class Chance:
    """One block under one null: its draws, the pairs beyond it, and the clusters against its own."""

    null: Null
    pairs: AgainstChance
    clusters: ClusterTests


@dataclass(frozen=True, eq=False)
class Evidence:
    """One block: `strength` is its mean |r|; what each null says; stability, also of clusters of shifted maps; branches; knock-outs if they were asked for."""

    strength: float
    chance: Mapping[str, Chance]
    stability: Stability
    chance_stability: Stability
    specialisation: Specialisation
    knockouts: Knockouts | None


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises UnknownChoice for what is not among KINDS."""
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownChoice(found=kind, kind=message("null"), allowed=", ".join(KINDS))


def _chance(kind: str, block: BlockAnalysis, found: Clusters, activation: Tensor, twins: Sequence[Tensor]) -> Chance:
    similar, drawn = block.correlation, list(nulls.draws(kind, activation, twins=twins))
    null = nulls.drawn(kind, drawn)
    p = nulls.shift_p(activation) if kind == nulls.SHIFT else nulls.rank_p(similar.r, null.pairs)
    return Chance(null, nulls.against_chance(p), validation.cluster_tests(found, similar, drawn[: validation.DRAWS]))


def gather(
    model: Model,
    pictures: Sequence[Picture],
    analysis: Analysis,
    found: Mapping[str, Clusters],
    kinds: Sequence[str] = KINDS,
    controls: int = 0,
    baseline: str = knockouts.MEAN,
) -> Iterator[tuple[str, Evidence]]:
    """Block by block what the nulls `kinds` say, and with `controls` above 0 the knock-outs against so many random sets.

    The first of `pictures` is the analysed one; the others serve the baseline of the knock-outs. Raises UnknownChoice, NeedsAnotherPicture.
    """
    check_kinds(kinds)
    inputs = torch.cat([model.input(picture) for picture in pictures])
    twins = [{name: a.cpu() for name, a in one.items()} for one in nulls.untrained(model, inputs[:1])] if nulls.UNTRAINED in kinds else []
    for name, block in analysis.blocks.items():
        activation, clusters = torch.from_numpy(np.array(block.activation)), found[name]
        scene = knockouts.scene(model, inputs, name, analysis.target, baseline) if controls else None
        yield (
            name,
            Evidence(
                nulls.strength(block.correlation),
                {kind: _chance(kind, block, clusters, activation, [twin[name] for twin in twins]) for kind in kinds},
                validation.stability(clusters, activation, measure()),
                validation.chance_stability(clusters, activation),
                validation.specialisation(clusters, block.block),
                knockouts.knock_out(model, scene, clusters, controls) if scene else None,
            ),
        )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list:
    """The same with plain numbers in nested lists, None for what is undefined."""
    return [_numbers(row) for row in values] if values.ndim > 1 else [_number(value) for value in values]


def _null_summary(strength: float, chance: Chance) -> dict:
    tests = chance.clusters
    return {
        "draws": chance.null.draws,
        "mean_abs_r": _number(strength),
        "mean_abs_r_by_chance": _numbers(chance.null.strengths),
        "p": _number(chance.null.p(strength)),
        "pairs": chance.pairs.pairs,
        "pairs_beyond": _number(chance.pairs.share),
        "pairs_beyond_adjusted": _number(chance.pairs.adjusted_share),
        "level": chance.pairs.level,
        "clusters_by_chance": len(tests.chance_r),
        "clusters": [
            {"size": int(size), "mean_r": _number(r), "expected_mean_r": _number(expected), "p": _number(p), "q": _number(q)}
            for size, r, expected, p, q in zip(tests.sizes, tests.mean_r, tests.expected, tests.p, tests.q, strict=True)
        ],
    }


def summary(found: Evidence, baseline: str = knockouts.MEAN) -> dict:
    """The evidence of one block as plain numbers: `blocks[].evidence` of `analysis.json`."""
    spec = found.specialisation
    told: dict = {
        "nulls": {kind: _null_summary(found.strength, chance) for kind, chance in found.chance.items()},
        "stability": {
            "resamples": len(found.stability.agreement),
            "agreement": _number(found.stability.agreement.mean()),
            "agreement_by_chance": _number(found.chance_stability.agreement.mean()),
            "clusters": _numbers(found.stability.by_cluster),
            "survives": found.stability.survives.tolist(),
        },
        "branches": {
            "counts": spec.table.tolist(),
            "adjusted_mutual_information": _number(spec.information),
            "p": _number(spec.p),
            "permutations": spec.permutations,
            "cells_p": _numbers(spec.cells_p),
            "cells_q": _numbers(spec.cells_q),
        },
    }
    if found.knockouts:
        told["knockouts"] = knockouts.summary(found.knockouts, baseline)
    return told
