"""The main job: what is written is what was computed, and the contract of analysis.json holds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from inception_viz import activations, analysis, images
from inception_viz.activations import Target
from inception_viz.models import Model

BLOCKS = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]


@pytest.fixture(scope="module")
def done(googlenet: Model, chelsea: images.Picture) -> analysis.Analysis:
    return analysis.analyze(googlenet, chelsea)


def test_predictions_are_the_softmax_of_the_network(googlenet: Model, chelsea: images.Picture, done: analysis.Analysis) -> None:
    with torch.no_grad():
        probabilities = googlenet.network(googlenet.input(chelsea))[0].softmax(0)
    assert done.predictions[0].index == int(probabilities.argmax())
    assert [p.probability for p in done.predictions] == pytest.approx(probabilities.sort(descending=True).values[:10].tolist(), rel=1e-5)
    assert done.target == Target(done.predictions[0].index)


def test_blocks_agree_with_numpy(done: analysis.Analysis) -> None:
    assert list(done.blocks) == BLOCKS
    for block in done.blocks.values():
        live = ~block.correlation.constant
        maps = block.activation[live].reshape(live.sum(), -1).astype(np.float64)
        np.testing.assert_allclose(block.correlation.r[np.ix_(live, live)], np.corrcoef(maps), rtol=0, atol=1e-5)
        np.testing.assert_allclose(block.attribution.channels, (block.activation * block.gradient).sum((1, 2)), rtol=0, atol=1e-5)


def test_results_cannot_be_changed_by_who_reads_them(done: analysis.Analysis) -> None:
    with pytest.raises(ValueError, match="read-only"):
        done.blocks["4c"].activation[0] = 0


def test_what_is_written_is_the_contract(done: analysis.Analysis, tmp_path: Path) -> None:
    clusters = dict(analysis.clustered(done))
    analysis.write(done, clusters, tmp_path)
    told = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    assert {"picture", "model", "target", "predictions", "blocks"} == told.keys()
    assert told["picture"] == {"name": "chelsea.png", "sha256": done.picture.sha256, "width": 451, "height": 300}
    assert {"name", "weights", "weights_sha256", "device", "dtype"} == told["model"].keys()
    assert len(told["predictions"]) == 10
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
        for block in told["blocks"]:
            name, channels = block["name"], block["channels"]
            assert arrays[f"{name}/activation"].shape == (channels, block["height"], block["width"])
            assert arrays[f"{name}/correlation"].shape == (channels, channels)
            assert arrays[f"{name}/attribution"].shape == (channels,)
            assert {arrays[f"{name}/{k}"].dtype for k in ("activation", "correlation", "attribution")} == {np.dtype(np.float32)}
            labels = np.array(block["clusters"]["labels"])
            assert np.array_equal(labels < 0, np.isnan(np.diagonal(arrays[f"{name}/correlation"])))
            assert sum(b["constant_channels"] for b in block["branches"]) == (labels < 0).sum()
            sums = [arrays[f"{name}/attribution"][labels == k].sum() for k in range(labels.max() + 1)]
            assert block["clusters"]["attribution"] == pytest.approx(sums, abs=1e-4)
            assert block["branches"][-1]["stop"] == channels


def test_the_difference_of_two_classes_is_the_difference_of_their_attributions(googlenet: Model, chelsea: images.Picture) -> None:
    both, one, other = (
        analysis.analyze(googlenet, chelsea, t).blocks["5a"].attribution.channels for t in (Target(3, 7), Target(3), Target(7))
    )
    assert both == pytest.approx(one - other, abs=1e-5)


def test_a_class_that_does_not_exist_is_refused(googlenet: Model, chelsea: images.Picture) -> None:
    with pytest.raises(activations.NoSuchClass):
        analysis.analyze(googlenet, chelsea, Target(1000))


def test_equal_inputs_have_equal_keys_and_different_ones_do_not(googlenet: Model, chelsea: images.Picture, done: analysis.Analysis) -> None:
    again = analysis.analyze(googlenet, chelsea)
    assert again.key == done.key
    assert analysis.analyze(googlenet, chelsea, Target(done.target.index, 5)).key != done.key


def test_a_failed_write_leaves_the_older_file(done: analysis.Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "analysis.json").write_text("older", encoding="utf-8")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        analysis.write(done, dict(analysis.clustered(done)), tmp_path)
    assert (tmp_path / "analysis.json").read_text(encoding="utf-8") == "older"
