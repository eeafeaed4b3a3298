"""Holds the way to a receiver to its settings: certificates of one's own, a proxy, and https unless told otherwise."""

import json
from typing import Any

import pytest
import trustme
from certified import server_side
from delivering import Stage, destination
from posting import NO_CONTENT, Peer, answering, serving
from receiver import Receiver
from servers import RedisServer
from test_post_proxy import tunnelling

from bridge.dial import Tls
from bridge.errors import ConfigurationError


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    found = Stage(shared_servers["valkey"], prefix)
    found.put([("e1", "run-1")])
    return found


def secure(name: str, port: int, tls: Tls, **keys: Any) -> str:
    """A destination over https with these certificates."""
    text = destination(name, f"https://localhost:{port}/hook", retry_schedule=[0.05], max_attempts=2, **keys)
    return text + "".join(
        f"tls.{key} = {json.dumps(value)}\n"
        for key, value in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file))
        if value
    )


async def test_certificates_of_ones_own(stage: Stage, authority: trustme.CA, files: Tls) -> None:
    """With its authority and a client's certificate an event arrives; without either it does not, and is kept."""
    heads: list[bytes] = []

    async def taking(peer: Peer) -> None:
        while True:
            heads.append(await peer.request())
            await peer.say(NO_CONTENT)

    async with serving(taking, tls=server_side(authority, "localhost", clients=True)) as server:
        there = [
            secure("whole", server.port, files), secure("no-client", server.port, Tls(ca_file=files.ca_file)),
            secure("no-authority", server.port, Tls("", files.cert_file, files.key_file)),
        ]  # fmt: skip
        async with stage.bridge(*there):
            for name in ("whole", "no-client", "no-authority"):
                await stage.all_settled(name)
    assert len(heads) == 1
    assert heads[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert stage.dead("whole") == []
    (refused,), (unknown,) = stage.dead("no-client"), stage.dead("no-authority")
    assert (refused["attempts"], unknown["attempts"]) == ("2", "2")
    assert "CERTIFICATE_VERIFY_FAILED" in unknown["last_error"]


async def test_a_proxy_is_gone_through(stage: Stage, authority: trustme.CA, files: Tls) -> None:
    """Https by CONNECT, with TLS to the receiver itself; one in the environment is used only where it is asked for."""
    asked: list[bytes] = []
    async with (
        serving(answering(NO_CONTENT), tls=server_side(authority, "localhost")) as server,
        serving(tunnelling(b"HTTP/1.1 200 Fine\r\n\r\n", asked)) as proxy,
    ):
        there = secure("crm", server.port, Tls(ca_file=files.ca_file), proxy=f"http://u:p@127.0.0.1:{proxy.port}")
        async with stage.bridge(there):
            await stage.all_settled("crm")
    assert [head.splitlines()[0] for head in asked] == [b"CONNECT localhost:%d HTTP/1.1" % server.port]
    assert len(server.peers) == 1
    assert stage.dead("crm") == []


@pytest.mark.parametrize("proxy", ["", "environment"])
async def test_the_environments_proxy_is_for_those_who_ask(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:  # fmt: skip
    """`proxy = "environment"` uses it, and no other destination does."""
    async with Receiver() as receiver, Receiver() as other:
        monkeypatch.setenv("http_proxy", other.url)
        monkeypatch.setenv("no_proxy", "")
        async with stage.bridge(destination("crm", receiver.url + "/hook", proxy=proxy)):
            await stage.all_settled("crm")
        assert (receiver.ids(), other.ids()) == (([], ["e1"]) if proxy else (["e1"], []))


@pytest.mark.parametrize("host", ["crm.example", "1.1.1.1"])
async def test_https_is_required(stage: Stage, host: str) -> None:
    """Plain http to a public place is a mistake of the configuration, and no bridge starts."""
    there = destination("crm", f"http://{host}/hook", allow_networks=[])
    with pytest.raises(ConfigurationError, match="is plain http"):
        async with stage.bridge(there):
            raise AssertionError("it started")
