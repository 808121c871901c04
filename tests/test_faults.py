"""Full disks, closed folders, damaged files, other locales and clocks: the work goes on, or says in words why not."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from inception_viz import downloads, models, text
from inception_viz.downloads import CannotWrite
from tests.conftest import BODY, HASH

ROOT = Path(__file__).parent.parent


def elsewhere(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, from this project's folder, in another environment."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(program), *arguments], capture_output=True, cwd=ROOT, encoding="utf-8",
        errors="replace", env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_disk_that_is_really_full_is_told_and_the_older_file_kept(server: str, tmp_path: Path) -> None:
    """The system itself refuses to write beyond 300 kB."""
    (tmp_path / "w").write_bytes(b"older")
    program = """
        import resource, signal, sys
        from pathlib import Path
        from inception_viz import downloads
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            list(downloads.fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
        except downloads.CannotWrite as error:
            print(error)
    """
    done = elsewhere(program, f"{server}/file", str(tmp_path / "w"), HASH)
    assert "could not be saved" in done.stdout, done.stderr
    assert (tmp_path / "w").read_bytes() == b"older"
    list(downloads.fetch(f"{server}/file", tmp_path / "w", HASH))  # there is room again: what has arrived was kept
    assert (tmp_path / "w").read_bytes() == BODY


def test_an_analysis_on_a_full_disk_harms_no_older_one(tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text("older", encoding="utf-8")
    (tmp_path / "arrays.npz").write_text("older", encoding="utf-8")
    program = """
        import resource, signal, sys
        from pathlib import Path
        from inception_viz import analysis
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        for name in ("analysis.json", "arrays.npz"):
            try:
                analysis.replace(Path(sys.argv[1]) / name, bytes(5000))
            except OSError:
                print("told")
    """
    assert elsewhere(program, str(tmp_path)).stdout.split() == ["told", "told"]
    assert {p.name: p.read_text(encoding="utf-8") for p in tmp_path.iterdir()} == {"analysis.json": "older", "arrays.npz": "older"}


def test_a_home_that_may_not_be_written_to_is_no_hindrance(tmp_path: Path) -> None:
    """A home that is a file: no folder can be made in it, not even by root."""
    home = tmp_path / "home"
    home.write_text("", encoding="utf-8")
    program = """
        from inception_viz import analysis, images, models
        model = models.load(device="cpu")
        found = analysis.analyze(model, images.decode(images.samples()["coffee"].read()))
        print(model.weights.name, len(found.predictions))
        from inception_viz.downloads import CannotWrite
        try:
            list(models.fetch_imagenet("googlenet", "http://127.0.0.1:9/"))
        except CannotWrite as error:
            print(error)
    """
    done = elsewhere(program, HOME=str(home), XDG_CACHE_HOME=str(home / "cache"), TORCH_HOME=str(home / "torch"))
    assert done.stdout.startswith("boxed 10"), done.stderr
    assert "choose another folder with TORCH_HOME" in done.stdout


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_damaged_weights_in_the_cache_are_not_offered_and_fetched_anew(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = models.hub_file("googlenet")
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY[: int(share * len(BODY))])
    assert "imagenet" not in models.choices("googlenet")
    assert models.load(device="cpu").weights.name == "boxed"
    list(downloads.fetch(f"{server}/file", path, HASH))
    assert path.read_bytes() == BODY


def test_a_language_whose_catalogue_is_missing_is_shown_in_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LOCALES", tmp_path)
    text._translations.cache_clear()
    try:
        assert text.Text("ar")(CannotWrite.words, reason="x").startswith("The file could not be saved")
        assert text.Text("ar").plural("{n} picture", "{n} pictures", 3).endswith("pictures")
        assert text.Text("ar").direction == "rtl"
    finally:
        text._translations.cache_clear()


@pytest.mark.parametrize("environment", [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Pacific/Kiritimati"},
])  # fmt: skip
def test_the_locale_and_the_clock_of_the_machine_change_nothing(environment: dict[str, str]) -> None:
    """Some of the tests again, as a process that knows only ASCII and lives on the other side of the date line."""
    some = ["tests/test_text.py::test_blanks_are_isolated_in_arabic_only", "tests/test_images.py::test_samples_come_from_installed_packages",
            "tests/test_weights.py::test_class_names_are_lines_or_a_list", "tests/test_downloads.py::test_a_file_arrives_whole_with_progress",
            "tests/pages/test_home.py::test_with_nothing_chosen_the_first_sample_is_answered"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some], capture_output=True, cwd=ROOT, encoding="utf-8",
        errors="replace", env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_clock_that_jumps_does_not_stop_work() -> None:
    """Durations are measured with a clock that nobody can set."""
    for path in [*(ROOT / "inception_viz").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]:
        assert "time.time()" not in path.read_text(encoding="utf-8"), path
