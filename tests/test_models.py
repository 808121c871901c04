"""Models: which weights answer is said, pictures are prepared as torchvision does it, and the boxed network is what its card says."""

import dataclasses
import gc
import io
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inception_viz import images, models, weights
from inception_viz.architecture import describe
from inception_viz.errors import UnknownChoice

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "tiny-imagenet-200"


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("INCEPTION_VIZ_DEVICE", raising=False)


def test_with_an_empty_cache_the_boxed_network_answers() -> None:
    assert models.choices("googlenet")[0] == "boxed"
    assert models.choices("inception_v3") == ["random"]
    model = models.load(device="cpu")
    assert model.weights.name == "boxed"
    assert model.classes == 200
    assert model.class_name(0) == "goldfish"
    assert model.class_name(0, "ar") == "سمكة ذهبية"
    assert not model.weights.random


def test_a_verified_imagenet_file_in_the_cache_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    path = models.hub_file("googlenet")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not the file")
    assert models.choices("googlenet")[0] == "boxed"
    file = io.BytesIO()
    torch.save(models.random_network("googlenet", 1000, seed=5).state_dict(), file)
    path.write_bytes(file.getvalue())
    monkeypatch.setattr(models, "verified", lambda path, sha256: path.exists())
    model = models.load("googlenet", device="cpu")
    assert model.weights.name == "imagenet"
    assert model.network.transform_input
    assert model.class_name(0) == "tench"


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_random_weights_say_so_and_still_depend_on_the_picture(name: str) -> None:
    model = models.load(name, "random", "cpu")
    assert model.weights.random
    assert model.key == models.load(name, "random", "cpu").key
    inputs = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    logits = model.network(inputs)
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3


def test_loading_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    models.load("googlenet", "random", "cpu")
    assert torch.equal(torch.rand(1), expected)


def test_a_model_wants_no_gradients_and_has_no_auxiliary_heads() -> None:
    model = models.load("inception_v3", "random", "cpu")
    assert not any(p.requires_grad for p in model.network.parameters())
    assert not model.network.training
    assert not any("aux" in name.lower() for name, p in model.network.named_parameters())


def test_weights_of_ones_own_answer_with_ones_own_names() -> None:
    network = models.random_network("googlenet", 3, seed=9)
    file = io.BytesIO()
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, file)
    model = models.load("googlenet", device="cpu", file=(file.getvalue(), "mine.pth"), class_names=b"cat\ndog\nowl")
    assert model.weights.name == "mine.pth"
    assert [model.class_name(i) for i in range(4)] == ["cat", "dog", "owl", "class 3"]
    assert weights.digest(model.network.state_dict()) != models.load("googlenet", "random", "cpu").weights.sha256
    with pytest.raises(weights.WrongNames):
        models.load("inception_v3", device="cpu", file=(file.getvalue(), "mine.pth"))
    with pytest.raises(weights.WrongClassNames):
        models.load("googlenet", device="cpu", file=(file.getvalue(), "mine.pth"), class_names=b"cat")


def test_what_is_not_here_is_refused_with_what_is() -> None:
    with pytest.raises(UnknownChoice, match="googlenet, inception_v3"):
        models.load("resnet")
    with pytest.raises(models.NotHere, match="random"):
        models.load("googlenet", "imagenet")
    with pytest.raises(models.NoSuchDevice, match="cpu"):
        models.load("googlenet", "random", "cuda:99")


def test_the_environment_chooses_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTION_VIZ_DEVICE", "cuda:99")
    with pytest.raises(models.NoSuchDevice):
        models.choose_device()
    assert str(models.choose_device("cpu")) == "cpu"
    facts = models.device_facts(torch.device("cpu"))
    assert facts.name.startswith("cpu (")
    assert facts.memory_bytes is None or facts.memory_bytes > 10**8


def test_pictures_are_prepared_as_torchvision_does_it(chelsea: images.Picture) -> None:
    spec = models.ARCHITECTURES["googlenet"]
    expected = spec.enum.transforms()(Image.fromarray(chelsea.pixels))
    found = spec.preprocessing.tensor(chelsea)[0]
    assert found.shape == expected.shape
    assert float((found - expected).abs().mean()) < 0.02
    assert float((found - expected).abs().max()) < 0.4  # torchvision resizes first and crops whole pixels


def test_the_frame_is_the_middle_square() -> None:
    assert models.Preprocessing(128, 128).frame(300, 200) == (50, 0, 250, 200)
    assert models.Preprocessing(256, 224).frame(256, 256) == (16, 16, 240, 240)
    soft = models.Preprocessing(64, 64, detail=8).of_pixels(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    assert soft.shape == (64, 64, 3)
    assert soft.std() < 40


def test_what_is_remembered_of_a_model_goes_with_it() -> None:
    model = models.load("googlenet", "random", "cpu")
    assert describe(model) is describe(dataclasses.replace(model))
    network = weakref.ref(model.network)
    del model
    gc.collect()
    assert network() is None


CARD = json.loads(models.CARD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", models.CHECKPOINTS)
def test_boxed_checkpoints_are_those_of_the_card(name: str) -> None:
    model = models.load("googlenet", name, "cpu")
    assert model.weights.name == name
    assert model.weights.top1 == (CARD if name == "boxed" else CARD["checkpoints"][name.removeprefix("boxed-")])["top1"]
    assert model.weights.preprocessing == models.Preprocessing(**CARD["preprocessing"])


def test_checkpoints_are_in_the_order_of_training() -> None:
    epochs = [models.epoch(name) for name in models.CHECKPOINTS]
    assert epochs == sorted(epochs)
    assert epochs[0] == 0
    assert CARD["top1"] > 0.5


def test_a_damaged_box_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / CARD["file"]).write_bytes(b"damaged")
    monkeypatch.setattr(models, "ASSETS", tmp_path)
    with pytest.raises(models.DamagedBox):
        models.load("googlenet", "boxed", "cpu")


def test_the_box_recognises_a_cat_and_a_cup_of_coffee() -> None:
    model = models.load("googlenet", "boxed", "cpu")
    for name, expected in (("chelsea", {"Egyptian cat", "tabby cat"}), ("coffee", {"espresso"})):
        picture = images.decode(images.samples()[name].read())
        top = model.network(model.input(picture))[0].topk(3).indices.tolist()
        assert expected & {model.class_name(i) for i in top}


def test_int8_checkpoints_keep_their_statistics() -> None:
    """Quantising the last checkpoint as the earlier ones are moves no correlation visibly."""
    from inception_viz.activations import capture
    from inception_viz.correlations import correlate

    model = models.load("googlenet", "boxed", "cpu")
    network = models.random_network("googlenet", 200)
    state = {k: v for k, v in model.network.state_dict().items() if not k.endswith("num_batches_tracked")}
    network.load_state_dict(weights.dequantised(weights.quantised(state)), strict=False)
    network.eval().requires_grad_(False)
    rounded = dataclasses.replace(model, network=network)
    picture = images.decode(images.samples()["chelsea"].read())
    for name in ("3a", "4c"):
        a, b = (correlate(capture(m, m.input(picture), gradients=False).activations[name][0]) for m in (model, rounded))
        live = ~(a.constant | b.constant)
        change = np.abs(a.r - b.r)[np.ix_(live, live)]
        assert np.median(change) < 0.02


@pytest.mark.skipif(not DATA.exists(), reason="the validation pictures are not on this machine")
def test_the_box_reaches_its_accuracy_on_a_small_sample(tmp_path: Path) -> None:
    import csv
    import zipfile

    with (DATA / "classes.csv").open(encoding="utf-8") as file:
        index = {row["wnid"]: int(row["index"]) for row in csv.DictReader(file)}
    with (DATA / "val.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::25]
    model = models.load("googlenet", "boxed", "cpu")
    prepared = model.weights.preprocessing
    with zipfile.ZipFile(DATA / "val.zip") as archive:
        views = [prepared.of_pixels(images.decode(archive.read(row["file"])).pixels) for row in rows]
    truth = torch.tensor([index[row["wnid"]] for row in rows])
    with torch.inference_mode():
        answers = torch.cat(
            [model.network(torch.cat([prepared.normalised(v) for v in views[i : i + 50]])) for i in range(0, len(views), 50)]
        )
    accuracy = float((answers.argmax(1) == truth).float().mean())
    assert len(rows) == 400
    assert abs(accuracy - CARD["top1"]) < 0.08  # three standard errors of 400 answers
