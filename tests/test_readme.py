"""The front page keeps its word: its commands are taken, its pages and pictures are there, its extensions run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from inception_viz import analysis, attributions, cli
from inception_viz.activations import Target
from inception_viz.images import Picture
from inception_viz.models import Model
from pages.shell.frame import PAGES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_page_stands_in_the_table() -> None:
    told = re.findall(r"^\| ([^|*]+?) \|", README, re.MULTILINE)
    assert [page.title for page in PAGES.values() if not any(row.startswith(page.title) for row in told)] == []


def test_every_link_and_picture_leads_to_a_file() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if not t.startswith("http")]
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []


@pytest.mark.parametrize("line", re.findall(r"^    python -m inception_viz (.+?)(?:\s+#.*)?$", README, re.MULTILINE))
def test_every_command_is_one_that_the_command_line_takes(line: str) -> None:
    words = shlex.split(line.split(" > ")[0])
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            cli.parser().parse_args(words)
    else:
        assert cli.parser().parse_args(words).run


def test_pictures_of_pages_are_small() -> None:
    shots = sorted((ROOT / "assets" / "screenshots").glob("*.webp"))
    assert shots
    assert max(shot.stat().st_size for shot in shots) < 150_000


def test_the_new_attribution_method_runs_as_it_is_written(googlenet: Model, chelsea: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    (diff,) = [d for d in re.findall(r"```diff\n(.*?)```", README, re.DOTALL) if "METHODS" in d]
    added = [line[1:] for line in diff.splitlines() if line.startswith("+")]
    entry = next(line for line in added if line.strip().startswith("message("))
    source = "\n".join(line for line in added if line is not entry) + "\nADDED = {" + entry + "}\n"
    exec(source, vars(attributions))
    monkeypatch.setattr(attributions, "METHODS", attributions.METHODS | vars(attributions).pop("ADDED"))
    found = attributions.attribute(googlenet, googlenet.input(chelsea), Target(3), "3a", "internal influence")
    assert found.channels.shape == (256,)
    assert np.isfinite(found.channels).all()
    assert found.channels.any()


def test_what_the_contract_names_is_in_the_summary(googlenet: Model, chelsea: Picture) -> None:
    seen = analysis.analyze(googlenet, chelsea)
    told = analysis.summary(seen, dict(analysis.clustered(seen, "average linkage", 2)))
    assert all(f"`{key}`" in README for key in told)
    assert all(f"`{key}`" in README for key in told["blocks"][0]["clusters"])
