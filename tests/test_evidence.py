"""The numbers for scripts: what the command line writes is what the library finds, and says its n and its null."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from inception_viz import analysis, attributions, cli, correlations, evidence, knockouts, nulls, report, validation
from inception_viz.analysis import Analysis
from inception_viz.cli import analyze
from inception_viz.clusters import find
from inception_viz.errors import UnknownChoice
from inception_viz.images import Picture
from inception_viz.models import Model
from inception_viz.text import Text


@pytest.fixture(scope="module")
def done(googlenet: Model, chelsea: Picture) -> Analysis:
    """The last block alone: small, and all that is needed."""
    whole = analysis.analyze(googlenet, chelsea)
    return Analysis(**(vars(whole) | {"blocks": {"5b": whole.blocks["5b"]}}))


@pytest.fixture(scope="module")
def found(googlenet: Model, chelsea: Picture, done: Analysis) -> dict[str, evidence.Evidence]:
    clusters = dict(analysis.clustered(done, method="average linkage", count=3))
    methods = ["gradient x activation", "grad-cam"]
    return dict(evidence.gather(googlenet, [chelsea], done, clusters, evidence.KINDS, 20, two_at_once=True, methods=methods))


def test_numbers_are_those_of_the_library(done: Analysis, found: dict[str, evidence.Evidence]) -> None:
    told = evidence.summary(found["5b"])
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    activation, similar = torch.from_numpy(np.array(done.blocks["5b"].activation)), done.blocks["5b"].correlation
    shift = told["nulls"]["shift"]
    null = nulls.drawn("shift", nulls.draws("shift", activation))
    against = nulls.against_chance(nulls.shift_p(activation))
    assert shift["draws"] == len(shift["mean_abs_r_by_chance"]) == nulls.DRAWS
    assert shift["mean_abs_r"] == pytest.approx(similar.strength)
    assert shift["p"] == pytest.approx(null.p(similar.strength))
    assert (shift["pairs"], shift["pairs_beyond"]) == (against.pairs, pytest.approx(against.share))
    assert told["nulls"]["untrained"]["mean_abs_r_by_chance"] != shift["mean_abs_r_by_chance"]
    assert [c["size"] for c in shift["clusters"]] == sorted((c["size"] for c in shift["clusters"]), reverse=True)
    assert told["stability"]["resamples"] == validation.RESAMPLES
    assert np.array(told["branches"]["counts"]).sum() == (~similar.constant).sum()
    assert told["knockouts"]["controls"] == 20
    assert len(told["knockouts"]["clusters"]) == 3
    assert np.array(told["knockouts"]["pairs"]["joint_logits"], float).shape == (3, 3)
    first = shift["rarest_pairs"][0]
    assert first["r"] == pytest.approx(float(similar.r[tuple(first["channels"])]))
    assert first["p"] == min(pair["p"] for pair in shift["rarest_pairs"])
    p, q = (evidence.arrays(found["5b"], "5b")[f"5b/{kind}/shift"] for kind in "pq")
    np.testing.assert_array_equal(p, nulls.shift_p(activation))
    assert float((q[np.triu_indices(len(q), 1)] <= nulls.LEVEL).sum()) == pytest.approx(against.adjusted_share * against.pairs)


def test_checks_are_those_of_the_page(googlenet: Model, chelsea: Picture, done: Analysis, found: dict[str, evidence.Evidence]) -> None:
    labels = dict(analysis.clustered(done, method="average linkage", count=3))["5b"].labels
    alone = attributions.check(googlenet, googlenet.input(chelsea), done.target, "5b", "grad-cam", labels)
    told = evidence.summary(found["5b"])["checks"]
    assert list(told) == ["gradient x activation", "grad-cam"]
    assert told["grad-cam"]["gap"] == pytest.approx(alone.faithfulness.gap, abs=1e-5)
    assert told["grad-cam"]["sensitivity"] == pytest.approx(alone.sensitivity, rel=1e-4)
    assert told["grad-cam"]["failures"] == list(alone.failures)
    assert told["grad-cam"]["insertion"]["target_logits"][-1] == pytest.approx(told["grad-cam"]["deletion"]["target_logits"][0], abs=1e-4)


def test_a_transform_goes_through_clusters_and_nulls(googlenet: Model, chelsea: Picture, done: Analysis) -> None:
    name = analyze.TRANSFORMS["spearman"]
    assert set(analyze.TRANSFORMS.values()) == set(correlations.TRANSFORMS) - {correlations.PLAIN}
    ranked = analysis.transformed(done, name)
    activation = torch.from_numpy(np.array(done.blocks["5b"].activation))
    expected = correlations.measure("spatial", name)(activation)
    np.testing.assert_array_equal(ranked.blocks["5b"].correlation.r, expected.r)
    clusters = dict(analysis.clustered(ranked, method="average linkage", count=3))
    assert clusters["5b"].labels.tolist() == find(expected, "average linkage", 3).labels.tolist()
    told = evidence.summary(dict(evidence.gather(googlenet, [chelsea], ranked, clusters, ["shift"]))["5b"])
    assert told["nulls"]["shift"]["mean_abs_r"] == pytest.approx(expected.strength)
    null = nulls.drawn("shift", nulls.draws("shift", activation, transform=name))
    assert told["nulls"]["shift"]["mean_abs_r_by_chance"] == pytest.approx(null.strengths.tolist())
    assert analysis.summary(ranked, clusters)["blocks"][0]["clusters"]["transform"] == name


def test_what_was_not_asked_for_is_not_there(googlenet: Model, chelsea: Picture, done: Analysis) -> None:
    clusters = dict(analysis.clustered(done, method="average linkage", count=2))
    told = evidence.summary(dict(evidence.gather(googlenet, [chelsea], done, clusters, ["shift"]))["5b"])
    assert told["nulls"].keys() == {"shift"}
    assert "knockouts" not in told


def test_a_null_of_another_name_is_refused(googlenet: Model, chelsea: Picture, done: Analysis) -> None:
    with pytest.raises(UnknownChoice, match="permuted"):
        next(evidence.gather(googlenet, [chelsea], done, {}, ["permuted"]))
    with pytest.raises(UnknownChoice, match="magic"):
        next(evidence.gather(googlenet, [chelsea], done, {}, [], methods=["magic"]))
    with pytest.raises(knockouts.NeedsAnotherPicture):
        next(evidence.gather(googlenet, [chelsea], done, dict(analysis.clustered(done)), [], 20, knockouts.RESAMPLE))


def test_evidence_stands_in_the_json_and_in_the_figures(done: Analysis, found: dict[str, evidence.Evidence], tmp_path: Path) -> None:
    clusters = dict(analysis.clustered(done, method="average linkage", count=3))
    analysis.write(done, clusters, tmp_path, {"5b": evidence.summary(found["5b"])})
    (block,) = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))["blocks"]
    assert block["evidence"].keys() == {"nulls", "stability", "branches", "knockouts", "checks"}
    names = {path.name for path in report.write_figures(done, clusters, Text("ar"), tmp_path, found)}
    assert {f"5b-null-{kind}-{figure}.html" for kind in evidence.KINDS for figure in ("correlations", "distribution", "clusters")} <= names
    assert {"5b-stability.html", "5b-branches.html", "5b-knockouts-out.html", "5b-knockouts-alone.html"} <= names


@pytest.mark.parametrize("options", [["--knockouts", "19"], ["--knockouts", "5000"], ["--baseline", "noise"], ["--pairs"]])
def test_options_out_of_range_are_refused_before_any_work(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["analyze", "x.png", "--out", "x", *options])
    assert end.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_an_unknown_null_ends_with_one_clear_line(chelsea_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--weights", "random", "--device", "cpu", "--null", "shift,nonsense"]
    assert cli.main(["analyze", str(chelsea_file), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert error == "error: “nonsense” is not a null here. Choose one of: shift, untrained.\n"
    assert not (tmp_path / "out").exists()


@pytest.fixture
def chelsea_file(tmp_path: Path) -> Path:
    from skimage import data, io

    io.imsave(tmp_path / "chelsea.png", data.chelsea())
    return tmp_path / "chelsea.png"
