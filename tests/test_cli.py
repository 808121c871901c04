"""The command line: results on standard output, one clear line and exit code 2 on bad input."""

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from skimage import data, io

from inception_viz import cli, dense_blocks, models, nulls, overfitting, sparsity, waste
from inception_viz.text import Text
from tests.conftest import BODY, HASH


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "chelsea.png"
    io.imsave(path, data.chelsea())
    return path


def test_analyze_writes_its_folder(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(
            ["analyze", str(photo), "--out", str(tmp_path / "out"), "--weights", "random", "--device", "cpu", "--json", "--language", "ar"]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out" / "analysis.json").read_text(encoding="utf-8"))
    assert [b["name"] for b in told["blocks"]] == ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    with np.load(tmp_path / "out" / "arrays.npz") as arrays:
        assert len(arrays.files) == 27
    figures = sorted(p.name for p in (tmp_path / "out" / "figures").iterdir())
    assert "plotly.min.js" in figures
    assert len(figures) == 9 * 6 + 1
    page = (tmp_path / "out" / "figures" / "4c-attributions.html").read_text(encoding="utf-8")
    assert Text("ar")("given to the target (logits)") in page


def test_compare_prints_both_sides(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--weights",
        "random",
        "--device",
        "cpu",
        "--target",
        "3",
        "--other-target",
        "4",
        "--method",
        "average linkage",
        "--clusters",
        "2",
    ]
    assert cli.main(["compare", str(photo), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["a"]["target"], told["b"]["target"]) == (3, 4)
    assert told["same_channels"]
    assert told["same_picture"]


def test_analyze_explains_the_class_that_was_asked_for(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--weights", "random", "--device", "cpu", "--target", "7", "--against", "3", "--clusters", "4", "--flows", "--json"]
    assert cli.main(["analyze", str(photo), "--out", str(tmp_path), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["target"]["index"] == 7
    assert told["target"]["against"]["index"] == 3
    assert {c["criterion"] for c in (b["clusters"] for b in told["blocks"])} == {"chosen"}
    assert [hop["target"] for hop in told["flows"]] == ["3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "logit"]
    assert np.array(told["flows"][0]["activation"]["edges"]).shape == (6, 5)
    assert (tmp_path / "figures" / "flows.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "nowhere.png", "--out", "x"],
        ["analyze", "PHOTO", "--out", "x", "--weights", "nonsense"],
        ["analyze", "PHOTO", "--out", "x", "--model", "resnet"],
        ["analyze", "PHOTO", "--out", "x", "--device", "cuda:99"],
        ["analyze", "PHOTO", "--out", "x", "--weights", "random", "--target", "5000"],
        ["analyze", "PHOTO", "--out", "x", "--weights-file", "PHOTO"],
        ["graph", "--model", "resnet"],
    ],
)
def test_bad_input_ends_with_one_clear_line(arguments: list[str], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(photo) if a == "PHOTO" else str(tmp_path / a) if a == "x" else a for a in arguments]
    assert cli.main(given) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_text_file_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.png").write_text("Dear Sir", encoding="utf-8")
    assert cli.main(["analyze", str(tmp_path / "letter.png"), "--out", str(tmp_path / "out")]) == 2
    assert "not a picture" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["analyze"], ["graph"], ["models"], ["fetch"]])
def test_every_command_has_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--help"])
    assert end.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_graph_prints_what_networkx_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["graph", "--format", "graphml"]) == 0
    (tmp_path / "g.graphml").write_text(capsys.readouterr().out, encoding="utf-8")
    graph = nx.read_graphml(tmp_path / "g.graphml")
    assert sum(facts["parameters"] for _, facts in graph.nodes(data=True)) == 6_624_904
    assert cli.main(["graph", "--format", "json"]) == 0
    assert set(nx.node_link_graph(json.loads(capsys.readouterr().out), edges="edges")) == set(graph)


def test_models_tells_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["models"].keys() == {"googlenet", "inception_v3", "constructed"}
    assert told["models"]["inception_v3"][-1]["name"] == "random"
    assert told["device"]["precision"] == "float32"
    assert cli.main(["models"]) == 0
    assert "googlenet  random  1000 classes" in capsys.readouterr().out


def test_fetch_puts_the_weights_where_they_are_looked_for(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(models.ArchitectureSpec, "sha256", property(lambda self: HASH[:8]))
    assert "imagenet" not in models.choices("googlenet")
    assert cli.main(["fetch", "imagenet", "--url", f"{server}/file"]) == 0
    assert models.hub_file("googlenet").read_bytes() == BODY
    assert models.choices("googlenet")[0] == "imagenet"


def test_fetch_says_in_one_line_why_it_did_not_work(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert cli.main(["fetch", "imagenet", "--url", f"{server}/login"]) == 2
    assert "error: What arrived is not the expected file" in capsys.readouterr().err
    assert not models.hub_file("googlenet").exists()


def lab(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert cli.main(["lab", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["cost", "width", "--width", "16", "--depth", "1"], 8),
        (["cost", "depth", "--width", "8", "--depth", "3"], 4),
        (["cost", "blocks", "--block", "16", "7", "4", "4", "8", "2", "4", "4"], 2),
        (["waste", "weights", "--weights", "random"], 58 + 120),
        (["overfitting", "parameters", "--widths", "1", "2", "--labels", "20", "--seeds", "2", "--steps", "3"], 4 + 2),
        (["overfitting", "labels", "--widths", "2", "--labels", "20", "50", "--seeds", "2", "--steps", "3"], 4 + 2),
        (["overfitting", "curves", "--widths", "2", "--seeds", "2", "--steps", "3"], 3 * 4),
    ],
)
def test_the_laboratory_measures_without_a_browser(words: list[str], rows: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = lab(capsys, *words, "--device", "cpu") if words[0] != "overfitting" else lab(capsys, *words)
    assert len(told["rows"]) == rows
    assert all({"device", "threads", "precision"} <= row.keys() for row in told["rows"])
    assert all(finding["supported"] in (True, False, None) for finding in told["findings"])
    assert cli.main(["lab", *words, "--csv", str(tmp_path / "x.csv")]) == 0
    assert len((tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()) == rows + 1
    assert told["findings"][0]["claim"] in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["cost", "width", "--width", "100000"],
        ["cost", "width", "--width", "0"],
        ["cost", "depth", "--depth", "1000"],
        ["cost", "depth", "--depth", "0"],
        ["cost", "blocks", "--block", "1024", "112", "99999", "1", "1", "1", "1", "1"],
        ["waste", "weights", "--threshold", "-1"],
        ["waste", "channels", "--similar", "7"],
        ["waste", "removal", "--most", "100000000"],
        ["waste", "removal", "--labelled", "/nowhere"],
        ["overfitting", "labels", "--labels", "5"],
        ["overfitting", "parameters", "--wrong-labels", "2"],
    ],
)
def test_the_laboratory_refuses_in_one_line_what_is_too_much(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split("\r")[-1].startswith("error: ")


def test_the_laboratory_begins_where_its_pages_do() -> None:
    """Else page and command would tell different numbers for the same question."""
    parsed = cli.parser().parse_args
    assert parsed(["lab", "coincidence", "x.png"]).twins == nulls.DRAWS
    removal, planted = parsed(["lab", "waste", "removal"]), parsed(["lab", "blocks", "planted"])
    assert (removal.threshold, removal.similar) == (waste.THRESHOLD, waste.SIMILAR)
    assert sparsity.Shape(*planted.shape) == dense_blocks.SIZES["384 x 1152"]
    trained = parsed(["lab", "overfitting", "parameters"])
    assert (trained.seeds, trained.steps) == (overfitting.SEEDS, overfitting.STEPS)
