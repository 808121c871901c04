"""The front door: choose a network and a picture, see what it says, and where to go from there.

`streamlit run` imports this file once, outside of any page, to find the server that it is to run, and then runs it for every visitor.
"""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

if get_script_run_ctx(suppress_warning=True) is None:
    from pages.shell import door

    app = st.App(__file__, lifespan=door.opened, middleware=door.MIDDLEWARE, on_script_error=door.told)
else:
    from pages.shell import chooser, frame

    text = frame.open_page("home")
    chooser.pictures(text)
    chooser.answer(text)
    st.subheader(text("Where to go from here"), anchor=False)
    frame.signposts(text)
    with st.expander(text("Network, weights and device")):
        chooser.network(text)
