"""Boxes: overlap, the largest part of a map, and the way back from what a network sees to the picture's own pixels."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label, regionprops

from inception_viz import boxes, grids
from inception_viz.boxes import BadRow, BadTable, Box, Case, UnknownClass
from inception_viz.grids import Grid
from inception_viz.models import Preprocessing

CLASSES = {"n01443537": 0, "goldfish": 0, "cat": 1}
whole_boxes = st.tuples(*[st.integers(0, 19)] * 4).map(
    lambda c: Box(min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1)
)


def mask(box: Box) -> np.ndarray:
    """The pixels of a box on 20 x 20."""
    pixels = np.zeros((20, 20), bool)
    pixels[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
    return pixels


@given(whole_boxes, whole_boxes)
def test_overlap_is_counted_pixels(one: Box, other: Box) -> None:
    a, b = mask(one), mask(other)
    assert one.overlap(other) == pytest.approx((a & b).sum() / (a | b).sum())
    assert one.overlap(other) == other.overlap(one)
    assert one.overlap(one) == 1


@given(whole_boxes, st.integers(0, 19), st.integers(0, 19))
def test_a_box_holds_the_middles_of_its_pixels_and_no_others(box: Box, x: int, y: int) -> None:
    assert box.holds((x + 0.5, y + 0.5)) == mask(box)[y, x]


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert Box(0, 0, 5, 5).overlap(Box(5, 0, 9, 5)) == 0
    assert Box(3, 3, 3, 3).overlap(Box(3, 3, 3, 3)) == 0  # nothing is in it


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_the_largest_part_is_that_of_another_implementation(seed: int, threshold: float) -> None:
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(24, 24)), 1.5).astype(np.float32)
    found = boxes.largest(values, threshold)
    parts = regionprops(label(values >= threshold * float(values.max()), connectivity=1))
    most = max(part.num_pixels for part in parts)
    assert found in [Box(p.bbox[1], p.bbox[0], p.bbox[3], p.bbox[2]) for p in parts if p.num_pixels == most]


def test_a_map_that_is_nowhere_above_zero_has_no_box_and_no_summit() -> None:
    for values in (np.zeros((4, 4)), -np.ones((4, 4))):
        assert boxes.largest(values, 0.5) is None
        assert boxes.summit(values, grids.tiles(4, 32)) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(1, 9), st.floats(4, 12))
def test_the_summit_is_the_highest_place_of_the_stretched_map(seed: int, cells: int, first: float, step: float) -> None:
    values, grid = np.random.default_rng(seed).random((cells, cells)), Grid(first, step)
    point = boxes.summit(values, grid)
    assert point is not None
    large = grids.enlarged(values, 120, grid)
    assert large[int(point[1]), int(point[0])] >= large.max() - np.ptp(values) / step  # half a pixel away both ways at most
    assert large.max() <= values.max() + 1e-6
    assert values[round((point[1] - first) / step), round((point[0] - first) / step)] == values.max()


@settings(max_examples=40, deadline=None)
@given(st.integers(40, 300), st.integers(40, 300), st.sampled_from([(64, 64), (72, 64), (96, 48)]), st.integers(0, 10_000))
def test_a_box_goes_back_to_the_pixels_that_it_came_from(width: int, height: int, sizes: tuple[int, int], seed: int) -> None:
    preparation = Preprocessing(*sizes)
    seen = boxes.seen_box(preparation, width, height)
    generator = np.random.default_rng(seed)
    x = np.sort(generator.choice(np.arange(int(np.ceil(seen.left)), int(seen.right) + 1), 2, replace=False))
    y = np.sort(generator.choice(np.arange(int(np.ceil(seen.top)), int(seen.bottom) + 1), 2, replace=False))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y[0] : y[1], x[0] : x[1]] = 255
    view = preparation.of_pixels(pixels)[..., 0] / 255.0
    if not view.max() > 0.5:
        return  # the box is thinner than a pixel of what is seen
    bright = boxes.largest(view, 0.5)
    assert bright is not None
    back, pixel = boxes.on_picture(bright, preparation, width, height), (seen.right - seen.left) / preparation.crop
    for edge, true in zip((back.left, back.top, back.right, back.bottom), (x[0], y[0], x[1], y[1]), strict=True):
        assert abs(edge - true) <= 1.5 * max(pixel, 1)


def test_the_whole_crop_is_the_square_that_is_seen() -> None:
    preparation = Preprocessing(256, 224)
    assert boxes.on_picture(Box(0, 0, 224, 224), preparation, 640, 480) == boxes.seen_box(preparation, 640, 480) == Box(110, 30, 530, 450)
    assert boxes.point_on_picture((112, 56), preparation, 640, 480) == (320, 135)


def test_random_boxes_lie_on_the_picture_and_have_the_mean_size_that_is_known() -> None:
    generator = np.random.default_rng(0)
    drawn = [boxes.at_random(60, 30, generator) for _ in range(4000)]
    assert all(box == box.within(60, 30) for box in drawn)
    assert np.mean([box.area for box in drawn]) / 1800 == pytest.approx(1 / 9, abs=0.01)  # a side is a third on average


def table(*lines: str, header: str = "picture,class,x0,y0,x1,y1") -> bytes:
    return "\n".join([header, *lines]).encode()


def test_a_table_is_read_with_its_corners_inside() -> None:
    cases = boxes.read(table("a.png,cat,0,32,44,62", "b.png,goldfish,3,3,3,3", "a.png,cat,1,1,2,2"), "t.csv", CLASSES.get)
    assert cases == (Case("a.png", 1, (Box(0, 32, 45, 63), Box(1, 1, 3, 3))), Case("b.png", 0, (Box(3, 3, 4, 4),)))
    assert cases[0].overlap(Box(1, 1, 3, 3)) == 1
    assert cases[0].overlap(None) == 0
    assert cases[0].hit((44.5, 62.5))
    assert not cases[0].hit(None)


def test_the_columns_of_tiny_imagenet_are_known_in_any_order() -> None:
    cases = boxes.read(table("n01443537,1,2,0,1,x.webp", header="\ufeffwnid,x1,y1,x0,y0,File"), "val.csv", CLASSES.get)
    assert cases == (Case("x.webp", 0, (Box(0, 1, 2, 3),)),)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", BadTable), (b"picture,class\n", BadTable), (table(), BadTable), (b"\xff\xfe\x00", BadTable), (table("a.png,cat,0"), BadTable),
        (table("a.png,cat,0,0,x,1"), BadRow), (table("a.png,cat,5,0,4,1"), BadRow), (table("a.png,cat,-1,0,4,1"), BadRow),
        (table("a.png,cat,0,0,9999999999,1"), BadRow), (table("a.png,dog,0,0,1,1"), UnknownClass), (table('a.png,"cat,0,0,1,1'), BadTable),
    ],
)  # fmt: skip
def test_a_bad_table_says_what_is_wrong(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        boxes.read(data, "t.csv", CLASSES.get, ["cat"])


@settings(max_examples=150)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_break_the_reader(data: bytes, headed: bool) -> None:
    with suppress(BadTable, BadRow, UnknownClass):
        boxes.read(table() + b"\n" + data if headed else data, "t.csv", CLASSES.get)
