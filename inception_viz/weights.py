"""Weights that somebody hands in, read without believing them: dense float32 tensors with the names and shapes that the network wants.

`.safetensors` holds numbers only and is read directly. `.pth` is a pickle: it is read with `weights_only=True`, and because that is not a wall
(it loads tensors whose use is a segmentation fault, and a megabyte that unpacks to a gigabyte), in a throw-away process with limits.
"""

import hashlib
import io
import json
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from inception_viz.errors import VisitorError
from inception_viz.text import message

MAX_BYTES = 500_000_000
MAX_VALUES = 120_000_000
MAX_TENSORS = 5_000
MAX_CLASSES = 20_000
CHILD_MEMORY = 3 * 2**30
CHILD_SECONDS = 60
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


class WrongClassNames(WeightsError):
    """The list of class names can't be read or has another length than the last layer."""

    words = message("The list has {found} class names; the network has {allowed} classes. Give one name a line, or a JSON list.")


def _megabytes(count: float) -> float:
    return round(count / 1e6, 1)


def read(data: bytes, name: str) -> State:
    """Tensors by name as they stand in the file, dense and on the CPU. Raises a subclass of WeightsError."""
    if len(data) > MAX_BYTES:
        raise WeightsTooLarge(found=_megabytes(len(data)), allowed=_megabytes(MAX_BYTES))
    if zipfile.is_zipfile(io.BytesIO(data)) and data[:2] == b"PK":
        _check_zip(data)
        return _honest(_read_in_child(data))
    if data[:1] == b"\x80":  # as torch.save wrote before 2020; torchvision's files for GoogLeNet are still such
        return _honest(_read_in_child(data))
    if name.endswith(".safetensors"):
        return _honest(_read_safetensors(data))
    raise NotWeights()


def _read_safetensors(data: bytes) -> State:
    if len(data) < 8 or struct.unpack("<Q", data[:8])[0] > min(len(data) - 8, 10_000_000):
        raise DamagedWeights()
    try:
        return safetensors.torch.load(data)
    except Exception:  # the reader raises its own error, KeyError for unknown kinds, and ValueError
        raise DamagedWeights() from None


def _check_zip(data: bytes) -> None:
    """What torch.save writes is stored, not deflated: a deflated entry can be a bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise DamagedWeights() from None
    total = sum(e.file_size for e in entries)
    if total > MAX_BYTES:
        raise WeightsTooLarge(found=_megabytes(total), allowed=_megabytes(MAX_BYTES))
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or any(e.filename.endswith("constants.pkl") for e in entries):
        raise NotWeights()


def _plain(value: object) -> bool:
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and value.layout is torch.strided  # type: ignore[attr-defined]
        and value.device.type == "cpu"  # type: ignore[attr-defined]
        and not value.is_quantized  # type: ignore[attr-defined]
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()  # type: ignore[attr-defined]
    )


def _unpack(data: bytes) -> bytes:
    """In the child: the tensors of a pickled state dict as safetensors bytes; empty if there is none."""
    loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not 0 < len(loaded) <= MAX_TENSORS:
        return b""
    if not all(isinstance(key, str) and _plain(value) for key, value in loaded.items()):
        return b""
    if sum(value.numel() for value in loaded.values()) > MAX_VALUES:
        return b""
    return safetensors.torch.save({key: value.detach().clone().contiguous() for key, value in loaded.items()})


def _limit() -> None:
    """In the child: seconds of CPU, no files, and memory beyond what Python and torch have mapped already."""
    if sys.platform == "win32":  # it has no such limits
        return
    import resource

    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else 0
    resource.setrlimit(resource.RLIMIT_CPU, (CHILD_SECONDS, CHILD_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if mapped:
        resource.setrlimit(resource.RLIMIT_AS, (mapped + CHILD_MEMORY, mapped + CHILD_MEMORY))


def child() -> None:
    """The throw-away process: a pickled state dict on standard input, safetensors bytes on standard output, nothing for whatever else it was."""
    _limit()
    sys.stdout.buffer.write(_unpack(sys.stdin.buffer.read()))


def _read_in_child(data: bytes) -> State:
    # not multiprocessing: its spawn would run Streamlit's page again, which poses as __main__
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); from inception_viz.weights import child; child()"
    try:
        done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, timeout=2 * CHILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DamagedWeights() from None
    if done.returncode:
        raise DamagedWeights()
    if not done.stdout:
        raise NotWeights()
    return _read_safetensors(done.stdout)


def _honest(state: State) -> State:
    """Names as the network has them: without the prefix of DataParallel, without the auxiliary heads."""
    if len(state) > MAX_TENSORS or sum(t.numel() for t in state.values()) > MAX_VALUES:
        raise WeightsTooLarge(found=_megabytes(sum(t.numel() for t in state.values()) * 4), allowed=_megabytes(MAX_VALUES * 4))
    stripped = {re.sub(r"^(module\.|model\.)", "", name): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in stripped.items() if not re.match(r"(aux\d|AuxLogits)\.", name)}


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
        raise WrongNames(missing=len(missing), unknown=len(unknown), first=(missing + unknown)[0][:80])
    return {name: _checked(name, tensor, wanted[name]) for name, tensor in given.items()}


def _checked(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    if tensor.shape != shape:
        raise WrongShape(name=name, found=" x ".join(map(str, tensor.shape)), allowed=" x ".join(map(str, shape)))
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
        names = [str(name) for name in listed] if isinstance(listed, list) else []
    except (ValueError, RecursionError):
        names = [line.strip() for line in words.splitlines() if line.strip()]
    if len(names) != count:
        raise WrongClassNames(found=len(names), allowed=count)
    return tuple("".join(c for c in name if c.isprintable())[:80] or "?" for name in names)


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
