"""The front door answers at once, tells what is wrong with what it is given, and lets nobody get stuck."""

import hashlib
import http.server
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis.strategies import text as words
from PIL import Image
from streamlit.testing.v1 import AppTest

from inception_viz import analysis, downloads, images, models
from inception_viz.engine.local import Engine, Job
from inception_viz.text import Text
from pages.shell import chooser, results, session
from tests.pages.conftest import Visit, told


def coloured(seed: int, kind: str = "PNG") -> bytes:
    """A small picture like no other."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def upload(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    at.get_by_key("home pictures").set_value([(name, data, "image/png") for name, data in files]).run()
    assert not at.exception
    return at


def bars(at: AppTest) -> list[str]:
    """The names of the classes as the chart of predictions shows them."""
    return json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]["y"]


def answered(data: bytes, language: str = "en") -> list[str]:
    """What the library says without any page."""
    found = analysis.analyze(models.load(device="cpu"), images.decode(data))
    return [prediction.names[language] for prediction in found.predictions]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_with_nothing_chosen_the_first_sample_is_answered(visit: Visit, language: str) -> None:
    at, text = visit(language=language), Text(language)
    assert bars(at) == answered(images.samples()["coffee"].read(), language)
    assert text("What the network says") in told(at)
    assert not at.error
    assert not at.warning


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_page_is_one_click_away_under_its_name(visit: Visit, language: str) -> None:
    labels, text = [link.label for link in visit(language=language).get("page_link")], Text(language)
    for title in ("Architecture", "Activations", "Correlations", "Clusters", "Attributions"):
        assert labels.count(text(title)) == 1  # in the sidebar
        assert len([label for label in labels if label.startswith(f"**{text(title)}** ")]) == 1  # and on its card


def test_the_page_says_which_weights_answer_on_which_device(visit: Visit) -> None:
    model = models.load(device="cpu")
    said = told(visit())
    assert f"googlenet with the weights “{model.weights.name}” on cpu" in said
    assert "float32" in said


def test_a_sample_is_one_click(visit: Visit) -> None:
    at = visit()
    at.get_by_key("sample chelsea").click().run()
    assert bars(at) == answered(images.samples()["chelsea"].read())


def test_an_upload_is_answered_and_kept_as_pixels_only(visit: Visit) -> None:
    data = coloured(1)
    at = upload(visit(), ("mine.png", data))
    assert bars(at) == answered(data)
    (kept,) = at.session_state["session"].pictures
    assert kept.sha256 == hashlib.sha256(data).hexdigest()
    assert kept.pixels.shape == (48, 64, 3)


def test_of_several_uploads_each_can_be_looked_at(visit: Visit) -> None:
    first, second = coloured(2), coloured(3, "JPEG")
    at = upload(visit(), ("a.png", first), ("b.jpg", second))
    assert bars(at) == answered(first)
    at.get_by_key("picture 1").click().run()
    assert bars(at) == answered(second)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_what_is_no_picture_is_told_by_name_beside_the_good_one(visit: Visit, language: str) -> None:
    good = coloured(4)
    at = upload(visit(language=language), ("letter.png", b"Dear Sir"), ("good.png", good))
    assert len(at.error) == 1
    assert "letter.png" in told(at)
    assert Text(language)(images.NotAPicture.words, allowed=", ".join(images.FORMATS)) in told(at)
    assert bars(at) == answered(good, language)
    at.get_by_key("sample flower").click().run()
    assert not at.error


def test_more_pictures_than_allowed_are_counted_out_loud(visit: Visit) -> None:
    at = upload(visit(), *((f"{i}.png", coloured(i)) for i in range(session.MOST_PICTURES + 2)))
    assert len(at.session_state["session"].pictures) == session.MOST_PICTURES
    assert at.warning[0].value == "2 pictures more than allowed were left out."


def test_a_hostile_file_name_is_shown_as_it_is_and_does_nothing(visit: Visit) -> None:
    at = upload(visit(), ("../../![x](http://elsewhere.example/x.png)<b>.png", b"nothing"))
    (said,) = [error.value for error in at.error]
    assert "\\!\\[x\\]" not in said  # of a path only the last part is shown
    assert "x.png)\\<b\\>.png" in said
    assert "<b>" not in said


@given(words())
def test_words_from_outside_keep_every_letter_and_lose_every_power(outside: str) -> None:
    safe = results.plain(outside)
    assert re.sub(r"\\(.)", r"\1", safe, flags=re.DOTALL) == outside
    assert not set("`*_[]<>!#|~$&:") & set(re.sub(r"\\.", "", safe, flags=re.DOTALL))


def test_the_language_of_the_address_holds_and_nonsense_is_ignored(visit: Visit) -> None:
    assert visit(language="ar").session_state["session"].language == "ar"
    at = visit(language="<script>")
    assert at.session_state["session"].language == "en"
    assert at.query_params["lang"] in ("en", ["en"])


def test_the_language_switch_turns_all_words(visit: Visit) -> None:
    at = visit()
    at.get_by_key("language").set_value("ar").run()
    assert Text("ar")("What the network says") in told(at)
    assert at.query_params["lang"] in ("ar", ["ar"])


def test_random_weights_come_with_a_warning(visit: Visit) -> None:
    at = visit()
    at.get_by_key("home weights").set_value("random").run()
    assert "the predictions mean nothing" in at.warning[0].value
    assert "“random”" in told(at)


def test_another_network_brings_its_own_weights_and_back_again(visit: Visit) -> None:
    at = visit()
    first = at.get_by_key("home weights").value
    at.get_by_key("home architecture").set_value("inception_v3").run()
    assert at.get_by_key("home weights").value == "random"
    assert "inception\\_v3" in told(at) or "inception_v3" in told(at)
    at.get_by_key("home architecture").set_value("googlenet").run()
    assert at.get_by_key("home weights").value == first
    assert f"googlenet with the weights “{first}”" in told(at)


def weights_of(classes: int) -> bytes:
    network = models.initialise(models.ARCHITECTURES["googlenet"].build(num_classes=classes))
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})


def test_weights_of_ones_own_answer_under_their_names(visit: Visit) -> None:
    at = visit()
    at.get_by_key("home file").set_value(("pets_1.safetensors", weights_of(3), "application/octet-stream")).run()
    assert not at.exception
    assert "with the weights “pets_1.safetensors”" in told(at)
    assert at.get_by_key("home weights").value is None
    at.get_by_key("home names").set_value(("names.txt", "cat\ndog\nزرافة".encode(), "text/plain")).run()
    assert sorted(bars(at)) == ["cat", "dog", "زرافة"]
    at.get_by_key("home weights").set_value("random").run()
    assert "with the weights “random”" in told(at)


def test_two_people_with_the_same_weights_and_other_names_see_their_own_names(visit: Visit) -> None:
    data, seen = weights_of(2), []
    for names in ("left\nright", "day\nnight"):
        at = visit()
        at.get_by_key("home file").set_value(("two.safetensors", data, "application/octet-stream")).run()
        at.get_by_key("home names").set_value(("names.txt", names.encode(), "text/plain")).run()
        seen.append(sorted(bars(at)))
    assert seen == [["left", "right"], ["day", "night"]]


@pytest.mark.parametrize("language", ["en", "ar"])
def test_bad_weights_are_told_and_one_click_leads_out(visit: Visit, language: str) -> None:
    at = visit(language=language)
    at.get_by_key("home file").set_value(("bad.safetensors", b"\xff" * 100, "application/octet-stream")).run()
    assert not at.exception
    assert len(at.error) == 1
    (way_out,) = [button for button in at.button if button.label == Text(language)("Back to the network that comes first")]
    way_out.click().run()
    assert not at.error
    assert len(bars(at)) == 10


def test_a_mistake_of_ours_shows_no_traceback_but_a_name_to_look_for_in_the_log(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at = visit()
    monkeypatch.setattr(analysis, "analyze", lambda *_: 1 / 0)
    upload(at, ("new.png", coloured(90)))
    (said,) = [error.value for error in at.error]
    name = said.rstrip(".").split()[-1]
    assert "ZeroDivisionError" not in told(at)
    assert "Traceback" not in told(at)
    assert any(name in record.getMessage() and record.exc_info for record in caplog.records)


def test_whoever_waits_sees_that_and_nothing_of_it_stays(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    watch = results._watch

    def watched(text: Text, owner: Engine, job: Job) -> None:
        shown.append(owner.name)
        watch(text, owner, job)

    at, data = visit(), coloured(94)
    monkeypatch.setattr(results, "POLL", 0.001)
    monkeypatch.setattr(results, "_watch", watched)
    upload(at, ("new.png", data))
    assert shown == ["cpu"]
    assert bars(at) == answered(data)
    assert "Stop" not in [button.label for button in at.button]


def test_stopped_work_can_be_started_again(visit: Visit) -> None:
    at = visit()
    data = coloured(91)
    model = models.load(device="cpu")
    at.session_state["session"].choices["stopped"] = results._analysis_key(model, images.decode(data), None)
    upload(at, ("new.png", data))
    assert "Stopped before it was finished." in told(at)
    (again,) = [button for button in at.button if button.label == "Start again"]
    again.click().run()
    assert bars(at) == answered(data)


def test_out_of_memory_on_the_way_is_told_and_the_cpu_answers(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    data, tried = coloured(92), []
    real = analysis.analyze

    def first_full(model: models.Model, *rest: object) -> analysis.Analysis:
        tried.append(str(model.device))
        if len(tried) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, *rest)  # type: ignore[arg-type]

    at, expected = visit(), answered(data)
    monkeypatch.setattr(analysis, "analyze", first_full)
    both = results.here_or_on_cpu
    monkeypatch.setattr(
        results, "here_or_on_cpu", lambda model, do: (both(model, do)[0], lambda progress: do(results.on_cpu(model), progress))
    )
    upload(at, ("new.png", data))
    assert at.warning[0].value == "cpu ran out of memory; the CPU answered instead."
    assert bars(at) == expected
    assert len(tried) == 2


# --- the download ---


@pytest.fixture
def weights_server() -> Iterator[Callable[[bytes, int], str]]:
    """A loopback server that sends some bytes, with a length of one's choice."""
    servers = []

    def serve(body: bytes, length: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/weights.pth"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch_button(at: AppTest) -> AppTest:
    (button,) = [button for button in at.button if button.label == "Download the ImageNet weights of googlenet"]
    button.click().run()
    assert not at.exception
    return at


def test_a_download_that_breaks_off_is_told(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, weights_server: Callable[[bytes, int], str], tmp_path: Path
) -> None:
    address = weights_server(b"x" * 1000, 2_000_000)
    monkeypatch.setattr(models, "fetch_imagenet", lambda name: downloads.fetch(address, tmp_path / "w.pth", "0" * 8))
    at = fetch_button(visit())
    assert [error.value for error in at.error] == [
        "The connection broke off after 0.0 of 2.0 MB. Try again\\: the download goes on where it stopped."
    ]
    assert not (tmp_path / "w.pth").exists()


def test_a_download_that_arrives_draws_the_page_anew(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, weights_server: Callable[[bytes, int], str], tmp_path: Path
) -> None:
    body = b"weights" * 1000
    address = weights_server(body, len(body))
    monkeypatch.setattr(
        models, "fetch_imagenet", lambda name: downloads.fetch(address, tmp_path / "w.pth", hashlib.sha256(body).hexdigest())
    )
    at = fetch_button(visit())
    assert not at.error
    assert (tmp_path / "w.pth").read_bytes() == body
    assert len(bars(at)) == 10


def test_two_downloads_do_not_write_into_one_file(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "fetch_imagenet", lambda name: pytest.fail("a second download began"))
    at = visit()
    with chooser._fetching():
        fetch_button(at)
    assert "downloading weights to this server already" in told(at)


def test_nothing_of_one_visitor_is_in_the_session_of_another(visit: Visit) -> None:
    at = upload(visit(), ("mine.png", coloured(93)))
    other = visit()
    assert other.session_state["session"].id != at.session_state["session"].id
    assert other.session_state["session"].picture.name == "coffee"
