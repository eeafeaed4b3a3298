"""The client of webhook attempts behind a proxy: only where one is asked for, and what the guard can still know."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme
from certified import secure, server_side
from posting import NO_CONTENT, Peer, Server, answering, posting, serving

from bridge.dial import Tls
from bridge.errors import ConfigurationError
from bridge.guard import Guard
from bridge.post import proxy_from_environment

SECRET = "hunter2"


@pytest.fixture
async def inside() -> AsyncIterator[Server]:
    """A server on the loopback, which nobody outside should reach."""
    async with serving(answering(NO_CONTENT)) as found:
        yield found


# -- proxies


def tunnelling(answer: bytes, asked: list[bytes]) -> Callable[[Peer], Any]:
    """A proxy that answers CONNECT with this and passes everything on then."""

    async def serve(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.say(answer)
        if not answer.startswith(b"HTTP/1.1 200"):
            return
        port = int(asked[-1].split(b" ")[1].rpartition(b":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)

        with contextlib.closing(writer):
            await asyncio.gather(copy(peer.reader, writer), copy(reader, peer.writer))

    return serve


async def test_https_goes_through_a_tunnel(authority: trustme.CA, files: Tls) -> None:
    """CONNECT with the proxy's login, TLS with the receiver itself; the name is the proxy's to resolve."""
    asked: list[bytes] = []
    tls = server_side(authority, "crm.example")
    async with (
        serving(answering(NO_CONTENT), tls=tls) as server,
        serving(tunnelling(b"HTTP/1.1 200 Fine\r\nX: y\r\n\r\n", asked)) as proxy,
        posting(
            secure(server, "crm.example"), guard=Guard(), tls=Tls(ca_file=files.ca_file),
            proxy=f"http://user:{SECRET}@127.0.0.1:{proxy.port}",
        ) as post,
    ):  # fmt: skip
        assert [(await post.answer()).status for _ in range(2)] == [204] * 2
    (head,) = asked
    assert head.startswith(b"CONNECT crm.example:%d HTTP/1.1\r\nHost: crm.example:%d\r\n" % (server.port, server.port))
    assert b"Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n" in head


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Who\r\n\r\n", "the proxy answered 407"), (b"", "the proxy closed the connection"),
        (b"SSH-2.0\r\n\r\n", "the proxy's answer is no valid HTTP"),
        (b"HTTP/1.0 200 OK\r\n\r\njunk", "the proxy's answer is no valid HTTP"),
        (b"x" * 20_000, "the proxy's answer is no valid HTTP"),
    ],
)  # fmt: skip
async def test_a_proxy_that_opens_no_tunnel(answer: bytes, said: str) -> None:
    """Its refusal is told, without its password; nothing reached the receiver."""
    async with serving(tunnelling(answer, [])) as proxy:
        url = f"http://user:{SECRET}@127.0.0.1:{proxy.port}"
        async with posting("https://crm.example/", guard=Guard(), proxy=url) as post:
            error = await post.error()
    assert (error.reason, error.sent) == (f"can't connect: {said}", False)


async def test_http_is_asked_of_the_proxy(inside: Server) -> None:
    """The whole URL in the request line, and the proxy's login in its own header."""
    heads: list[bytes] = []

    async def serve(peer: Peer) -> None:
        heads.append(await peer.request())
        await peer.say(NO_CONTENT)

    async with serving(serve) as proxy:
        url = f"http://user:{SECRET}@127.0.0.1:{proxy.port}"
        async with posting("http://crm.example/a?b", guard=Guard(), plain=True, proxy=url) as post:
            assert (await post.answer()).status == 204
    assert heads[0].startswith(b"POST http://crm.example/a?b HTTP/1.1\r\nHost: crm.example\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n" in heads[0]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://169.254.169.254/", "not a public address"), ("https://0x7f.1/", "not a public address"),
        ("http://8.8.8.8/", "plain http may not go to 8.8.8.8"), ("http://crm.example/", "plain http through a proxy"),
    ],
)  # fmt: skip
async def test_what_is_known_behind_a_proxy_is_judged(url: str, said: str, inside: Server) -> None:
    """A literal is judged, and plain http to a name can't be: the proxy is not asked."""
    async with posting(url, guard=Guard(), proxy=inside.url) as post:
        assert said in (await post.error()).reason
    assert inside.peers == []


@pytest.mark.parametrize("proxy", ["socks5://a:1", "https://a:1", "nonsense"])
async def test_a_proxy_of_another_kind_is_refused(proxy: str) -> None:
    """Only http:// proxies are spoken to."""
    with pytest.raises(ConfigurationError) as raised:
        async with posting("https://crm.example/", proxy=proxy):
            pass
    assert raised.value.problems[0].path == "proxy"


def test_the_environments_proxy_is_read_as_the_standard_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """By scheme, with exceptions, and with or without `http://`."""
    monkeypatch.setenv("https_proxy", "http://user:pass@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inner.example,.local")
    assert proxy_from_environment("https://crm.example/x") == "http://user:pass@proxy.example:3128"
    assert proxy_from_environment("http://crm.example/x") == "http://proxy.example:3128"
    assert proxy_from_environment("https://user@inner.example:8443/") == ""
    assert proxy_from_environment("http://a.local/") == ""
    monkeypatch.delenv("https_proxy")
    assert proxy_from_environment("https://crm.example/x") == ""


async def test_the_environment_is_not_read_unasked(inside: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy of the environment the guard would see less than it says."""
    async with serving(answering(NO_CONTENT)) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with posting(inside.url) as post:
            assert (await post.answer()).status == 204
        assert proxy.peers == []
