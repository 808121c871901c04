"""Every file either opens as the picture that it shows elsewhere, or is refused in words; nothing else ever happens."""

import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz import images
from inception_viz.errors import VisitorError
from inception_viz.text import Text
from tests import hostile_pictures
from tests.hostile_pictures import Case

CASES = hostile_pictures.cases()
MEGABYTES = 1024  # that all hostile files together may take above what was there before


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)


def quadrants(picture: images.Picture) -> list[tuple[int, ...]]:
    height, width, _ = picture.pixels.shape
    return [tuple(picture.pixels[height * y // 4, width * x // 4].tolist()) for y in (1, 3) for x in (1, 3)]


def opened(case: Case) -> images.Picture | VisitorError:
    try:
        return images.decode(case.data, case.file_name)
    except VisitorError as error:
        return error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_opens_as_its_picture_or_is_refused_in_words(case: Case) -> None:
    started = time.monotonic()
    result = opened(case)
    assert time.monotonic() - started < 5
    if isinstance(result, VisitorError):
        assert case.expect in ("refuse", "either"), result
        told_clearly(result)
    else:
        assert case.expect in ("accept", "either")
        shown_rightly(case, result)


def told_clearly(error: VisitorError) -> None:
    for language in ("en", "ar"):
        told = error.told(Text(language))
        assert 10 < len(told) <= 200
        assert not any(word in told for word in ("Traceback", "0x", "/", "Error", "object at"))


def shown_rightly(case: Case, picture: images.Picture) -> None:
    assert case.size is None or (picture.width, picture.height) == case.size
    assert max(picture.pixels.shape) <= images.SHOWN_SIDE
    assert picture.pixels.dtype == np.uint8
    assert not picture.pixels.flags.writeable
    for seen, expected in zip(quadrants(picture), case.quadrants or (), strict=False):
        assert seen == pytest.approx(expected, abs=10)
    assert 0 < len(picture.name) <= images.SHOWN_NAME
    assert not any(c in picture.name for c in "/\\\0\n\r")
    assert not any(unicodedata.category(c).startswith("C") for c in picture.name)


PROGRAM = """
import resource
from tests import hostile_pictures
from inception_viz import images
cases = hostile_pictures.cases()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for case in cases:
    try:
        images.decode(case.data, case.file_name)
    except images.VisitorError:
        pass
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_all_hostile_files_together_take_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert (after - before) / (1024 if sys.platform == "linux" else 1024**2) < MEGABYTES


WHOLE = [hostile_pictures.encoded(hostile_pictures.base(), kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=30), st.integers(0, 5000)
)
def test_no_mutation_escapes(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(data)
    for place, value in changes:
        mutated[place % len(mutated)] = value
    result = opened(Case("mutant", bytes(mutated[: max(1, len(mutated) - cut % len(mutated))]), "either"))
    assert isinstance(result, images.Picture | images.PictureError)


def test_equal_bytes_are_known_as_equal() -> None:
    first, second = images.decode(WHOLE[0], "a"), images.decode(WHOLE[0], "b")
    assert first.sha256 == second.sha256
    assert first.name != second.name


@pytest.mark.parametrize("name", images.samples())
def test_samples_come_from_installed_packages(name: str) -> None:
    sample = images.samples()[name]
    picture = images.decode(sample.read(), name)
    assert picture.pixels.shape[2] == 3
    assert sample.licence
    assert sample.source
