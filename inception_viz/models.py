"""A network with its weights on a device, and how a picture is prepared for it.

Which weights answer is never guessed silently: `Weights.name` says it, and random ones say so with `Weights.random`. The policy: a file that the
person names; torchvision's ImageNet weights if they are in the local cache; the boxed network of this project; random weights.
"""

import copy
import hashlib
import json
import os
import platform
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial, wraps
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from inception_viz import descriptions
from inception_viz import weights as weights_files
from inception_viz.downloads import Progress, fetch, verified
from inception_viz.errors import UnknownChoice, VisitorError
from inception_viz.images import Picture, shown_name
from inception_viz.tables import Network, Table, table_of
from inception_viz.text import message
from inception_viz.weights import State

ASSETS = Path(__file__).parent.parent / "assets"
CARD = ASSETS / "googlenet-tiny-imagenet.json"
CLASSES = ASSETS / "tiny-imagenet-classes.json"
CONSTRUCTED_CARD = ASSETS / "constructed-tiny-imagenet.json"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RANDOM_SEED = 20241107
BOXED = "boxed"
ON_IMAGENET = message("ImageNet-1K, as torchvision states")
CONSTRUCTED, OF_TRIAL = "constructed", "trial"
ON_FIFTY_CLASSES = message("2,500 validation pictures of 50 classes of Tiny ImageNet at 32 x 32 pixels")
ON_TINY_IMAGENET = message("10,000 validation pictures of Tiny ImageNet")
CHECKPOINTS = ("boxed-untrained", "boxed-early", "boxed-middle", BOXED)  # in the order of training


class NotHere(VisitorError):
    """Weights that are known but not on this machine."""

    words = message("The “{found}” weights of {architecture} are not on this machine. Here are: {allowed}.")


class NoSuchDevice(VisitorError):
    """A device that this machine does not have, or that PyTorch does not know."""

    words = message("“{found}” is not a device of this machine. Here are: {allowed}.")


class NothingPublished(VisitorError):
    """ImageNet weights were asked for of a network that nobody has published any for."""

    words = message("There are no ImageNet weights of this network.")


class DamagedDownload(VisitorError):
    """The ImageNet weights in the cache are not those that torchvision publishes."""

    words = message("The file {name} in the cache is damaged (its SHA-256 is another). Download it again.")


class DamagedBox(VisitorError):
    """The weights that came with the project are not those that it was published with."""

    words = message("The file {name} is not the one that came with this project (its SHA-256 is another). Fetch it again.")


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes what the network sees: shorter side to `resize`, the middle `crop` x `crop` pixels, mean and deviation taken out.

    `detail`, if set, first reduces the shorter side to so many pixels: a network trained on small pictures, enlarged, has never seen sharp ones.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[float, float, float] = DEVIATION
    detail: int | None = None

    def frame(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The square that is seen, as (left, top, right, bottom) in pixels of a picture of `width` x `height`."""
        side = min(width, height) * min(1.0, self.crop / self.resize)
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side

    def of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """What the network sees of `(height, width, 3)` uint8, before mean and deviation: `(crop, crop, 3)` uint8."""
        box = self.frame(pixels.shape[1], pixels.shape[0])
        picture = Image.fromarray(pixels)
        if self.detail is not None:
            few = max(1, round(self.detail * min(1.0, self.crop / self.resize)))
            if few < box[2] - box[0]:
                picture, box = picture.resize((few, few), Image.Resampling.BILINEAR, box=box), (0, 0, few, few)
        return np.asarray(picture.resize((self.crop, self.crop), Image.Resampling.BILINEAR, box=box))

    def view(self, picture: Picture) -> np.ndarray:
        """What the network sees of a picture, `(crop, crop, 3)` uint8."""
        return self.of_pixels(picture.pixels)

    def normalised(self, view: np.ndarray) -> Tensor:
        """A view `(crop, crop, 3)` as `(1, 3, crop, crop)` float32 in channels_last order."""
        scaled = torch.from_numpy(np.array(view)).permute(2, 0, 1)[None].float() / 255
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.deviation))
        return (scaled - mean) / deviation

    def tensor(self, picture: Picture) -> Tensor:
        """The network's input for a picture, `(1, 3, crop, crop)` float32."""
        return self.normalised(self.view(picture))


@dataclass(frozen=True)
class Weights:
    """Which weights: a name, the SHA-256 of their file (or of their values), class names by language, and what they reach.

    `top1` is the accuracy that was measured on `measured_on`, or None where nobody here has measured it.
    """

    name: str
    sha256: str
    class_names: Mapping[str, tuple[str, ...]]
    preprocessing: Preprocessing
    top1: float | None = None
    measured_on: str = ""
    random: bool = False


@dataclass(frozen=True, eq=False)
class Model:
    """A network in evaluation mode, without auxiliary heads, whose parameters want no gradient."""

    architecture: str
    weights: Weights
    network: nn.Module
    device: torch.device
    dtype: torch.dtype = torch.float32

    @property
    def key(self) -> str:
        """Architecture, weights and device: two models with one key give the same numbers."""
        return f"{self.architecture}:{self.weights.sha256[:16]}:{self.device}:{str(self.dtype).removeprefix('torch.')}"

    @property
    def classes(self) -> int:
        """How many classes the last layer tells apart."""
        return self.network.get_submodule("fc").out_features  # type: ignore[return-value]

    def class_name(self, index: int, language: str = "en") -> str:
        """The name of a class, in English where the language has none, else its number."""
        names = self.weights.class_names.get(language) or self.weights.class_names.get("en") or ()
        return names[index] if index < len(names) else f"class {index}"

    def input(self, picture: Picture) -> Tensor:
        """The picture as the network wants it, on its device: `(1, 3, crop, crop)`."""
        return self.weights.preprocessing.tensor(picture).to(self.device, self.dtype, memory_format=torch.channels_last)


@dataclass(frozen=True)
class ArchitectureSpec:
    """How to build a network of `classes` classes, and what torchvision publishes for it (nothing for a topology of our own).

    `shaped` builds it for weights of these shapes, where a topology has many sizes.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    enum: torchvision.models.WeightsEnum | None = None
    shaped: Callable[[Mapping[str, torch.Size]], nn.Module] | None = None

    @property
    def published(self) -> torchvision.models.WeightsEnum:
        """What torchvision publishes. Raises NothingPublished."""
        if self.enum is None:
            raise NothingPublished()
        return self.enum

    @property
    def url(self) -> str:
        """Where torchvision's ImageNet weights are. Raises NothingPublished."""
        return self.published.url

    @property
    def sha256(self) -> str:
        """The first eight digits of their SHA-256, which torchvision keeps in the file's name. Raises NothingPublished."""
        return self.url.rsplit("-", 1)[1].removesuffix(".pth")

    @property
    def imagenet_names(self) -> tuple[str, ...]:
        """The names of the classes of the published weights; none where nothing is published."""
        return tuple(self.enum.meta["categories"]) if self.enum else ()


@lru_cache(maxsize=1)
def _constructed_card() -> dict:
    return json.loads(CONSTRUCTED_CARD.read_text(encoding="utf-8"))


def constructed_table() -> Table:
    """The table of widths of the topology that won the trial."""
    return Table.of(_constructed_card()["table"])


def _constructed(num_classes: int, transform_input: bool = False) -> nn.Module:
    """`transform_input` is what torchvision's networks take; nothing is rescaled here."""
    return Network(replace(constructed_table(), classes=num_classes))


def _constructed_like(shapes: Mapping[str, torch.Size]) -> nn.Module:
    try:
        table = table_of(shapes, constructed_table())
        if table.colours != 3 or max(block.branches for block in table.blocks) < 2:
            raise ValueError("no blocks to look into")
        return Network(table)
    except ValueError:
        raise weights_files.NotWeights() from None


ARCHITECTURES: dict[str, ArchitectureSpec] = {
    "googlenet": ArchitectureSpec(
        partial(torchvision.models.GoogLeNet, aux_logits=False, init_weights=False),
        Preprocessing(256, 224),
        torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1,
    ),
    "inception_v3": ArchitectureSpec(
        partial(torchvision.models.Inception3, aux_logits=False, init_weights=False),
        Preprocessing(342, 299),
        torchvision.models.Inception_V3_Weights.IMAGENET1K_V1,
    ),
    CONSTRUCTED: ArchitectureSpec(_constructed, Preprocessing(32, 32, (0.45, 0.45, 0.45), (0.27, 0.27, 0.27)), shaped=_constructed_like),
}


def architecture(name: str) -> ArchitectureSpec:
    """The entry of ARCHITECTURES. Raises UnknownChoice."""
    if name not in ARCHITECTURES:
        raise UnknownChoice(found=name, kind=message("network"), allowed=", ".join(ARCHITECTURES))
    return ARCHITECTURES[name]


def initialise(network: nn.Module, seed: int = RANDOM_SEED) -> nn.Module:
    """Kaiming-normal convolutions from a generator of their own; with torchvision's default the logits hardly depend on the picture."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01, generator=generator)
            nn.init.zeros_(module.bias)
    return network


def _hollow(spec: ArchitectureSpec, classes: int, **options: bool) -> nn.Module:
    """The network without values: making them would draw from the global generator, and take longer than reading them."""
    with torch.device("meta"):
        return spec.build(num_classes=classes, **options)


def _hollow_for(spec: ArchitectureSpec, state: State, rescale: bool) -> nn.Module:
    """The network without values that these weights fit, if any do."""
    if spec.shaped is None:
        return _hollow(spec, weights_files.classes(state), transform_input=rescale)
    with torch.device("meta"):
        return spec.shaped({name: tensor.shape for name, tensor in state.items()})


def random_network(name: str, classes: int, seed: int = RANDOM_SEED) -> nn.Module:
    """A network whose weights are drawn from `seed`, the same on every machine."""
    return initialise(_hollow(architecture(name), classes).to_empty(device="cpu"), seed)


def hub_file(name: str) -> Path:
    """Where torchvision keeps the ImageNet weights of an architecture on this machine."""
    return Path(torch.hub.get_dir()) / "checkpoints" / architecture(name).url.rsplit("/", 1)[1]


def fetch_imagenet(name: str, url: str | None = None) -> Generator[Progress, None, None]:
    """Download torchvision's ImageNet weights into its cache, yielding Progress; the hash is checked. Raises a DownloadError."""
    spec = architecture(name)
    yield from fetch(url or spec.url, hub_file(name), spec.sha256)


@lru_cache(maxsize=1)
def _card() -> dict | None:
    return json.loads(CARD.read_text(encoding="utf-8")) if CARD.exists() else None


@lru_cache(maxsize=1)
def tiny_imagenet_names() -> dict[str, tuple[str, ...]]:
    """The names of the 200 classes by language, in the order of the logits."""
    listed = json.loads(CLASSES.read_text(encoding="utf-8"))
    return {language: tuple(entry[language] for entry in listed) for language in ("en", "ar")}


def fifty_names() -> dict[str, tuple[str, ...]]:
    """The names of every fourth class by language: those of the trial of topologies."""
    return {language: names[::4] for language, names in tiny_imagenet_names().items()}


def epoch(checkpoint: str) -> int:
    """After how many epochs of training one of CHECKPOINTS was kept."""
    card = _card()
    assert card is not None
    return card["epochs"] if checkpoint == BOXED else card["checkpoints"][checkpoint.removeprefix("boxed-")]["epoch"]


def choices(name: str) -> list[str]:
    """The weights that are here for an architecture, the preferred first."""
    spec = architecture(name)
    here = ["imagenet"] if spec.enum and verified(hub_file(name), spec.sha256) else []
    if name == CONSTRUCTED:
        here.append(OF_TRIAL)
    if name == "googlenet" and _card() is not None:
        here += [BOXED, *(c for c in reversed(CHECKPOINTS) if c != BOXED)]
    return [*here, "random"]


def _random_weights(name: str, spec: ArchitectureSpec) -> tuple[State, Weights]:
    names = {"en": spec.imagenet_names} if spec.enum else fifty_names()
    state = random_network(name, len(names["en"])).state_dict()
    return state, Weights("random", weights_files.digest(state), names, spec.preprocessing, random=True)


def _imagenet_weights(name: str, spec: ArchitectureSpec) -> tuple[State, Weights]:
    path = hub_file(name)
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if not sha256.startswith(spec.sha256):  # of the very bytes that are used, whatever was found when the choices were listed
        raise DamagedDownload(name=path.name)
    accuracy = spec.published.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100
    names = {"en": spec.imagenet_names}
    facts = Weights("imagenet", sha256, names, spec.preprocessing, accuracy, ON_IMAGENET)
    return weights_files.read(data, path.name), facts


def _constructed_weights(spec: ArchitectureSpec) -> tuple[State, Weights]:
    card = _constructed_card()
    path = ASSETS / card["file"]
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise DamagedBox(name=card["file"])
    state = {key: tensor.float() for key, tensor in safetensors.torch.load(data).items()}
    return state, Weights(OF_TRIAL, card["sha256"], fifty_names(), spec.preprocessing, card["top1"], ON_FIFTY_CLASSES)


def _boxed_weights(name: str) -> tuple[State, Weights]:
    card = _card()
    assert card is not None
    entry = card if name == BOXED else card["checkpoints"][name.removeprefix("boxed-")]
    preprocessing = Preprocessing(**card["preprocessing"])
    if entry.get("file") is None:  # the untrained one is drawn again from its seed
        state: State = random_network("googlenet", 200, entry["seed"]).state_dict()
        if weights_files.digest(state) != entry["sha256"]:
            raise DamagedBox(name=name)
    else:
        path = ASSETS / entry["file"]
        data = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise DamagedBox(name=entry["file"])
        state = weights_files.dequantised(safetensors.torch.load(data))
    return state, Weights(name, entry["sha256"], tiny_imagenet_names(), preprocessing, entry["top1"], ON_TINY_IMAGENET)


def _file_weights(name: str, spec: ArchitectureSpec, file: tuple[bytes, str], class_names: bytes | None) -> tuple[State, Weights]:
    data, file_name = file
    state = weights_files.read(data, file_name)
    count = weights_files.classes(state)
    imagenet = {"en": spec.imagenet_names}
    given = {"en": weights_files.read_class_names(class_names, count)} if class_names else imagenet if count == 1000 else {}
    return state, Weights(shown_name(file_name), hashlib.sha256(data).hexdigest(), given, spec.preprocessing)


def described(file: tuple[bytes, str] | None) -> bool:
    """Whether a file is a description of a network instead of weights: what it describes is then a network like `CONSTRUCTED`."""
    return file is not None and file[1].lower().endswith(descriptions.SUFFIX)


def _chosen(name: str, spec: ArchitectureSpec, weights: str | None) -> tuple[State, Weights]:
    here = choices(name)
    chosen = weights or here[0]
    if chosen not in here:
        raise NotHere(found=chosen, architecture=name, allowed=", ".join(here))
    if chosen == "random":
        return _random_weights(name, spec)
    if name == CONSTRUCTED:
        return _constructed_weights(spec)
    return _imagenet_weights(name, spec) if chosen == "imagenet" else _boxed_weights(chosen)


def load(
    name: str = "googlenet",
    weights: str | None = None,
    device: str | None = None,
    file: tuple[bytes, str] | None = None,
    class_names: bytes | None = None,
) -> Model:
    """The network `name` with its weights on a device.

    `weights` is one of `choices(name)`, by default the first; `file` (bytes and file name) comes before it: weights, or the description of a network
    (.json), which gets random weights. Raises UnknownChoice, NotHere, NoSuchDevice, DamagedBox, DamagedDownload, an error of `descriptions.read` or a
    WeightsError: also UselessWeights, if a file's network answers with nan or infinity.
    """
    where = choose_device(device)
    if file and described(file):
        return _described(file, class_names, where)
    spec = architecture(name)
    state, facts = _file_weights(name, spec, file, class_names) if file else _chosen(name, spec, weights)
    # ImageNet's weights were trained in another program, on pictures scaled its way; a file of 1000 classes is taken to be like them
    rescale = facts.name == "imagenet" or (file is not None and weights_files.classes(state) == 1000)
    network = _hollow_for(spec, state, rescale)
    hollow = network.state_dict()
    checked = weights_files.check(state, {key: tensor.shape for key, tensor in hollow.items()})
    counters = {key: torch.zeros((), dtype=torch.long) for key in hollow.keys() - checked.keys()}
    network.load_state_dict(checked | counters, assign=True)
    network.eval().requires_grad_(False)
    if file:
        _try_out(network)
    return Model(name, facts, network.to(where, memory_format=torch.channels_last), where)  # type: ignore[call-overload]


def _described(file: tuple[bytes, str], class_names: bytes | None, where: torch.device) -> Model:
    """The network that a file describes, with random weights; it sees pictures as those of the trial do."""
    data, file_name = file
    table = descriptions.read(data)
    given = {"en": weights_files.read_class_names(class_names, table.classes)} if class_names else {}
    seen = replace(ARCHITECTURES[CONSTRUCTED].preprocessing, resize=table.side, crop=table.side)
    with torch.device("meta"):
        hollow = Network(table)
    network = initialise(hollow.to_empty(device="cpu")).eval().requires_grad_(False)
    facts = Weights(shown_name(file_name), hashlib.sha256(data).hexdigest(), given, seen, random=True)
    return Model(CONSTRUCTED, facts, network.to(where, memory_format=torch.channels_last), where)  # type: ignore[call-overload]


def _try_out(network: nn.Module) -> None:
    """Raise UselessWeights if numbers that are each allowed make answers that are none."""
    noise = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not network(noise).isfinite().all():
            raise weights_files.UselessWeights()


def card(name: str, weights: str) -> dict:
    """Facts of weights without loading them: name, classes, top1, measured_on."""
    if name == CONSTRUCTED:
        known = weights == OF_TRIAL
        top1 = _constructed_card()["top1"] if known else None
        return {"name": weights, "classes": 50, "top1": top1, "measured_on": ON_FIFTY_CLASSES if known else ""}
    if weights.startswith(BOXED):
        boxed = _card()
        assert boxed is not None
        entry = boxed if weights == BOXED else boxed["checkpoints"][weights.removeprefix("boxed-")]
        return {"name": weights, "classes": 200, "top1": entry["top1"], "measured_on": ON_TINY_IMAGENET}
    if weights == "imagenet":
        top1 = architecture(name).published.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100
        return {"name": weights, "classes": 1000, "top1": top1, "measured_on": ON_IMAGENET}
    return {"name": weights, "classes": 1000, "top1": None, "measured_on": ""}


def devices() -> list[str]:
    """The devices of this machine, the fastest first."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def choose_device(name: str | None = None) -> torch.device:
    """The device asked for by argument, else by INCEPTION_VIZ_DEVICE, else the fastest that is here. Raises NoSuchDevice."""
    asked = name or os.environ.get("INCEPTION_VIZ_DEVICE")
    here = devices()
    if not asked:
        return torch.device(here[0])
    full = "cuda:0" if asked == "cuda" else asked
    if full not in here:
        raise NoSuchDevice(found=asked, allowed=", ".join(here))
    return torch.device(full)


@dataclass(frozen=True)
class DeviceFacts:
    """What the device is called, how many bytes of memory it has (None if unknown), and in which precision networks run on it."""

    name: str
    memory_bytes: int | None
    precision: str = "float32"


def device_facts(device: torch.device) -> DeviceFacts:
    """Name, memory and precision of a device."""
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        tensor_float = torch.backends.cudnn.allow_tf32 and facts.major >= 8  # PyTorch's default for convolutions: 10 bits of mantissa
        return DeviceFacts(f"{device} ({facts.name})", facts.total_memory, "float32 (TF32)" if tensor_float else "float32")
    if device.type == "mps":
        return DeviceFacts("mps (Apple GPU)", None)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return DeviceFacts(f"cpu ({_processor()}, {os.cpu_count()} cores)", memory)


@lru_cache(maxsize=1)
def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class _AtOnce(threading.local):
    """How many inputs may go through a network at once on this thread, and the most that were asked for."""

    limit: int | None = None
    asked = 0


_at_once = _AtOnce()


def at_once(wanted: int) -> int:
    """How many inputs to give to a network at once: `wanted`, or fewer where the memory was too small for that."""
    allowed = wanted if _at_once.limit is None else max(1, min(wanted, _at_once.limit))
    _at_once.asked = max(_at_once.asked, allowed)
    return allowed


@contextmanager
def at_most(limit: int | None) -> Iterator[None]:
    """Within, `at_once` gives `limit` at most (None: what is wanted), on this thread."""
    _at_once.limit, _at_once.asked = limit, 0
    try:
        yield
    finally:
        _at_once.limit = None


def asked_at_once() -> int:
    """The most that `at_once` has given since `at_most` was entered last; 0 if nothing asked."""
    return _at_once.asked


Result = TypeVar("Result")


def once_per_model(function: Callable[[Model], Result]) -> Callable[[Model], Result]:
    """Remember `function(model)` for as long as the model's network lives; computed once, also when threads ask at the same time."""
    known: WeakKeyDictionary[nn.Module, Result] = WeakKeyDictionary()
    lock = threading.Lock()

    @wraps(function)
    def remembered(model: Model) -> Result:
        with lock:
            if model.network not in known:
                known[model.network] = function(model)
            return known[model.network]

    return remembered


@once_per_model
def folded(model: Model) -> Model:
    """The same network with every batch norm folded into the convolution before it: the same answers up to rounding, in about three quarters of the time."""
    network = copy.deepcopy(model.network)
    for module in list(network.modules()):
        conv, norm = (getattr(module, name, None) for name in ("conv", "bn"))
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(conv, norm)
            module.bn = nn.Identity()
    network = network.requires_grad_(False).to(memory_format=torch.channels_last)
    return replace(model, network=network)
