"""A visitor without a browser who comes before all others: whatever is done once is done by then.

The first visitor would otherwise pay for the import of torch, for the first pass through the network, and for all that Streamlit and plotly put
off until it is needed: 7 to 10 seconds.
"""

import asyncio
import gc
import logging
import os
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import Runtime
from streamlit.runtime.session_manager import ClientContext

from pages.shell import sign_in

PAGES = ("architecture", "activations", "correlations", "clusters", "attributions")  # the others start work of minutes, on request
PATIENCE = 60.0  # seconds for a page; a server that can't draw one opens all the same, and says so to its visitors

log = logging.getLogger(__name__)


class Ghost:
    """A client that looks at nothing but the end of each page."""

    client_context: ClientContext | None = None

    def __init__(self) -> None:
        self.drawn = asyncio.Event()

    def write_forward_msg(self, msg: ForwardMsg) -> None:
        """What Streamlit calls on its event loop for every message to the browser."""
        if msg.WhichOneof("type") == "script_finished":
            self.drawn.set()

    async def see(self, runtime: Runtime, session: str, page: str = "", query: str = "") -> None:
        """Wait until a page is drawn."""
        self.drawn.clear()
        message = BackMsg()
        message.rerun_script.page_name = page
        message.rerun_script.query_string = query
        runtime.handle_backmsg(session, message)
        await asyncio.wait_for(self.drawn.wait(), PATIENCE)


async def visit(runtime: Runtime) -> None:
    """Go to every page of PAGES, and to the first in every language; then freeze what is in memory.

    Streamlit collects garbage after every run of a page: unless it is frozen, that walks through torch and plotly each time (0.2 s).
    """
    if os.environ.get("INCEPTION_VIZ_GHOST") == "no":  # a server that is to be there soon, for a developer or a test
        return
    started, ghost = time.monotonic(), Ghost()
    session = runtime.connect_session(ghost, {"pass": sign_in.PASS})
    try:
        for query in ("lang=ar", "lang=en"):
            await ghost.see(runtime, session, query=query)
        for page in PAGES:
            await ghost.see(runtime, session, page)
    except TimeoutError:
        log.warning("a page is not drawn after %.0f s", PATIENCE)
    finally:
        runtime.close_session(session)
    gc.collect()
    gc.freeze()
    log.info("ready after %.1f s", time.monotonic() - started)
