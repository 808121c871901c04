"""Activations and gradients of all blocks from one forward and one backward pass, without hooks: safe on a network that others use too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from inception_viz.architecture import Block, describe, traced
from inception_viz.errors import VisitorError
from inception_viz.models import Model, once_per_model
from inception_viz.text import message

LOGITS = "logits"
Tick = Callable[[], None]  # called before every evaluation of the network, or draw of a null; it may raise to stop


def no_tick() -> None:
    """Nobody waits."""


class NoSuchClass(VisitorError):
    """The index of a class that the network does not tell apart."""

    words = message("There is no class {found}; this network tells {allowed} classes apart, counted from 0.")


@dataclass(frozen=True)
class Target:
    """What is explained: the logit of class `index`, or its difference to the logit of class `against`."""

    index: int
    against: int | None = None

    def of(self, logits: Tensor) -> Tensor:
        """The target's value for logits `(..., K)`."""
        value = logits[..., self.index]
        return value if self.against is None else value - logits[..., self.against]


@dataclass(frozen=True, eq=False)
class Capture:
    """Results of one pass over N pictures, on the model's device.

    `logits` is `(N, K)`; `activations` and `gradients` are by block `(N, C, H, W)`; `targets` has one target a picture. A gradient is that of
    the picture's own target with respect to the block's output. `gradients` is empty if none was asked for.
    """

    logits: Tensor
    targets: tuple[Target, ...]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


@once_per_model
def _extractor(model: Model) -> fx.GraphModule:
    """The network with the same parameters and all blocks' outputs.

    As torchvision's `create_feature_extractor` makes it, which would put the shared network into training mode while it looks: whoever runs it at that
    moment rewrites its batch norm statistics for good.
    """
    architecture = describe(model)
    wanted = {block.node: block.name for block in architecture.blocks} | {architecture.logits_node: LOGITS}
    module, names = traced(model.network)
    nodes = {wanted[names[node.name]]: node for node in module.graph.nodes if names[node.name] in wanted}
    (output,) = module.graph.find_nodes(op="output")
    output.args = (nodes,)
    module.recompile()
    return module


def answers(model: Model, inputs: Tensor) -> Mapping[str, Tensor]:
    """What all blocks answer to `inputs` (N, 3, S, S), by block `(N, C, H, W)`; gradients reach the inputs where they are on."""
    taken: dict[str, Tensor] = _extractor(model)(inputs)
    return {name: tensor for name, tensor in taken.items() if name != LOGITS}


def check_target(target: Target, classes: int) -> Target:
    """The same target, if both its classes exist. Raises NoSuchClass."""
    for index in (target.index, target.against):
        if index is not None and not 0 <= index < classes:
            raise NoSuchClass(found=index, allowed=classes)
    return target


def capture(model: Model, inputs: Tensor, target: Target | Sequence[Target | None] | None = None, gradients: bool = True) -> Capture:
    """Logits, activations and gradients of all blocks for `inputs` (N, 3, S, S) as `model.input` makes them.

    The target is each picture's likeliest class unless one is given, for all pictures or (None: the likeliest) for each.
    The backward pass ends at the first block: nothing below it is asked for.
    Raises NoSuchClass.
    """
    wanted = [target] * len(inputs) if isinstance(target, Target) or target is None else target
    for one in wanted:
        if one is not None:
            check_target(one, model.classes)
    extract = _extractor(model)
    with torch.set_grad_enabled(gradients):
        taken: dict[str, Tensor] = extract(inputs.detach().requires_grad_(gradients))
    logits = taken.pop(LOGITS)
    targets = tuple(one or Target(int(i)) for one, i in zip(wanted, logits.detach().argmax(1), strict=True))
    if not gradients:
        return Capture(logits, targets, taken, {})
    total = torch.stack([t.of(row) for t, row in zip(targets, logits, strict=True)]).sum()
    found = torch.autograd.grad(total, list(taken.values()))
    detached = {name: tensor.detach() for name, tensor in taken.items()}
    return Capture(logits.detach(), targets, detached, dict(zip(taken, found, strict=True)))


PAGE = 32  # maps that are looked at together
SORTINGS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    message("mean activation"): lambda activation, given: activation.mean((1, 2)),
    message("highest activation"): lambda activation, given: activation.max((1, 2)),
    message("what it gives to the target"): lambda activation, given: np.abs(given),
    message("channel number"): lambda activation, given: -np.arange(len(activation)),
}


def sorted_channels(activation: np.ndarray, given: np.ndarray, block: Block, branch: str | None, sorting: str) -> np.ndarray:
    """Channels of a block, or of one branch, by a key of SORTINGS, the largest first: `(channels,)` int."""
    score = SORTINGS[sorting](activation, given)
    order = np.argsort(-score, kind="stable")
    if branch is None:
        return order
    wanted = [i for i, b in enumerate(block.branches) if b.name == branch]
    return order[np.isin(block.branch_of[order], wanted)]
