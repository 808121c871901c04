"""A report holds what the analysis holds, needs nothing from outside, lets nothing from outside in, and can be repeated; so does the example."""

import base64
import dataclasses
import io
import json
import re
import shlex
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inception_viz import analysis as analyses
from inception_viz import cli, clusters, errors, nulls, report
from inception_viz.analysis import Analysis
from inception_viz.figures import colours, pictures
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.report import Report
from inception_viz.text import LANGUAGES, Text

ROOT = Path(__file__).parent.parent
VOID = {"meta", "img", "input", "br", "link", "hr"}
HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(1)>.png"""


class Reader(HTMLParser):
    """Every element with its attributes, and whether all were closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def seen(googlenet: Model, chelsea: Picture) -> Analysis:
    return analyses.analyze(googlenet, dataclasses.replace(chelsea, name=HOSTILE))


@pytest.fixture(scope="module")
def made(seen: Analysis) -> Report:
    return report.make(seen, "average linkage", 3, "3a")


@pytest.fixture(scope="module")
def page(made: Report) -> str:
    return report.html(made, "ar")


def test_a_report_is_one_small_file_with_nothing_from_outside(page: str) -> None:
    assert len(page.encode()) < 10_000_000
    elements = read(page).elements
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "base"}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    sources = [a["src"] or "" for _, a in elements if "src" in a] + re.findall(r"url\((.*?)\)", page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "default-src 'none'" in page


def test_what_came_from_outside_is_shown_and_does_nothing(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)" in page


def test_every_language_is_in_it_and_the_first_is_on_show(page: str, made: Report) -> None:
    elements = read(page).elements
    assert [a["lang"] for tag, a in elements if tag == "main"] == list(LANGUAGES)
    assert [a["dir"] for tag, a in elements if tag == "main"] == [Text(language).direction for language in LANGUAGES]
    assert [a["id"] for tag, a in elements if tag == "input" and "checked" in a] == ["show-ar"]
    assert "ماذا تقول الشبكة" in page
    assert "What the network says" in page
    assert all(a.get("alt") for tag, a in elements if tag == "img")


def test_its_pictures_are_pictures(page: str) -> None:
    data = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", page)
    assert {Image.open(io.BytesIO(base64.b64decode(d))).format for d in data} == {"PNG", "JPEG"}


def test_the_numbers_of_the_report_are_those_of_the_analysis(made: Report, seen: Analysis) -> None:
    told = json.loads(json.dumps(report.summary(made), allow_nan=False))
    plain = analyses.summary(seen, made.clusters)
    assert {k: told[k] for k in plain if k != "blocks"} == {k: v for k, v in json.loads(json.dumps(plain)).items() if k != "blocks"}
    for block, one in zip(told["blocks"], seen.blocks.values(), strict=True):
        p = nulls.shift_p(torch.from_numpy(np.array(one.activation)))
        pairs = p[np.triu_indices(len(p), 1)]
        known = pairs[~np.isnan(pairs)]
        found = block["against_chance"]
        assert found["pairs"] == len(known)
        assert found["share"] == (pytest.approx((known <= 0.05).mean()) if len(known) else None)
        assert ("cluster_tests" in block) == (block["name"] == "3a")
    assert len(told["blocks"][0]["cluster_tests"]["p"]) == made.clusters["3a"].count == 3
    assert told["repeat"]["versions"]["torch"] == torch.__version__.split("+")[0]
    assert told["model"]["weights_sha256"] == seen.model.weights_sha256


def test_the_same_report_again_tells_its_progress_and_is_the_same_to_the_byte(seen: Analysis, made: Report) -> None:
    ticks: list[int] = []
    again = report.make(seen, "average linkage", 3, "3a", lambda: ticks.append(1))
    assert len(ticks) == report.steps(seen)
    assert report.files(again) == report.files(made)
    packed = report.zipped(report.files(made))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive, np.load(io.BytesIO(archive.read("arrays.npz"))) as arrays:
        assert archive.namelist() == ["report.html", "report.json", "arrays.npz"]
        assert arrays["3a/p"].shape == (256, 256)
        assert np.array_equal(arrays["5b/activation"], seen.blocks["5b"].activation)


def test_the_command_in_a_report_is_one_that_the_command_line_takes(made: Report) -> None:
    words = shlex.split(report.command(made))
    assert words[:4] == ["python", "-m", "inception_viz", "report"]
    taken = cli.parser().parse_args(words[3:])
    assert (taken.method, taken.clusters, taken.block, taken.target) == ("average linkage", 3, "3a", made.analysis.target.index)


def test_a_block_that_is_not_there_is_refused(seen: Analysis) -> None:
    with pytest.raises(errors.UnknownChoice):
        report.make(seen, "louvain", None, "9z")


def test_the_command_line_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from inception_viz import images

    photo = tmp_path / "photo.png"
    photo.write_bytes(images.samples()["chelsea"].read())
    out = tmp_path / "out"
    common = ["--device", "cpu", "--model", "constructed", "--method", "average linkage", "--clusters", "4"]
    assert cli.main(["report", str(photo), "--out", str(out), *common]) == 0
    told = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert told["picture"]["name"] == "photo.png"
    assert [(b["name"], len(set(b["clusters"]["labels"]) - {-1})) for b in told["blocks"]] == [
        (name, 4) for name in ("3a", "3b", "4a", "4b")
    ]
    assert sorted(path.name for path in out.iterdir()) == ["arrays.npz", "report.html", "report.json"]
    assert cli.main(["report", str(photo), "--out", str(out), *common, "--block", "zz"]) == 2
    assert "“zz” is not a block here" in capsys.readouterr().err


def test_a_large_matrix_is_averaged_and_what_is_unknown_is_grey() -> None:
    r = np.ones((480, 480), np.float32)
    r[:, 100:102], r[100:102] = np.nan, np.nan
    shown = np.array(Image.open(io.BytesIO(pictures.matrix(r, np.arange(480)))).convert("RGB"))
    assert shown.shape == (240, 240, 3)
    assert np.abs(shown[0, 0].astype(int) - [0xB2, 0x18, 0x2B]).max() <= 3
    neutral = [int(colours.NEUTRAL[i : i + 2], 16) for i in (1, 3, 5)]
    assert np.abs(shown[50, 0].astype(int) - neutral).max() <= 3


def test_the_example_runs_and_does_the_main_job(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    notebook = json.loads((ROOT / "examples" / "one_picture.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    printed = capsys.readouterr().out
    assert re.search(r"espresso", printed)
    assert re.search(r"report\.html: \d\.\d MB", printed)
    found = names["found"]
    assert isinstance(found, clusters.Clusters)
    assert found.count > 1
