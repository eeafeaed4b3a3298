"""The client of webhook attempts over real connections: answers in any pieces, time-outs, and how requests end."""

import asyncio
import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posting import NO_CONTENT, Peer, answering, posting, serving
from receiver import Receiver
from waiting import wait_until

from bridge.errors import ConfigurationError, HttpError
from bridge.post import MAX_ANSWER, Answer, PostClient

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
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut": "the connection broke",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncut": (503, b"cut", {"content-length": "9"}),
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end": (200, b"until the end", {}),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nno chunk": "the answer is no valid HTTP",
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
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x", None), (b"HTTP/1.1 500 No\r\nContent-Length: 9000\r\n\r\n", b"", 500),
    ],
    ids=["silent", "interim", "head", "body", "stuck"],
)  # fmt: skip
async def test_a_slow_answer_is_cut_at_the_time_out(first: bytes, drip: bytes, expected: int | None) -> None:
    """The time-out is for all of it: bytes now and then don't lengthen it. A known status counts, but a success."""

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
