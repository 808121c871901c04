"""Where on the picture the class is: maps of a network that was taught classes only, and the boxes that follow.

"Useful as the base network for localisation and detection" (Szegedy et al. 2015, sections 1 and 7), without having been trained for it. Three maps:
the class activation map, exact where the head is a global average and one linear layer; Grad-CAM at any block; and what the cluster gives that
gives most to the class. How often they are right: `corloc`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from inception_viz import boxes, grids
from inception_viz.activations import Target
from inception_viz.architecture import describe
from inception_viz.boxes import Box
from inception_viz.grids import Grid
from inception_viz.models import Model, Preprocessing
from inception_viz.text import message

CAM, GRAD_CAM, CLUSTER = "class activation map", "grad-cam", "best cluster"
METHODS: Mapping[str, str] = {
    message("class activation map"): message(
        "The last block's maps, weighted as the last layer weights them for the class. Exact: their mean plus the bias is the logit."
    ),
    message("grad-cam"): message(
        "A block's maps, weighted by how fast the class would grow with each. At the last block it is the class activation map again."
    ),
    message("best cluster"): message(
        "Of the clusters of a block, the one that gives most to the class: gradient times activation, by place."
    ),
}


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer: `weight` (classes, C) over the last block's channels, averaged over positions, and `bias` (classes,)."""

    weight: np.ndarray
    bias: np.ndarray


def head(model: Model) -> Head:
    """The network's head. It is what a class activation map needs: after the last block a global average, and one linear layer."""
    architecture = describe(model)
    nodes = [facts["operation"] for _, facts in architecture.graph.nodes(data=True)]
    last = list(architecture.graph).index(architecture.blocks[-1].node)
    assert set(nodes[last + 1 :]) <= {"global average pool", "flatten", "dropout", "linear"}, nodes
    layer = model.network.get_submodule(architecture.logits_node)
    assert isinstance(layer, torch.nn.Linear), layer
    return Head(layer.weight.detach().float().cpu().numpy(), layer.bias.detach().float().cpu().numpy())


def class_map(activation: np.ndarray, head: Head, target: Target) -> np.ndarray:
    """The class activation map `(H, W)` of the last block's `activation` (C, H, W): its mean plus the bias is the target's logit.

    (Zhou et al. 2016, equation 2.) Where the target is a difference of two classes, so is the map.
    """
    weights = head.weight[target.index] - (0 if target.against is None else head.weight[target.against])
    return np.tensordot(weights, activation, 1)


def grad_map(activation: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Grad-CAM `(H, W)` of a block's activation and gradient `(C, H, W)`, without the final ReLU (Selvaraju et al. 2017, equations 1 and 2).

    At the last block of these networks it is the class activation map over the number of positions.
    """
    return np.tensordot(gradient.mean((1, 2)), activation, 1)


def best_cluster(activation: np.ndarray, gradient: np.ndarray, labels: np.ndarray) -> int | None:
    """The cluster that gives most to the target by gradient times activation, as `Attribution.by_cluster` sums it; None if there is none."""
    live = labels >= 0
    if not live.any():
        return None
    given = (activation * gradient).sum((1, 2))
    return int(np.argmax(np.bincount(labels[live], given[live])))


def given_map(activation: np.ndarray, gradient: np.ndarray, members: np.ndarray) -> np.ndarray:
    """What some channels give to the target by place, gradient times activation: `(H, W)`."""
    return (activation[members] * gradient[members]).sum(0)


@dataclass(frozen=True)
class Place:
    """Where a map says that the class is: a box, and its summit (x, y), in pixels of the picture; None where the map is nowhere above zero."""

    box: Box | None
    point: tuple[float, float] | None


def place(values: np.ndarray, cells: Grid, threshold: float, preprocessing: Preprocessing, width: int, height: int) -> Place:
    """Box and summit of a map `(H, W)` over what a network sees of a picture of `width` x `height` pixels; `cells` says where its cells lie."""
    found = boxes.largest(grids.enlarged(values, preprocessing.crop, cells), threshold)
    point = boxes.summit(values, cells)
    return Place(
        found and boxes.on_picture(found, preprocessing, width, height),
        point and boxes.point_on_picture(point, preprocessing, width, height),
    )
