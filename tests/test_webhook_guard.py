"""Holds webhooks to public addresses, whatever embeds or spells another one, and to going nowhere by any detour.

What is dialled is held by `test_post_dial.py`, single ranges by `test_guard.py`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiver import Receiver, status
from test_webhook import Attempts, spawn

from bridge.delivery.lane import Outcome, Result
from bridge.guard import Guard, forbidden
from bridge.post import PostClient

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


# -- attempts


@pytest.fixture
async def inside() -> AsyncIterator[Receiver]:
    """A server on the loopback, which nobody outside should reach."""
    async with Receiver() as found:
        yield found


@asynccontextmanager
async def attempts(url: str, *allowed: IPv4Network | IPv6Network) -> AsyncIterator[Attempts]:
    """A destination's sender to this URL, over plain http too."""
    client = PostClient(url, guard=Guard(allowed), spawn=spawn(set()), timeout=5.0, plain=True)
    try:
        yield Attempts(client, url)
    finally:
        await client.close()


async def attempt(url: str, *allowed: IPv4Network | IPv6Network) -> Outcome:
    """What comes of one webhook to this URL, which shows neither a path nor a query."""
    async with attempts(url, *allowed) as made:
        outcome = await made.make()
    assert "hook" not in outcome.error
    return outcome


HOSTS = [
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]",
    "[fe80::1]", "localhost", "2130706433", "127.1", "0x7f000001",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str, inside: Receiver) -> None:
    """Literals, short and hexadecimal ones, and names: nothing is sent, and it is the destination's failure."""
    outcome = await attempt(f"http://{host}:{inside.port}/hook?token=1")
    assert (outcome.result, outcome.status) == (Result.FAILED, None)
    assert "is not a public address" in outcome.error
    assert "allow_networks" in outcome.error
    assert inside.hooks == []
    if host in {"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"}:
        assert (await attempt(f"http://{host}:{inside.port}/hook", *LOOPBACK)).result is Result.DELIVERED


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(number: int, inside: Receiver) -> None:
    """A redirect is an answer like any other, wherever it points, and no success."""
    for target in (inside.url, "/elsewhere", "https://crm.example/"):
        async with Receiver(status(number, Location=target)) as first:
            outcome = await attempt(first.url + "/hook", *LOOPBACK)
            assert (outcome.result, outcome.status) == (Result.FAILED, number)
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
        assert (await attempt(inside.url + "/hook", *LOOPBACK)).result is Result.DELIVERED
        assert (await attempt("http://10.0.0.1:9/hook")).result is Result.FAILED
        assert proxy.hooks == []
    (hook,) = inside.hooks
    assert not {"authorization", "proxy-authorization"} & set(hook.headers)


async def test_cookies_are_not_kept(inside: Receiver) -> None:
    """A receiver can't make one delivery look different from another."""
    inside.answer = status(204, Set_Cookie="a=b")
    async with attempts(inside.url, *LOOPBACK) as made:
        assert [(await made.make()).status, (await made.make()).status] == [204, 204]
    assert ["cookie" in hook.headers for hook in inside.hooks] == [False, False]


def test_the_list_is_right() -> None:
    """The addresses of these tests are what their names say."""
    assert all(not ip_address(address).is_private for address in PUBLIC)
