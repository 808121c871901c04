"""Imports point down the list of words; streamlit lives on the pages only, plotly in the figures only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import inception_viz

ROOT = Path(__file__).parent.parent
WORDS = re.findall(r"\w+", (inception_viz.__doc__ or "").split("left:")[1])
LIBRARY = sorted((ROOT / "inception_viz").rglob("*.py"))
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def word(module: str) -> str | None:
    """The word of the library that a module belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "inception_viz" and len(parts) > 1 else None


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(ROOT / "inception_viz").parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    assert own in WORDS, f"{own} is not in the list of words"
    above = [w for module in imported(path) if (w := word(module)) and w in WORDS[WORDS.index(own) + 1 :]]
    assert above == []


@pytest.mark.parametrize("path", LIBRARY, ids=label)
def test_the_library_knows_no_streamlit_and_only_figures_know_plotly(path: Path) -> None:
    tops = {module.split(".")[0] for module in imported(path)}
    assert "streamlit" not in tops
    if "figures" not in path.parts:
        assert "plotly" not in tops


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_pages_leave_plotly_to_the_figures(path: Path) -> None:
    assert "plotly" not in {module.split(".")[0] for module in imported(path)}


@pytest.mark.parametrize("path", [p for p in PAGES if p.parent.name != "shell"], ids=label)
def test_a_page_defines_no_functions(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)] == []
