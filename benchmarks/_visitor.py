"""A visitor without a browser, who speaks with the real server as one tab does. Streamlit's messages are internal: its version is pinned."""

import asyncio
import hashlib
import http.client
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs, UploadedFileInfo
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

PATIENCE = 120.0
COOKIE = "_streamlit_xsrf"


@dataclass
class Seen:
    """What a drawing of a page brought: its elements by kind, and how it ended."""

    elements: list[Element] = field(default_factory=list)

    def of(self, kind: str) -> list:
        """All elements of a kind."""
        return [getattr(e, kind) for e in self.elements if e.WhichOneof("type") == kind]

    @property
    def errors(self) -> list[str]:
        """What the page reports as an error, and whatever was raised."""
        red = [a.body for a in self.of("alert") if a.format == 1]
        return [*red, *(e.message for e in self.of("exception"))]

    @property
    def numbers(self) -> str:
        """A digest of every chart and every metric: the page's answer."""
        told = [chart.spec for chart in self.of("plotly_chart")] + [f"{m.label} {m.body}" for m in self.of("metric")]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


class Visitor:
    """One tab: `async with Visitor(address) as tab`."""

    def __init__(self, address: str, headers: Mapping[str, str] | None = None) -> None:
        self.address, self.headers = urlsplit(address), dict(headers or {})
        self.token, self.session, self.page = "", "", ""
        self.cookies: dict[str, str] = {}  # besides the one that goes with the token
        self.states: dict[str, WidgetState] = {}
        self.seen = Seen()

    async def __aenter__(self) -> "Visitor":
        cookie = await asyncio.to_thread(self._cookie)
        self.token = cookie
        self.socket = await websockets.connect(
            f"ws://{self.address.netloc}/_stcore/stream",
            subprotocols=["streamlit", self.token, *([self.session] if self.session else [])],
            additional_headers={"Cookie": self._cookies(), **self.headers},
            max_size=None, compression=None, open_timeout=PATIENCE, ping_interval=None,
        )  # fmt: skip
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.socket.close()

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of a plain request with this visitor's cookie and token."""
        connection = http.client.HTTPConnection(self.address.netloc, timeout=PATIENCE)
        own = {"Cookie": self._cookies(), "X-Xsrftoken": self.token} if self.token else {}
        connection.request(method, path, body, {**own, **self.headers, **(headers or {})})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def _cookies(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in {COOKIE: self.token, **self.cookies}.items())

    def _cookie(self) -> str:
        connection = http.client.HTTPConnection(self.address.netloc, timeout=PATIENCE)
        connection.request("GET", "/_stcore/health")
        answer = connection.getresponse()
        answer.read()
        cookie = re.search(rf"{COOKIE}=([^;]+)", answer.headers.get("Set-Cookie", ""))
        connection.close()
        assert cookie, answer.status
        return cookie[1]

    async def _send(self, message: BackMsg) -> None:
        await self.socket.send(message.SerializeToString())

    async def draw(self, page: str | None = None, query: str = "lang=en", **trigger: WidgetState) -> Seen:
        """Run a page (by its name in the address, "" for the first; None: the same again) and wait for its end."""
        await self.begin(page, query, **trigger)
        return await self.drawn()

    async def begin(self, page: str | None = None, query: str = "lang=en", **trigger: WidgetState) -> None:
        """Ask for a page, without waiting for it."""
        if page is not None:
            self.page = page
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_name = query, self.page
        state.widget_states.widgets.extend([*self.states.values(), *trigger.values()])
        await self._send(message)

    async def drawn(self) -> Seen:
        """What the run brings that is going on, or comes next."""
        self.seen = Seen()
        while True:
            message = await self.read()
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.seen = Seen()
                self.session = message.new_session.initialize.session_id
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                self.seen.elements.append(message.delta.new_element)
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                here = {getattr(getattr(e, e.WhichOneof("type")), "id", "") for e in self.seen.elements}
                self.states = {name: state for name, state in self.states.items() if name in here}  # as a browser forgets them
                return self.seen

    async def read(self) -> ForwardMsg:
        """The next message of the server."""
        message = ForwardMsg()
        message.ParseFromString(await asyncio.wait_for(self.socket.recv(), PATIENCE))
        return message

    def widget(self, kind: str, label: str) -> str:
        """The id of a widget on the page that was drawn last."""
        return next(w.id for w in self.seen.of(kind) if label in w.label)

    async def choose(self, label: str, option: str) -> Seen:
        """Pick an option of a select box."""
        name = self.widget("selectbox", label)
        self.states[name] = WidgetState(id=name, string_value=option)
        return await self.draw()

    async def press(self, label: str) -> Seen:
        """Press a button."""
        name = self.widget("button", label)
        return await self.draw(pressed=WidgetState(id=name, trigger_value=True))

    async def urls(self, *names: str) -> list[FileURLs]:
        """Where files may be put."""
        message = BackMsg()
        message.file_urls_request.request_id = uuid.uuid4().hex
        message.file_urls_request.session_id = self.session
        message.file_urls_request.file_names.extend(names)
        await self._send(message)
        while (answer := await self.read()).WhichOneof("type") != "file_urls_response":
            continue
        return list(answer.file_urls_response.file_urls)

    def put(self, urls: FileURLs, name: str, data: bytes) -> int:
        """Upload a file; the status of the answer."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
        body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
        status, _ = self.request("PUT", urls.upload_url, body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
        return status

    async def upload(self, label: str, *files: tuple[str, bytes]) -> Seen:
        """Give files to the uploader of the first page whose label contains `label`."""
        name = self.widget("file_uploader", label)
        state = WidgetState(id=name)
        for (file, data), urls in zip(files, await self.urls(*(file for file, _ in files)), strict=True):
            status = await asyncio.to_thread(self.put, urls, file, data)
            assert status == 204, status
            state.file_uploader_state_value.uploaded_file_info.append(
                UploadedFileInfo(name=file, size=len(data), file_id=urls.file_id, file_urls=urls)
            )
        self.states[name] = state
        return await self.draw()
