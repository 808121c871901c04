"""Models: which weights answer is said, pictures are prepared as torchvision does it, and the boxed network is what its card says."""

import dataclasses
import gc
import hashlib
import io
import json
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inception_viz import images, models, weights
from inception_viz.activations import capture
from inception_viz.architecture import describe
from inception_viz.errors import UnknownChoice
from inception_viz.tables import Block, Network, Table
from tests.conftest import BODY, HASH, looking_at

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "tiny-imagenet-200"

PUBLISHED = [name for name, spec in models.ARCHITECTURES.items() if spec.enum]


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
    monkeypatch.setattr(models.ArchitectureSpec, "sha256", property(lambda self: hashlib.sha256(file.getvalue()).hexdigest()[:8]))
    assert models.choices("inception_v3") == ["random"]
    model = models.load("googlenet", device="cpu")
    assert model.weights.name == "imagenet"
    assert model.network.transform_input
    assert model.class_name(0) == "tench"


def test_a_cached_file_that_changes_after_it_was_listed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = models.hub_file("googlenet")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"changed")
    monkeypatch.setattr(models, "verified", lambda path, sha256: True)
    with pytest.raises(models.DamagedDownload, match=path.name):
        models.load("googlenet", "imagenet", "cpu")


def test_weights_whose_answers_are_no_numbers_are_refused() -> None:
    state = models.random_network("googlenet", 3).state_dict()
    state["fc.weight"] = torch.full_like(state["fc.weight"], 3e38)
    with pytest.raises(weights.UselessWeights):
        models.load("googlenet", device="cpu", file=(safetensors.torch.save(state), "w.safetensors"))


def test_the_name_of_a_file_is_cleaned() -> None:
    state = models.random_network("googlenet", 3).state_dict()
    model = models.load("googlenet", device="cpu", file=(safetensors.torch.save(state), "../<b>\u202ea.safetensors"))
    assert model.weights.name == "<b>a.safetensors"
    assert not model.network.transform_input


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


def test_precision_is_told_where_convolutions_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch lets convolutions on newer GPUs keep ten bits of the mantissa: that is not float32."""
    for major, expected in ((7, "float32"), (8, "float32 (TF32)")):
        facts = SimpleNamespace(name="GPU", total_memory=2**33, major=major)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, facts=facts: facts)
        assert models.device_facts(torch.device("cuda:0")) == models.DeviceFacts("cuda:0 (GPU)", 2**33, expected)


def test_the_fastest_device_is_chosen_and_a_name_may_be_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert str(models.choose_device()) == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert models.devices() == ["cuda:0", "cuda:1", "mps", "cpu"]
    assert [str(models.choose_device(name)) for name in (None, "cuda", "cuda:1", "cpu")] == ["cuda:0", "cuda:0", "cuda:1", "cpu"]


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
    expected = spec.published.transforms()(Image.fromarray(chelsea.pixels))
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


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([(8, 8), (9, 7), (8, 16)]), st.sampled_from([None, 1, 4, 100]))
def test_any_picture_becomes_the_square_inside_it(width: int, height: int, sides: tuple[int, int], detail: int | None) -> None:
    prepared = models.Preprocessing(*sides, detail=detail)
    left, top, right, bottom = prepared.frame(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == pytest.approx(bottom - top)
    assert (left + right, top + bottom) == pytest.approx((width, height))
    grey = prepared.of_pixels(np.full((height, width, 3), 77, np.uint8))
    assert grey.shape == (sides[1], sides[1], 3)
    assert (grey == 77).all()


def test_softening_reduces_as_the_mean_of_cells_does() -> None:
    """Reduced to two cells and enlarged: the corners have the two cells' colours, nothing of the checks inside."""
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 200
    assert set(models.Preprocessing(64, 64).of_pixels(checks).ravel().tolist()) == {0, 200}
    assert models.Preprocessing(64, 64, detail=2).of_pixels(checks).ravel() == pytest.approx(100, abs=1)


def test_a_thing_is_computed_once_when_threads_ask_together(googlenet: models.Model) -> None:
    calls: list[str] = []
    together = threading.Barrier(4)

    @models.once_per_model
    def slow(model: models.Model) -> object:
        calls.append(model.key)
        return object()

    def ask(_: int) -> object:
        together.wait(10)
        return slow(googlenet)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(4)))
    assert len(calls) == 1
    assert len(set(map(id, answers))) == 1


def test_keys_tell_weights_and_devices_apart(googlenet: models.Model, inception_v3: models.Model) -> None:
    other = dataclasses.replace(googlenet, weights=dataclasses.replace(googlenet.weights, sha256="f" * 64))
    elsewhere = dataclasses.replace(googlenet, device=torch.device("meta"))
    coarse = dataclasses.replace(googlenet, dtype=torch.bfloat16)
    assert len({m.key for m in (googlenet, inception_v3, other, elsewhere, coarse)}) == 5


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_addresses_end_in_their_hashes(name: str) -> None:
    spec = models.architecture(name)
    assert re.fullmatch(r"https://\S+-[0-9a-f]{8}\.pth", spec.url)
    assert re.fullmatch(r"[0-9a-f]{8}", spec.sha256)
    assert models.hub_file(name).name == spec.url.rsplit("/", 1)[1]


def test_fetching_imagenet_makes_it_the_first_choice(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.ArchitectureSpec, "sha256", property(lambda self: HASH[:8]))
    told = list(models.fetch_imagenet("inception_v3", f"{server}/file"))
    assert told[-1].received == len(BODY)
    assert models.choices("inception_v3") == ["imagenet", "random"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_strict_loading_gives_torchvisions_own_answers(name: str) -> None:
    """A file with auxiliary heads, as torchvision saves it, answers as torchvision's network does."""
    made = {"googlenet": torchvision.models.googlenet, "inception_v3": torchvision.models.inception_v3}[name]
    reference = models.initialise(made(weights=None, num_classes=4, aux_logits=True, init_weights=False), seed=3).eval()
    for head in (m for m in reference.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        head.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(1))
    data = safetensors.torch.save({k: v.contiguous() for k, v in reference.state_dict().items()})
    model = models.load(name, device="cpu", file=(data, "w.safetensors"))
    inputs = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(model.network(inputs), reference(inputs), atol=1e-4, rtol=1e-4)


def test_what_is_remembered_of_a_model_goes_with_it() -> None:
    model = models.load("googlenet", "random", "cpu")
    assert describe(model) is describe(dataclasses.replace(model))
    capture(looking_at(model, 64), torch.zeros(1, 3, 64, 64))
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
    (tmp_path / CARD["file"]).unlink()
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


def test_the_constructed_network_takes_back_any_table_of_its_kind() -> None:
    """Weights say by their shapes which widths they belong to, groups included."""
    rows = (Block(3, 4, 6, 2, 2, 2, 2, 1), Block(3, 5, 5, 3, 3, 2, 0, 0), Block(three=7))
    network = models.initialise(Network(Table((rows[:2], rows[2:]), side=32, classes=4, stem=5)), seed=4).eval()
    data = safetensors.torch.save(network.state_dict())
    model = models.load(models.CONSTRUCTED, device="cpu", file=(data, "mine.safetensors"))
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(model.network(inputs), network(inputs), atol=1e-5)
    assert [b.channels for b in describe(model).blocks] == [13, 13]  # the chain's last row has one branch: no block


@pytest.mark.parametrize("colours", [1, 4])
def test_other_networks_are_refused_as_constructed_ones(colours: int) -> None:
    grey = models.initialise(Network(Table(((Block(2),), (Block(2),)), side=32, classes=4, colours=colours)), seed=4)
    for state in (grey.state_dict(), models.random_network("googlenet", 3).state_dict()):
        with pytest.raises(weights.WeightsError):
            models.load(models.CONSTRUCTED, device="cpu", file=(safetensors.torch.save(state), "w.safetensors"))


def test_a_network_of_our_own_has_no_imagenet_weights() -> None:
    assert models.choices(models.CONSTRUCTED) == ["trial", "random"]
    with pytest.raises(models.NothingPublished):
        list(models.fetch_imagenet(models.CONSTRUCTED))
    assert models.card(models.CONSTRUCTED, "trial")["classes"] == 50
    assert models.card(models.CONSTRUCTED, "random")["top1"] is None
    names = models.load(models.CONSTRUCTED, "random", "cpu").weights.class_names
    assert len(names["en"]) == len(names["ar"]) == 50


def test_a_damaged_constructed_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "ASSETS", tmp_path)
    with pytest.raises(models.DamagedBox):
        models.load(models.CONSTRUCTED, device="cpu")
