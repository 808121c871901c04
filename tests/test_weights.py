"""Weights that somebody hands in: honest ones are used, all others refused in words, and nothing in them is run."""

import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inception_viz import weights
from inception_viz.errors import VisitorError
from inception_viz.text import Text
from tests import hostile_weights
from tests.hostile_weights import SHAPES, Case

ROOT = Path(__file__).parent.parent
ARCHIVE = hostile_weights.saved(hostile_weights.state())
EXPECTED = {name: torch.Size(shape) for name, shape in SHAPES.items()}


def used(case: Case) -> weights.State | VisitorError | BaseException:
    try:
        return weights.check(weights.read(case.data, case.file_name), EXPECTED)
    except BaseException as error:  # what escapes is looked at below
        return error


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Case, object]]]:
    """Every case read once."""
    marker = tmp_path_factory.mktemp("marker") / "ran"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about the odd tensors that are made here
        cases = hostile_weights.cases(marker)
    with forked():
        return marker, {case.name: (case, used(case)) for case in cases}


@contextlib.contextmanager
def forked() -> Iterator[None]:
    """Within, the throw-away processes are copies of one that has imported torch: the same limits and the same words in a tenth of the time."""
    program = [sys.executable, "-c", "from tests.hostile_weights import serve; serve()"]
    frugal = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=frugal) as server:
        assert server.stdin
        assert server.stdout

        def run(command: list[str], input: bytes, **_: object) -> subprocess.CompletedProcess[bytes]:
            assert "child()" in command[2]
            server.stdin.write(struct.pack("<Q", len(input)) + input)
            server.stdin.flush()
            code, length = struct.unpack("<qQ", server.stdout.read(16))
            return subprocess.CompletedProcess(command, code, server.stdout.read(length), b"")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weights.subprocess, "run", run)
            yield
        server.stdin.close()
        assert server.wait(20) == 0


@pytest.mark.parametrize("name", ["state dict", "a whole module", "torch.save of it", "pth cut at 50%", "old format that says it has 8 GB"])
def test_a_process_of_its_own_answers_as_the_copies_do(results: tuple, name: str) -> None:
    marker, found = results
    case, expected = found[name]
    result = used(case)
    assert type(result) is type(expected)
    assert not isinstance(result, dict) or all(torch.equal(result[k], expected[k]) for k in SHAPES)
    assert not marker.exists()


def test_no_mutated_pickle_escapes(results: tuple) -> None:
    """Mutants of both formats: used, refused in words, or the end of the throw-away process; never more."""
    marker, _ = results
    chance = random.Random(20241107)
    originals = [ARCHIVE, hostile_weights.saved(hostile_weights.state(), _use_new_zipfile_serialization=False)]
    with forked():
        for i in range(120):
            data = bytearray(originals[i % 2])
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            result = used(Case("mutant", bytes(data), "w.pth", False))
            assert isinstance(result, dict | VisitorError), result
    assert not marker.exists()


def test_honest_weights_are_used(results: tuple) -> None:
    _, found = results
    accepted = {name: result for name, (case, result) in found.items() if case.accept}
    assert {name: str(r) for name, r in accepted.items() if isinstance(r, BaseException)} == {}
    for result in accepted.values():
        assert result.keys() == SHAPES.keys()
        assert {t.dtype for t in result.values()} == {torch.float32}
        assert torch.allclose(result["fc.weight"], hostile_weights.state()["fc.weight"], atol=0.01)


def test_all_others_are_refused_in_words(results: tuple) -> None:
    _, found = results
    refused = {name: result for name, (case, result) in found.items() if not case.accept}
    assert len(refused) >= 70
    assert [name for name, r in refused.items() if not isinstance(r, VisitorError)] == []
    for error in refused.values():
        for language in ("en", "ar"):
            told = error.told(Text(language))
            assert 10 < len(told) <= 200
            assert all(word not in told for word in ("weights_only", "Traceback", "0x", "\u202e", "\n"))
            assert all(ord(c) < 0x80 or language == "ar" or c in "“”…�" for c in told)


def test_nothing_in_a_file_is_run(results: tuple) -> None:
    marker, found = results
    assert len(found) >= 85
    assert not marker.exists()


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("a whole module", weights.HoldsProgram),
        ("a whole Inception block", weights.HoldsProgram),
        ("TorchScript", weights.HoldsProgram),
        ("torch.save of it", weights.HoldsProgram),
        ("legacy torch.save of it", weights.HoldsProgram),
        ("pth cut at 50%", weights.DamagedWeights),
        ("safetensors cut at 50%", weights.DamagedWeights),
        ("old format cut", weights.DamagedWeights),
        ("old format that says it has 8 GB", weights.DamagedWeights),
        ("entries that share their bytes", weights.DamagedWeights),
        ("many views of one tensor", weights.NotWeights),
        ("a list", weights.NotWeights),
        ("a picture", weights.NotWeights),
        ("sparse with false places", weights.WeightsError),
        ("two names that would become one", weights.WrongNames),
        ("without fc.bias", weights.WrongNames),
        ("an unknown tensor", weights.WrongNames),
        ("a thousand dimensions", weights.WrongShape),
        ("fc.weight of another shape", weights.WrongShape),
        ("torch.int64 weights", weights.WrongKind),
        ("complex weights, pickled", weights.WrongKind),
        ("nan", weights.WrongValues),
        ("negative variance", weights.WrongValues),
        ("beyond single precision", weights.WrongValues),
    ],
)
def test_the_refusal_says_what_is_wrong(results: tuple, case: str, kind: type[VisitorError]) -> None:
    _, found = results
    assert isinstance(found[case][1], kind)


def test_names_and_counts_are_told(results: tuple) -> None:
    _, found = results
    assert found["an unknown tensor"][1].facts == {"missing": 0, "unknown": 1, "first": "surprise"}
    assert found["without fc.bias"][1].facts == {"missing": 1, "unknown": 0, "first": "fc.bias"}
    assert found["fc.weight of another shape"][1].facts == {"name": "fc.weight", "found": "2 x 2", "allowed": "5 x 4"}
    assert found["negative variance"][1].facts == {"name": "bn.running_var", "n": 1}


def in_child(body: str, seconds: int = weights.CHILD_SECONDS) -> subprocess.CompletedProcess[bytes]:
    """The throw-away process with `body` in the place of what unpacks, and seconds of CPU that also pay for taking torch down."""
    program = f"""
import os, sys
from inception_viz import weights
weights.CHILD_SECONDS, weights.CHILD_MEMORY = {seconds}, 2**29
def unpack(data):
{textwrap.indent(body, "    ")}
weights._unpack = unpack
weights.child()
"""
    return subprocess.run([sys.executable, "-c", program], input=b"data", capture_output=True, cwd=ROOT, timeout=60, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are set on Linux only")
def test_the_child_is_stopped_when_it_computes_or_takes_or_writes_too_much(tmp_path: Path) -> None:
    assert in_child("return bytes([len(data)])").stdout == b"\4"
    assert in_child("while True: pass", seconds=1).returncode in (-signal.SIGXCPU, -signal.SIGKILL)
    greedy = in_child("return bytes(2**30)")
    assert (greedy.returncode, greedy.stdout) == (1, b"")
    in_child(f"open({str(tmp_path / 'file')!r}, 'wb').write(data)")
    assert (tmp_path / "file").stat().st_size == 0


def test_a_child_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PATIENCE", 0.01)
    with pytest.raises(weights.TookTooLong):
        weights.read(hostile_weights.saved(hostile_weights.state()), "w.pth")


def test_a_file_beyond_the_limits_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_BYTES", 1000)
    with pytest.raises(weights.WeightsTooLarge) as told:
        weights.read(bytes(2_000_000), "w.pth")
    assert told.value.facts == {"found": 2.0, "allowed": 0.0}
    monkeypatch.setattr(weights, "MAX_BYTES", 10**6)
    monkeypatch.setattr(weights, "MAX_VALUES", 100)
    with pytest.raises(weights.WeightsTooLarge):
        weights.read(safetensors.torch.save(hostile_weights.state()), "w.safetensors")


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12), st.integers(0, 4000))
def test_no_mutated_archive_escapes_before_the_child(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(ARCHIVE[: len(ARCHIVE) - (cut if cut % 3 == 0 else 0)])
    for place, value in changes:
        data[-1 - place % len(data)] = value  # from the end, where the table is
    with contextlib.suppress(VisitorError):
        weights._check_zip(bytes(data))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_mutated_safetensors_escapes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(safetensors.torch.save(hostile_weights.state()))
    for place, value in changes:
        data[place % len(data)] = value
    result = used(Case("mutant", bytes(data), "w.safetensors", False))
    assert isinstance(result, dict | VisitorError)


@pytest.mark.parametrize(("data", "count"), [(b"cat\ndog\n\n", 2), ('["قطة", "كلب"]'.encode(), 2), (b"\xef\xbb\xbfcat", 1)])
def test_class_names_are_lines_or_a_list(data: bytes, count: int) -> None:
    assert len(weights.read_class_names(data, count)) == count
    with pytest.raises(weights.WrongClassNames):
        weights.read_class_names(data, count + 1)


@pytest.mark.parametrize("data", [b'["cat", 3]', b'["cat", ["dog"]]', b"[" * 100_000, b"\xff\xfe\x00", b""])
def test_what_is_no_list_of_two_names_is_refused(data: bytes) -> None:
    with pytest.raises(weights.WrongClassNames):
        weights.read_class_names(data, 2)


def test_class_names_are_cleaned_but_keep_their_spelling() -> None:
    assert weights.read_class_names("a\u00a0 b\u202e\x07\nمی\u200cخ\n3\n".encode(), 3) == ("a b", "می\u200cخ", "3")
    assert weights.read_class_names(b"x" * 500, 1) == ("x" * 80,)


def test_int8_weights_come_back_to_within_half_a_step() -> None:
    state = {"a.weight": torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)), "a.bias": torch.arange(8.0)}
    packed = weights.quantised(state)
    assert packed["a.weight"].dtype is torch.int8
    back = weights.dequantised(packed)
    step = state["a.weight"].flatten(1).abs().amax(1) / 127
    assert ((back["a.weight"] - state["a.weight"]).abs().flatten(1).amax(1) <= step / 2 + 1e-6).all()
    assert torch.equal(back["a.bias"], state["a.bias"])


def test_the_digest_is_of_values_not_of_storage() -> None:
    state = hostile_weights.state()
    turned = {k: v.clone() for k, v in reversed(state.items())}
    assert weights.digest(state) == weights.digest(turned)
    turned["fc.bias"][0] += 1
    assert weights.digest(state) != weights.digest(turned)


def test_the_number_of_classes_is_read_from_the_last_layer() -> None:
    assert weights.classes(hostile_weights.state()) == 5
    with pytest.raises(weights.NotWeights):
        weights.classes({"conv.weight": torch.rand(3)})
