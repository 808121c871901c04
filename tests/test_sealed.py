"""A sealed file is whole or not there; a damaged or planted one is refused before memory is taken."""

import errno
import io
import os
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from inception_viz import sealed

ARRAYS = {"a/b": np.arange(6.0).reshape(2, 3), "n": np.array(7), "none": np.zeros((0, 4), np.float32)}
CARD = {"of": "a test", "names": ["زرافة"]}
MOST = 10_000_000


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    sealed.write(tmp_path / "x.npz", ARRAYS, CARD)
    arrays, card = sealed.read(tmp_path / "x.npz", "x.npz", MOST)
    assert card == CARD | {"sha256": sealed.digest(ARRAYS)}
    assert {name: (a.tolist(), a.dtype, a.shape) for name, a in arrays.items()} == {
        name: (a.tolist(), a.dtype, a.shape) for name, a in ARRAYS.items()
    }
    assert sealed.read(sealed.packed(ARRAYS, CARD), "x", MOST)[1] == card
    assert os.listdir(tmp_path) == ["x.npz"]


def test_numpy_reads_it_too_and_equal_results_are_equal_files(tmp_path: Path) -> None:
    sealed.write(tmp_path / "x.npz", ARRAYS, CARD)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert np.array_equal(found["a/b"], ARRAYS["a/b"])
    assert (tmp_path / "x.npz").read_bytes() == sealed.packed(dict(reversed(ARRAYS.items())), CARD)


def test_the_digest_knows_names_types_shapes_and_values() -> None:
    kinds = [
        {"a": np.zeros(4)}, {"b": np.zeros(4)}, {"a": np.zeros(4, np.float32)}, {"a": np.zeros((2, 2))}, {"a": np.ones(4)}, {},
    ]  # fmt: skip
    assert len({sealed.digest(kind) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.5, 0.9, 0.99])
def test_a_file_that_ends_early_is_refused(share: float) -> None:
    whole = sealed.packed(ARRAYS, CARD)
    with pytest.raises(sealed.NotWhole, match="damaged"):
        sealed.read(whole[: int(len(whole) * share)], "x", MOST)


def test_no_single_changed_byte_of_the_arrays_goes_unnoticed() -> None:
    whole = sealed.packed(ARRAYS, CARD)
    generator = np.random.default_rng(0)
    for place in generator.choice(len(whole), 120, replace=False):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(8))
        try:
            arrays, card = sealed.read(bytes(changed), "x", MOST)
        except (sealed.NotWhole, sealed.TooLarge):
            continue
        assert sealed.digest(arrays) == sealed.digest(ARRAYS)  # a byte that says nothing, such as a date
        assert card["of"] == CARD["of"]


def planted(name: str, data: bytes, compress: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as file:
        file.writestr("card.json", '{"sha256": ""}')
        file.writestr(name, data)
    return out.getvalue()


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for data in (planted("a.npy", out.getvalue()), b"\x80\x04cos\nsystem\n(S'touch x'\ntR."):
        with pytest.raises(sealed.NotWhole):
            sealed.read(data, "x", MOST)


def test_a_header_that_claims_a_terabyte_takes_none() -> None:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    with pytest.raises(sealed.NotWhole):
        sealed.read(planted("a.npy", out.getvalue() + b"\0" * 100), "x", MOST)
    with pytest.raises(sealed.NotWhole):
        sealed.read(planted("a.npy", b"\0" * 9_000_000, zipfile.ZIP_DEFLATED), "x", MOST)
    with pytest.raises(sealed.TooLarge, match="at most 10 MB"):
        sealed.read(planted("a.npy", b"\0" * 11_000_000), "x", MOST)


def test_a_full_disk_leaves_the_old_file_and_no_stump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    sealed.write(path, ARRAYS, CARD)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(sealed.NotSaved, match="No space left on device"):
        sealed.write(path, {"a": np.zeros(3)}, {}, keep=tmp_path / "before")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.npz"]


LIMITED = """
import resource, signal, sys, numpy as np
from pathlib import Path
from inception_viz import sealed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
sealed.write(path, {"a": np.arange(10)}, {"of": "before"})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    sealed.write(path, {"a": np.zeros(100_000)}, {"of": "after"})
except sealed.NotSaved as error:
    print(error)
"""


def test_a_disk_that_really_takes_no_more_leaves_the_old_file(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE is not None
    assert signal.SIGXFSZ is not None
    path = tmp_path / "x.npz"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert "could not be saved: File too large. What was saved before is unharmed." in done.stdout
    assert sealed.read(path, "x", MOST)[1]["of"] == "before"
    assert os.listdir(tmp_path) == ["x.npz"]


def test_the_file_before_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    path, before = tmp_path / "x", tmp_path / "x.before"
    for number in range(3):
        sealed.write(path, {"n": np.array(number)}, {}, keep=before)
    assert int(sealed.read(path, "x", MOST)[0]["n"]) == 2
    assert int(sealed.read(before, "x", MOST)[0]["n"]) == 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(sealed.NotSaved, match="No such file"):
        sealed.write(tmp_path / "nowhere" / "x.npz", ARRAYS, CARD)
