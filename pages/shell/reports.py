"""A report made for the session's picture, and the buttons that save it."""

from pathlib import PurePath

import streamlit as st

from inception_viz import report
from inception_viz.analysis import Analysis
from inception_viz.engine.local import Progress
from inception_viz.text import Text
from pages.shell import frame, results

Files = dict[str, bytes]


def made(text: Text, analysis: Analysis, method: str, count: int | None, block: str) -> Files:
    """The files of the report, made by the engine."""
    used = results.model(text)

    def work(progress: Progress) -> Files:
        return report.files(report.make(analysis, method, count, block, progress.tick), text.language)

    key = ("report", analysis.key, analysis.picture.name, used.weights.name, method, count, block, text.language)
    return results.compute(text, used, "report", key, work, report.steps(analysis))


def save(text: Text, analysis: Analysis, files: Files) -> None:
    """A button for the page to read, and one for the data to compute with."""
    name = PurePath(analysis.picture.name).stem or "picture"
    page, data = files["report.html"], {k: v for k, v in files.items() if k != "report.html"}
    with st.container(horizontal=True, vertical_alignment="center"):
        label = text("Save the report ({size} MB, one HTML file, both languages)", size=f"{len(page) / 1e6:.1f}")
        frame.download(label, page, f"{name}-report.html", "text/html")
        packed = report.zipped(data)
        label = text("Save the data ({size} MB, JSON and NPZ)", size=f"{len(packed) / 1e6:.1f}")
        frame.download(label, packed, f"{name}-data.zip", "application/zip")
