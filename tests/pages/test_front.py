"""The report and the pictures made to excite channels, on their pages."""

import dataclasses

import numpy as np
import pytest

from inception_viz import features
from inception_viz.features import Feature
from inception_viz.text import LANGUAGES, Text
from tests.pages.conftest import Visit, told


@pytest.mark.parametrize("language", ["ar"])
def test_a_report_is_made_on_request_and_saved_in_two_files(visit: Visit, language: str) -> None:
    at = visit("pages/report.py", language, method="average linkage", count="3", block="5b")
    assert not at.get("download_button")
    at.get_by_key(f"choose made {language}").set_value(True).run()
    assert not at.exception
    assert not at.error
    labels = [button.proto.label for button in at.get("download_button")]
    assert len(labels) == 2
    assert all("MB" in label or "ميغابايت" in label for label in labels)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_picture_is_made_to_excite_a_channel_with_its_caution(visit: Visit, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    monkeypatch.setattr(features.maximise, "__defaults__", (0, 3))  # three steps: the way is the same
    at, text = visit("pages/activations.py", language, block="3a"), Text(language)
    caution = "Made by climbing, not photographed: it shows what can drive these channels, not what they look for. Other pictures drive them as much."
    assert text(caution) in told(at)
    at.get_by_key(f"choose excite {language}").set_value(True).run()
    assert not at.exception
    assert text("Mean activation on the picture made") in [m.label for m in at.metric]
    assert "3" in next(c.value for c in at.caption if "Adam" in c.value)


def test_a_result_is_arrays_and_names_only() -> None:
    made = Feature("3a", (1,), np.zeros((8, 8, 3), np.uint8), 1.0, 0.5, np.zeros(3, np.float32), 0)
    assert {type(getattr(made, field.name)) for field in dataclasses.fields(made)} == {str, tuple, np.ndarray, float, int}
