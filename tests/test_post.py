"""The client of webhook attempts over real connections: requests, answers, and which connections are kept."""

import asyncio
import base64

import pytest
from aiohttp import web
from posting import NO_CONTENT, Peer, answering, posting, serving
from receiver import Hook, Receiver, status
from waiting import wait_until


async def test_a_post_arrives_as_it_was_given() -> None:
    """Path and query as they are, the given headers, the client's own, and the body; the answer comes back."""
    async with Receiver(status(202, X_Said="a")) as receiver:
        url = receiver.url.replace("//", "//user:p%40ss@") + "/a%2Fb/c?x=%20&y"
        async with posting(url) as post:
            answer = await post.answer(b"body", headers=b"webhook-id: m\r\nX-Two: 2\r\n")
    assert (answer.status, answer.headers["x-said"]) == (202, "a")
    (hook,) = receiver.hooks
    assert (hook.target, hook.body) == ("/a%2Fb/c?x=%20&y", b"body")
    assert hook.headers == {
        "host": f"127.0.0.1:{receiver.port}", "user-agent": "runbridge", "content-length": "4", "webhook-id": "m",
        "x-two": "2", "authorization": "Basic " + base64.b64encode(b"user:p@ss").decode(),
    }  # fmt: skip


async def test_another_method_without_a_body() -> None:
    """The handshake's OPTIONS goes the same way."""
    async with serving(answering(NO_CONTENT)) as server, posting(server.url) as post:
        assert (await post.answer(b"", method=b"OPTIONS")).status == 204


@pytest.mark.parametrize("size", [0, 1, 600, 1_000_000])
async def test_a_body_of_any_size_arrives(size: int) -> None:
    """Also one that takes many writes."""
    async with Receiver() as receiver, posting(receiver.url) as post:
        assert (await post.answer(b"b" * size)).status == 204
    assert [len(hook.body) for hook in receiver.hooks] == [size]


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_connections_are_bounded_and_the_rest_waits_in_order(connection: str) -> None:
    """Never more than `connections` at once, in the order of the posts; waiting takes nothing from a time-out."""

    async def slowly(hook: Hook) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.Response(status=204, headers={"Connection": connection})

    async with Receiver(slowly) as receiver, posting(receiver.url, connections=2, timeout=0.2) as post:
        answers = await asyncio.gather(*(post.answer(b"%d" % number) for number in range(10)))
        assert {answer.status for answer in answers} == {204}
    assert receiver.most_at_once == 2
    bodies = [int(hook.body) for hook in receiver.hooks]
    assert all(abs(number - at) <= 1 for at, number in enumerate(bodies)), bodies


async def test_a_connection_is_used_again_last_one_first() -> None:
    """One after the other over one connection; of several idle ones the one used last is taken."""
    gate = asyncio.Event()
    turns: list[int] = []

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            turns.append(peer.number)
            if len(turns) == 2:
                gate.set()
            await gate.wait()
            await peer.say(NO_CONTENT)

    async with serving(serve) as server, posting(server.url) as post:
        await asyncio.gather(post.answer(), post.answer())
        for _ in range(3):
            await post.answer()
    assert sorted(turns[:2]) == [1, 2]
    assert len(set(turns[2:])) == 1


CLOSES = {
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "old-kept": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
    "no-time": b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 1\r\n\r\nx",
    "junk": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxjunk",
    "second": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\ny",
}


@pytest.mark.parametrize("case", CLOSES)
async def test_a_connection_that_may_not_be_kept_is_dropped(case: str) -> None:
    """After a close, an old version, or bytes that nobody asked for: the next request has a connection of its own."""
    async with serving(answering(CLOSES[case])) as server, posting(server.url) as post:
        for number in (1, 2):
            answer = await post.answer()
            assert (answer.status, answer.body) == (200, b"x")
            assert len(server.peers) == number


@pytest.mark.parametrize("pause", [b"", b"junk"], ids=["end", "junk"])
async def test_an_idle_connection_ends_with_its_server(pause: bytes) -> None:
    """An end, or bytes out of turn, on an idle connection: it is dropped, and no request is lost on it."""
    told = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.say(NO_CONTENT)
        if peer.number == 1:
            await told.wait()
            await peer.say(pause)
            if pause:
                await peer.request()
        else:
            await peer.request()

    async with serving(serve) as server, posting(server.url) as post:
        await post.answer()
        told.set()
        await wait_until(lambda: not post.client._connections, "the connection is forgotten")
        assert (await post.answer()).status == 204
        assert len(server.peers) == 2


async def test_an_idle_connection_ends_after_the_servers_time() -> None:
    """`Keep-Alive: timeout=1` (seconds) bounds what is kept."""
    kept = b"HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=1\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(kept)) as server, posting(server.url, timeout=0.5) as post:
        clock = asyncio.get_running_loop().time
        await post.answer()
        began = clock()
        await wait_until(lambda: not post.client._connections, "the idle connection ends")
        assert 0.9 < clock() - began < 2


async def test_the_keep_alive_race_is_no_failure() -> None:
    """A used connection that breaks without a byte of an answer: the request goes once more over a fresh one."""
    bodies: list[bytes] = []

    async def serve(peer: Peer) -> None:
        bodies.append((await peer.request())[-2:])
        if peer.number == 1:
            await peer.say(NO_CONTENT)
            bodies.append((await peer.request())[-2:])
            peer.reset()
        else:
            await peer.say(NO_CONTENT)
            await peer.request()

    async with serving(serve) as server, posting(server.url) as post:
        assert (await post.answer(b"aa")).status == 204
        assert (await post.answer(b"bb")).status == 204
        assert len(server.peers) == 2
    assert bodies == [b"aa", b"bb", b"bb"]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2"], ids=["fresh", "half"])
async def test_a_break_is_an_error_everywhere_else(said: bytes) -> None:
    """On the second connection too, or after the first byte of an answer: told, not tried for ever."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.say(NO_CONTENT)
            await peer.request()
        await peer.say(said)

    async with serving(serve) as server, posting(server.url) as post:
        assert (await post.answer()).status == 204
        error = await post.error()
        assert (error.reason, error.sent, error.ours) == ("the connection broke: the server closed it", True, False)
        assert len(server.peers) == (1 if said else 2)
