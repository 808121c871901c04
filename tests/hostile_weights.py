"""A seeded generator of hostile and odd weight files for a tiny network: each with what must become of it."""

import io
import json
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models.googlenet import Inception

from inception_viz import weights

SHAPES = {"conv.weight": (4, 3, 3, 3), "bn.running_var": (4,), "bn.running_mean": (4,), "fc.weight": (5, 4), "fc.bias": (5,)}


@dataclass(frozen=True)
class Case:
    """A file: its name and bytes, and whether it must be used or refused."""

    name: str
    data: bytes
    file_name: str
    accept: bool


class Payload:
    """Unpickled, it would write a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (exec, (f"open({str(self.marker)!r}, 'w').write('ran')",))


def state(**changes: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) for name, shape in SHAPES.items()} | changes


def saved(value: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def zipped(
    data: bytes, change: Callable[[zipfile.ZipInfo, bytes], tuple[zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """The same archive with every entry passed through `change`."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for entry in old.infolist():
            info, body = change(entry, old.read(entry))
            new.writestr(info.filename, body, compress_type=compression)
    return file.getvalue()


def honest() -> Iterator[Case]:
    yield Case("state dict", saved(state()), "w.pth", True)
    yield Case("safetensors", safetensors.torch.save(state()), "w.safetensors", True)
    yield Case("half precision", saved({k: v.half() for k, v in state().items()}), "w.pth", True)
    yield Case("bfloat16 safetensors", safetensors.torch.save({k: v.bfloat16() for k, v in state().items()}), "w.safetensors", True)
    yield Case("double precision", saved({k: v.double() for k, v in state().items()}), "w.pt", True)
    yield Case("inside state_dict", saved({"state_dict": state(), "epoch": 3}), "w.pth", True)
    yield Case("of DataParallel", saved({f"module.{k}": v for k, v in state().items()}), "w.pth", True)
    yield Case("with auxiliary heads", saved(state() | {"aux1.fc.weight": torch.rand(9)}), "w.pth", True)
    yield Case("with counters", saved(state() | {"bn.num_batches_tracked": torch.tensor(7)}), "w.pth", True)
    yield Case("parameters", saved({k: nn.Parameter(v) for k, v in state().items()}), "w.pth", True)
    yield Case("of torch.compile around DataParallel", saved({f"_orig_mod.module.{k}": v for k, v in state().items()}), "w.pth", True)
    averaged = {f"module.{k}": v for k, v in state().items()} | {"n_averaged": torch.tensor(3)}
    yield Case("of an averaged model", safetensors.torch.save(averaged), "w.safetensors", True)
    optimiser = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
    yield Case("a checkpoint with its optimiser", saved({"model_state_dict": state(), "optimizer": optimiser}), "w.tar", True)
    yield Case("capitals in its name", safetensors.torch.save(state()), "W.SAFETENSORS", True)
    yield Case("safetensors under another name", safetensors.torch.save(state()), "w.pth", True)
    like_a_pickle = next(d for n in range(64) if (d := safetensors.torch.save(state(), {"note": "x" * 8 * n}))[0] == 0x80)
    yield Case("a header as long as a pickle begins", like_a_pickle, "w.safetensors", True)
    yield Case("legacy format", saved(state(), _use_new_zipfile_serialization=False), "w.pth", True)


def executable(marker: Path) -> Iterator[Case]:
    payload = Payload(marker)
    good = saved(state())
    yield Case("pickle alone", pickle.dumps(payload), "w.pth", False)
    yield Case("pickle called safetensors", pickle.dumps(payload), "w.safetensors", False)
    yield Case("torch.save of it", saved({"fc.weight": payload}), "w.pth", False)
    yield Case("legacy torch.save of it", saved({"fc.weight": payload}, _use_new_zipfile_serialization=False), "w.pth", False)
    yield Case(
        "inside a zip", zipped(good, lambda e, b: (e, pickle.dumps(payload) if e.filename.endswith("data.pkl") else b)), "w.pth", False
    )
    yield Case("a whole module", saved(nn.Linear(4, 5)), "w.pth", False)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = len(pickle.dumps(payload))
        archive.addfile(info, io.BytesIO(pickle.dumps(payload)))
    yield Case("tar", file.getvalue(), "w.pth", False)
    protocols = range(2, 6)
    yield Case("a whole Inception block", saved(Inception(8, 4, 4, 4, 4, 4, 4)), "w.pth", False)
    for protocol in protocols:
        yield Case(f"protocol {protocol}", pickle.dumps({"fc.weight": payload}, protocol), "w.pt", False)


def wrong() -> Iterator[Case]:
    good = state()
    for name in SHAPES:
        yield Case(f"without {name}", safetensors.torch.save({k: v for k, v in good.items() if k != name}), "w.safetensors", False)
        yield Case(f"{name} of another shape", safetensors.torch.save(state(**{name: torch.rand(2, 2)})), "w.safetensors", False)
    yield Case("an unknown tensor", saved(good | {"surprise": torch.rand(3)}), "w.pth", False)
    for word, value in (("nan", float("nan")), ("infinity", float("inf")), ("negative variance", -1.0)):
        changed = good["bn.running_var"].clone()
        changed[2] = value
        yield Case(word, safetensors.torch.save(state(**{"bn.running_var": changed})), "w.safetensors", False)
    for dtype in (torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn):
        odd = state(**{"conv.weight": torch.ones(4, 3, 3, 3).to(dtype)})
        yield Case(f"{dtype} weights", safetensors.torch.save(odd), "w.safetensors", False)
    yield Case("complex weights, pickled", saved(state(**{"fc.bias": torch.ones(5, dtype=torch.complex64)})), "w.pth", False)
    large = state()["fc.bias"].double() * 1e300
    yield Case("beyond single precision", saved({k: v.double() for k, v in good.items()} | {"fc.bias": large}), "w.pth", False)
    yield Case("two names that would become one", safetensors.torch.save(good | {"module.fc.bias": torch.rand(5)}), "w.safetensors", False)
    yield Case("a thousand dimensions", safetensors.torch.save(state(**{"fc.bias": torch.rand([1] * 1000)})), "w.safetensors", False)
    nasty = {f"<b>\u202e\n{'x' * 3000}": torch.rand(1)}
    yield Case("a name of three thousand characters", safetensors.torch.save(good | nasty), "w.safetensors", False)
    yield Case("six thousand tensors", safetensors.torch.save({f"t{i}": torch.zeros(1) for i in range(6000)}), "w.safetensors", False)
    for name, value in (
        ("number", 7), ("list", [torch.rand(3)]), ("tensor", torch.rand(3)), ("text", "weights"), ("empty", {}), ("nested", {"fc.weight": {"a": 1}}),
        ("numbered", {1: torch.rand(3)}),
    ):  # fmt: skip
        yield Case(f"a {name}", saved(value), "w.pth", False)


def tensors() -> Iterator[Case]:
    indices = torch.tensor([[0, 1], [2, 3]])
    yield Case("sparse", saved(state(**{"fc.weight": torch.sparse_coo_tensor(indices, torch.ones(2), (5, 4))})), "w.pth", False)
    csr = torch.eye(5, 4).to_sparse_csr()
    false = torch.sparse_coo_tensor(torch.tensor([[0, 10**9], [2, 10**9]]), torch.ones(2), (5, 4), check_invariants=False)
    yield Case("sparse with false places", saved(state(**{"fc.weight": false})), "w.pth", False)
    many = torch.rand(1000)
    yield Case("many views of one tensor", saved({f"t{i}": many[:900] for i in range(4000)}), "w.pth", False)
    yield Case("sparse rows", saved(state(**{"fc.weight": csr})), "w.pth", False)
    yield Case("on the meta device", saved(state(**{"fc.weight": torch.empty(5, 4, device="meta")})), "w.pth", False)
    yield Case("one value shown as many", saved(state(**{"fc.weight": torch.ones(1).expand(10**6, 10**6)})), "w.pth", False)
    yield Case("one value shown as enough", saved(state(**{"fc.weight": torch.ones(1).expand(5, 4)})), "w.pth", False)
    quantised = torch.quantize_per_tensor(torch.rand(5, 4), 0.1, 0, torch.qint8)
    yield Case("quantised", saved(state(**{"fc.weight": quantised})), "w.pth", False)


def damaged() -> Iterator[Case]:
    pth, safe = saved(state()), safetensors.torch.save(state())
    for share in (0.0, 0.01, 0.1, 0.5, 0.9, 0.99):
        yield Case(f"pth cut at {share:.0%}", pth[: int(share * len(pth))], "w.pth", False)
        yield Case(f"safetensors cut at {share:.0%}", safe[: int(share * len(safe))], "w.safetensors", False)

    def header(told: object) -> bytes:
        words = json.dumps(told).encode()
        return struct.pack("<Q", len(words)) + words + bytes(100)

    yield Case("a header of 2^60 bytes", struct.pack("<Q", 2**60) + bytes(100), "w.safetensors", False)
    for name, offsets, shape in (
        ("overlapping", [0, 40], [5]),
        ("backwards", [8, 4], [1]),
        ("beyond the end", [0, 4000], [1000]),
        ("too many", [0, 4], [2**60]),
    ):
        one = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        yield Case(
            f"{name} offsets", header({"a": one, "b": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]}}), "w.safetensors", False
        )
    yield Case("an unknown dtype", header({"a": {"dtype": "F77", "shape": [1], "data_offsets": [0, 4]}}), "w.safetensors", False)
    yield Case("a header of nested lists", struct.pack("<Q", 20_000) + b"[" * 20_000, "w.safetensors", False)
    yield Case("deflated entries", zipped(pth, lambda e, b: (e, b), zipfile.ZIP_DEFLATED), "w.pth", False)
    shared = bytearray(zipped(pth, lambda e, b: (e, b)))
    for entry in _table(shared):  # every entry's bytes said to be the whole of the archive
        shared[entry + 20 : entry + 28] = struct.pack("<II", len(shared), len(shared))
    yield Case("entries that share their bytes", bytes(shared), "w.pth", False)
    yield Case("a table of twenty thousand entries", pth + b"PK\x01\x02" * 20_000, "w.pth", False)
    yield Case(
        "a pickle of a million brackets", zipped(pth, lambda e, b: (e, b"]" * 10**6 if e.filename.endswith(".pkl") else b)), "w.pth", False
    )
    yield Case("a pickle of five million brackets", zipped(pth, lambda e, b: (e, b"]" * 5 * 10**6)), "w.pth", False)
    yield Case("a record shorter than it says", zipped(pth, lambda e, b: (e, b[:8] if "/data/" in e.filename else b)), "w.pth", False)
    old = saved(state(), _use_new_zipfile_serialization=False)
    assert old.count(b"K\x6c") == 1  # 108 values in the convolution
    yield Case("old format that says it has 8 GB", old.replace(b"K\x6c", b"J\xff\xff\xff\x7f"), "w.pth", False)
    yield Case("old format cut", old[: len(old) // 2], "w.pth", False)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"")
        archive.writestr("w/data/0", bytes(50_000_000))
    yield Case("a zip bomb", bomb.getvalue(), "w.pth", False)
    yield Case("TorchScript", _script(pth), "w.pt", False)
    yield Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(100), "w.pth", False)
    yield Case("a letter", b"Dear Sir", "w.pth", False)
    yield Case("nothing", b"", "w.pth", False)


def _table(data: bytes | bytearray) -> list[int]:
    """Where the entries of an archive's table of contents begin."""
    return [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]


def _script(data: bytes) -> bytes:
    file = io.BytesIO(data)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    return file.getvalue()


def cases(marker: Path) -> list[Case]:
    """All cases; `marker` is the file that must not appear."""
    return [case for maker in (honest(), executable(marker), wrong(), tensors(), damaged()) for case in maker]


def serve() -> None:
    """Answer each file on standard input with how `weights.child` ends and what it writes, from a copy of this process."""
    read, write = sys.stdin.buffer, sys.stdout.buffer
    while length := read.read(8):
        data = read.read(struct.unpack("<Q", length)[0])
        out, into = os.pipe()
        copy = os.fork()
        if not copy:
            os.close(out)
            os._exit(_answer(data, into))
        os.close(into)
        with os.fdopen(out, "rb") as file:
            answer = file.read()
        code = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
        write.write(struct.pack("<qQ", code, len(answer)) + answer)
        write.flush()


def _answer(data: bytes, into: int) -> int:
    sys.stdin = io.TextIOWrapper(io.BytesIO(data))
    try:
        with os.fdopen(into, "w") as sys.stdout:
            weights.child()
    except SystemExit as end:
        return int(str(end.code))
    return 0
