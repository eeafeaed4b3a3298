"""Where the client of webhook attempts connects to: the guard, names, TLS and proxies, where the socket is made."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_network
from typing import Any

import pytest
import trustme
from certified import secure, server_side
from posting import LOOPBACK, NO_CONTENT, Peer, Server, answering, posting, serving
from waiting import wait_until

from bridge.dial import Tls, connect
from bridge.errors import ConfigurationError, HttpError
from bridge.guard import Guard

SECRET = "hunter2"


@pytest.fixture
async def inside() -> AsyncIterator[Server]:
    """A server on the loopback, which nobody outside should reach."""
    async with serving(answering(NO_CONTENT)) as found:
        yield found


# -- the guard

SPELLINGS = [
    "127.0.0.1", "127.1", "0", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "①②⑦.0.0.1", "127。0。0。1",
    "localhost", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::7f00:1]",
    "[64:ff9b::7f00:1]", "[fe80::1%25lo]", "[fe80::1%lo]", "169.254.169.254", "10.0.0.1", "[fec0::1]",
    "[2002:7f00:1::]",
]  # fmt: skip


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_an_inner_address_is_dialled(host: str, plain: bool, inside: Server) -> None:
    """What the system makes of it is judged; the error names the address, not the URL's secrets."""
    url = f"http://{SECRET}:{SECRET}@{host}:{inside.port}/{SECRET}"
    async with posting(url, guard=Guard(), plain=plain) as post:
        error = await post.error()
    assert "is not a public address, and no allow_networks entry holds it" in error.reason
    assert error.reason.startswith("can't connect: ")
    assert (error.sent, error.ours, inside.peers) == (False, False, [])
    assert SECRET not in str(error)


async def test_an_allowed_network_opens_and_no_guard_opens_all(inside: Server) -> None:
    """`allow_networks` is enough for plain http, as it was allowed; without a guard nothing is judged."""
    for options in ({"guard": LOOPBACK}, {"guard": LOOPBACK, "plain": True}, {"guard": None}):
        async with posting(inside.url.replace("127.0.0.1", "127.1"), **options) as post:
            assert (await post.answer()).status == 204


async def test_plain_http_to_a_public_address_has_to_be_allowed() -> None:
    """The error says what to do, and nothing is dialled."""
    async with posting("http://192.0.1.1:9/", guard=Guard()) as post:
        assert "plain http may not go to 192.0.1.1: use https, or set allow_http" in (await post.error()).reason


class Names:
    """A name server: the addresses of the first question, the second, and so on; the last for all that follow."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, *_: Any, flags: int = 0, **__: Any) -> list[Any]:
        """As `socket.getaddrinfo`."""
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no literal")
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)) if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]  # fmt: skip


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Names]:
    """`named(addresses, addresses, ...)`: what every name means from now on."""

    def set_names(*answers: Sequence[str]) -> Names:
        names = Names(*answers)
        monkeypatch.setattr(socket, "getaddrinfo", names)
        return names

    return set_names


async def test_a_name_that_changes_its_mind_is_judged_again(named: Callable[..., Names]) -> None:
    """DNS rebinding: each connection is judged by what it dials, so a second answer gains nothing."""
    public = Guard((ip_network("127.0.0.2/32"),))  # stands for a public address that a test can reach

    async def silent(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with serving(answering(NO_CONTENT)) as server, serving(silent, host="127.0.0.2", port=server.port) as outside:
        names = named(["127.0.0.2"], ["127.0.0.1"])
        async with posting(f"http://crm.example:{server.port}/", guard=public) as post:
            assert (await post.error()).sent
            second = await post.error()
        assert "127.0.0.1 is not a public address" in second.reason
        assert (names.asked, len(outside.peers), server.peers) == (2, 1, [])


async def test_every_allowed_address_is_tried_in_turn(named: Callable[..., Names], inside: Server) -> None:
    """A refused one, a forbidden one and one that isn't there don't hide the one that works."""
    names = named(["10.0.0.1", "127.0.0.9", "::2", "127.0.0.1"])
    async with posting(f"http://crm.example:{inside.port}/") as post:
        assert (await post.answer()).status == 204
    assert names.asked == 1


async def test_requests_at_once_share_a_look_up(named: Callable[..., Names], inside: Server) -> None:
    """Threads are few, and all destinations share them: a client has one look-up under way at most."""
    names = named(["127.0.0.1"])
    async with posting(f"http://crm.example:{inside.port}/") as post:
        await asyncio.gather(*(post.answer() for _ in range(20)))
    assert names.asked == 1


@pytest.mark.parametrize(
    ("number", "ours"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, False), (socket.EAI_SYSTEM, True),
                         (socket.EAI_MEMORY, True)]
)  # fmt: skip
async def test_a_name_that_is_not_found_is_the_destinations(
    number: int, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the look-up failed for want of something here."""

    def fail(*_: Any, flags: int = 0, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME if flags else number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    async with posting("http://crm.example/") as post:
        error = await post.error()
    assert (error.reason, error.sent, error.ours) == (f"can't connect: [Errno {number}] no", False, ours)


async def test_nobody_listens() -> None:
    """A refused connection is the destination's failure."""
    async with posting("http://127.0.0.1:1/") as post:
        error = await post.error()
    assert error.reason.startswith("can't connect: ")
    assert (error.sent, error.ours) == (False, False)


async def test_connecting_counts_towards_the_time_out() -> None:
    """A server that takes no more connections: the total time-out holds from the start of the attempt."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fill = [socket.socket() for _ in range(3)]
        for one in fill:
            one.setblocking(False)  # noqa: FBT003  # the standard library's signature
            one.connect_ex(("127.0.0.1", port))
        async with posting(f"http://127.0.0.1:{port}/", timeout=0.2) as post:
            error = await post.error()
        for one in fill:
            one.close()
    assert (error.reason, error.sent, error.ours) == ("can't connect within 0.2 s", False, False)


# -- TLS


@pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1"])
async def test_https_with_an_authority_of_ones_own(
    authority: trustme.CA, files: Tls, host: str, named: Callable[..., Names]
) -> None:
    """Names and addresses are checked against the certificate; the connection is kept."""
    named(["127.0.0.1"])
    tls = server_side(authority, "localhost", "127.0.0.1")
    async with serving(answering(NO_CONTENT), tls=tls) as server:
        async with posting(secure(server, host), tls=Tls(ca_file=files.ca_file)) as post:
            assert [(await post.answer(b"x" * 300_000)).status for _ in range(3)] == [204] * 3
        assert len(server.peers) == 1


async def test_a_certificate_that_proves_nothing_is_refused(authority: trustme.CA, files: Tls) -> None:
    """An unknown authority, and another host's name: nothing is sent, and `check --connect` says the same."""
    tls = server_side(authority, "crm.example")
    for ours, said in ((Tls(), "CERTIFICATE_VERIFY_FAILED"), (Tls(ca_file=files.ca_file), "Hostname mismatch")):
        async with serving(answering(NO_CONTENT), tls=tls) as server:
            async with posting(secure(server), tls=ours) as post:
                error = await post.error()
            assert said in error.reason
            assert error.reason.startswith("can't connect: ")
            assert (error.sent, error.ours) == (False, False)
            with pytest.raises(HttpError, match=said):
                await connect(secure(server), LOOPBACK, tls=ours)


async def test_a_client_certificate_is_shown_where_it_is_asked_for(authority: trustme.CA, files: Tls) -> None:
    """With it the answer comes; without it the attempt fails."""
    tls = server_side(authority, "localhost", clients=True)
    async with serving(answering(NO_CONTENT), tls=tls) as server:
        async with posting(secure(server), tls=files) as post:
            assert (await post.answer()).status == 204
        async with posting(secure(server), tls=Tls(ca_file=files.ca_file)) as post:
            assert "the connection broke" in (await post.error()).reason
        await connect(secure(server), LOOPBACK, tls=files)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")  # what the test is about
async def test_old_tls_is_refused(authority: trustme.CA, files: Tls) -> None:
    """A server that speaks no more than TLS 1.1 gets no connection."""
    tls = server_side(authority, "localhost")
    tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tls.maximum_version = ssl.TLSVersion.TLSv1_1
    tls.set_ciphers("ALL:@SECLEVEL=0")
    async with (
        serving(answering(NO_CONTENT), tls=tls) as server,
        posting(secure(server), tls=Tls(ca_file=files.ca_file)) as post,
    ):
        error = await post.error()
        assert error.reason.startswith("can't connect: ")
        assert not error.sent
    assert files.context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert Tls().context().minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_server_that_never_shakes_hands_is_left(files: Tls) -> None:
    """The total time-out holds for the handshake, and the socket is closed."""
    ended = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.reader.read(-1)
        ended.set()

    async with serving(serve) as server, posting(secure(server), timeout=0.2) as post:
        assert (await post.error()).reason == "can't connect within 0.2 s"
        await wait_until(ended.is_set, "the socket is closed")


@pytest.mark.parametrize(
    ("tls", "key"),
    [
        (Tls(ca_file="/nowhere/ca.pem"), "tls.ca_file"), (Tls(cert_file="/nowhere/c.pem"), "tls.cert_file"),
        (Tls(key_file="/nowhere/k.pem"), "tls.key_file"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(tls: Tls, key: str) -> None:
    """The configuration's mistake, with its key."""
    with pytest.raises(ConfigurationError) as raised:
        tls.context()
    assert raised.value.problems[0].path == key
