"""Downloads from a local server that is slow, silent, cut off, wrong, or a login page."""

from pathlib import Path

import pytest

from inception_viz import downloads
from tests.conftest import BODY, HASH, Server


def test_a_file_arrives_whole_with_progress(server: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.pth"
    told = list(downloads.fetch(f"{server}/file", path, HASH[:8]))
    assert path.read_bytes() == BODY
    assert told[0] == downloads.Progress(0, len(BODY))
    assert told[-1] == downloads.Progress(len(BODY), len(BODY))
    assert [t.received for t in told] == sorted(t.received for t in told)
    assert list(path.parent.iterdir()) == [path]


def test_what_is_there_and_right_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(BODY)
    assert list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH)) == []
    assert Server.ranges == ()


def test_a_broken_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    with pytest.raises(downloads.BrokenOff):
        list(downloads.fetch(f"{server}/cut", path, HASH))
    kept = (tmp_path / "w.partial").stat().st_size
    assert 0 < kept < len(BODY)
    assert not path.exists()
    list(downloads.fetch(f"{server}/cut", path, HASH))
    assert path.read_bytes() == BODY
    assert Server.ranges == (None, f"bytes={kept}-")


def test_a_server_that_knows_no_ranges_sends_all_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "w.partial").write_bytes(BODY[:1000])
    list(downloads.fetch(f"{server}/norange", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == BODY


def test_a_partial_file_that_is_whole_already_is_taken(server: str, tmp_path: Path) -> None:
    (tmp_path / "w.partial").write_bytes(BODY)
    list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == BODY


@pytest.mark.parametrize("path", ["login", "file"])
def test_another_file_is_refused_and_the_older_one_kept(server: str, tmp_path: Path, path: str) -> None:
    (tmp_path / "w").write_bytes(b"older")
    with pytest.raises(downloads.NotTheFile):
        list(downloads.fetch(f"{server}/{path}", tmp_path / "w", "0" * 64))
    assert (tmp_path / "w").read_bytes() == b"older"
    assert not (tmp_path / "w.partial").exists()


def test_a_silent_server_is_given_up(server: str, tmp_path: Path) -> None:
    with pytest.raises(downloads.Unreachable):
        list(downloads.fetch(f"{server}/silent", tmp_path / "w", HASH, silence=0.3))


def test_no_and_nobody_are_told(server: str, tmp_path: Path) -> None:
    with pytest.raises(downloads.Unreachable, match="404"):
        list(downloads.fetch(f"{server}/missing", tmp_path / "w", HASH))
    with pytest.raises(downloads.Unreachable):
        list(downloads.fetch("http://127.0.0.1:9/", tmp_path / "w", HASH))


def test_a_folder_that_cannot_be_written_is_told(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    with pytest.raises(downloads.CannotWrite):
        list(downloads.fetch(f"{server}/file", tmp_path / "file" / "w", HASH))


def test_a_full_disk_is_told_and_the_older_file_kept(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").write_bytes(b"older")

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "replace", full)
    with pytest.raises(downloads.CannotWrite, match="No space"):
        list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))
    assert (tmp_path / "w").read_bytes() == b"older"


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(BODY)
    assert downloads.verified(path, HASH)
    path.write_bytes(BODY[:-1])
    assert not downloads.verified(path, HASH)
    assert not downloads.verified(tmp_path / "nowhere", HASH)
