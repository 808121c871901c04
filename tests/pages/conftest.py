"""Pages without a browser: every page as a visitor of either language gets it, with whatever goes wrong made visible."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 120  # seconds: the first page of a run loads the network
Visit = Callable[..., AppTest]


@pytest.fixture(scope="package", autouse=True)
def _no_weights_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The pages are tested with what comes with the project, whatever this machine has downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "empty-cache"))
        patch.setenv("INCEPTION_VIZ_DEVICE", "cpu")
        patch.chdir(ROOT)
        yield


def told(at: AppTest) -> str:
    """Everything that a page says in words, without the backslashes that keep Markdown from reading them."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "metric")
    words = "\n".join(f"{getattr(element, 'label', '') or ''} {element.value}" for kind in kinds for element in at.get(kind))
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", words)


@pytest.fixture(scope="package")
def visit() -> Visit:
    """Open a page (`app.py` or a script of `pages/`) in a language; fails if it raises or reports an error of ours."""

    def open_page(script: str = "app.py", language: str = "en", **parameters: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE)
        if script != "app.py":
            at.switch_page(script)  # not from_file: links are resolved from the folder of the first script
        at.query_params["lang"] = language
        for name, value in parameters.items():
            at.query_params[name] = value
        at.run()
        assert not at.exception, at.exception[0].message
        return at

    return open_page
