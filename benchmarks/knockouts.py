"""What a knock-out costs: clusters and random sets out of a block, re-running only what lies downstream, against Captum's LayerFeatureAblation.

The masks are the same: a block's clusters, and the same sizes dealt at random. Both set the channels to zero and give the fall of the same logit;
the falls are compared too.
"""

import statistics
import time
from collections.abc import Callable

import captum.attr
import numpy as np
import torch
from torch import Tensor

from inception_viz import analysis, images, knockouts, models
from inception_viz.architecture import describe
from inception_viz.clusters import Clusters
from inception_viz.knockouts import Scene
from inception_viz.models import Model

ROUNDS = 2
CONTROLS = 20
BLOCKS = ("4a", "4b", "4c", "4d", "4e", "5a", "5b")


def theirs(model: Model, inputs: Tensor, block: str, target: int, labels: np.ndarray) -> np.ndarray:
    """Captum: every set of the partitions `labels` (partitions, C) to zero, the fall of the target `(partitions, sets)`."""
    layer = model.network.get_submodule(describe(model).block(block).module)
    method = captum.attr.LayerFeatureAblation(lambda x: model.network(x)[:, target], layer)
    falls = []
    with torch.inference_mode():
        for partition in torch.from_numpy(labels).to(inputs.device):
            mask = partition.view(1, -1, 1, 1)
            given = method.attribute(inputs, layer_mask=mask, perturbations_per_eval=knockouts.BATCH)[0].amax((1, 2))
            falls.append([float(given[partition == k][0]) for k in range(int(labels.max()) + 1)])
    return np.array(falls)


def ours(model: Model, scene: Scene, labels: np.ndarray) -> np.ndarray:
    """The same by running the rest of the network."""
    sets = labels[:, None, :] == np.arange(labels.max() + 1)[None, :, None]
    logits = knockouts.run(model, scene, sets.reshape(-1, labels.shape[1]))
    return knockouts.effect(scene, logits).fall.reshape(len(labels), -1)


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def compare(model: Model, inputs: Tensor, found: analysis.Analysis, name: str, clusters: Clusters) -> None:
    """Both on one block, in turn."""
    own = np.where(clusters.labels < 0, clusters.count, clusters.labels)  # Captum wants every channel in a set
    rng = np.random.default_rng(0)
    labels = np.stack([own, *(rng.permutation(own) for _ in range(CONTROLS))])
    scene, target = knockouts.scene(model, inputs, name, found.target, knockouts.ZERO), found.target.index
    ours(model, scene, labels[:2])
    theirs(model, inputs, name, target, labels[:2])
    pairs = [(timed(lambda: ours(model, scene, labels)), timed(lambda: theirs(model, inputs, name, target, labels))) for _ in range(ROUNDS)]
    ratio = statistics.median(captum_s / ours_s for (ours_s, _), (captum_s, _) in pairs)
    seconds = [statistics.median(column) for column in zip(*((a, b) for (a, _), (b, _) in pairs), strict=True)]
    apart = max(float(np.abs(a - b).max()) for (_, a), (_, b) in pairs)
    count = int(labels.max() + 1) * len(labels)
    print(
        f"  {name}: {count} sets, ours {seconds[0]:6.2f} s, Captum {seconds[1]:6.2f} s: {ratio:5.1f} x; falls differ by at most {apart:.0e} logits"
    )


def main() -> None:
    model = models.load()
    picture = images.decode(next(iter(images.samples().values())).read())
    found, inputs = analysis.analyze(model, picture), model.input(picture)
    print(
        f"{model.architecture}, {model.weights.name} weights, {tuple(inputs.shape)}, {model.device}, {torch.get_num_threads()} threads, n = {ROUNDS}"
    )
    for name, clusters in analysis.clustered(found):
        if name in BLOCKS:
            compare(model, inputs, found, name, clusters)
