"""The pages with a Ray cluster as the engine: what they ask of it can travel, and one that does not answer is told."""

from collections.abc import Iterator

import pytest

pytest.importorskip("ray")

from inception_viz.engine import cluster, parcels
from inception_viz.engine.local import Answer, Engine, Progress, WithModel, Work
from inception_viz.text import Text
from tests.pages.conftest import Visit, told
from tests.test_statistics import small


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A cluster of none: what is asked of it is packed, opened again with another copy of the network, and done here; yields the tickets."""
    tickets: list[str] = []
    twin = small()

    def answer(work: Work, progress: Progress, evaluations: int) -> Answer:
        assert isinstance(work, WithModel)
        parcel, _ = parcels.packed(work)
        tickets.extend(parcel.tickets)
        if parcel.joins:
            return Answer(work.do(twin, progress))
        return Answer(parcels.opened(parcel, dict.fromkeys(parcel.tickets, twin))(progress))

    engine = Engine("Ray", elsewhere=answer, lanes=2)
    monkeypatch.setattr("pages.shell.results.shared", lambda: engine)
    monkeypatch.setattr("pages.shell.results._load", lambda *arguments: small())
    yield tickets
    engine.close()


@pytest.mark.parametrize("page", ["attributions", "correlations", "knockouts", "flows", "comparisons"])
def test_what_a_page_asks_of_a_model_can_travel(visit: Visit, packing: list[str], page: str) -> None:
    at = visit(f"pages/{page}.py")
    assert [e.value for e in at.error] == []
    assert "googlenet with the weights “small” on a Ray cluster" in told(at)
    assert set(packing) == {parcels.ticket(small())}


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_cluster_that_nobody_has_started_is_told(visit: Visit, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    away = cluster.engine(cluster.Cluster(cluster.Settings("127.0.0.1:9")))
    monkeypatch.setattr("pages.shell.results.shared", lambda: away)
    at = visit("pages/clusters.py", language)
    assert [e.value for e in at.error] == [Text(language)(cluster.Gone.words)]
    away.close()
