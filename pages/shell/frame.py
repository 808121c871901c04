"""What every page begins with: title, language, direction, the links to the other pages, and which weights answer."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from inception_viz import models
from inception_viz.figures import Figure
from inception_viz.text import LANGUAGES, Text, message
from pages.shell import results, session, sign_in

ASSETS = Path(__file__).parent.parent.parent / "assets"


@dataclass(frozen=True)
class Page:
    """A page of the app: its script, its title, what a student sees on it, and one thing to try."""

    path: str
    title: str
    what: str
    attempt: str


PAGES: dict[str, Page] = {
    "home": Page(
        "app.py",
        message("Inception Viz"),
        message("Look inside an Inception network: choose a picture, and follow it through the blocks."),
        message("Upload a photo of your own, then see on “Clusters” which filters fire together on it."),
    ),
    "architecture": Page(
        "pages/architecture.py",
        message("Architecture"),
        message("The network as a graph of blocks; inside a block, four branches look at the same input with windows of different sizes."),
        message("Open block 3a and click its branches: which one has the most multiply-accumulates?"),
    ),
    "activations": Page(
        "pages/activations.py",
        message("Activations"),
        message("Each small map shows where one channel fires on the picture; its frame has the colour of its branch."),
        message("Compare an early block with a late one: where do maps turn from edges into things?"),
    ),
    "correlations": Page(
        "pages/correlations.py",
        message("Correlations"),
        message(
            "Red: two channels fire at the same places. Blue: where one fires, the other does not. Grey gaps are channels that never change."
        ),
        message("Order the channels by similarity: do squares appear on the diagonal? Those are clusters."),
    ),
    "clusters": Page(
        "pages/clusters.py",
        message("Clusters"),
        message("Channels that fire together are one cluster; the bars show from which branches it comes, the maps where it fires."),
        message("Find a cluster that lights up one part of the picture only. Is it spread over several branches?"),
    ),
    "attributions": Page(
        "pages/attributions.py",
        message("Attributions"),
        message("What each cluster and each branch gives to the class: bars to one side speak for it, to the other against it."),
        message("Set the class against its strongest rival: which cluster makes the difference?"),
    ),
    "knockouts": Page(
        "pages/knockouts.py",
        message("Knock-outs"),
        message("A cluster is taken out of a block, or kept alone, and the rest of the network runs again: does the prediction notice?"),
        message("Find a cluster whose diamond lies outside the grey dots: random sets of channels, as many and as strong, do less."),
    ),
    "statistics": Page(
        "pages/statistics.py",
        message("Statistics"),
        message("How the channels of every block fire together over a whole folder of pictures, and which of them tell its classes apart."),
        message("Gather the same pictures with the untrained network too: which of the correlations are still there?"),
    ),
    "cost": Page(
        "pages/cost.py",
        message("Size and cost"),
        message("What width, depth and 1x1 reductions cost: parameters and multiply-accumulates counted, time measured on this machine."),
        message("Double the widest chain: does the measured time grow fourfold, as the counted operations do?"),
    ),
    "waste": Page(
        "pages/waste.py",
        message("Waste"),
        message("What the network computes for nothing: weights near zero, channels that never fire or say what others say."),
        message("On “Without them”, remove more and more: when does the network begin to say something else?"),
    ),
    "overfitting": Page(
        "pages/overfitting.py",
        message("Overfitting"),
        message("Small networks learn few handwritten digits by heart: one curve for those, one for digits that they never saw."),
        message("Make a third of the labels wrong: do wider networks now do better or worse on other pictures?"),
    ),
    "flows": Page(
        "pages/flows.py",
        message("Flows"),
        message(
            "A column is a block, a box a cluster; the lines show how much of a cluster comes from each cluster before it, on to the class."
        ),
        message(
            "Click the cluster that gives most to the class, and follow its widest line back. Does it look at the same place all the way?"
        ),
    ),
    "comparisons": Page(
        "pages/comparisons.py",
        message("Compare"),
        message("Two answers side by side: two pictures, two classes, two networks, or one network before and after it was trained."),
        message("Compare two states of training: do the same channels still fire together, or were the clusters made anew?"),
    ),
}

_DIRECTION = """export default function({data}) {
  const page = document.documentElement;
  page.lang = data.lang;
  page.dir = data.dir;
  if (navigator.language !== data.lang) {
    Object.defineProperty(navigator, "language", {get: () => data.lang, configurable: true});
    window.dispatchEvent(new Event("languagechange"));
  }
}"""
_direction = st.components.v2.component("direction", js=_DIRECTION)


def _style(text: Text) -> None:
    sheets = ["style.css"] + (["right-to-left.css"] if text.direction == "rtl" else [])
    st.html("<style>" + "".join((ASSETS / sheet).read_text(encoding="utf-8") for sheet in sheets) + "</style>")
    _direction(data={"lang": text.language, "dir": text.direction}, key="direction")


def _sidebar(text: Text) -> None:
    with st.sidebar:
        st.segmented_control(
            "Language · اللغة", list(LANGUAGES), format_func=LANGUAGES.__getitem__, default=text.language, required=True, key="language",
            on_change=session.choose_language,
        )  # fmt: skip
        for page in PAGES.values():
            st.page_link(page.path, label=text(page.title))


def _banner(text: Text) -> None:
    """Which weights answer, on which device; never silent about random ones."""
    model = results.model(text)
    facts, weights = models.device_facts(model.device), model.weights
    if weights.random:
        st.warning(text("Random weights answer: shapes, costs and chance can be studied, but the predictions mean nothing."))
    told = text("{architecture} with the weights “{weights}” on {device}, {precision}", architecture=model.architecture, weights=results.plain(weights.name),
                device=facts.name, precision=facts.precision)  # fmt: skip
    if weights.top1 is not None:
        told += " · " + text("top-1 {top1} on {data}", top1=f"{weights.top1:.1%}", data=text(weights.measured_on))
    st.caption(told)


def open_page(word: str) -> Text:
    """Draw the frame of a page and return the words of the visitor's language."""
    page = PAGES[word]
    text = Text(session.current().language)
    st.set_page_config(page_title=text(page.title), page_icon=str(ASSETS / "favicon.png"), layout="wide")
    _style(text)
    _sidebar(text)
    st.title(text(page.title), anchor=False)
    sign_in.required(text)
    if session.current().choices.pop("gone", False):
        st.warning(
            text("The server no longer has the files that this page was about: please upload them again. Until then a sample is shown.")
        )
    st.markdown(text(page.what))
    st.info(text("Try this: {attempt}", attempt=text(page.attempt)))
    _banner(text)
    return text


def show(figure: Figure, name: str) -> None:
    """A figure with a button to save it as SVG under `name`."""
    config = {
        "displaylogo": False,
        "toImageButtonOptions": {"format": "svg", "filename": name},
        "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    }
    st.plotly_chart(figure, key=name, config=config)


def signposts(text: Text) -> None:
    """A card for every other page: where it leads, and what is seen there."""
    others = [page for word, page in PAGES.items() if word != "home"]
    for column, page in zip(st.columns(len(others)), others, strict=True):
        with column.container(border=True, height="stretch", key=f"signpost {page.title}"):
            st.page_link(page.path, label=f"**{text(page.title)}**")
            st.caption(text(page.what))


def download(label: str, data: str | bytes, file_name: str, mime: str) -> None:
    """A button that saves `data` as a file; it does not run the page again."""
    st.download_button(label, data, file_name, mime, on_click="ignore")
