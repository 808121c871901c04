"""The server of `app.py` with one more address, for the tests: what it holds and does. `streamlit run tests/servers/observed.py`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from streamlit.runtime import Runtime  # noqa: E402

from pages.shell import door  # noqa: E402

door.SWEEP = 0.3


async def observed(request: Request) -> JSONResponse:
    """Sessions that are known, files that are held, runs of the owner so far, whether it is at work, how many wait, and how much is remembered."""
    from inception_viz import memory
    from pages.shell import results

    owner = results.engine("cpu")
    return JSONResponse(
        {
            "sessions": len(Runtime.instance()._session_mgr.list_sessions()),
            "files": sum(map(len, door._held().values())),
            "runs": owner.runs,
            "busy": bool(owner._running),
            "waiting": len(owner._queue),
            "remembered": sum(map(len, memory._memories)),
        }
    )


app = st.App(
    ROOT / "app.py",
    lifespan=door.opened,
    middleware=door.MIDDLEWARE,
    on_script_error=door.told,
    routes=[Route("/observed", observed)],
)
