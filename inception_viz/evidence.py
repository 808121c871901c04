"""What speaks for and against the clusters of an analysis: nulls, stability, branches and knock-outs of every block, and their numbers for scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inception_viz import attributions, correlations, knockouts, nulls, validation
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.attributions import Check, Curve
from inception_viz.clusters import Clusters
from inception_viz.correlations import Correlation, measure
from inception_viz.errors import UnknownChoice
from inception_viz.images import Picture
from inception_viz.knockouts import Interactions, Knockouts
from inception_viz.models import Model
from inception_viz.nulls import Null, PairTests
from inception_viz.text import message
from inception_viz.validation import ClusterTests, Specialisation, Stability

KINDS = (nulls.SHIFT, nulls.UNTRAINED)  # nulls of one picture


@dataclass(frozen=True, eq=False)
class Chance:
    """One block under one null: its draws, every pair and every cluster against them."""

    null: Null
    pairs: PairTests
    clusters: ClusterTests


@dataclass(frozen=True, eq=False)
class Evidence:
    """One block: its `similar` channels; what each null says; stability, also of clusters of shifted maps; branches; and what else was asked for:
    knock-outs, of two clusters at once too, and checks of methods of attribution, by method."""

    similar: Correlation
    chance: Mapping[str, Chance]
    stability: Stability
    chance_stability: Stability
    specialisation: Specialisation
    knockouts: Knockouts | None
    interactions: Interactions | None
    checks: Mapping[str, Check]

    @property
    def strength(self) -> float:
        """Mean |r| of the block."""
        return self.similar.strength


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises UnknownChoice for what is not among KINDS."""
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownChoice(found=kind, kind=message("null"), allowed=", ".join(KINDS))


def check_methods(methods: Sequence[str]) -> None:
    """Raises UnknownChoice for what is no method of attribution."""
    for method in methods:
        if method not in attributions.METHODS:
            raise UnknownChoice(found=method, kind=message("method"), allowed=", ".join(attributions.METHODS))


def _chance(kind: str, block: BlockAnalysis, found: Clusters, activation: Tensor, twins: Sequence[Tensor]) -> Chance:
    similar, drawn = block.correlation, list(nulls.draws(kind, activation, transform=block.transform, twins=twins))
    null, ready = nulls.drawn(kind, drawn), correlations.transformed(activation, transform=block.transform)
    p = nulls.shift_p(ready) if kind == nulls.SHIFT else nulls.rank_p(similar.r, null.pairs)
    return Chance(null, nulls.pair_tests(p), validation.cluster_tests(found, similar, drawn[: validation.DRAWS]))


def gather(
    model: Model,
    pictures: Sequence[Picture],
    analysis: Analysis,
    found: Mapping[str, Clusters],
    kinds: Sequence[str] = KINDS,
    controls: int = 0,
    baseline: str = knockouts.MEAN,
    two_at_once: bool = False,
    methods: Sequence[str] = (),
) -> Iterator[tuple[str, Evidence]]:
    """Block by block what the nulls `kinds` say, with `controls` above 0 the knock-outs against so many random sets, on demand of two clusters at
    once too, and the checks of the `methods` of attribution.

    The first of `pictures` is the analysed one; the others serve the baseline of the knock-outs. Raises UnknownChoice, NeedsAnotherPicture.
    """
    check_kinds(kinds)
    check_methods(methods)
    inputs = torch.cat([model.input(picture) for picture in pictures])
    twins = [{name: a.cpu() for name, a in one.items()} for one in nulls.untrained(model, inputs[:1])] if nulls.UNTRAINED in kinds else []
    for name, block in analysis.blocks.items():
        activation, clusters = torch.from_numpy(np.array(block.activation)), found[name]
        scene = knockouts.scene(model, inputs, name, analysis.target, baseline) if controls else None
        yield (
            name,
            Evidence(
                block.correlation,
                {kind: _chance(kind, block, clusters, activation, [twin[name] for twin in twins]) for kind in kinds},
                validation.stability(clusters, activation, measure(transform=block.transform)),
                validation.chance_stability(clusters, activation, transform=block.transform),
                validation.specialisation(clusters, block.block),
                knockouts.knock_out(model, scene, clusters, controls) if scene else None,
                knockouts.interactions(model, scene, clusters, controls) if scene and two_at_once else None,
                {method: attributions.check(model, inputs[:1], analysis.target, name, method, clusters.labels) for method in methods},
            ),
        )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list:
    """The same with plain numbers in nested lists, None for what is undefined."""
    return [_numbers(row) for row in values] if values.ndim > 1 else [_number(value) for value in values]


def _null_summary(similar: Correlation, chance: Chance) -> dict:
    tests, strength, against = chance.clusters, similar.strength, chance.pairs.against_chance()
    rarest = nulls.rarest(chance.pairs, similar)
    return {
        "draws": chance.null.draws,
        "mean_abs_r": _number(strength),
        "mean_abs_r_by_chance": _numbers(chance.null.strengths),
        "p": _number(chance.null.p(strength)),
        "pairs": against.pairs,
        "pairs_beyond": _number(against.share),
        "pairs_beyond_adjusted": _number(against.adjusted_share),
        "level": against.level,
        "rarest_pairs": [
            {"channels": [a, b], "r": float(similar.r[a, b]), "p": float(chance.pairs.p[a, b]), "q": float(chance.pairs.q[a, b])}
            for a, b in rarest
        ],
        "clusters_by_chance": len(tests.chance_r),
        "clusters": [
            {"size": int(size), "mean_r": _number(r), "expected_mean_r": _number(expected), "p": _number(p), "q": _number(q)}
            for size, r, expected, p, q in zip(tests.sizes, tests.mean_r, tests.expected, tests.p, tests.q, strict=True)
        ],
    }


def _curve(curve: Curve) -> dict:
    return {"share": _numbers(curve.share), "target_logits": _numbers(curve.values), "area": _number(curve.area)}


def _check_summary(found: Check) -> dict:
    faith = found.faithfulness
    return {
        "completeness_delta": None if found.delta is None else _number(found.delta),
        "infidelity": _number(faith.infidelity),
        "infidelity_of_silence": _number(faith.silence),
        "sensitivity": _number(found.sensitivity),
        "insertion": _curve(faith.insertion),
        "deletion": _curve(faith.deletion),
        "insertion_by_chance": _curve(faith.chance_insertion),
        "deletion_by_chance": _curve(faith.chance_deletion),
        "gap": _number(faith.gap),
        "gap_by_chance": _numbers(faith.chance),
        "p": _number(faith.p),
        "failures": list(found.failures),
    }


def arrays(found: Evidence, block: str) -> dict[str, np.ndarray]:
    """`<block>/p/<null>` and `<block>/q/<null>`, (C, C) float32: every pair under every null, plain and after Benjamini-Hochberg."""
    return {
        f"{block}/{kind}/{null}": values for null, one in found.chance.items() for kind, values in (("p", one.pairs.p), ("q", one.pairs.q))
    }


def summary(found: Evidence, baseline: str = knockouts.MEAN) -> dict:
    """The evidence of one block as plain numbers: `blocks[].evidence` of `analysis.json`."""
    spec = found.specialisation
    told: dict = {
        "nulls": {kind: _null_summary(found.similar, chance) for kind, chance in found.chance.items()},
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
    if found.interactions:
        pairs = found.interactions
        told["knockouts"]["pairs"] = {"joint_logits": _numbers(pairs.joint), "p": _numbers(pairs.p), "controls": pairs.draws}
    if found.checks:
        told["checks"] = {method: _check_summary(one) for method, one in found.checks.items()}
    return told
