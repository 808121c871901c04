"""Who may come in: everybody, or, with an `[auth]` section in `.streamlit/secrets.toml`, those whom a provider of OpenID Connect knows."""

import uuid
from collections.abc import Mapping
from pathlib import Path

import streamlit as st
from streamlit import config

from inception_viz.text import Text

PASS = uuid.uuid4().hex  # of the visitor of ours who warms the pages up; it never leaves the process


def wanted() -> bool:
    """Whether visitors have to sign in. A file of secrets that can't be read counts as a yes: nobody is let in by a typing error."""
    if not any(Path(file).exists() for file in config.get_option("secrets.files")):
        return False
    return not st.secrets.load_if_toml_exists() or "auth" in st.secrets


def admits(user: Mapping[str, object]) -> bool:
    """Whether a person may come in: signed in, and, where `[visitors] allowed` lists addresses or `@domains`, with a verified one of these."""
    if user.get("pass") == PASS:
        return True
    if user.get("is_logged_in") is not True or not st.secrets.load_if_toml_exists():
        return False
    allowed = [str(entry).lower() for entry in st.secrets.get("visitors", {}).get("allowed", [])]
    address = str(user.get("email", "")).lower()
    return not allowed or (user.get("email_verified") is True and (address in allowed or "@" + address.rpartition("@")[2] in allowed))


def required(text: Text) -> None:
    """End the page here unless the visitor may come in."""
    if not wanted():
        return
    if admits(st.user):
        with st.sidebar:
            st.button(text("Sign out"), on_click=st.logout)
        return
    if st.user.get("is_logged_in"):
        st.error(text("Your account may not use this server. Ask whoever runs it."))
        st.button(text("Sign out"), on_click=st.logout)
    else:
        st.info(text("Please sign in: whoever runs this server wants to know who comes in."))
        st.button(text("Sign in"), on_click=st.login, type="primary")
    st.stop()
