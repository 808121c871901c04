"""The Statistics page: what may be chosen, what is gathered, and what is told when it can't be."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from inception_viz import corpus, models, statistics
from inception_viz.errors import Cancelled
from inception_viz.statistics import Statistics
from inception_viz.text import Text
from tests.pages.conftest import Visit, told
from tests.test_corpus import png, spread, zipped
from tests.test_statistics import PLAN, files, finish, small

PAGE = "pages/statistics.py"


@pytest.fixture(autouse=True)
def _looking_at_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small network, for the pictures are not what is tested here."""
    monkeypatch.setattr("pages.shell.results._load", lambda *arguments: small())


def figures(at: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]


def metric(at: AppTest, label: str) -> str:
    return next(m.value for m in at.metric if m.label == label)


def test_without_named_folders_none_is_offered(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(corpus.FOLDERS, raising=False)
    at = visit(PAGE)
    assert "No folder of this server is open to visitors" in told(at)
    assert metric(at, "Pictures (n)") == "6"


def test_a_folder_under_a_root_is_gathered_class_by_class(visit: Visit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = spread(tmp_path / "open", {f"pets/{name}": data for name, data in [*files(24), ("c/letter.png", b"Dear Sir")]})
    (root / "way-out").symlink_to(tmp_path)
    monkeypatch.setenv(corpus.FOLDERS, str(root))
    at = visit(PAGE)
    box = at.get_by_key("statistics folder")
    assert box.options == ["the sample pictures", "open/", "open/pets", "open/pets/a", "open/pets/b", "open/pets/c"][: len(box.options)]
    assert not any("way-out" in option for option in box.options)
    box.set_value((0, "pets")).run()
    assert not at.exception
    assert [e.value for e in at.error] == []
    assert (metric(at, "Pictures (n)"), metric(at, "Files left out"), metric(at, "Classes with pictures")) == ("24", "1", "3")
    assert len(figures(at)) == 9
    assert "the folder that a picture lies in" in told(at)
    assert "n = 24 pictures" in told(at)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_zip_is_gathered_and_a_bad_one_is_told(visit: Visit, language: str) -> None:
    text = Text(language)
    at = visit(PAGE, language)
    at.get_by_key("statistics uploads").set_value([("bad.zip", b"PK nonsense", "application/zip")]).run()
    assert not at.exception
    assert text(corpus.BadZip.words, name="bad.zip") in told(at)
    at.get_by_key("statistics uploads").set_value([("good.zip", zipped(dict(files(7))), "application/zip")]).run()
    assert [e.value for e in at.error] == []
    assert metric(at, text("Pictures (n)")).strip("\u2066\u2068\u2069") == "7"


def test_more_pictures_than_allowed_are_counted_out_loud(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.shell.statistics.MOST_UPLOADS", 3)
    at = visit(PAGE)
    at.get_by_key("statistics uploads").set_value([(f"{i}.png", png(i), "image/png") for i in range(5)]).run()
    assert metric(at, "Pictures (n)") == "3"
    assert "2 pictures more than allowed were left out." in told(at)


def test_nothing_but_letters_is_told(visit: Visit) -> None:
    at = visit(PAGE)
    at.get_by_key("statistics uploads").set_value([("letter.png", b"Dear Sir", "image/png")]).run()
    assert not at.exception
    assert "None of the 1 files could be read as a picture" in told(at)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Statistics, bytes]:
    found = finish(statistics.gather(statistics.Run(small(), corpus.listed("mine", files(9)), PLAN)))
    path = tmp_path_factory.mktemp("saved") / "s.npz"
    statistics.save(found, path)
    return found, path.read_bytes()


def test_saved_statistics_are_shown_again(visit: Visit, saved: tuple[Statistics, bytes]) -> None:
    at = visit(PAGE)
    at.get_by_key("statistics saved").set_value(("s.npz", saved[1], "application/octet-stream")).run()
    assert not at.exception
    assert metric(at, "Pictures (n)") == "9"
    assert "mine, seen by googlenet with the weights “small”" in told(at)
    assert len(figures(at)) == 9


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_block_is_constructed_from_saved_statistics(visit: Visit, saved: tuple[Statistics, bytes], language: str) -> None:
    text = Text(language)
    at = visit("pages/construction.py", language)
    at.get_by_key(f"choose construction source {language}").set_value("statistics").run()
    assert text("There are no statistics yet: gather them on the page “Statistics”, or open a file of them.") in told(at)
    at.get_by_key("statistics saved").set_value(("s.npz", saved[1], "application/octet-stream")).run()
    assert not at.exception
    assert [e.value for e in at.error] == []
    assert metric(at, text("Pictures (n)")).strip("\u2066\u2068\u2069") == "9"
    assert text("A file of statistics holds no pictures to show to an untrained twin.") in told(at)
    assert text("from the untrained twin") not in list(at.table[0].value.iloc[:, 0])


def test_a_block_is_constructed_from_what_was_just_gathered_and_its_twin_too(visit: Visit) -> None:
    at = visit(PAGE)
    at.get_by_key("statistics uploads").set_value([("good.zip", zipped(dict(files(7))), "application/zip")]).run()
    at.switch_page("pages/construction.py").run()
    at.get_by_key("choose construction source en").set_value("statistics").run()
    assert not at.exception
    assert metric(at, "Pictures (n)") == "7"
    before = list(at.table[0].value["Block"])
    at.get_by_key("choose construction twin en").set_value(True).run()
    assert not at.exception
    assert [*before, "from the untrained twin"] == list(at.table[0].value["Block"])


def test_statistics_of_another_network_are_told(visit: Visit, monkeypatch: pytest.MonkeyPatch, saved: tuple[Statistics, bytes]) -> None:
    monkeypatch.setattr("pages.shell.results._load", lambda *arguments: models.load(models.CONSTRUCTED, device="cpu"))
    at = visit("pages/construction.py")
    at.get_by_key("choose construction source en").set_value("statistics").run()
    at.get_by_key("statistics saved").set_value(("s.npz", saved[1], "application/octet-stream")).run()
    assert not at.exception
    assert "These statistics are of “googlenet” with other blocks" in told(at)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04cos\nsystem\n."])
def test_what_is_no_file_of_statistics_is_told(visit: Visit, data: bytes) -> None:
    at = visit(PAGE)
    at.get_by_key("statistics saved").set_value(("s.npz", data, "application/octet-stream")).run()
    assert not at.exception
    assert "“s.npz” is damaged, or no file of results" in told(at)


def test_a_block_a_pair_and_a_method_can_be_chosen(visit: Visit) -> None:
    at = visit(PAGE)
    before = figures(at)
    at.get_by_key("choose block en").set_value("3a").run()
    at.get_by_key("choose statistics pair en").set_value(("3a", "3b")).run()
    assert not at.exception
    assert figures(at)[0] != before[0]
    assert figures(at)[3] != before[3]


@pytest.fixture
def one_batch_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that little is safe soon."""
    real = statistics.Plan
    monkeypatch.setattr("pages.shell.statistics.Plan", lambda **more: real(4, 1, **more))


@pytest.mark.parametrize("language", ["en", "ar"])
def test_many_pictures_are_counted_and_timed_before_anything_begins(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, one_batch_a_shard: None, language: str
) -> None:
    text = Text(language)
    monkeypatch.setattr("pages.shell.statistics.UNASKED", 20)
    monkeypatch.setattr(statistics, "pace", lambda run: 10.0)
    at = visit(PAGE, language)
    seed = 100 if language == "ar" else 200  # the server would know the other language's result
    at.get_by_key("statistics uploads").set_value([(f"{i}.png", png(seed + i), "image/png") for i in range(21)]).run()
    assert not at.metric
    (asked,) = [i.value for i in at.info if "cpu" in i.value]
    assert asked == text.plural(
        "{n} file, about {minutes} min on {device}. The run can be stopped, and then goes on where it was.",
        "{n} files, about {minutes} min on {device}. The run can be stopped, and then goes on where it was.",
        21, minutes=4, device="cpu",
    )  # fmt: skip
    next(b for b in at.button if b.label == text("Gather the statistics")).click().run()
    assert [e.value for e in at.error] == []
    assert metric(at, text("Pictures (n)")).strip("\u2066\u2068\u2069") == "21"


def test_a_run_that_was_stopped_goes_on_where_it_was(visit: Visit, monkeypatch: pytest.MonkeyPatch, one_batch_a_shard: None) -> None:
    uploads = [(f"{i}.png", png(300 + i), "image/png") for i in range(12)]
    seen: list[int] = []
    real = statistics.Run.seen

    def stops(run: statistics.Run, batch: corpus.Batch) -> object:
        if len(seen) == 2:
            seen.append(-1)
            raise Cancelled()
        seen.append(batch.numbers[0])
        return real(run, batch)

    at = visit(PAGE)
    monkeypatch.setattr(statistics.Run, "seen", stops)
    at.get_by_key("statistics uploads").set_value(uploads).run()
    assert Cancelled.words in told(at)
    assert not at.metric
    at.run()
    assert [e.value for e in at.error] == []
    assert seen == [0, 4, -1, 8]  # what was safe is not seen again
    assert metric(at, "Pictures (n)") == "12"


def test_the_pace_is_that_of_a_batch_of_the_pictures_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 5.0, 10.0, 12.0])
    monkeypatch.setattr(statistics.time, "perf_counter", lambda: next(times))
    assert statistics.pace(statistics.Run(small(), corpus.listed("mine", files(9)), PLAN)) == 0.5
