"""The terms in all languages side by side."""

import streamlit as st

from inception_viz.glossary import TERMS
from inception_viz.text import END_ISOLATE, FIRST_STRONG_ISOLATE, LANGUAGES, Text


def table(text: Text) -> None:
    """A row for every term: its name in every language, and what it means in the visitor's."""
    words = {name: Text(language) for language, name in LANGUAGES.items()}
    rows = [
        {name: f"{FIRST_STRONG_ISOLATE}{said(term.name)}{END_ISOLATE}" for name, said in words.items()}
        | {text("Meaning"): text(term.meaning)}
        for term in TERMS
    ]
    st.table(rows)
