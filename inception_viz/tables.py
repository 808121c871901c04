"""Networks of Inception blocks built from a table of widths: a small GoogLeNet, a chain, Network-in-Network or a topology that was constructed.

A row of the table is a block; a width of 0 leaves its branch out, so that a chain is a table of blocks with a 3x3 branch only.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

STRIDE = 2
WIDTHS = ("one", "reduce_three", "three", "reduce_five", "five", "pool")


@dataclass(frozen=True)
class Block:
    """The six widths of an Inception block (Table 1 of the paper), and in how many groups its 3x3 and 5x5 convolutions work.

    A reduction of 0 hands the block's input to the convolution as it is; any other width of 0 leaves the branch out. 0 groups: every channel is one
    (a depthwise convolution, as wide as what it reads).
    """

    one: int = 0
    reduce_three: int = 0
    three: int = 0
    reduce_five: int = 0
    five: int = 0
    pool: int = 0
    groups_three: int = 1
    groups_five: int = 1

    @property
    def outputs(self) -> int:
        """Channels of the concatenated output."""
        return self.one + self.three + self.five + self.pool

    @property
    def branches(self) -> int:
        """How many branches it has; with one only it is a convolution in a chain."""
        return sum(width > 0 for width in (self.one, self.three, self.five, self.pool))

    def weights(self, inputs: int) -> int:
        """Weights of the convolutions when `inputs` channels come in: times the positions of the map they are its multiply-accumulates."""
        total = inputs * (self.one + self.pool)
        for reduced, width, groups, kernel in (
            (self.reduce_three, self.three, self.groups_three, 3),
            (self.reduce_five, self.five, self.groups_five, 5),
        ):
            if width:
                read = reduced or inputs
                total += inputs * reduced + read * width * kernel**2 // (groups or read)
        return total

    def scaled(self, factor: float) -> "Block":
        """Every width times `factor`, at least 1; what a grouped convolution reads and gives stays divisible by its groups."""

        def times(name: str, unit: int) -> int:
            width = getattr(self, name)
            return max(1, round(factor * width / unit)) * unit if width else 0

        three, five = max(self.groups_three, 1), max(self.groups_five, 1)
        units = {"one": 1, "reduce_three": three, "three": three, "reduce_five": five, "five": five, "pool": 1}
        widths = {name: times(name, unit) for name, unit in units.items()}
        if self.three and not self.groups_three:
            widths["three"] = widths["reduce_three"]
        if self.five and not self.groups_five:
            widths["five"] = widths["reduce_five"]
        return replace(self, **widths)

    def wider(self) -> Iterator["Block"]:
        """The blocks that are one step (a channel, or one for each group) wider in one width."""
        three, five = max(self.groups_three, 1), max(self.groups_five, 1)
        units = {"one": 1, "reduce_three": three, "three": three, "reduce_five": five, "five": five, "pool": 1}
        for name, unit in units.items():
            changed = {name: getattr(self, name) + unit}
            for size in ("three", "five"):
                if not getattr(self, f"groups_{size}") and name.endswith(size):
                    changed = {f"reduce_{size}": getattr(self, size) + 1, size: getattr(self, size) + 1}
            if getattr(self, name):
                yield replace(self, **changed)


@dataclass(frozen=True)
class Table:
    """A network's table of widths: the stem's channels, and stages of blocks with a max pool of stride 2 before each but the first.

    The stem is a 3x3 convolution of `stem_stride` on pictures of `side` x `side` pixels of `colours` channels, then (if `stem_pool`) a max pool.
    """

    stages: tuple[tuple[Block, ...], ...]
    side: int
    classes: int
    stem: int = 16
    stem_stride: int = 2
    stem_pool: bool = True
    colours: int = 3

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All rows in order."""
        return tuple(block for stage in self.stages for block in stage)

    def sides(self) -> tuple[int, ...]:
        """The side of the map on which each block works."""
        side = _halved(self.side, self.stem_stride)
        side = _halved(side, STRIDE) if self.stem_pool else side
        result = []
        for number, stage in enumerate(self.stages):
            side = _halved(side, STRIDE) if number else side
            result += [side] * len(stage)
        return tuple(result)

    def inputs(self) -> tuple[int, ...]:
        """How many channels each block reads."""
        return (self.stem, *(block.outputs for block in self.blocks[:-1]))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one picture, as PyTorch's counter counts them."""
        stem = self.colours * 9 * self.stem * _halved(self.side, self.stem_stride) ** 2
        rows = zip(self.blocks, self.inputs(), self.sides(), strict=True)
        return stem + sum(block.weights(inputs) * side**2 for block, inputs, side in rows) + self.blocks[-1].outputs * self.classes

    def told(self) -> dict:
        """The table as plain values, which JSON holds and `Table.of` reads."""
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping) -> "Table":
        """The table that `told` tells."""
        stages = tuple(tuple(Block(**row) for row in stage) for stage in told["stages"])
        return cls(**{**told, "stages": stages})

    def with_blocks(self, blocks: tuple[Block, ...]) -> "Table":
        """The same table with other rows, as many as before."""
        rows = iter(blocks)
        return replace(self, stages=tuple(tuple(next(rows) for _ in stage) for stage in self.stages))


def fitted(table: Table, budget: int) -> Table:
    """The table with all widths scaled by one factor so that its multiply-accumulates come up to `budget` and not over it.

    What rounding leaves is spent channel by channel. Raises ValueError if one channel everywhere is already too much.
    """

    def at(factor: float) -> Table:
        return table.with_blocks(tuple(block.scaled(factor) for block in table.blocks))

    low, high = 1e-6, 1.0
    if at(low).macs > budget:
        raise ValueError(f"{budget} MACs are too few: {at(low).macs} is the least")
    while at(high).macs <= budget:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).macs <= budget else (low, middle)
    best = at(low)
    while better := next(_within(best, budget), None):
        best = better
    return best


def _within(table: Table, budget: int) -> Iterator[Table]:
    """The tables that are one step wider in one block and cost at most `budget`."""
    rows = table.blocks
    for number, row in enumerate(rows):
        for wider in row.wider():
            candidate = table.with_blocks((*rows[:number], wider, *rows[number + 1 :]))
            if candidate.macs <= budget:
                yield candidate


def _halved(side: int, stride: int) -> int:
    return -(-side // stride)


class Convolution(nn.Module):
    """A convolution without bias, batch norm, ReLU: torchvision's `BasicConv2d`, with groups."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, inputs, H, W)` becomes `(N, outputs, H / stride, W / stride)`."""
        return self.relu(self.bn(self.conv(x)))


def _reduced(inputs: int, reduced: int, outputs: int, kernel: int, groups: int) -> nn.Module:
    if not reduced:
        return Convolution(inputs, outputs, kernel, groups=groups or inputs)
    return nn.Sequential(Convolution(inputs, reduced, 1), Convolution(reduced, outputs, kernel, groups=groups or reduced))


class Inception(nn.Module):
    """One block of a table; branches keep the names that torchvision's GoogLeNet gives them."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        b = block
        if b.one:
            self.branch1 = Convolution(inputs, b.one, 1)
        if b.three:
            self.branch2 = _reduced(inputs, b.reduce_three, b.three, 3, b.groups_three)
        if b.five:
            self.branch3 = _reduced(inputs, b.reduce_five, b.five, 5, b.groups_five)
        if b.pool:
            self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), Convolution(inputs, b.pool, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, inputs, H, W)` becomes `(N, outputs, H, W)`: the branches side by side."""
        branches = [branch(x) for branch in self.children()]
        return torch.cat(branches, 1) if len(branches) > 1 else branches[0]


class Network(nn.Module):
    """The network of a table: stem, blocks named as in GoogLeNet (inception3a, ...), global average pool, linear layer."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.conv1 = Convolution(table.colours, table.stem, 3, table.stem_stride)
        self.order = []
        if table.stem_pool:
            self.maxpool1 = nn.MaxPool2d(3, stride=STRIDE, padding=1)
            self.order.append("maxpool1")
        inputs = table.stem
        for number, stage in enumerate(table.stages, start=3):
            if number > 3:
                self.add_module(f"maxpool{number}", nn.MaxPool2d(3, stride=STRIDE, padding=1))
                self.order.append(f"maxpool{number}")
            for letter, block in zip("abcdefghijklmnopqrstuvwxyz", stage, strict=False):
                self.add_module(f"inception{number}{letter}", Inception(inputs, block))
                self.order.append(f"inception{number}{letter}")
                inputs = block.outputs
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, table.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures `(N, colours, side, side)` become logits `(N, classes)`."""
        x = self.conv1(x)
        for name in self.order:
            x = getattr(self, name)(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


_BLOCK = re.compile(r"inception(\d+)([a-z])\.(branch[1-4](?:\.[01])?)\.conv\.weight")


def table_of(shapes: Mapping[str, torch.Size], like: Table) -> Table:
    """The table of the network whose parameters have these shapes; what shapes don't tell (side, stem's stride and pool) is as in `like`.

    Raises ValueError if they are not those of a network of blocks.
    """
    found: dict[int, dict[str, dict[str, torch.Size]]] = {}
    for name, shape in shapes.items():
        if match := _BLOCK.fullmatch(name):
            number, letter, branch = match.groups()
            found.setdefault(int(number), {}).setdefault(letter, {})[branch] = shape
    stem, last = shapes.get("conv1.conv.weight"), shapes.get("fc.weight")
    if (
        not found
        or stem is None
        or last is None
        or {len(stem), *(len(s) for b in found.values() for c in b.values() for s in c.values())} != {4}
    ):
        raise ValueError("these are not the parameters of a network of blocks")
    stages = tuple(tuple(_block_of(branches) for _, branches in sorted(stage.items())) for _, stage in sorted(found.items()))
    return replace(like, stages=stages, classes=int(last[0]), stem=int(stem[0]), colours=int(stem[1]))


def _block_of(branches: Mapping[str, torch.Size]) -> Block:
    def width(name: str) -> int:
        return int(branches[name][0]) if name in branches else 0

    def convolved(name: str) -> tuple[int, int, int]:
        """Reduction, width, groups."""
        reduced, own = (width(f"{name}.0"), f"{name}.1") if f"{name}.1" in branches else (0, name)
        read = int(branches[own][1]) if own in branches else 1
        return reduced, width(own), reduced // read if reduced and read else 1

    (reduce_three, three, groups_three), (reduce_five, five, groups_five) = convolved("branch2"), convolved("branch3")
    pool = width("branch4.1")
    return Block(width("branch1"), reduce_three, three, reduce_five, five, pool, groups_three, groups_five)
