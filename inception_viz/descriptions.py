"""A network described in JSON: its table of widths and how its blocks are wired, without weights; what is read is checked, and nothing of it is run.

The file is `{"format": ..., "table": ...}` with a table as `tables.Table.told` tells it. Whoever wrote it may mean harm: every number has bounds, and
what the network would cost is counted before anything of it is built.
"""

import json
from collections.abc import Mapping
from dataclasses import fields

from inception_viz.errors import VisitorError
from inception_viz.tables import WIDTHS, Block, Table
from inception_viz.text import Text, message
from inception_viz.weights import MAX_CLASSES, MAX_VALUES

FORMAT = "inception-viz network 1"
SUFFIX = ".json"
MAX_BYTES = 200_000
MAX_STAGES, MAX_IN_STAGE, MAX_BLOCKS = 8, 26, 48  # a letter a block
MAX_WIDTH = 4096  # channels of a block or of anything in it
MAX_SIDE, MAX_STRIDE = 512, 16
MAX_MACS = 10_000_000_000  # Inception v3 takes 5.7 thousand million
MAX_ACTIVATIONS = 40_000_000  # values of all maps of one picture; GoogLeNet's blocks have 4 million


class NotADescription(VisitorError):
    """No JSON, or JSON of something else."""

    words = message(
        "The file describes no network. It must be JSON with a “table” of stages, each a list of blocks with their widths, as the page Construct saves it."
    )


class WrongDescription(VisitorError):
    """A number that no network here may have."""

    words = message("In the description of the network, “{name}” is {found}; allowed: {allowed}.")


class NetworkTooLarge(VisitorError):
    """Each number is allowed, and all of them together are too much."""

    words = message("The network described takes {found} million {kind}; at most {allowed} million are allowed.")

    def told(self, text: Text) -> str:
        """The sentence in the language of `text`, its kind of thing too."""
        return text(self.words, **(self.facts | {"kind": text(str(self.facts["kind"]))}))


def written(table: Table) -> bytes:
    """The file of a network."""
    return json.dumps({"format": FORMAT, "table": table.told()}, indent=1).encode() + b"\n"


def read(data: bytes) -> Table:
    """The table that a file describes. Raises NotADescription, WrongDescription or NetworkTooLarge."""
    try:
        found = json.loads(data.decode("utf-8")) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        raise NotADescription() from None
    table = _table(_object(_object(found).get("table"), {field.name for field in fields(Table)}))
    _bounded(table)
    return table


def _object(found: object, known: set[str] | None = None) -> Mapping:
    if not isinstance(found, dict) or (known is not None and not found.keys() <= known):
        raise NotADescription()
    return found


def _whole(told: Mapping, name: str, low: int, high: int, default: int) -> int:
    value = told.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise WrongDescription(name=name, found=_shown(value), allowed=f"{low} … {high}")
    return value


def _shown(value: object) -> str:
    """A value out of a file, fit to be shown; of what is no number only the kind."""
    if type(value) in (int, float, bool):
        return str(value)[:20]
    return "null" if value is None else {"str": "“…”", "list": "[…]", "dict": "{…}"}[type(value).__name__]


def _listed(told: Mapping, name: str, most: int) -> list:
    found = told.get(name)
    if not isinstance(found, list) or not 1 <= len(found) <= most:
        raise WrongDescription(name=name, found=f"[{len(found)}]" if isinstance(found, list) else _shown(found), allowed=f"[1 … {most}]")
    return found


def _table(told: Mapping) -> Table:
    stages = tuple(
        tuple(_block(_object(row)) for row in _listed({"stages": stage}, "stages", MAX_IN_STAGE))
        for stage in _listed(told, "stages", MAX_STAGES)
    )
    pooled = told.get("stem_pool", True)
    if type(pooled) is not bool:
        raise WrongDescription(name="stem_pool", found=_shown(pooled), allowed="true, false")
    return Table(
        stages,
        side=_whole(told, "side", 8, MAX_SIDE, 0),
        classes=_whole(told, "classes", 1, MAX_CLASSES, 0),
        stem=_whole(told, "stem", 1, MAX_WIDTH, 16),
        stem_stride=_whole(told, "stem_stride", 1, MAX_STRIDE, 2),
        stem_pool=pooled,
        colours=_whole(told, "colours", 3, 3, 3),
    )


def _block(told: Mapping) -> Block:
    _object(told, {field.name for field in fields(Block)})
    widths = {name: _whole(told, name, 0, MAX_WIDTH, 0) for name in WIDTHS}
    groups = {name: _whole(told, name, 0, MAX_WIDTH, 1) for name in ("groups_three", "groups_five")}
    return Block(**widths, **groups)


def _bounded(table: Table) -> None:
    """Raise unless the blocks fit together and the whole can be afforded."""
    if len(table.blocks) > MAX_BLOCKS:
        raise WrongDescription(name="stages", found=str(len(table.blocks)), allowed=f"1 … {MAX_BLOCKS}")
    if max(block.branches for block in table.blocks) < 2:
        raise WrongDescription(name="one, three, five, pool", found="1", allowed="2 … 4")  # a chain, of which there is nothing to compare
    for block, inputs in zip(table.blocks, table.inputs(), strict=True):
        if not 1 <= block.outputs <= MAX_WIDTH:
            raise WrongDescription(name="one + three + five + pool", found=str(block.outputs), allowed=f"1 … {MAX_WIDTH}")
        for size in ("three", "five"):
            _grouped(block, inputs, size)
    rows = list(zip(table.blocks, table.inputs(), table.sides(), strict=True))
    values = sum(block.weights(inputs) for block, inputs, _ in rows) + table.blocks[-1].outputs * table.classes
    maps = sum((inputs + sum(getattr(block, name) for name in WIDTHS) + block.outputs) * side**2 for block, inputs, side in rows)
    maps += table.stem * -((-table.side // table.stem_stride) ** 2)
    for found, kind, allowed in (
        (table.macs, message("multiply-accumulates"), MAX_MACS),
        (values, message("weights"), MAX_VALUES),
        (maps, message("activations"), MAX_ACTIVATIONS),
    ):
        if found > allowed:
            raise NetworkTooLarge(found=f"{found / 1e6:,.0f}", kind=kind, allowed=f"{allowed / 1e6:,.0f}")


def _grouped(block: Block, inputs: int, size: str) -> None:
    """Raise unless the convolution's groups divide what it reads and what it gives."""
    width, groups = getattr(block, size), getattr(block, f"groups_{size}")
    read = getattr(block, f"reduce_{size}") or inputs
    if not width:
        return
    if (groups == 0 and width != read) or (groups and (width % groups or read % groups)):
        raise WrongDescription(name=f"groups_{size}", found=str(groups), allowed=f"0, 1 … {MAX_WIDTH} ({read}, {width})")
