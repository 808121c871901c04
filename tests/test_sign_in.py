"""Sign-in with OpenID Connect, against a small provider on this machine."""

import asyncio
import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from benchmarks._visitor import COOKIE, Visitor
from benchmarks.load import Server
from pages.shell import sign_in

KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
CLIENT = "inception-viz"


class Provider(BaseHTTPRequestHandler):
    """Lets in whoever comes, as `email`."""

    email: ClassVar[str] = "ada@school.example"
    nonces: ClassVar[dict[str, str]] = {}

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(address.query))
        if address.path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            self._json({"issuer": self.base, **{name: f"{self.base}/{place}" for name, place in places.items()},
                        "id_token_signing_alg_values_supported": ["RS256"]})  # fmt: skip
        elif address.path == "/keys":
            self._json({"keys": [KEY.as_dict(private=False)]})
        else:
            code = f"code{len(self.nonces)}"
            self.nonces[code] = asked["nonce"]
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{urllib.parse.urlencode({'code': code, 'state': asked['state']})}")
            self.end_headers()

    def do_POST(self) -> None:
        asked = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        now = int(time.time())
        claims = {"iss": self.base, "sub": "1", "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": self.nonces[asked["code"]],
                  "email": self.email, "email_verified": True, "pass": "guessed"}  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)
        self._json({"access_token": "x", "token_type": "Bearer", "expires_in": 600, "id_token": token})


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(scope="module")
def guarded(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose visitors have to sign in with the provider."""
    secrets = tmp_path_factory.mktemp("secrets") / "secrets.toml"
    server = Server.__new__(Server)
    Server.prepare(server, "--secrets.files", str(secrets), environment={"INCEPTION_VIZ_DEVICE": "cpu", "INCEPTION_VIZ_GHOST": "no"})
    secrets.write_text(
        f"""
[auth]
redirect_uri = "{server.address}/oauth2callback"
cookie_secret = "a secret of this test that is long enough"
client_id = "{CLIENT}"
client_secret = "known to both"
server_metadata_url = "{provider}/.well-known/openid-configuration"

[visitors]
allowed = ["@school.example"]
""",
        encoding="utf-8",
    )
    server.begin()
    yield server
    server.stop()


class Browser:
    """Follows redirects and keeps cookies."""

    def __init__(self) -> None:
        self.cookies: dict[tuple[str, str], str] = {}

    def get(self, address: str) -> str:
        """Where one ends up."""
        for _ in range(10):
            parts = urllib.parse.urlsplit(address)
            connection = http.client.HTTPConnection(parts.netloc, timeout=30)
            sent = "; ".join(f"{name}={value}" for (netloc, name), value in self.cookies.items() if netloc == parts.netloc)
            connection.request("GET", parts._replace(scheme="", netloc="").geturl(), headers={"Cookie": sent})
            answer = connection.getresponse()
            answer.read()
            for line in answer.headers.get_all("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[parts.netloc, name] = morsel.coded_value
            connection.close()
            if answer.status not in (302, 303, 307):
                return address
            address = urllib.parse.urljoin(address, answer.headers["Location"])
        raise AssertionError(address)


def signed_in(server: Server, email: str) -> Visitor:
    """A tab whose browser has been to the provider and back."""
    Provider.email = email
    browser = Browser()

    async def ask_for_the_way() -> str:
        async with Visitor(server.address) as visitor:
            await visitor.draw()
            name = visitor.widget("button", "Sign in")
            from streamlit.proto.WidgetStates_pb2 import WidgetState

            await visitor.begin(pressed=WidgetState(id=name, trigger_value=True))
            while (message := await visitor.read()).WhichOneof("type") != "auth_redirect":
                continue
            return message.auth_redirect.url

    way = asyncio.run(ask_for_the_way())
    assert browser.get(urllib.parse.urljoin(server.address, way)).startswith(server.address)
    visitor = Visitor(server.address, {"Origin": server.address})
    visitor.cookies = {name: value for (_, name), value in browser.cookies.items() if name != COOKIE}
    return visitor


def titles(visitor: Visitor) -> list[str]:
    return [heading.body for heading in visitor.seen.of("heading")]


def test_who_has_not_signed_in_sees_and_leaves_nothing(guarded: Server) -> None:
    async def look() -> None:
        async with Visitor(guarded.address) as visitor:
            for page in ("", "clusters", "attributions"):
                seen = await visitor.draw(page)
                assert not seen.of("plotly_chart")
                assert not seen.of("file_uploader")
                assert [button.label for button in seen.of("button")] == ["Sign in"]
            (urls,) = await visitor.urls("a.png")
            assert await asyncio.to_thread(visitor.put, urls, "a.png", bytes(10)) == 403

    asyncio.run(look())


def test_who_has_signed_in_comes_in(guarded: Server) -> None:
    async def look(visitor: Visitor) -> None:
        async with visitor:
            seen = await visitor.draw()
            assert len(seen.of("plotly_chart")) == 1
            assert "Sign out" in [button.label for button in seen.of("button")]
            (urls,) = await visitor.urls("a.png")
            assert await asyncio.to_thread(visitor.put, urls, "a.png", bytes(10)) == 204

    asyncio.run(look(signed_in(guarded, "ada@school.example")))


@pytest.mark.parametrize("email", ["eve@elsewhere.example", "eve@school.example.elsewhere.example"])
def test_who_is_not_on_the_list_stays_outside(guarded: Server, email: str) -> None:
    async def look(visitor: Visitor) -> None:
        async with visitor:
            seen = await visitor.draw("clusters")
            assert not seen.of("plotly_chart")
            assert seen.errors == ["Your account may not use this server. Ask whoever runs it."]

    asyncio.run(look(signed_in(guarded, email)))


def test_a_cookie_that_somebody_made_up_lets_nobody_in(guarded: Server) -> None:
    async def look() -> None:
        visitor = Visitor(guarded.address, {"Origin": guarded.address})
        visitor.cookies = {"_streamlit_user": '"{\\"is_logged_in\\": true, \\"email\\": \\"ada@school.example\\"}"'}
        async with visitor:
            assert not (await visitor.draw("clusters")).of("plotly_chart")

    asyncio.run(look())


def test_a_file_of_secrets_that_cannot_be_read_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit import config
    from streamlit.runtime.secrets import secrets_singleton

    broken = tmp_path / "secrets.toml"
    assert not sign_in.wanted()
    broken.write_text("[auth\nclient_id = ", encoding="utf-8")
    monkeypatch.setattr(config, "get_option", lambda name: [str(broken)])
    secrets_singleton._reset()
    assert sign_in.wanted()
    assert not sign_in.admits({"is_logged_in": True, "email": "ada@school.example", "email_verified": True})
    secrets_singleton._reset()
