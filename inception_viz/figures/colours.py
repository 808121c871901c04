"""One colour per branch, the same everywhere, told apart by colour-blind people and on light and dark ground (contrast at least 3:1 on both)."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from inception_viz.text import Text

BRANCH = {
    "1x1": "#2b7fd0",
    "3x3": "#cf6a00",
    "5x5": "#0b9470",
    "pool": "#b3579d",
    "3x3dbl": "#a67c00",
    "7x7": "#3d8a9e",
    "7x7dbl": "#8a6fd1",
    "7x7x3": "#d0493e",
}
NEUTRAL = "#7d8590"
POSITIVE, NEGATIVE = "#cf6a00", "#2b7fd0"
SIDES = ("#7161cf", "#b5850b")  # the two of a comparison
DIVERGING = [[0.0, "#2166ac"], [0.25, "#67a9cf"], [0.5, "#f7f7f7"], [0.75, "#ef8a62"], [1.0, "#b2182b"]]
SEQUENTIAL = "Viridis"
FONT = "IBM Plex Sans, IBM Plex Sans Arabic, system-ui, sans-serif"


def branch(name: str) -> str:
    """The colour of a branch; a neutral one for a branch that has none of its own."""
    return BRANCH.get(name, NEUTRAL)


def manner(height: int, title: str = "", right_to_left: bool = False, top: int = 12, legend_y: float = 1.0) -> dict[str, Any]:
    """The layout of the house: no ground of its own, small margins, a title where reading begins."""
    return {
        "height": height,
        "title": {"text": title, "x": 1 if right_to_left else 0, "xanchor": "right" if right_to_left else "left", "font": {"size": 15}},
        "margin": {"l": 8, "r": 8, "t": 44 if title else top, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13},
        "hoverlabel": {"font": {"family": FONT}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": legend_y, "x": 0},
    }


def plain(figure: go.Figure, height: int, title: str = "", right_to_left: bool = False, top: int = 12) -> go.Figure:
    """The same figure in the manner of the house; one part after the other, a sixth of what `update_layout` costs."""
    for part, value in manner(height, title, right_to_left, top).items():
        figure.layout[part] = figure.layout[part].to_plotly_json() | value if isinstance(value, dict) else value
    return figure


def larger(figure: go.Figure, times: float) -> go.Figure:
    """A copy of the figure with letters `times` as large, and in proportion higher, to be read from the back of a room."""
    grown = go.Figure(figure)
    size = grown.layout.font.size or 12
    grown.update_layout(font_size=size * times, title_font_size=(grown.layout.title.font.size or size) * times)
    for annotation in grown.layout.annotations:
        if annotation.font.size:
            annotation.font.size *= times
    if grown.layout.height:
        grown.update_layout(height=grown.layout.height * (1 + times) / 2)
    return grown


def name_rows(figure: go.Figure, names: Sequence[str], right_to_left: bool) -> None:
    """Rows named from the top down. Plotly measures no room for names in a right-to-left page, so it is given."""
    figure.update_yaxes(autorange="reversed", automargin=not right_to_left)
    if right_to_left:
        longest = max((len(line) for name in names for line in name.split("<br>")), default=0)
        figure.update_layout(margin_l=min(220, 14 + 8 * longest))


def title_rows(figure: go.Figure, title: str, right_to_left: bool) -> None:
    """A title beside the vertical axis; on a right-to-left page it is given the room that plotly does not measure."""
    figure.update_yaxes(title=title, automargin=not right_to_left)
    if right_to_left:
        figure.update_layout(margin_l=88)
        figure.update_yaxes(title_standoff=42)


def number_rows(figure: go.Figure, right_to_left: bool) -> None:
    """Room for the numbers of vertical axes without a title, which plotly does not measure on a right-to-left page."""
    figure.update_yaxes(automargin=not right_to_left)
    if right_to_left:
        figure.update_layout(margin_l=56)


def two_lines(title: str, text: Text) -> str:
    """A title broken at the space nearest to its middle, for narrow columns; what is isolated from the text around it is not broken.

    Each line is isolated by itself: figures lay text left to right, and a comma at the end of an Arabic line would stand at its beginning.

    >>> two_lines("storage against CSR", Text("en"))
    'storage<br>against CSR'
    """
    depth, spaces = 0, []
    for place, character in enumerate(title):
        depth += (character in "\u2066\u2067\u2068") - (character == "\u2069")
        if character == " " and not depth:
            spaces.append(place)
    if not spaces:
        return text.isolated(title)
    middle = min(spaces, key=lambda place: abs(place - len(title) / 2))
    return text.isolated(title[:middle]) + "<br>" + text.isolated(title[middle + 1 :])


def titled(figure: go.Figure, rows: Sequence[str], height: int, right_to_left: bool) -> go.Figure:
    """The manner of the house for figures above each other: the legend above the first title, the titles where reading begins."""
    plain(figure, height, top=70)
    number_rows(figure, right_to_left)
    figure.update_layout(legend={"y": 1.0 + 34 / (height - 78), "yanchor": "bottom"})
    side = {"x": 1, "xanchor": "right"} if right_to_left else {"x": 0, "xanchor": "left"}
    for title in rows:
        figure.update_annotations(side | {"font": {"size": 14}}, selector={"text": title})
    return figure
