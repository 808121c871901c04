"""A corpus is its files in the order of their names; what cannot be read is listed and stops nothing, and nothing outside is ever read."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inception_viz import corpus, images
from inception_viz.corpus import NotAFile
from inception_viz.images import Picture


def png(seed: int, side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def tensor(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None].float()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return out.getvalue()


FILES = {"b/2.png": png(2), "a/10.png": png(10), "a/9.png": png(9), "B/1.png": png(1)}
ORDER = ["B/1.png", "a/10.png", "a/9.png", "b/2.png"]


def spread(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def kinds(tmp_path: Path) -> dict[str, corpus.Corpus]:
    (tmp_path / "x.zip").write_bytes(zipped(FILES))
    return {
        "folder": corpus.folder(spread(tmp_path / "folder", FILES)),
        "zip file": corpus.open_path(tmp_path / "x.zip"),
        "zip bytes": corpus.archive(zipped(FILES), "x.zip"),
        "list": corpus.listed("some", list(FILES.items())),
    }


def test_every_kind_has_the_same_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for kind, found in kinds(tmp_path).items():
        assert [entry.name for entry in found.entries] == ORDER, kind
        assert [found.read(i) for i in range(4)] == [FILES[name] for name in ORDER], kind
        assert found.folders == ("B", "a", "b")


def test_the_digest_changes_with_a_name_a_size_or_a_content(tmp_path: Path) -> None:
    base = list(FILES.items())
    others = [base[:3], [("c/2.png", base[0][1]), *base[1:]], [("b/2.png", png(77)), *base[1:]]]
    digests = [corpus.listed("x", files).digest for files in (base, *others)]
    assert len(set(digests)) == 4
    assert corpus.listed("y", base[::-1]).digest == digests[0]


def gathered(found: corpus.Corpus, size: int, decoders: int = 2) -> list[corpus.Batch]:
    return list(corpus.batches(found, range(len(found)), size, tensor, decoders))


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_batches_keep_the_order_however_many_threads_decode(size: int) -> None:
    found = corpus.listed("x", [(f"{i:02}.png", png(i)) for i in range(11)])
    alone = gathered(found, size, 1)
    assert [len(batch.numbers) for batch in alone] == [min(size, 11 - first) for first in range(0, 11, size)]
    for batch, other in zip(alone, gathered(found, size, 4), strict=True):
        assert batch.numbers == other.numbers
        assert torch.equal(batch.inputs, other.inputs)
    assert torch.equal(torch.cat([b.inputs for b in alone]), torch.cat([tensor(images.decode(png(i))) for i in range(11)]))


def test_what_is_no_picture_is_listed_by_name_and_moves_no_other_into_another_batch() -> None:
    files = [(f"{i}.png", png(i)) for i in range(6)]
    files[1] = ("1.png", b"Dear Sir")
    files[2] = ("2.png", files[2][1][:60])
    files[4] = ("4.png", b"")
    found = gathered(corpus.listed("x", files), 2)
    assert [batch.numbers for batch in found] == [(0,), (3,), (5,)]
    left_out = [(u.number, u.name, type(u.error).__name__) for batch in found for u in batch.unreadable]
    assert left_out == [(1, "1.png", "NotAPicture"), (2, "2.png", "Damaged"), (4, "4.png", "NotAPicture")]


def test_a_folder_of_traps_gives_its_one_picture_and_names_the_rest(tmp_path: Path) -> None:
    outside = spread(tmp_path / "outside", {"secret.png": png(66)})
    root = spread(tmp_path / "root", {"good.png": png(1), ".hidden/x.png": png(2), "Thumbs.db": b"x", "deep/er/.DS_Store": b"x"})
    (root / "link.png").symlink_to(outside / "secret.png")
    (root / "folder-link").symlink_to(outside)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.png")
    with (root / "huge.png").open("wb") as file:
        file.truncate(10**12)  # sparse: a terabyte of nothing
    (root / "locked.png").symlink_to("/nowhere")
    found = corpus.folder(root)
    (batch,) = gathered(found, 100)
    assert [found.entries[n].name for n in batch.numbers] == ["good.png"]
    assert {u.name: type(u.error).__name__ for u in batch.unreadable} == {
        "link.png": "NotAFile", "folder-link": "NotAFile", "loop": "NotAFile", "pipe.png": "NotAFile", "huge.png": "TooManyBytes", "locked.png": "NotAFile",
    }  # fmt: skip


def test_a_folder_that_becomes_a_link_while_we_look_is_not_followed(tmp_path: Path) -> None:
    outside = spread(tmp_path / "outside", {"1.png": png(66)})
    found = corpus.folder(spread(tmp_path / "root", {"a/1.png": png(1)}))
    (tmp_path / "root" / "a").rename(tmp_path / "root" / "old")
    (tmp_path / "root" / "a").symlink_to(outside)
    with pytest.raises(NotAFile):
        found.read(0)


def test_a_file_that_goes_away_is_listed(tmp_path: Path) -> None:
    found = corpus.folder(spread(tmp_path, {"1.png": png(1), "2.png": png(2)}))
    (tmp_path / "1.png").unlink()
    (batch,) = gathered(found, 10)
    assert batch.numbers == (1,)
    assert batch.unreadable[0].name == "1.png"


def test_zip_names_are_never_paths_and_only_their_last_part_is_shown(tmp_path: Path) -> None:
    found = corpus.archive(zipped({"../../etc/x.png": png(1), "/abs/y.png": b"no", "ok.png": png(3)}), "x.zip")
    (batch,) = gathered(found, 10)
    assert len(batch.numbers) == 2
    assert [u.name for u in batch.unreadable] == ["y.png"]


def test_a_zip_bomb_is_unpacked_no_further_than_a_picture_may_be_long() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.png", b"\0" * 60_000_000)
        file.writestr("good.png", png(1))
    found = corpus.archive(out.getvalue(), "x.zip")
    (batch,) = gathered(found, 10)
    assert batch.numbers == (1,)
    assert isinstance(batch.unreadable[0].error, images.TooManyBytes)


def test_a_zip_that_lies_about_its_sizes_is_cut_off_all_the_same() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.png", b"\0" * 60_000_000)
    lying = out.getvalue().replace((60_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    found = corpus.archive(lying, "x.zip")
    assert found.entries[0].size == 100
    (batch,) = gathered(found, 10)
    assert len(batch.unreadable) == 1


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nonsense", b"x" * 1000])
def test_what_is_no_zip_is_told(data: bytes) -> None:
    with pytest.raises(corpus.BadZip, match="no zip that can be read"):
        corpus.archive(data, "x.zip")


def test_a_zip_that_unpacks_to_too_much_is_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "MAX_ZIP_BYTES", 100)
    with pytest.raises(corpus.BadZip):
        corpus.archive(zipped(FILES), "x.zip")


def test_empty_missing_and_crowded_places_are_told(tmp_path: Path) -> None:
    with pytest.raises(corpus.NoPictures):
        corpus.folder(tmp_path)
    with pytest.raises(corpus.NotAFolder):
        corpus.open_path(tmp_path / "nowhere")
    with pytest.raises(corpus.TooManyPictures, match="more than 3 files"):
        corpus.folder(spread(tmp_path, FILES), most=3)
    with pytest.raises(corpus.NoPictures):
        corpus.listed("x", [])


def test_a_sample_is_drawn_by_its_seed_and_stands_in_order() -> None:
    whole = corpus.listed("x", [(f"{i:02}", bytes([i])) for i in range(40)])
    drawn = [corpus.sampled(whole, 9, seed) for seed in (0, 0, 1)]
    names = [[entry.name for entry in one.entries] for one in drawn]
    assert names[0] == names[1] != names[2]
    assert names[0] == sorted(names[0])
    assert [drawn[0].read(i)[0] for i in range(9)] == [int(name) for name in names[0]]
    assert corpus.sampled(whole, 40, 0) is whole


def test_folders_are_classes_only_if_all_pictures_lie_in_some() -> None:
    def folders(*names: str) -> tuple[str, ...]:
        return corpus.listed("x", [(name, b"") for name in names]).folders

    assert folders("a/1", "b/2") == ("a", "b")
    assert folders("a/1", "2") == ()
    assert folders("a/1", "a/2") == ()
    assert folders("val/a/1", "val/b/1") == ("a", "b")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    spread(tmp_path / "secret", {"s.png": png(5)})
    root = spread(tmp_path / "open", {"cats/1.png": png(1), "cats/big/2.png": png(2), "x.zip": zipped(FILES), ".git/z.png": png(3)})
    (root / "way-out").symlink_to(tmp_path / "secret")
    (root / "cats" / "way-out").symlink_to(tmp_path / "secret")
    monkeypatch.setenv(corpus.FOLDERS, os.pathsep.join([str(root), str(tmp_path / "nowhere"), ""]))
    return root


def test_only_named_roots_are_open(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert corpus.roots() == (root,)
    assert corpus.choices(root) == ["", "cats", "cats/big", "x.zip"]
    monkeypatch.delenv(corpus.FOLDERS)
    assert corpus.roots() == ()


@pytest.mark.parametrize(
    "asked",
    [
        "..",
        "../secret",
        "cats/../../secret",
        "/etc",
        "way-out",
        "way-out/s.png",
        "cats/way-out",
        "cats/./big",
        "nowhere",
        "cats\\..",
        "cats\0",
    ],
)
def test_no_way_leads_out_of_a_root(root: Path, asked: str) -> None:
    with pytest.raises(corpus.OutsideRoots, match="does not lie in a folder that may be read"):
        corpus.beneath(root, asked)


@pytest.mark.parametrize("asked", ["", "cats", "cats/big", "x.zip"])
def test_what_lies_under_a_root_is_opened(root: Path, asked: str) -> None:
    assert len(corpus.open_path(corpus.beneath(root, asked))) >= 1


def test_whoever_stops_reading_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is not decoded once nobody reads on."""
    decoded: list[str] = []
    real: Callable[..., Picture] = images.decode

    def counting(data: bytes, name: str = "") -> Picture:
        decoded.append(name)
        return real(data, name)

    monkeypatch.setattr(corpus.images, "decode", counting)
    steps = corpus.batches(corpus.listed("x", [(f"{i:03}.png", png(i)) for i in range(200)]), range(200), 4, tensor)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(decoded) <= 4 * (corpus.AHEAD + 2)
