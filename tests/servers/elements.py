"""A page that shows hostile names with every kind of element, behind the door of the app; as Markdown unescaped, as if we had forgotten to."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import plotly.graph_objects as go  # noqa: E402
import streamlit as st  # noqa: E402
from streamlit.runtime.scriptrunner import get_script_run_ctx  # noqa: E402

from tests.hostile_names import NAMES  # noqa: E402

if get_script_run_ctx(suppress_warning=True) is None:
    from pages.shell import door

    app = st.App(__file__, middleware=door.MIDDLEWARE)
else:
    for index, name in enumerate(NAMES):
        for show in (
            st.markdown,
            st.caption,
            st.text,
            st.code,
            st.info,
            st.warning,
            st.error,
            st.success,
            st.title,
            st.header,
            st.subheader,
        ):
            show(name or "-")
        with st.expander(name or "-"):
            st.write(name)
        st.metric(name or "-", name, help=name)
        st.button(name or "-", key=f"button {index}", help=name)
        st.download_button(name or "-", b"", file_name="a", key=f"download {index}")
        st.checkbox(name or "-", key=f"checkbox {index}")
        st.toast(name or "-")
    st.selectbox("names", NAMES)
    st.multiselect("names", NAMES, NAMES[:20])
    st.radio("names", NAMES)
    st.segmented_control("names", NAMES)
    st.slider(NAMES[11], 0, 1)
    st.text_input(NAMES[11], NAMES[8])
    st.progress(0.5, NAMES[11])
    for _ in st.tabs([name or "-" for name in NAMES]):
        continue
    st.dataframe({"names": NAMES})
    st.table({"names": NAMES})
    st.json({"names": NAMES})
    bars = go.Figure(go.Bar(x=[name or "-" for name in NAMES], y=list(range(len(NAMES))), name=NAMES[8]))
    bars.update_layout(title=NAMES[9], xaxis_title=NAMES[8])
    st.plotly_chart(bars)
    st.text("the end")
