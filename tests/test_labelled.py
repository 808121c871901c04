"""The class of a picture is the nearest folder above it that is called after one; whatever else lies there is left out and counted."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from inception_viz import corpus, labelled, pruning, waste
from inception_viz.models import Model


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> corpus.Corpus:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return corpus.archive(out.getvalue(), "set.zip")


@pytest.fixture
def model(googlenet: Model) -> Model:
    names = {"en": ("gold_fish", "fire salamander", *(f"thing {i}" for i in range(998))), "ar": ("سمكة ذهبية",)}
    return dataclasses.replace(googlenet, weights=dataclasses.replace(googlenet.weights, class_names=names))


def test_folders_name_classes_in_any_language_or_by_number(model: Model) -> None:
    found = labelled.labelled(
        model,
        zipped(
            {
                "a/Gold-Fish/1.png": picture(1),
                "b/سمكة ذهبية/2.png": picture(2),
                "fire_salamander/images/3.png": picture(3),
                "7/4.png": picture(4),
            }
        ),
    )
    assert sorted(found.truth.tolist()) == [0, 0, 1, 7]
    assert found.views.shape == (4, 64, 64, 3)
    assert found.left_out == 0


def test_wordnet_ids_name_the_classes_of_the_boxed_network(model: Model) -> None:
    boxed = dataclasses.replace(model, weights=dataclasses.replace(model.weights, name="boxed"))
    assert labelled.labelled(boxed, zipped({"n01443537/1.png": picture(1)})).truth.tolist() == [0]


def test_what_is_no_picture_or_has_no_class_is_left_out_and_counted(model: Model) -> None:
    found = labelled.labelled(
        model,
        zipped(
            {
                "gold fish/1.png": picture(1),
                "gold fish/broken.png": b"\x89PNG\r\n\x1a\nnothing",
                "elsewhere/2.png": picture(2),
                "3.png": picture(3),
            }
        ),
    )
    assert found.truth.tolist() == [0]
    assert found.left_out == 3


def test_no_class_at_all_is_an_error_that_names_some(model: Model) -> None:
    with pytest.raises(labelled.NoLabels) as caught:
        labelled.labelled(model, zipped({"elsewhere/2.png": picture(2)}))
    assert "thing" in str(caught.value)


def test_of_many_pictures_a_sample_is_drawn_by_the_seed(model: Model) -> None:
    files = zipped({f"{i % 3}/{i}.png": picture(i) for i in range(12)})
    one, two, other = (labelled.labelled(model, files, 5, seed) for seed in (0, 0, 1))
    assert len(one.truth) == 5
    assert np.array_equal(one.views, two.views)
    assert not np.array_equal(one.views, other.views)
    assert one.digest == two.digest != other.digest
    assert one.left_out == 0  # those are no fault of the files


def test_pruning_counts_who_is_right(model: Model, chelsea) -> None:
    views = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    says = [int(model.network(waste.placed(model, view)).argmax()) for view in views]
    truth = np.array([says[0], says[1], says[2], 999 - says[3], 999 - says[4]])
    running = pruning.prune(model, [chelsea], labelled=labelled.Labelled(views, truth, 0, "x"))
    try:
        while True:
            next(running)
    except StopIteration as end:
        found = end.value
    assert found.labelled
    assert found.judged[0].right == found.judged[0].right_before == sum(s == t for s, t in zip(says, truth, strict=True))
    assert found.judged[0].n == 5
    assert "5" in str(pruning.outcome(found).findings[0].facts["n"])
