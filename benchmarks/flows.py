"""Flows through all blocks: what they cost against a forward pass, how exactly they add up, and how many edges are beyond chance, trained or not."""

import statistics
import time

import numpy as np
import torch

from inception_viz import flows, images, models
from inception_viz.analysis import analyze, clustered
from inception_viz.flows import ACTIVATION, LOGIT, TO_TARGET
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.nulls import LEVEL

ROUNDS = 5


def main() -> None:
    pictures = [images.decode(sample.read(), name) for name, sample in images.samples().items()]
    for architecture, weights in (("googlenet", "boxed"), ("googlenet", "boxed-untrained"), ("inception_v3", "random")):
        model = models.load(architecture, weights)
        print(f"{architecture}, {weights}, on {model.device}, {len(pictures)} pictures")
        if weights != "boxed-untrained":
            cost(model, pictures[0])
        found = [follow(model, picture) for picture in pictures]
        print(f"  largest miss of any sum: {max(map(miss, found)):.1e} of the largest value of its block")
        if architecture == "googlenet":
            for measure in (ACTIVATION, TO_TARGET):
                beyond(found, measure)


def follow(model: Model, picture: Picture) -> flows.Flows:
    labels = {name: c.labels for name, c in clustered(analyze(model, picture))}
    return flows.follow(model, model.input(picture), labels)


def cost(model: Model, picture: Picture) -> None:
    """Median of pairs taken in turn."""
    labels, inputs, ratios = {n: c.labels for n, c in clustered(analyze(model, picture))}, model.input(picture), []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        with torch.inference_mode():
            model.network(inputs)
        middle = time.perf_counter()
        flows.follow(model, inputs, labels)
        ratios.append((time.perf_counter() - middle, middle - start))
    seconds, forward = (statistics.median(column) for column in zip(*ratios[1:], strict=True))
    print(f"  through {len(labels)} blocks {seconds:.2f} s, a bare forward pass {forward:.3f} s, n = {ROUNDS}")


def miss(found: flows.Flows) -> float:
    """The largest difference between what flows into a group and what it has, over the largest that a group of its block has."""
    worst = 0.0
    for measure in (ACTIVATION, TO_TARGET):
        for index, hop in enumerate(found.hops):
            has = np.array([found.logit]) if hop.target == LOGIT else found.values(index + 1, measure)
            worst = max(worst, float(np.abs(found.edges(index, measure).sum(0) - has).max() / np.abs(has).max()))
    return worst


def beyond(found: list[flows.Flows], measure: str) -> None:
    """The shares of edges between blocks with p, and with adjusted p, up to LEVEL."""
    beside = [flows.chance(one, hop, measure) for one in found for hop in range(len(one.hops) - 1)]
    p, q = (np.concatenate([getattr(c, name).ravel() for c in beside]) for name in ("p", "q"))
    known = ~np.isnan(p)
    shares = [f"{(values[known] <= LEVEL).mean():.1%}" for values in (p, q)]
    print(f"  {measure}: {shares[0]} of {known.sum()} edges with p up to {LEVEL}, {shares[1]} after adjustment a hop")


if __name__ == "__main__":
    main()
