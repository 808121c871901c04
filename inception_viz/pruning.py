"""The network without what it wastes: how many multiply-accumulates are left, and whether it still says the same.

What is wasted is found on some views of the pictures and judged on others of the same pictures, or on labelled pictures, where it is known which answers
are right. Random channels, as many, are removed beside it: what that costs shows how much the choice is worth.
"""

import copy
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn

from inception_viz import waste
from inception_viz.activations import Tick, no_tick
from inception_viz.architecture import describe, traced
from inception_viz.images import Picture
from inception_viz.labelled import Labelled
from inception_viz.measurement import Cell, Conditions, Finding, Outcome, conditions
from inception_viz.models import Model
from inception_viz.text import Blank, message
from inception_viz.waste import CONSTANT, DEAD, USED, Waste, is_near_zero, layers, placed

JUDGED_ON = 16  # views of each picture
WHOLE = message("nothing removed")
ASLEEP, IDLE = message("dead and constant channels"), message("dead, constant and copied channels")
WEIGHTS, RANDOM = message("near-zero weights"), message("random channels, as many")
REMOVABLE = message("Much of what a trained network computes is wasted: it says the same without it.")
MUCH, SAME = 0.1, 0.95  # of the MACs, of the answers: what "much" and "the same" are taken to mean


def without_near_zero(model: Model, threshold: float = waste.THRESHOLD) -> nn.Module:
    """A copy of the network with the weights that `near_zero` counts set to zero."""
    network = copy.deepcopy(model.network)
    for name, _, _ in layers(model):
        layer: nn.Conv2d = network.get_submodule(name)  # type: ignore[assignment]
        layer.weight = nn.Parameter(layer.weight.masked_fill(is_near_zero(layer.weight, threshold), 0), requires_grad=False)
    return network


class _StandIn(nn.Module):
    """Puts something else in the place of channels: what a network would compute into whose next layers the change was folded."""

    def __init__(self, found: Waste, like: Tensor) -> None:
        super().__init__()
        self.source = torch.from_numpy(found.source).to(like.device)
        self.slope = torch.from_numpy(found.slope[:, None, None]).to(like)
        self.offset = torch.from_numpy(found.offset[:, None, None]).to(like)

    def forward(self, activation: Tensor) -> Tensor:
        return activation[:, self.source] * self.slope + self.offset


def without_channels(model: Model, found: Mapping[str, Waste]) -> nn.Module:
    """The network with what stands in for wasted channels at every block's output; it shares the weights, and leaves the network as it is."""
    module, names = traced(model.network)
    like = next(model.network.parameters())
    by_node = {waste.block.node: waste for waste in found.values()}
    for node in list(module.graph.nodes):
        if names.get(node.name) not in by_node:
            continue
        one = by_node[names[node.name]]
        module.add_submodule(f"without_{one.block.name}", _StandIn(one, like))
        with module.graph.inserting_after(node):
            changed = module.graph.call_module(f"without_{one.block.name}", (node,))
        node.replace_all_uses_with(changed, delete_user_cb=lambda user, changed=changed: user is not changed)
    module.recompile()
    return module.eval()


def macs_without(model: Model, found: Mapping[str, Waste]) -> int:
    """Multiply-accumulates of a picture when wasted channels are neither computed nor read; what is folded into other weights costs nothing."""
    graph = describe(model).graph
    kept = {waste.block.node: waste.kind == USED for waste in found.values()}
    made = {node: keep.copy() for node, keep in kept.items()}
    for node, keep in kept.items():
        _spread(graph, node, keep, made)
    channels: dict[str, np.ndarray] = {}
    total = 0
    for node, facts in graph.nodes(data=True):
        read = [channels[source] for source in graph.predecessors(node)]
        whole = np.ones(facts["shape"][0], bool)
        if facts["operation"] in ("convolution", "linear"):
            channels[node] = made.get(node, whole)
            total += round(facts["macs"] * channels[node].mean() * read[0].mean())
        else:
            passed = np.concatenate(read) if facts["operation"] == "concatenate" else read[0] if read else whole
            channels[node] = made.get(node, passed)
    return total


def _spread(graph: nx.DiGraph, node: str, keep: np.ndarray, made: dict[str, np.ndarray]) -> None:
    """Write into `made` which channels the convolutions before `node` need not compute."""
    start = 0
    for source in graph.predecessors(node):
        facts = graph.nodes[source]
        part = keep[start : start + facts["shape"][0]]
        start += facts["shape"][0]
        if len(list(graph.successors(source))) > 1:
            continue  # somebody else reads it
        if facts["operation"] == "convolution":
            made[source] = part
        elif facts["operation"] in ("batch norm", "relu", "concatenate"):
            _spread(graph, source, part, made)


@dataclass(frozen=True)
class Judged:
    """A network with something removed: MACs left, on how many of `n` views it names the same class as before, and, where labels are known, how often right."""

    removed: str
    channels: int
    macs: int
    n: int
    same: int
    right_before: int | None
    right: int | None

    def row(self) -> dict[str, Cell]:
        """As a row of a table, with 95% intervals of the shares."""
        counts = {"same": self.same} | ({} if self.right is None else {"right": self.right})
        shares: dict[str, Cell] = {}
        for name, count in counts.items():
            shares[f"{name}_share"] = count / self.n
            shares[f"{name}_low"], shares[f"{name}_high"] = interval(count, self.n)
        return {**vars(self), **shares}


def interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share.

    >>> tuple(round(x, 3) for x in interval(10, 10))
    (0.722, 1.0)
    """
    z = 1.959964
    middle, spread = count / n + z**2 / (2 * n), z * math.sqrt(count / n * (1 - count / n) / n + z**2 / (4 * n**2))
    return (middle - spread) / (1 + z**2 / n), (middle + spread) / (1 + z**2 / n)


def _only(found: Waste, kinds: Sequence[int]) -> Waste:
    """The same, with channels of other kinds kept."""
    gone = np.isin(found.kind, kinds)
    every = np.arange(len(gone))
    return Waste(
        found.block, np.where(gone, found.kind, USED), np.where(gone, found.source, every),
        np.where(gone, found.slope, 1.0), np.where(gone, found.offset, 0.0),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pruning:
    """What removing each kind of waste does, on views of the pictures or (`labelled`) on pictures whose class is known; `found` is the waste by block.

    Weights below `threshold` of their layer's root mean square were near zero, channels above `similar` copies.
    """

    judged: tuple[Judged, ...]
    found: Mapping[str, Waste]
    labelled: bool
    threshold: float
    similar: float
    conditions: Conditions


def variants(
    model: Model, seen: Mapping[str, waste.Seen], found: Mapping[str, Waste], threshold: float
) -> Iterator[tuple[str, int, int, nn.Module]]:
    """What is removed, how many channels or weights, the MACs left, and the network without it; the whole network first."""
    whole = describe(model).macs
    yield WHOLE, 0, whole, model.network
    generator = np.random.default_rng(waste.SEED)
    chosen = {
        ASLEEP: {name: _only(one, (DEAD, CONSTANT)) for name, one in found.items()},
        IDLE: dict(found),
        RANDOM: {name: waste.at_random(seen[name], one, generator) for name, one in found.items()},
    }
    for kind, by_block in chosen.items():
        gone = sum(int((one.kind != USED).sum()) for one in by_block.values())
        yield kind, gone, macs_without(model, by_block), without_channels(model, by_block)
    few = waste.near_zero(model, threshold)
    macs = whole - sum(layer.macs_near_zero for layer in few)
    yield WEIGHTS, sum(layer.near_zero for layer in few), macs, without_near_zero(model, threshold)


def prune(
    model: Model,
    pictures: Sequence[Picture],
    threshold: float = waste.THRESHOLD,
    similar: float = waste.SIMILAR,
    labelled: Labelled | None = None,
    tick: Tick = no_tick,
) -> Generator[float, None, Pruning]:
    """Find waste on views of `pictures`, remove it, and judge the rest on other views, or on `labelled` pictures.

    Yields the share done. Raises OutOfRange.
    """
    waste.check(similar, threshold)
    looking = waste.look(model, pictures, tick)
    seen = yield from _scaled(looking, 0.2)
    found = waste.all_waste(seen, similar)
    networks = list(variants(model, seen, found, threshold))
    count = len(labelled.truth) if labelled else len(pictures) * JUDGED_ON
    inputs = (placed(model, view) for view in labelled.views) if labelled else None
    batches = waste.batched(inputs) if inputs else waste.views(model, pictures, JUDGED_ON, waste.SEED + 1)
    answers: list[np.ndarray] = []
    for batch in batches:
        with torch.inference_mode():
            answers.append(np.stack([_said(network, batch, tick) for *_, network in networks]))
        yield 0.2 + 0.8 * sum(a.shape[1] for a in answers) / count
    said = np.concatenate(answers, 1)  # (networks, views)
    truth = labelled.truth if labelled else None
    judged = tuple(_judged(*what[:3], said[i], said[0], truth) for i, what in enumerate(networks))
    return Pruning(judged, found, labelled is not None, threshold, similar, conditions(model.device, model.dtype))


def _said(network: nn.Module, batch: Tensor, tick: Tick) -> np.ndarray:
    tick()
    return network(batch).argmax(1).cpu().numpy()


def _scaled(running: waste.Looking, share: float) -> waste.Looking:
    """The same, as the first `share` of something longer."""
    try:
        while True:
            yield share * next(running)
    except StopIteration as end:
        return end.value


def _judged(removed: str, channels: int, macs: int, said: np.ndarray, before: np.ndarray, truth: np.ndarray | None) -> Judged:
    right = (None, None) if truth is None else (int((before == truth).sum()), int((said == truth).sum()))
    return Judged(removed, channels, macs, len(said), int((said == before).sum()), *right)


SAID = {  # of what is removed, whether labels are known
    (IDLE, False): message("Without dead, constant and copied channels: {saved} fewer MACs, the same class on {same} of {n} views "
        "(without as many random ones on {chance})."),
    (IDLE, True): message("Without dead, constant and copied channels: {saved} fewer MACs, right on {right} of {n} pictures instead of {before} "
        "(without as many random ones on {chance})."),
    (WEIGHTS, False): message("Without near-zero weights: {saved} fewer MACs, the same class on {same} of {n} views."),
    (WEIGHTS, True): message("Without near-zero weights: {saved} fewer MACs, right on {right} of {n} pictures instead of {before}."),
}  # fmt: skip


def outcome(found: Pruning) -> Outcome:
    """Whether much can go (a tenth of the MACs or more) and the network still says the same (on 95% or more), for channels and for weights."""
    by_kind = {one.removed: one for one in found.judged}
    whole, random = by_kind[WHOLE], by_kind[RANDOM]
    findings = []
    for kind in (IDLE, WEIGHTS):
        one = by_kind[kind]
        saved = 1 - one.macs / whole.macs
        facts: dict[str, Blank] = {"saved": f"{saved:.1%}", "same": one.same, "n": one.n, "chance": random.same}
        if found.labelled:
            facts |= {"right": one.right or 0, "before": whole.right or 0, "chance": random.right or 0}
        findings.append(Finding(REMOVABLE, SAID[kind, found.labelled], saved >= MUCH and one.same / one.n >= SAME, facts))
    how: dict[str, Cell] = {"threshold": found.threshold, "similar": found.similar, **found.conditions.row()}
    rows = tuple({**one.row(), "macs_saved": 1 - one.macs / whole.macs, **how} for one in found.judged)
    return Outcome(tuple(findings), rows)
