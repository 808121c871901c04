"""A network described in JSON comes back as it was written, costs what it says, and nothing hostile is built."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz import analysis, descriptions, images, models
from inception_viz.descriptions import NetworkTooLarge, NotADescription, WrongDescription
from inception_viz.errors import VisitorError
from inception_viz.tables import Block, Table
from inception_viz.text import Text

ROW = {"one": 4, "reduce_three": 4, "three": 8, "reduce_five": 2, "five": 4, "pool": 2, "groups_three": 2, "groups_five": 1}
TABLE = {"stages": [[ROW, ROW], [ROW]], "side": 32, "classes": 5, "stem": 8}


def file(**changes: object) -> bytes:
    return json.dumps({"table": TABLE | changes}).encode()


def row(**changes: object) -> bytes:
    return file(stages=[[ROW | changes]])


blocks = st.builds(Block, *[st.integers(1, 20)] * 2, st.just(6), *[st.integers(1, 20)] * 3, groups_three=st.just(1), groups_five=st.just(1))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(blocks, min_size=1, max_size=3), min_size=1, max_size=3), st.sampled_from([8, 33]), st.booleans())
def test_what_is_written_is_read_again(stages: list[list[Block]], side: int, pooled: bool) -> None:
    table = Table(tuple(map(tuple, stages)), side, 7, stem=5, stem_stride=1, stem_pool=pooled)
    assert descriptions.read(descriptions.written(table)) == table


def test_the_card_of_the_trial_is_a_description() -> None:
    assert descriptions.read(models.CONSTRUCTED_CARD.read_bytes()) == models.constructed_table()


def test_a_described_network_is_loaded_with_random_weights_the_same_every_time() -> None:
    one, two = (models.load("googlenet", device="cpu", file=(file(), "mine.json")) for _ in range(2))
    assert (one.architecture, one.classes, one.weights.random, one.weights.preprocessing.crop) == (models.CONSTRUCTED, 5, True, 32)
    assert one.key == two.key
    assert all(a.equal(b) for a, b in zip(one.network.state_dict().values(), two.network.state_dict().values(), strict=True))
    named = models.load("googlenet", device="cpu", file=(file(), "mine.json"), class_names=b"a\nb\nc\nd\ne")
    assert named.class_name(4) == "e"


def test_the_least_network_is_looked_into(chelsea: images.Picture) -> None:
    """One channel a branch, one class, eight pixels: dull, and no reason to fall over."""
    data = file(side=8, classes=1, stem=1, stages=[[{"one": 1, "pool": 1}], [{"one": 1, "three": 1}]])
    found = analysis.analyze(models.load("googlenet", device="cpu", file=(data, "least.json")), chelsea)
    assert [b.name for b in found.architecture.blocks] == ["3a", "4a"]
    assert found.blocks["4a"].block.channels == 2


NO_NETWORK = {
    "empty": b"",
    "no JSON": b"import os",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "a long number": b'{"table": {"side": ' + b"9" * 10_000 + b"}}",
    "long": b" " * (descriptions.MAX_BYTES + 1),
    "no table": b"{}",
    "a table of text": b'{"table": "x"}',
    "an unknown name": file(__class__="os"),
    "an unknown width": row(seven=7),
    "rows that are none": file(stages=[[3]]),
}
WRONG: dict[str, bytes] = {
    "no stages": file(stages=[]),
    "stages of text": file(stages="abc"),
    "an empty stage": file(stages=[[]]),
    "many stages": file(stages=[[ROW]] * 9),
    "many blocks": file(stages=[[ROW] * 26] * 2),
    "a long stage": file(stages=[[ROW] * 27]),
    "a negative width": row(one=-1),
    "a wide one": row(one=5000),
    "half a channel": row(one=1.5),
    "a yes": row(one=True),
    "infinity": row(one=float("inf")),
    "text": row(one="4"),
    "groups that do not divide": row(groups_three=3),
    "channels alone that are not as many": row(groups_three=0),
    "a chain": file(stages=[[{"three": 8}, {"three": 4}]]),
    "a block of nothing": row(one=0, three=0, five=0, pool=0),
    "a block that is too wide": row(one=3000, pool=3000),
    "no side": file(side=None),
    "a large side": file(side=5000),
    "no class": file(classes=0),
    "a pool of text": file(stem_pool="yes"),
    "four colours": file(colours=4),
}
LARGE = {
    "multiply-accumulates": file(side=512, stem_stride=1, stem_pool=False, stages=[[{"reduce_five": 30, "five": 30, "one": 1}] * 3]),
    "weights": file(stages=[[{"three": 4000, "reduce_three": 2000, "one": 1}]], side=8),
    "activations": file(side=512, stem_stride=1, stem_pool=False, stages=[[{"one": 200, "pool": 1}]]),
}


def refused(data: bytes, kind: type[VisitorError]) -> str:
    with pytest.raises(kind) as caught:
        models.load(models.CONSTRUCTED, device="cpu", file=(data, "x.json"))
    return caught.value.told(Text("ar"))


@pytest.mark.parametrize("name", NO_NETWORK)
def test_what_is_no_description_is_refused(name: str) -> None:
    refused(NO_NETWORK[name], NotADescription)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_number_is_named(name: str) -> None:
    refused(WRONG[name], WrongDescription)


@pytest.mark.parametrize("kind", LARGE)
def test_what_costs_too_much_is_refused_before_it_is_built(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "Network", _never)
    assert Text("ar")(kind) in refused(LARGE[kind], NetworkTooLarge)


_never: Callable[..., None] = lambda *_: pytest.fail("it was built")  # noqa: E731
