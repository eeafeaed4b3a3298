"""The client of webhook attempts over real connections: requests, answers, and which connections are kept."""

import asyncio
import base64
import resource

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posting import NO_CONTENT, Peer, answering, posting, serving
from receiver import Hook, Receiver, status
from waiting import wait_until

from bridge.errors import ConfigurationError, HttpError
from bridge.post import MAX_ANSWER, Answer, PostClient


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


# -- answers in pieces

ANSWERS: dict[bytes, str | tuple[int, bytes, dict[str, str]]] = {
    b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n": (204, b"", {"x": "1"}),
    b"HTTP/1.1 100 Continue\r\nX: 0\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":
        (200, b"ok", {"content-length": "2"}),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nTrailer: t\r\n\r\n":
        (200, b"abcde", {"transfer-encoding": "chunked"}),
    b"HTTP/1.1 429 Too Many\r\nRetry-After: 5\r\nA: 1\r\na:  2 \r\nContent-Length: 0\r\n\r\n":
        (429, b"", {"retry-after": "5", "a": "1, 2", "content-length": "0"}),
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 1\r\n\r\ny":
        (302, b"y", {"location": "/x", "content-length": "1"}),
    b"HTTP/1.0 500 No\r\n\r\nuntil the end": (500, b"until the end", {}),
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut": (200, b"cut", {"content-length": "9"}),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nno chunk":
        (200, b"ab", {"transfer-encoding": "chunked"}),
    b"HTTP/1.1 200 OK\r\n\r\n" + b"z" * 10_000: (200, b"z" * MAX_ANSWER, {}),
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc": "switches to another protocol",
    b"HTTP/1.1 100 Continue\r\n\r\n": "the connection broke",
    b"HTTP/1.1 20": "the connection broke",
    b"": "the connection broke",
    b"220 mail.example ESMTP\r\n": "the answer is no valid HTTP",
    b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n": "the answer is no valid HTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": "the answer is no valid HTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n": "the answer is no valid HTTP",
    b"HTTP/1.1 200 OK\r\nLong: " + b"x" * 70_000 + b"\r\n\r\n": "its head is too long",
}  # fmt: skip
"""What a server says before it closes, and what it means."""


def judged(outcome: Answer | HttpError, expected: str | tuple[int, bytes, dict[str, str]]) -> None:
    """Holds an outcome to the table."""
    if isinstance(expected, str):
        assert isinstance(outcome, HttpError), outcome
        assert expected in outcome.reason
        assert (outcome.sent, outcome.ours) == (True, False)
    else:
        assert isinstance(outcome, Answer), outcome
        assert (outcome.status, outcome.body, dict(outcome.headers)) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=st.sampled_from(sorted(ANSWERS)), cuts=st.lists(st.integers(1, 200), max_size=6))
def test_an_answer_means_the_same_in_any_pieces(said: bytes, cuts: list[int]) -> None:
    """However the bytes arrive, and whatever they are: one outcome, and always the same."""

    async def main() -> None:
        async def serve(peer: Peer) -> None:
            await peer.request()
            rest = said
            for cut in cuts:
                await peer.say(rest[:cut])
                rest = rest[cut:]
                await asyncio.sleep(0)
            await peer.say(rest)

        async with serving(serve) as server, posting(server.url) as post:
            judged(await post.start(), ANSWERS[said])
            assert len(post.outcomes) == 1

    asyncio.run(main())


@pytest.mark.parametrize("said", ANSWERS, ids=[str(number) for number in range(len(ANSWERS))])
async def test_every_answer_of_the_table(said: bytes) -> None:
    """In one piece, and byte by byte as far as that is quick."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        for byte in said[:400] if peer.number == 2 else b"":
            await peer.say(bytes([byte]))
            await asyncio.sleep(0)
        await peer.say(said[400:] if peer.number == 2 else said)

    async with serving(serve) as server:
        for _ in range(2):
            async with posting(server.url) as post:
                judged(await post.start(), ANSWERS[said])


async def test_no_more_than_128_header_fields_are_kept() -> None:
    """The others are read and dropped; the answer counts."""
    fields = b"".join(b"X-%d: y\r\n" % number for number in range(1000))
    async with serving(answering(b"HTTP/1.1 204 No Content\r\n%b\r\n" % fields)) as server:
        async with posting(server.url) as post:
            assert len((await post.answer()).headers) == 128
            await post.answer()
        assert len(server.peers) == 1


ENDLESS = {
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000, 200),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 100, 200),
    "extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000, 200),
    "trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 1000, 200),
    "head": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000, None),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100, None),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, None),
}


@pytest.mark.parametrize("case", ENDLESS)
async def test_what_never_ends_is_cut(case: str) -> None:
    """Each part of an answer is bounded in bytes; a status that is known counts; the connection is closed."""
    first, more, expected = ENDLESS[case]
    sent = 0

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.say(first)
        while True:
            await peer.say(more)
            sent += len(more)

    async with serving(serve) as server, posting(server.url) as post:
        outcome = await post.start()
        assert not post.client._connections
        if expected is None:
            assert isinstance(outcome, HttpError)
            assert "its head is too long" in outcome.reason
        else:
            assert isinstance(outcome, Answer)
            assert outcome.status == expected
            assert len(outcome.body) <= MAX_ANSWER


# -- time


@pytest.mark.parametrize(
    ("first", "drip", "expected"),
    [
        (b"", b"", None), (b"", b"HTTP/1.1 100 Continue\r\n\r\n", None), (b"HTTP/1.1 200 OK\r\nX: ", b"x", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x", 200), (b"HTTP/1.1 500 No\r\nContent-Length: 9000\r\n\r\n", b"", 500),
    ],
    ids=["silent", "interim", "head", "body", "stuck"],
)  # fmt: skip
async def test_a_slow_answer_is_cut_at_the_time_out(first: bytes, drip: bytes, expected: int | None) -> None:
    """The time-out is for all of it: bytes now and then don't lengthen it. A status that is known counts."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.say(first)
        while True:
            await peer.say(drip)
            await asyncio.sleep(0.02)

    async with serving(serve) as server, posting(server.url, timeout=0.2) as post:
        began = asyncio.get_running_loop().time()
        outcome = await post.start()
        assert 0.19 < asyncio.get_running_loop().time() - began < 1.0
        if expected is None:
            assert isinstance(outcome, HttpError)
            assert (outcome.reason, outcome.sent) == ("no byte within the time allowed", True)
        else:
            assert isinstance(outcome, Answer)
            assert outcome.status == expected
        assert not post.client._connections


async def test_each_request_has_the_whole_time() -> None:
    """A connection's timer belongs to the request under way, not to the one before."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.15)
            await peer.say(NO_CONTENT)

    async with serving(serve) as server, posting(server.url, timeout=0.25) as post:
        for _ in range(4):
            assert (await post.answer()).status == 204
        assert len(server.peers) == 1


async def test_a_receiver_that_does_not_read_is_cut_too() -> None:
    """A body that never leaves is no reason to wait longer."""

    async def serve(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio types it as a write transport
        await asyncio.Event().wait()

    async with serving(serve) as server, posting(server.url, timeout=0.2) as post:
        assert (await post.error(b"x" * 20_000_000)).reason == "no byte within the time allowed"


async def test_an_answer_before_the_end_of_the_body_counts() -> None:
    """413 and a close while the body is still on its way; the connection is not used again."""

    async def serve(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio types it as a write transport
        await asyncio.Event().wait()

    async with serving(serve) as server, posting(server.url) as post:
        assert (await post.answer(b"x" * 20_000_000)).status == 413
        assert not post.client._connections


# -- ends


async def test_a_close_tells_everybody() -> None:
    """Under way, connecting, waiting, and afterwards: each is told once, as this side's doing."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await asyncio.Event().wait()

    async with serving(serve) as server, posting(server.url, connections=2) as post:
        futures = [post.start()]
        await wait_until(lambda: server.peers and not post.tasks, "the first is under way")
        futures += [post.start(), post.start()]
        await post.client.close()
        futures.append(post.start())
        outcomes = await asyncio.gather(*futures)
        assert all(isinstance(outcome, HttpError) and outcome.ours for outcome in outcomes)
        assert [(str(outcome), getattr(outcome, "sent", None)) for outcome in outcomes] == [
            ("closed", True), *[("closed", False)] * 3
        ]  # fmt: skip
        assert len(post.outcomes) == 4


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_connection_attempt_is_told(begun: bool) -> None:
    """The daemon ends and takes its tasks with it: whoever asked is told, by the close at the latest."""
    async with posting("http://127.0.0.1:1/") as post:
        future = post.start()
        if begun:
            await asyncio.sleep(0)
        for task in post.tasks:
            task.cancel()
        if not begun:
            await post.client.close()
        outcome = await future
        assert isinstance(outcome, HttpError)
        assert outcome.ours


async def test_no_file_descriptors_is_our_own_failure() -> None:
    """It says nothing about the receiver, and nothing was sent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with posting("http://127.0.0.1:9/") as post:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            error = await post.error()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (error.ours, error.sent) == (True, False)
    assert error.reason.startswith("can't connect: [Errno 24]")


@pytest.mark.parametrize(
    "url",
    [
        "http://", "ftp://a.example/", "http://a.example:0/", "http://a.example:99999/", "http://a b.example/",
        "http://a.example/\r\nX: y", "http://a.example/\\b", "http://a.example/ä", "http://[::1/", "a.example",
        "http://%31.example/", "http://a..example/", "http://hunter2:hunter2@/",
    ],
)  # fmt: skip
async def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    """A client is only made for what can be asked; the error shows nothing of a URL that may hold a secret."""
    with pytest.raises(ConfigurationError) as raised:
        PostClient(url, guard=None, spawn=lambda *_: None)
    assert raised.value.problems[0].path == "url"
    assert "hunter2" not in str(raised.value)


async def test_a_mistake_in_done_breaks_no_other_request() -> None:
    """What `done` raises is the event loop's to report; the connection is in order by then."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def done(outcome: Answer | HttpError) -> None:
        raise ZeroDivisionError

    async with Receiver() as receiver, posting(receiver.url, connections=1) as post:
        post.client.post(b"", b"{}", done)
        assert (await post.answer()).status == 204
    assert len(reported) == 1
