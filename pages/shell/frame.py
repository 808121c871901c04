"""What every page begins with: title, language, direction, the links to the other pages, and which weights answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import streamlit as st

from inception_viz import models
from inception_viz.figures import Figure, alternative, colours
from inception_viz.text import LANGUAGES, Text, message
from pages.shell import links, results, session, sign_in

ASSETS = Path(__file__).parent.parent.parent / "assets"
LARGE = 1.35  # how much larger the letters of figures are in the presenter view


@dataclass(frozen=True)
class Page:
    """A page of the app: its script, its title, what a student sees on it, one thing to try, and the group that it belongs to."""

    path: str
    title: str
    what: str
    attempt: str
    group: str = ""


GROUPS = {
    "look": message("Look inside"),
    "chance": message("Is it real?"),
    "laboratory": message("Section 3 laboratory"),
    "build": message("Build"),
    "class": message("In class"),
}
_PLACES = {
    "chance": ("statistics", "knockouts", "validation", "localisation", "coincidence"),
    "laboratory": ("cost", "waste", "overfitting", "sparsity", "dense_blocks", "connections"),
    "build": ("topology", "construction", "trial"),
    "class": ("lessons", "glossary", "report"),
}
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
    "topology": Page(
        "pages/topology.py",
        message("Topology"),
        message("A random sparse network is planted, sampled, and rebuilt layer by layer from nothing but which units fire together."),
        message("Take fewer and fewer samples: which layer is lost first, and do its connections for or against go first?"),
    ),
    "sparsity": Page(
        "pages/sparsity.py",
        message("Sparse against dense"),
        message(
            "How much time a layer's product takes when most of its weights are zero, and what is won by gathering the others into dense blocks."
        ),
        message("Find the density at which each format breaks even with dense: how far is it from 100%?"),
    ),
    "connections": Page(
        "pages/connections.py",
        message("Connection tables"),
        message("Which inputs each output reads: LeNet-5's sparse table, a random one, full connection, groups, and Inception's branches."),
        message("LeNet-5's table needs fewer operations than full connection: does it need less time?"),
    ),
    "coincidence": Page(
        "pages/coincidence.py",
        message("Principle or coincidence"),
        message(
            "Do channels of one branch fire together more than channels of different branches, and more than in a network that has learnt nothing?"
        ),
        message("Look at the network before its training: does the orange mark leave the blue ones?"),
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
    "construction": Page(
        "pages/construction.py",
        message("Construct"),
        message("From the correlations of a layer to the block that should follow: the principle of Section 3 of the paper, as a tool."),
        message(
            "Compare the block with the untrained twin’s: how much of it was learnt, and how much does the architecture alone suggest?"
        ),
    ),
    "trial": Page(
        "pages/trial.py",
        message("Trial"),
        message("Do topologies built from statistics beat those made by hand or by lot? Small networks, trained at equal cost, answer."),
        message("Run the small trial with two seeds, then with five: which differences were only chance?"),
    ),
    "localisation": Page(
        "pages/localisation.py",
        message("Localisation"),
        message("Where on the picture is the class? Maps of a network that was taught classes only, and the boxes that follow from them."),
        message("Drag the true box over the picture: does any method find it better than a box in the middle, which looks at nothing?"),
    ),
    "lessons": Page(
        "pages/lessons.py",
        message("Lessons"),
        message("Seven steps through Section 3 of “Going Deeper with Convolutions”: predict first, then see what the network says."),
        message("Let the class vote before you show the answer; the presenter view in the sidebar is made for the projector."),
    ),
    "report": Page(
        "pages/report.py",
        message("Report"),
        message("Everything about this picture in one file to keep, to print or to hand in, with the data to repeat it."),
        message("Make a report of your own photo and open it with the network cable pulled."),
    ),
    "glossary": Page(
        "pages/glossary.py",
        message("Glossary"),
        message("The words of the field in English and Arabic, and what they mean on these pages."),
        message("Cover one column and name the terms of the other."),
    ),
}

_DOCUMENT = """export default function({data}) {
  const page = document.documentElement, history = window.history;
  page.lang = data.lang;
  page.dir = data.dir;
  page.classList.toggle("presenter", data.presenter);
  const skip = document.querySelector("[data-testid=stSkipToContent]");  // the first thing a keyboard meets; Streamlit says it in English
  if (skip) skip.textContent = data.skip;
  if (navigator.language !== data.lang) {
    Object.defineProperty(navigator, "language", {get: () => data.lang, configurable: true});
    window.dispatchEvent(new Event("languagechange"));
  }
  if (!window.oneEntryAPage) {  // a choice is not a step back: only another page is
    const push = history.pushState.bind(history);
    history.pushState = (state, title, to) => {
      const same = to && new URL(to, location.href).pathname === location.pathname;
      (same ? history.replaceState.bind(history) : push)(state, title, to);
    };
    window.oneEntryAPage = true;
  }
  const theme = data.theme && data.theme[0].toUpperCase() + data.theme.slice(1), place = "stActiveTheme-" + location.pathname + "-v2";
  if (theme && data.theme !== data.shown && sessionStorage.getItem(place) !== theme) {  // what Streamlit's own menu does, then once anew
    sessionStorage.setItem(place, theme);
    localStorage.setItem(place, JSON.stringify(theme));
    location.reload();
  }
}"""
_document = st.components.v2.component("document", js=_DOCUMENT)


def group_of(word: str) -> str:
    """The group of a page: its own, or the one where its word is at home."""
    return PAGES[word].group or next((group for group, words in _PLACES.items() if word in words), "look")


def grouped() -> dict[str, list[Page]]:
    """The pages of every group that has any, in the order of the groups; the front door is in none."""
    words = [word for word in PAGES if word != "home"]
    found = {group: [PAGES[word] for word in words if group_of(word) == group] for group in GROUPS}
    return {group: pages for group, pages in found.items() if pages}


@cache
def target(page: Page) -> st.Page:
    """What a link to a page is given: for a path, Streamlit would look for the file anew at every link."""
    return st.Page(page.path, default=page is PAGES["home"])


@cache
def _sheets(right_to_left: bool, presenter: bool) -> str:
    sheets = ["style.css"] + ["right-to-left.css"] * right_to_left + ["presenter.css"] * presenter
    branches = "".join(f"--branch-{i}:{colour};" for i, colour in enumerate(list(colours.BRANCH.values())[:4], 1))
    return f"<style>:root{{{branches}}}" + "".join((ASSETS / sheet).read_text(encoding="utf-8") for sheet in sheets) + "</style>"


def _style(text: Text) -> None:
    st.html(_sheets(text.direction == "rtl", session.current().presenter))
    chosen = session.current()
    _document(
        data={
            "lang": text.language,
            "dir": text.direction,
            "presenter": chosen.presenter,
            "skip": text("Skip to the page’s content"),
            "theme": chosen.theme,
            "shown": st.context.theme.type,
        },
        key="document",
    )


def _present() -> None:
    session.current().presenter = st.session_state["presenter"]


def _sidebar(text: Text) -> None:
    chosen = session.current()
    with st.sidebar:
        st.segmented_control(
            "Language · اللغة", list(LANGUAGES), format_func=LANGUAGES.__getitem__, default=text.language, required=True, key="language",
            on_change=session.choose_language,
        )  # fmt: skip
        st.page_link(target(PAGES["home"]), label=text("Picture and network"))
        with st.container(key="pages", gap=None):
            for group, pages in grouped().items():
                st.caption(text(GROUPS[group]))
                for page in pages:
                    st.page_link(target(page), label=text(page.title))
        with st.container(key="view", gap="small"):
            st.caption(text("This view"))
            links.copy(text)
            st.toggle(text("Presenter view: large type"), chosen.presenter, key="presenter", on_change=_present)


def _banner(text: Text) -> None:
    """Which weights answer, on which device; never silent about random ones."""
    model = results.model(text)
    facts, weights = models.device_facts(model.device), model.weights
    if weights.random:
        st.warning(text("Random weights answer: shapes, costs and chance can be studied, but the predictions mean nothing."))
    names = {"architecture": model.architecture, "weights": results.plain(weights.name)}
    if results.shared():
        told = text("{architecture} with the weights “{weights}” on a Ray cluster", **names)
    else:
        told = text(
            "{architecture} with the weights “{weights}” on {device}, {precision}", **names, device=facts.name, precision=facts.precision
        )
    if weights.top1 is not None:
        told += " · " + text("top-1 {top1} on {data}", top1=f"{weights.top1:.1%}", data=text(weights.measured_on))
    st.caption(told)


def open_page(word: str) -> Text:
    """Draw the frame of a page and return the words of the visitor's language."""
    page = PAGES[word]
    text = Text(session.current().language)
    st.set_page_config(page_title=text(page.title), page_icon=str(ASSETS / "favicon.png"), layout="wide")
    with st.container(key="masthead", gap="small"):
        st.title(text(page.title), anchor=False)
        sign_in.required(text)
        st.markdown(text(page.what))
    with results.TURN:
        links.open_view(text, word, st.container(key="notices"))
        _style(text)
        _sidebar(text)
    if session.current().choices.pop("gone", False):
        st.warning(
            text("The server no longer has the files that this page was about: please upload them again. Until then a sample is shown.")
        )
    st.info(text("Try this: {attempt}", attempt=text(page.attempt)))
    _banner(text)
    return text


def show(figure: Figure, name: str, select: Callable[[], None] | None = None) -> None:
    """A figure with a button to save it as SVG under `name`, and told in words; its letters grow in the presenter view.

    `select` is called when a box was dragged over it; what was dragged is in the session's state under `name`.
    """
    config = {
        "displaylogo": False,
        "toImageButtonOptions": {"format": "svg", "filename": name},
        "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    }
    chosen = session.current()
    with results.TURN:
        told = alternative.describe(figure, Text(chosen.language))
        drawn = colours.larger(figure, LARGE) if chosen.presenter else figure
        if select is None:
            st.plotly_chart(drawn, key=name, config=config, alt=told)
        else:
            st.plotly_chart(drawn, key=name, config=config, alt=told, on_select=select, selection_mode="box")


def picture(packed: bytes, alt: str, caption: str | None = None, width: int | Literal["stretch"] = "stretch") -> None:
    """A PNG or JPEG as it is packed: if it is not told which, Streamlit makes a JPEG of every PNG, anew at every drawing."""
    st.image(packed, caption, width=width, output_format="PNG" if packed.startswith(b"\x89PNG") else "JPEG", alt=alt)


def numbers(text: Text, told: Mapping[str, str]) -> None:
    """A row of numbers by their labels; they stand on one line, however many lines the labels take."""
    for column, (label, value) in zip(st.columns(len(told), vertical_alignment="bottom"), told.items(), strict=True):
        column.metric(label, text.isolated(value))


def signposts(text: Text) -> None:
    """A card for every other page, group by group: where it leads, and what is seen there."""
    for group, pages in grouped().items():
        st.markdown(f"**{text(GROUPS[group])}**")
        with st.container(horizontal=True, gap="small", key=f"signposts {group}"):
            for page in pages:
                st.page_link(target(page), label=f"**{text(page.title)}** {text(page.what)}", width="stretch")


def download(label: str, data: str | bytes, file_name: str, mime: str) -> None:
    """A button that saves `data` as a file; it does not run the page again."""
    st.download_button(label, data, file_name, mime, on_click="ignore")
