"""`runbridge check --connect`: what trying Redis, accounts and destinations tells, and what it leaves alone."""

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pytest
from aiohttp import web
from command import Command
from servers import RedisServer, free_port

from bridge.dial import Tls, connect
from bridge.embedded import EmbeddedServer
from bridge.errors import HttpError
from bridge.guard import Guard
from bridge.probe import ProbeResult, probe
from bridge.settings import Settings, load

SECRET = "whsec_Zm9yIHRoZSB0ZXN0cyBvbmx5LCBub3Qgc2VjcmV0ISE="
PASSWORD, KEY, QUERY = "hunter2-redis", "hunter2-key", "hunter2-query"


class Party:
    """Somebody's HTTP server that answers all requests with one status, after `delay` seconds, and keeps them."""

    def __init__(self, status: int, delay: float = 0.0, headers: Mapping[str, str] | None = None) -> None:
        self._status, self._delay, self._headers = status, delay, headers
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, {name.lower(): v for name, v in request.headers.items()}))
        await asyncio.sleep(self._delay)
        return web.Response(status=self._status, text=f"you sent {KEY}", headers=self._headers)


async def tried(tmp_path: Path, text: str) -> dict[str, ProbeResult]:
    """What probing a configuration tells, by target."""
    path = tmp_path / "bridge.toml"
    path.write_text(text if "[destinations" in text else text + REST)
    results = await probe(load(path, {}))
    return {result.target: result for result in results if result.target != "destinations.rest"}


def account(url: str, provider: str = "bctrl", name: str = "a") -> str:
    """A section `[accounts]`."""
    return f'[accounts.{name}]\nprovider = "{provider}"\nbase_url = "{url}"\napi_key = "{KEY}"\n'


def destination(url: str, *networks: str, name: str = "d") -> str:
    """A section `[destinations]`."""
    return f'[destinations.{name}]\nurl = "{url}"\nsecrets = ["{SECRET}"]\nallow_networks = {json.dumps(networks)}\n'


REST = destination("http://127.0.0.1:1/", "127.0.0.0/8", name="rest")
"""A bridge has to have something to do."""


async def test_redis_is_there(tmp_path: Path, server: RedisServer) -> None:
    """A Redis that takes writes is told with its version, and nothing is written to it."""
    found = await tried(tmp_path, f'[redis]\nurl = "{server.url}"\n')
    assert found["redis"].ok
    assert found["redis"].detail.startswith("version ")
    assert server.call("DBSIZE") == 0


async def test_redis_is_not_there(tmp_path: Path) -> None:
    """A Redis that is not there is told without its password."""
    found = await tried(tmp_path, f'[redis]\nurl = "redis://user:{PASSWORD}@127.0.0.1:{free_port()}/0"\n')
    assert not found["redis"].ok
    assert "CONNECTION" in found["redis"].detail
    assert PASSWORD not in str(found)


async def test_redis_refuses_the_password(tmp_path: Path) -> None:
    """A wrong password is told as such, and not shown."""
    with TemporaryDirectory(prefix="p-") as directory:
        server = RedisServer("valkey", Path(directory), port=free_port(), user="default off").start(ready=False)
        try:
            url = f"redis://user:{PASSWORD}@127.0.0.1:{server.port}/0"
            async with asyncio.timeout(20):
                found = await tried(tmp_path, f'[redis]\nurl = "{url}"\n')
                while "CONNECTION" in found["redis"].detail:
                    found = await tried(tmp_path, f'[redis]\nurl = "{url}"\n')
        finally:
            server.stop()
    assert not found["redis"].ok
    assert PASSWORD not in str(found)


async def test_embedded_that_does_not_run(tmp_path: Path) -> None:
    """On `embedded:` no server has to run: the bridge starts it. Nothing is made on disk."""
    found = await tried(tmp_path, '[redis]\nurl = "embedded:data"\n')
    assert found["redis"].ok
    assert "not running now" in found["redis"].detail
    assert not (tmp_path / "data").exists()


async def test_embedded_that_runs() -> None:
    """On `embedded:` beside its bridge the running server is asked."""
    with TemporaryDirectory(prefix="p-") as directory:
        embedded = EmbeddedServer(Path(directory) / "data")
        await embedded.start()
        try:
            found = await tried(Path(directory), '[redis]\nurl = "embedded:data"\n')
        finally:
            await embedded.stop()
    assert found["redis"].ok
    assert found["redis"].detail.startswith("version ")


@pytest.mark.parametrize(
    ("status", "ok", "said"),
    [
        (200, True, "answered 200"),
        (404, True, "answered 404"),
        (302, True, "answered 302"),
        (401, False, "answered 401: the key was refused"),
        (403, False, "answered 403: the key was refused"),
        (500, False, "answered 500"),
        (503, False, "answered 503"),
    ],
)
async def test_account(tmp_path: Path, status: int, ok: bool, said: str) -> None:
    """An account is one GET of its base URL with the key: below 500 it is reachable, 401 and 403 refuse the key."""
    elsewhere = {"Location": "http://127.0.0.1:1/"} if status == 302 else None
    async with Party(status, headers=elsewhere) as party:
        found = await tried(tmp_path, account(f"{party.url}/api"))
    assert found["accounts.a"].ok is ok
    assert found["accounts.a"].detail.startswith(f"{said} (")
    ((method, path, headers),) = party.requests
    assert (method, path, headers["authorization"]) == ("GET", "/api", f"Bearer {KEY}")
    assert KEY not in str(found)


async def test_account_at_anchor(tmp_path: Path) -> None:
    """The key goes in the provider's own header."""
    async with Party(200) as party:
        assert (await tried(tmp_path, account(party.url, "anchor")))["accounts.a"].ok
    assert party.requests[0][2]["anchor-api-key"] == KEY
    assert "authorization" not in party.requests[0][2]


@contextlib.asynccontextmanager
async def listener(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port, and for each connection that has ended what came over it."""
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def test_destination_gets_a_connection_and_nothing_else(tmp_path: Path) -> None:
    """A destination is tried by a connection over which not one byte goes."""
    async with listener() as (port, heard):
        found = await tried(tmp_path, destination(f"http://127.0.0.1:{port}/hooks?t={QUERY}", "127.0.0.0/8"))
        async with asyncio.timeout(5):
            while not heard:
                await asyncio.sleep(0.01)
    assert found["destinations.d"].ok
    assert found["destinations.d"].detail.startswith("took a connection (")
    assert heard == [b""]


async def test_destination_that_is_not_there(tmp_path: Path) -> None:
    """A destination that takes no connection is told, without the query that may hold a token."""
    found = await tried(tmp_path, destination(f"http://127.0.0.1:{free_port()}/hooks?t={QUERY}", "127.0.0.0/8"))
    assert not found["destinations.d"].ok
    assert "can't connect" in found["destinations.d"].detail
    assert QUERY not in str(found)


def changed(settings: Settings, **keys: object) -> Settings:
    """The same configuration with other values for the destination `d`, which a file could get only from a name."""
    destination = settings.destinations["d"].model_copy(update=keys)
    return settings.model_copy(update={"destinations": {"d": destination}})


@pytest.mark.parametrize(
    ("url", "networks", "said"),
    [
        ("http://127.0.0.1:1/", (), "127.0.0.1 is not a public address"),
        ("https://10.0.0.1/", ("127.0.0.0/8",), "10.0.0.1 is not a public address"),
        ("http://93.184.215.14/", ("127.0.0.0/8",), "plain http may not go to 93.184.215.14"),
    ],
)
async def test_an_address_that_the_guard_refuses_is_named(
    tmp_path: Path, url: str, networks: tuple[str, ...], said: str
) -> None:
    """What a name may turn out to mean is told with its address, as an attempt would find it."""
    (tmp_path / "bridge.toml").write_text(destination("http://127.0.0.1:1/", "127.0.0.0/8"))
    settings = load(tmp_path / "bridge.toml", {})
    tried = await probe(changed(settings, url=url, allow_networks=tuple(map(ip_network, networks))))
    (found,) = [each for each in tried if each.target == "destinations.d"]
    assert not found.ok
    assert said in found.detail


@pytest.mark.parametrize("asked", ["", "environment"])
async def test_destination_behind_a_proxy(tmp_path: Path, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is what a connection is made to, whether the configuration names it or the environment does."""
    async with listener() as (port, heard):
        proxy = f"http://user:{PASSWORD}@127.0.0.1:{port}"
        monkeypatch.setenv("http_proxy", proxy)
        there = destination("http://127.0.0.1:1/", "127.0.0.0/8")
        found = (await tried(tmp_path, f'{there}proxy = "{asked or proxy}"'))["destinations.d"]
        assert found.ok, found
        assert f"through the proxy http://127.0.0.1:{port}" in found.detail
        assert PASSWORD not in found.detail
        unasked = (await tried(tmp_path, there))["destinations.d"]
    assert not unasked.ok, "the environment is not looked at by itself"
    assert heard[:1] == [b""]


async def test_guard_refuses_before_a_connection() -> None:
    """What the address guard forbids for webhooks is not even connected to."""
    async with listener() as (port, heard):
        with pytest.raises(HttpError, match="not a public address"):
            await connect(f"http://127.0.0.1:{port}/", Guard())
    assert heard == []


@pytest.fixture(scope="module")
def certificate() -> Iterator[Path]:
    """A certificate for localhost and 127.0.0.1 that nobody trusts, with its key in the same file."""
    with TemporaryDirectory(prefix="p-") as directory:
        key, made = Path(directory) / "key.pem", Path(directory) / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", made, "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, capture_output=True,
        )  # fmt: skip
        made.write_text(made.read_text() + key.read_text())
        yield made


async def test_tls_is_part_of_the_connection(certificate: Path) -> None:
    """For https the certificate is checked as for a delivery; one that is trusted makes the connection good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    guard = Guard((ip_network("127.0.0.0/8"),))
    async with listener(context) as (port, _):
        with pytest.raises(HttpError, match="CERTIFICATE_VERIFY_FAILED"):
            await connect(f"https://127.0.0.1:{port}/", guard)
        await connect(f"https://127.0.0.1:{port}/", guard, tls=Tls(ca_file=str(certificate)))


async def test_destination_with_certificates_of_its_own(certificate: Path, tmp_path: Path) -> None:
    """The destination's own authorities are trusted, and its certificate is shown to a receiver that asks for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # of 1.3 a client hears of the refusal only after the handshake
    async with listener(context) as (port, _):
        there = destination(f"https://127.0.0.1:{port}/", "127.0.0.0/8")
        said = {}
        for keys in ("", "ca_file", "ca_file cert_file"):
            tls = "".join(f'tls.{key} = "{certificate}"\n' for key in keys.split())
            said[keys] = (await tried(tmp_path, f"{there}{tls}"))["destinations.d"]
    assert [found.ok for found in said.values()] == [False, False, True], said
    assert "CERTIFICATE_VERIFY_FAILED" in said[""].detail
    assert said["ca_file cert_file"].detail.startswith("took a connection with TLS (")


def streams(server: RedisServer, user: str = "", template: str = "runs:{subject}") -> str:
    """A destination that writes streams to this server, whose user is given as in a URL."""
    return f'[destinations.d]\nurl = "{server.url.replace("://", f"://{user}")}"\nstream = "{template}"\n'


async def test_a_redis_that_streams_are_written_to(tmp_path: Path, server: RedisServer) -> None:
    """A Redis that takes the streams is told with the name of one, and nothing is written to it."""
    found = (await tried(tmp_path, streams(server)))["destinations.d"]
    assert found.ok, found
    assert "may write streams such as runs:subject" in found.detail
    assert server.call("DBSIZE") == 0


@pytest.mark.parametrize(
    ("keys", "ok", "said"),
    [
        ("~runs:* ~bridge:*", True, "answered"),
        ("~bridge:*", False, "NOPERM: this user may not run XADD on runs:subject"),
        ("~runs:*", False, "NOPERM"),
        ("~runs:* ~bridge:* -eval", False, "NOPERM"),
    ],
)
async def test_a_redis_whose_user_may_not_write(
    tmp_path: Path, server: RedisServer, keys: str, ok: bool, said: str
) -> None:
    """What the user may not do is told before the first event: the streams, the position, scripts."""
    server.call("ACL", "SETUSER", "writer", "reset", "on", f">{PASSWORD}", "+@all", *keys.split())
    try:
        found = (await tried(tmp_path, streams(server, f"writer:{PASSWORD}@")))["destinations.d"]
    finally:
        server.call("ACL", "DELUSER", "writer")
    assert (found.ok, said in found.detail) == (ok, True), found
    assert PASSWORD not in str(found)


async def test_a_redis_for_streams_that_is_not_there(tmp_path: Path) -> None:
    """It is told without its password, and beside everything else that was tried."""
    text = f'[destinations.d]\nurl = "redis://:{PASSWORD}@127.0.0.1:{free_port()}"\nstream = "runs:{{type}}"\n'
    found = (await tried(tmp_path, text))["destinations.d"]
    assert (found.ok, "CONNECTION" in found.detail) == (False, True)
    assert PASSWORD not in str(found)


async def test_all_at_once_and_bounded(tmp_path: Path) -> None:
    """Things that never answer are given up after some ten seconds, all together, and do not hide the others."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections into its queue, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Party(200) as party:
            started = time.monotonic()
            found = await tried(
                tmp_path,
                f'[redis]\nurl = "redis://127.0.0.1:{silent.getsockname()[1]}/0"\n'
                + account(url, name="a1") + account(url, name="a2") + account(party.url, name="a3"),
            )  # fmt: skip
    assert time.monotonic() - started < 12
    assert {target: result.ok for target, result in found.items()} == {
        "redis": False, "accounts.a1": False, "accounts.a2": False, "accounts.a3": True,
    }  # fmt: skip
    assert "within" in found["accounts.a1"].detail


async def test_check_shows_it(tmp_path: Path) -> None:
    """`check --connect` prints a line for each thing and exits 69 if one failed; `--json` has the same."""
    config = tmp_path / "bridge.toml"
    async with Party(404) as party:
        config.write_text(f'[redis]\nurl = "redis://127.0.0.1:{free_port()}/0"\n' + account(party.url) + REST)
        async with Command(tmp_path, "check", "--config", str(config), "--connect") as command:
            assert await command.end() == 69
        assert "redis: FAILED, CONNECTION" in command.out
        assert "accounts.a: ok, answered 404" in command.out
        async with Command(tmp_path, "check", "--config", str(config), "--connect", "--json") as command:
            assert await command.end() == 69
        probes = json.loads(command.out)["probes"]
    assert [(each["target"], each["ok"]) for each in probes][:2] == [("redis", False), ("accounts.a", True)]
    assert KEY not in command.out


@pytest.mark.parametrize(("status", "ok"), [(200, True), (401, False), (404, False), (503, False)])
async def test_stream_without_an_account(tmp_path: Path, status: int, *, ok: bool) -> None:
    """A source of kind `sse` has no account: the stream itself is asked for, with its headers, and dropped."""
    async with Party(status, headers={"Content-Type": "text/event-stream"}) as party:
        source = f'[sources.s]\nkind = "sse"\nurl = "{party.url}/s?token={QUERY}"\nheaders = {{ X-Key = "{KEY}" }}\n'
        found = (await tried(tmp_path, source))["sources.s"]
        assert (found.ok, found.detail.partition(" (")[0]) == (ok, f"answered {status}, text/event-stream")
        assert [(request[0], request[2]["x-key"]) for request in party.requests] == [("GET", KEY)]
