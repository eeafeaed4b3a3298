"""Holds webhooks to public addresses, checked where the socket is made, and to going nowhere else by any detour."""

import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from receiver import Receiver, status

from bridge.dial import connect
from bridge.errors import HttpError
from bridge.event import Entry
from bridge.facts import AttemptMade, Fact
from bridge.guard import Guard, forbidden
from bridge.http_client import HttpClient
from bridge.lane import Delivered, Failed, Outcome
from bridge.webhook import Endpoint, Webhook

# IANA's special-purpose registries and everything behind them that is not handed out, written down by hand
NOT_PUBLIC_4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
NOT_PUBLIC_6 = [
    "::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fc00::/7", "fe80::/10",
    "fec0::/10", "ff00::/8", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "5f00::/16",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1"]
LOOPBACK = (ip_network("127.0.0.0/8"),)

ENTRY = Entry("1-1", "e", "ai.bctrl.t", "r", b'{"id":"e","source":"https://api.bctrl.ai/runs/r"}')


def within(networks: Sequence[str]) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Any address of these networks."""

    def address(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
        first, last = int(network[0]), int(network[-1])
        return st.integers(first, last).map(type(network[0]))

    return st.sampled_from([ip_network(text) for text in networks]).flatmap(address)


def embedding(inner: IPv4Address) -> list[IPv6Address]:
    """The IPv6 addresses that mean this IPv4 address, or lead to it through a gateway."""
    low = int(inner)
    return [
        IPv6Address(int(IPv6Address(prefix)) | low << shift)
        for prefix, shift in (
            ("::ffff:0:0", 0), ("::", 0), ("::ffff:0:0:0", 0), ("64:ff9b::", 0), ("64:ff9b:1::", 0),
            ("2002::", 80), ("2001::", 0), ("2001::", 64),
        )
    ]  # fmt: skip


@given(within(NOT_PUBLIC_4) | within(NOT_PUBLIC_6))
def test_an_address_that_is_not_public_is_forbidden(address: IPv4Address | IPv6Address) -> None:
    """All of the special-purpose registries, and all of IPv6 that is not given out."""
    assert forbidden(str(address), ())
    assert not forbidden(str(address), (ip_network("0.0.0.0/0"), ip_network("::/0")))


@given(within(NOT_PUBLIC_4).filter(lambda address: address.version == 4))
def test_what_embeds_it_is_forbidden_too(address: IPv4Address) -> None:
    """Mapped, compatible, translated, NAT64, 6to4 and Teredo forms of an address that is not public."""
    for outer in embedding(address):
        assert forbidden(str(outer), ()), outer


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_passes(address: IPv4Address | IPv6Address) -> None:
    """Of all addresses, one that passes is global, and no multicast, reserved or link-local one."""
    meant = getattr(address, "ipv4_mapped", None) or address
    if not forbidden(str(address), ()):
        assert meant.is_global
        assert not any((meant.is_multicast, meant.is_reserved, meant.is_link_local, meant.is_unspecified))


@pytest.mark.parametrize("address", [*PUBLIC, "::ffff:8.8.8.8"])
def test_a_public_address_passes(address: str) -> None:
    """The guard is no wall."""
    assert not forbidden(address, ())


def test_allowed_networks_open_what_they_hold_and_nothing_else() -> None:
    """`allow_networks` exempts its addresses, in their IPv4-mapped form too."""
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00:1::/32"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "fd00:1::5%eth0"):
        assert not forbidden(address, allowed)
    for address in ("10.2.0.1", "127.0.0.1", "fd00:2::1", "fe80::1%eth0", "64:ff9b::10.1.2.3", "::10.1.2.3"):
        assert forbidden(address, allowed)


# -- where the socket is made


@pytest.fixture
async def inside() -> AsyncIterator[Receiver]:
    """A server on the loopback, which nobody outside should reach."""
    async with Receiver() as found:
        yield found


async def attempt(
    url: str, *, allowed: Sequence[IPv4Network | IPv6Network] = (), resolver: AbstractResolver | None = None
) -> Outcome:
    """What comes of one webhook to this URL; its one fact says the same, and shows no path and no query."""
    seen: list[Fact] = []
    async with HttpClient(guard=Guard(tuple(allowed)), resolver=resolver) as client:
        outcome = await Webhook(Endpoint("d", url, (b"k" * 24,), 5.0), client, seen.append)(ENTRY, 1)
    (made,) = seen
    assert isinstance(made, AttemptMade)
    assert made.error == (outcome.error if isinstance(outcome, Failed) else "")
    assert "hook" not in made.error
    return outcome


class Names(AbstractResolver):
    """A name server: the addresses of the first question, the second, and so on; the last for all that follow."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The next answer."""
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host, "host": address, "port": port, "proto": 0, "flags": 0,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
            }
            for address in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing to close."""


HOSTS = [
    "127.0.0.1", "127.0.0.53", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[2001::7f00:1]", "[::ffff:0:127.0.0.1]", "[fe80::1]", "[fd00::1]",
    "[fec0::1]", "[ff02::1]", "localhost", "2130706433", "127.1", "0x7f000001", "017700000001",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str, inside: Receiver) -> None:
    """Literals, short, decimal, octal and hexadecimal ones, and names: nothing is sent, and the attempt counts."""
    outcome = await attempt(f"http://{host}:{inside.port}/hook?token=1")
    assert isinstance(outcome, Failed)
    assert (outcome.status, outcome.counts) == (None, True)
    assert "not a public address" in outcome.error or "not valid" in outcome.error
    assert inside.hooks == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1"])
async def test_a_name_is_judged_by_what_it_resolves_to(address: str, inside: Receiver) -> None:
    """A public name with an inner address is refused when it is dialled, with the address in the error."""
    outcome = await attempt(f"http://crm.example:{inside.port}/hook", resolver=Names([address]))
    assert isinstance(outcome, Failed)
    assert address in outcome.error
    assert "allow_networks" in outcome.error
    assert inside.hooks == []


async def test_a_name_that_changes_its_mind_is_judged_again() -> None:
    """DNS rebinding: what is checked is what is dialled, at every connection, so a second answer gains nothing."""
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    public = (ip_network("127.0.0.2/32"),)  # stands for a public address that a test can reach
    async with Receiver(host="127.0.0.2") as outside, Receiver(port=outside.port) as within_reach:
        url = f"http://crm.example:{outside.port}/hook"
        assert await attempt(url, allowed=public, resolver=names) == Delivered(204)
        second = await attempt(url, allowed=public, resolver=names)
        assert isinstance(second, Failed)
        assert "127.0.0.1 is not a public address" in second.error
        assert (len(outside.hooks), within_reach.hooks, names.asked) == (1, [], 2)


async def test_every_address_of_an_answer_is_judged(inside: Receiver) -> None:
    """A name with a dead public address and a living inner one: the fallback is refused, unless it is allowed."""
    url = f"http://crm.example:{inside.port}/hook"
    outcome = await attempt(url, allowed=[ip_network("127.0.0.2/32")], resolver=Names(["127.0.0.2", "127.0.0.1"]))
    assert isinstance(outcome, Failed)
    assert inside.hooks == []
    assert await attempt(url, allowed=LOOPBACK, resolver=Names(["127.0.0.2", "127.0.0.1"])) == Delivered(204)


async def test_the_check_of_the_configuration_is_guarded_too(inside: Receiver) -> None:
    """`check --connect` makes its sockets by the same rule."""
    with pytest.raises(HttpError, match="not a public address"):
        await connect(inside.url, Guard())
    await connect(inside.url, Guard(LOOPBACK))


# -- no detour


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(number: int, inside: Receiver) -> None:
    """A redirect is an answer like any other, wherever it points, and no success."""
    for target in (inside.url, "/elsewhere", "https://crm.example/"):
        async with Receiver(status(number, Location=target)) as first:
            outcome = await attempt(first.url + "/hook", allowed=LOOPBACK)
            assert isinstance(outcome, Failed)
            assert outcome.status == number
            assert [hook.target for hook in first.hooks] == ["/hook"]
    assert inside.hooks == []


async def test_proxies_and_logins_of_the_environment_are_not_used(
    inside: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a proxy the guard would see the proxy's address only; a netrc would add a login of somebody else's."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    async with Receiver() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        assert await attempt(inside.url + "/hook", allowed=LOOPBACK) == Delivered(204)
        assert isinstance(await attempt("http://10.0.0.1:9/hook"), Failed)
        assert proxy.hooks == []
    (hook,) = inside.hooks
    assert "authorization" not in hook.headers
    assert "proxy-authorization" not in hook.headers


async def test_cookies_are_not_kept(inside: Receiver) -> None:
    """A receiver can't make one delivery look different from another."""
    inside.answer = status(204, Set_Cookie="a=b")
    seen: list[Fact] = []
    async with HttpClient(guard=Guard(LOOPBACK)) as client:
        send = Webhook(Endpoint("d", inside.url, (b"k" * 24,), 5.0), client, seen.append)
        assert [await send(ENTRY, 1), await send(ENTRY, 2)] == [Delivered(204)] * 2
    assert ["cookie" in hook.headers for hook in inside.hooks] == [False, False]


def test_the_list_is_right() -> None:
    """The addresses of these tests are what their names say."""
    assert all(not ip_address(address).is_private for address in PUBLIC)
