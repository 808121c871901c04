"""Weights that somebody hands in, read without believing them: dense float32 tensors with the names and shapes that the network wants.

`.safetensors` holds numbers only and is read directly. `.pth` is a pickle: it is read with `weights_only=True`, and because that is not a wall
(it loads tensors whose use is a segmentation fault, and a megabyte that unpacks to a gigabyte), in a throw-away process with limits.
"""

import hashlib
import io
import json
import math
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import threading
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from inception_viz.errors import VisitorError
from inception_viz.text import message

MAX_BYTES = 250_000_000  # Inception v3 with its auxiliary head in double precision has 218 MB
MAX_VALUES = 40_000_000  # Inception v3 with its auxiliary head has 27 million
MAX_TENSORS = 5_000
MAX_CLASSES = 20_000
MAX_HEADER = 2_000_000  # bytes of a table of contents: 5,000 tensors need about 600,000
CHILD_MEMORY = 2**30
CHILD_SECONDS = 5  # of CPU, once torch is there; a file of 250 MB takes less than one
PATIENCE = 45  # seconds by the clock, for on a busy machine the start of torch alone may take ten
CHILDREN = threading.BoundedSemaphore(2)  # each takes a quarter of a gigabyte at least
PREFIXES = ("module.", "model.", "_orig_mod.")  # of DataParallel, of a wrapping module, of torch.compile
KEYS = ("state_dict", "model_state_dict", "model")  # where training programs keep the weights in their checkpoints
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

State = dict[str, Tensor]


class WeightsError(VisitorError):
    """The root of what can be wrong with weights."""

    words = message("This file cannot be used as weights.")


class NotWeights(WeightsError):
    """The file is of no kind that is read here, or holds something else than tensors."""

    words = message(
        "The file holds no plain table of weights. Save a state_dict as .safetensors, or with torch.save(model.state_dict(), …)."
    )


class HoldsProgram(WeightsError):
    """A whole pickled model, TorchScript, or any other object: to open it would be to run it."""

    words = message(
        "The file holds a whole model or other objects, and opening those could run code. Save the numbers only: "
        "torch.save(model.state_dict(), …)."
    )


class TookTooLong(WeightsError):
    """Reading the file was given up: it is made to keep a machine busy, or the machine is."""

    words = message("Reading the weights took too long and was given up. Save them as .safetensors, or try again when the server is idle.")


class DamagedWeights(WeightsError):
    """The file ends too early or contradicts itself."""

    words = message("The weights file is damaged or ends too early. Copy or save it again.")


class WeightsTooLarge(WeightsError):
    """More bytes, values or tensors than are allowed."""

    words = message("The weights take {found} MB; at most {allowed} MB are allowed.")


class WrongNames(WeightsError):
    """Tensors are missing or unknown."""

    words = message(
        "These weights belong to another network: {missing} of its tensors are missing, {unknown} are unknown; the first is “{first}”."
    )


class WrongShape(WeightsError):
    """A tensor has another shape than the network's."""

    words = message("“{name}” has the shape {found}; this network needs {allowed}.")


class WrongKind(WeightsError):
    """A tensor does not hold floating-point numbers."""

    words = message("“{name}” holds {found} values; weights must be floating-point numbers.")


class WrongValues(WeightsError):
    """A tensor holds nan, infinity, or a negative variance."""

    words = message("“{name}” holds {n} values that are not usable numbers (nan, infinity or a negative variance).")


class UselessWeights(WeightsError):
    """Every value is a number, but the network's answers are not."""

    words = message("With these weights the network's answers are not numbers (nan or infinity): some values are far too large.")


class WrongClassNames(WeightsError):
    """The list of class names can't be read or has another length than the last layer."""

    words = message("The list has {found} class names; the network has {allowed} classes. Give one name a line, or a JSON list.")


def _megabytes(count: float) -> float:
    return round(count / 1e6, 1)


def read(data: bytes, name: str) -> State:
    """Tensors by name as they stand in the file, dense and on the CPU. Raises a subclass of WeightsError."""
    if len(data) > MAX_BYTES:
        raise WeightsTooLarge(found=_megabytes(len(data)), allowed=_megabytes(MAX_BYTES))
    if name.lower().endswith(".safetensors") or data[8:9] == b"{":  # before pickles: the length of its header may begin like one
        return _honest(_read_safetensors(data))
    if data[:2] == b"PK":
        _check_zip(data)
        return _honest(_read_in_child(data))
    if data[:1] == b"\x80":  # as torch.save wrote before 2020; torchvision's files for GoogLeNet are still such
        return _honest(_read_in_child(data))
    raise NotWeights()


def _read_safetensors(data: bytes) -> State:
    if len(data) < 8 or struct.unpack("<Q", data[:8])[0] > min(len(data) - 8, MAX_HEADER):
        raise DamagedWeights()
    try:
        return safetensors.torch.load(data)
    except Exception:  # the reader raises its own error, KeyError for unknown kinds, and ValueError
        raise DamagedWeights() from None


def _check_zip(data: bytes) -> None:
    """What torch.save writes is stored, not deflated: a deflated entry can be a bomb, and so can entries that share their bytes."""
    if data.count(b"PK\x01\x02") > 2 * MAX_TENSORS:  # entries of the table; Python's reader would make an object of each
        raise NotWeights()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error):
        raise DamagedWeights() from None
    if any(e.filename.endswith("constants.pkl") for e in entries):  # TorchScript
        raise HoldsProgram()
    if any(e.compress_type != zipfile.ZIP_STORED or (e.filename.endswith(".pkl") and e.file_size > MAX_HEADER) for e in entries):
        raise NotWeights()
    if sum(e.file_size for e in entries) > len(data):
        raise DamagedWeights()


def _plain(value: object) -> bool:
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and value.layout is torch.strided  # type: ignore[attr-defined]
        and value.device.type == "cpu"  # type: ignore[attr-defined]
        and not value.is_quantized  # type: ignore[attr-defined]
        and not value.is_neg()  # type: ignore[attr-defined]
        and _size(value) <= value.untyped_storage().nbytes()  # type: ignore[attr-defined, arg-type]
    )


def _size(value: Tensor) -> int:
    return value.numel() * value.element_size()


def _unpack(data: bytes) -> bytes:
    """In the child: the tensors of a pickled state dict as safetensors bytes, in float32 where they are fractions. Raises NotWeights.

    Together they may not be larger than the file: thousands of views of one small tensor would otherwise fill the memory.
    """
    loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    for key in KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not 0 < len(loaded) <= MAX_TENSORS:
        raise NotWeights()
    if not all(isinstance(key, str) and _plain(value) for key, value in loaded.items()):
        raise NotWeights()
    if sum(map(_size, loaded.values())) > len(data) or sum(value.numel() for value in loaded.values()) > MAX_VALUES:
        raise NotWeights()
    return safetensors.torch.save({key: _own(loaded.pop(key)) for key in list(loaded)})  # each goes as its copy comes


def _own(value: Tensor) -> Tensor:
    """In memory of its own, which also ends the sharing between tied weights."""
    return value.detach().to(torch.float32 if value.dtype in FLOATS else value.dtype, copy=True).contiguous()


def _limit() -> None:
    """In the child: seconds of CPU, no files, and memory beyond what Python and torch have used already."""
    if sys.platform == "win32":  # it has no such limits
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + CHILD_SECONDS
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else 0
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if mapped:
        resource.setrlimit(resource.RLIMIT_AS, (mapped + CHILD_MEMORY, mapped + CHILD_MEMORY))


SAID: dict[int, type[WeightsError]] = {10: NotWeights, 11: HoldsProgram}  # how the child ends; whatever else it ends with is damage


def child() -> None:
    """The throw-away process: a pickled state dict on standard input, safetensors bytes on standard output, or one of SAID as its end.

    What torch says stays here: its words explain how to load a file unsafely.
    """
    _limit()
    try:
        packed = _unpack(sys.stdin.buffer.read())
    except NotWeights:
        sys.exit(10)
    except pickle.UnpicklingError as error:
        sys.exit(11 if "Unsupported global" in str(error) else 10)
    except Exception:
        sys.exit(1)
    sys.stdout.buffer.write(packed)


def _read_in_child(data: bytes) -> State:
    # not multiprocessing: its spawn would run Streamlit's page again, which poses as __main__
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); from inception_viz.weights import child; child()"
    frugal = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    try:
        with CHILDREN:
            done = subprocess.run(
                [sys.executable, "-c", program], input=data, capture_output=True, timeout=PATIENCE, check=False, env=frugal
            )
    except subprocess.TimeoutExpired:
        raise TookTooLong() from None
    if sys.platform != "win32" and done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise TookTooLong()
    if done.returncode:
        raise SAID.get(done.returncode, DamagedWeights)()
    return _read_safetensors(done.stdout)


def _honest(state: State) -> State:
    """Names as the network has them: without what others put before all of them, without the auxiliary heads."""
    if len(state) > MAX_TENSORS:
        raise NotWeights()
    count = sum(t.numel() for t in state.values())
    if count > MAX_VALUES:
        raise WeightsTooLarge(found=_megabytes(count * 4), allowed=_megabytes(MAX_VALUES * 4))
    bare = _without_prefixes({name: tensor for name, tensor in state.items() if name != "n_averaged"})  # a counter of AveragedModel
    return {name: tensor for name, tensor in bare.items() if not re.match(r"(aux\d|AuxLogits)\.", name)}


def _without_prefixes(state: State) -> State:
    """A prefix goes only if every name has it, so that no two names can become one."""
    for prefix in PREFIXES * 2:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def classes(state: Mapping[str, Tensor]) -> int:
    """How many classes the last layer tells apart. Raises NotWeights if there is no last layer."""
    last = state.get("fc.weight")
    if last is None or last.ndim != 2 or not 1 <= last.shape[0] <= MAX_CLASSES:
        raise NotWeights()
    return int(last.shape[0])


def check(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> State:
    """The same tensors as float32, if names, shapes, kinds and values are what a network needs; raises a subclass of WeightsError.

    `num_batches_tracked` counters may be missing: they play no part in evaluation.
    """
    wanted = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    given = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or unknown:
        raise WrongNames(missing=len(missing), unknown=len(unknown), first=_shown((missing + unknown)[0]))
    return {name: _checked(name, tensor, wanted[name]) for name, tensor in given.items()}


def _shown(name: str) -> str:
    """A name out of a file, fit to be shown."""
    return "".join(c if c.isprintable() else "�" for c in name[:40])


def _form(shape: torch.Size) -> str:
    """A shape in words; that of a file may have a thousand dimensions."""
    return " x ".join([str(n) for n in shape[:5]] + ["…"] * (len(shape) > 5)) or "()"


def _checked(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    if tensor.shape != shape:
        raise WrongShape(name=name, found=_form(tensor.shape), allowed=_form(shape))
    if tensor.dtype not in FLOATS:
        raise WrongKind(name=name, found=str(tensor.dtype).removeprefix("torch."))
    values = tensor.float()
    wrong = ~values.isfinite()
    if name.endswith("running_var"):
        wrong |= values < 0
    if wrong.any():
        raise WrongValues(name=name, n=int(wrong.sum()))
    return values


def read_class_names(data: bytes, count: int) -> tuple[str, ...]:
    """Names of the classes in the order of the logits, from a JSON list or one a line. Raises WrongClassNames."""
    words = data[:5_000_000].decode("utf-8-sig", errors="replace")
    try:
        listed = json.loads(words)
    except (ValueError, RecursionError):
        listed = None
    names = listed if isinstance(listed, list) else [line for line in words.splitlines() if line.strip()]
    if len(names) != count or not all(isinstance(name, str) for name in names):
        raise WrongClassNames(found=sum(isinstance(name, str) for name in names), allowed=count)
    return tuple(map(_class_name, names))


def _class_name(name: str) -> str:
    """Without control and direction characters; the joiners that Arabic and Persian spelling needs stay."""
    spaced = " ".join(name.split())
    kept = "".join(c for c in spaced if unicodedata.category(c)[0] != "C" or c in "\u200c\u200d")
    return kept[:80] or "?"


def quantised(state: Mapping[str, Tensor]) -> State:
    """Convolutions and the last layer as int8 with a float32 scale per output channel (`<name>.scale`), all else as float32.

    A quarter of the size; `dequantised` gives the weights back to within half a step of each channel's largest weight / 127.
    """
    packed: State = {}
    for name, tensor in state.items():
        if tensor.ndim < 2:
            packed[name] = tensor.float() if tensor.is_floating_point() else tensor
            continue
        scale = tensor.float().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
        shaped = scale.view(-1, *[1] * (tensor.ndim - 1))
        packed[name] = (tensor.float() / shaped).round().clamp(-127, 127).to(torch.int8)
        packed[f"{name}.scale"] = scale
    return packed


def dequantised(packed: Mapping[str, Tensor]) -> State:
    """What `quantised` packed, as float32."""
    state: State = {}
    for name, tensor in packed.items():
        if name.endswith(".scale"):
            continue
        scale = packed.get(f"{name}.scale")
        state[name] = tensor.float() if scale is None else tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
    return state


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and float32 values in the order of names: equal networks have equal digests, however they were stored."""
    total = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().float().cpu().contiguous().numpy()
        total.update(f"{name}{values.shape}".encode())
        total.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return total.hexdigest()
