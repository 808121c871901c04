"""How often boxes are right: counted as others count, chosen on other pictures than those measured, and nothing without its baseline."""

import io
import json
import math
from collections.abc import Generator
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from inception_viz import boxes, cli, corloc, corpus, grids, labelled, localisation, models
from inception_viz.activations import Target
from inception_viz.analysis import analyze
from inception_viz.boxes import Box, Case
from inception_viz.clusters import find
from inception_viz.corloc import Scores, Seen, Variant
from inception_viz.localisation import CAM, CLUSTER, GRAD_CAM
from inception_viz.models import Model

SIDE = 48
Result = TypeVar("Result")


def driven(steps: Generator[float, None, Result]) -> tuple[Result, list[float]]:
    """What a generator returns, and what it yielded."""
    shares = []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            return end.value, shares


def png(seed: int) -> bytes:
    """A picture with a bright square on noise."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 90, (SIDE, SIDE + 16, 3), dtype=np.uint8)
    x, y = generator.integers(0, SIDE - 16, 2)
    pixels[y : y + 16, x : x + 16] = 250
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def pictures() -> Seen:
    """Eight pictures of two classes, with boxes that are anywhere."""
    held = corpus.listed("held", [(f"{n}.png", png(n)) for n in range(8)])
    cases = [Case(f"{n}.png", n % 2, (Box(n, 2, n + 20, 30),)) for n in range(8)]
    return corloc.seen(cases, held)


def test_scores_are_those_of_pictures_looked_at_one_by_one(googlenet: Model, pictures: Seen) -> None:
    wanted = (Variant(CAM, "5b"), Variant(GRAD_CAM, "4c"), Variant(CLUSTER, "4c"))
    found, shares = driven(corloc.score(googlenet, pictures, wanted, (0.3, 0.6)))
    assert shares[-1] == 1
    assert shares == sorted(shares)
    for number, column in product((0, 3), (0, 1)):
        case, picture, threshold = pictures.cases[number], pictures.read(number), (0.3, 0.6)[column]
        alone = analyze(googlenet, picture, Target(case.index))
        last, block = alone.blocks["5b"], alone.blocks["4c"]
        labels = find(block.correlation).labels
        best = localisation.best_cluster(block.activation, block.gradient, labels)
        maps = (
            localisation.class_map(last.activation, localisation.head(googlenet), alone.target),
            localisation.grad_map(block.activation, block.gradient),
            localisation.given_map(block.activation, block.gradient, np.flatnonzero(labels == best)),
        )
        for variant, values in zip(wanted, maps, strict=True):
            cells = grids.grid(alone.blocks[variant.block].block, googlenet.weights.preprocessing.crop)
            there = localisation.place(values, cells, threshold, googlenet.weights.preprocessing, picture.width, picture.height)
            assert found[variant].overlaps[number, column] == pytest.approx(case.overlap(there.box), abs=0.05)
            assert found[variant].hits[number] == case.hit(there.point)


def test_the_best_block_and_threshold_are_chosen_by_corloc() -> None:
    first, second, cam = Variant(GRAD_CAM, "3a"), Variant(GRAD_CAM, "3b"), Variant(CAM, "5b")
    hits = np.zeros(4, bool)
    scores = {
        first: Scores(hits, np.array([[0.6, 0.9], [0.1, 0.6], [0.0, 0.2], [0.0, 0.0]])),
        second: Scores(hits, np.array([[0.5, 0.9], [0.5, 0.1], [0.5, 0.1], [0.1, 0.1]])),
        cam: Scores(hits, np.zeros((4, 2))),
    }
    assert [(c.variant, c.threshold, c.found) for c in corloc.choose(scores, (0.2, 0.4))] == [(second, 0.2, 0.75), (cam, 0.2, 0.0)]


def test_nothing_is_chosen_on_what_is_measured(googlenet: Model, pictures: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the measured pictures hold changes no block, no threshold and no size."""
    choosing, measured = corloc.halves(pictures, 3)
    assert {c.picture for c in choosing.cases} | {c.picture for c in measured.cases} == {c.picture for c in pictures.cases}
    assert len(choosing) == len(measured) == 4
    wanted = (Variant(CAM, "5b"), Variant(GRAD_CAM, "4e"), Variant(GRAD_CAM, "5b"))
    found, _ = driven(corloc.measure(googlenet, choosing, measured, 3, wanted))
    moved = Seen(tuple(Case(c.picture, c.index, (Box(0, 0, 1, 1),)) for c in measured.cases), measured.sizes, measured.read)
    other, _ = driven(corloc.measure(googlenet, choosing, moved, 3, wanted))
    assert [(r.name, r.block, r.threshold) for r in found.rows] == [(r.name, r.block, r.threshold) for r in other.rows]
    assert found.rows != other.rows
    assert (found.n, found.chosen_on, found.seed) == (4, 4, 3)
    assert [r.name for r in found.rows] == [CAM, GRAD_CAM, *corloc.BASELINES]
    assert corloc.from_plain(json.loads(json.dumps(corloc.as_plain(found)))) == found


def test_the_box_in_the_middle_is_the_best_of_its_kind(pictures: Seen) -> None:
    share = corloc.middle_share(pictures)
    plain = corloc.baselines(pictures, pictures)
    best = (plain[corloc.MIDDLE].overlaps >= corloc.RIGHT).mean()
    for other in corloc.SHARES:
        right = [
            c.overlap(boxes.in_the_middle(w, h, other)) >= corloc.RIGHT for c, (w, h) in zip(pictures.cases, pictures.sizes, strict=True)
        ]
        assert np.mean(right) <= best
    assert share in corloc.SHARES
    mean = boxes.in_the_middle(SIDE + 16, SIDE, corloc.mean_share(pictures))
    assert mean.area == pytest.approx(20 * 28)
    again = corloc.baselines(pictures, pictures)
    assert all((plain[name].overlaps == again[name].overlaps).all() for name in plain)


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (7, 7), (130, 200)])
def test_intervals_are_wilsons(right: int, n: int) -> None:
    found, z = corloc.share(np.arange(n) < right), 1.959963984540054
    middle, half = (right + z**2 / 2) / (n + z**2), z / (n + z**2) * math.sqrt(right * (n - right) / n + z**2 / 4)
    assert (found.found, found.low, found.high) == pytest.approx((right / n, middle - half, middle + half), abs=1e-9)


@pytest.mark.parametrize(("ahead", "behind", "same"), [(0, 0, 5), (1, 0, 5), (6, 1, 20), (15, 12, 100), (0, 9, 3)])
def test_mcnemars_test_is_counted_by_hand(ahead: int, behind: int, same: int) -> None:
    one = np.array([True] * ahead + [False] * behind + [True] * same)
    other = np.array([False] * ahead + [True] * behind + [True] * same)
    found, n = corloc.difference(one, other), ahead + behind
    tail = sum(math.comb(n, k) for k in range(min(ahead, behind) + 1)) / 2**n
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert found.found == pytest.approx((ahead - behind) / (n + same))
    assert found.low <= found.found <= found.high
    assert corloc.difference(other, one).p == pytest.approx(found.p)


def test_the_interval_of_a_difference_is_that_of_resampled_pictures() -> None:
    generator = np.random.default_rng(1)
    one, other = generator.random(150) < 0.6, generator.random(150) < 0.5
    drawn = generator.integers(0, 150, (4000, 150))
    low, high = np.quantile(one[drawn].mean(1) - other[drawn].mean(1), [0.025, 0.975])
    found = corloc.difference(one, other)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.015)


def test_pictures_that_are_missing_or_broken_are_left_out_and_counted() -> None:
    held = corpus.listed("held", [("0.png", png(0)), ("1.png", b"no picture"), ("3.png", png(3))])
    cases = [Case(f"{n}.png", 0, (Box(0, 0, 9, 9),)) for n in range(4)]
    found = corloc.seen(cases, held)
    assert [case.picture for case in found.cases] == ["0.png", "3.png"]
    assert found.sizes.tolist() == [[SIDE + 16, SIDE]] * 2
    with pytest.raises(corloc.NothingToMeasure):
        corloc.seen(cases[1:3], held)
    assert len(corloc.seen(cases, held, 2, seed=5)) == 2


def test_what_is_tried_is_there(googlenet: Model, inception_v3: Model) -> None:
    assert [v.block for v in corloc.variants(googlenet) if v.method == CLUSTER] == ["4c", "4e", "5b"]
    for model in (googlenet, inception_v3):
        tried = corloc.variants(model)
        assert len(set(tried)) == len(tried)
        assert {v.method for v in tried} == {CAM, GRAD_CAM, CLUSTER}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(6):
        (tmp_path / f"{n}.png").write_bytes(png(n))
    lines = [f"{n}.png,{('goldfish', 'n01629819')[n % 2]},2,3,{20 + n},30" for n in range(7)]
    (tmp_path / "boxes.csv").write_text("picture,class,x0,y0,x1,y1\n" + "\n".join(lines), encoding="utf-8")
    return tmp_path


def test_the_command_measures_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "cpu", "--weights", "boxed"]
    assert cli.main(["localise", str(folder), "--sample", "4", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["chosen_on"], told["in_the_table"], told["weights"]) == (2, 2, 7, "boxed")
    assert [row["name"] for row in told["rows"]] == [CAM, GRAD_CAM, CLUSTER, *corloc.BASELINES]
    printed = list(corloc.table(corloc.from_plain({k: v for k, v in told.items() if k != "in_the_table"})))
    assert printed[0].startswith("n = 2 pictures, blocks, thresholds and sizes chosen on 2 others; seed 0")
    assert len(printed) == 4 + 3 + len(corloc.BASELINES)


@pytest.mark.parametrize("arguments", [["NOWHERE"], ["TABLE", "--weights", "nonsense"], ["TABLE", "--pictures", "NOWHERE"]])
def test_the_command_says_what_is_wrong(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = [a.replace("NOWHERE", str(folder / "nowhere")).replace("TABLE", str(folder / "boxes.csv")) for a in arguments]
    assert cli.main(["localise", *given, "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_classes_are_named_as_folders_are(googlenet: Model) -> None:
    named = labelled.class_of(googlenet)
    assert named("3") == 3
    assert named("no such class") is None


def test_the_numbers_on_the_page_are_of_the_network_in_the_box() -> None:
    known = corloc.results()
    assert known is not None
    found, command = known
    card = json.loads(models.CARD.read_text(encoding="utf-8"))
    assert found.weights_sha256 == card["sha256"]
    assert found.n >= 1000
    assert "localisation" in command
    assert {r.name for r in found.rows} == {CAM, GRAD_CAM, CLUSTER, *corloc.BASELINES}
