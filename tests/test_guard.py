"""The deny list of webhooks' addresses, range by range: its first and last address, and what lies beside it."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest

from bridge.guard import AddressForbidden, Guard, forbidden

CLOSED = {
    "0.0.0.0/8": "this network", "10.0.0.0/8": "private", "100.64.0.0/10": "shared by carriers",
    "127.0.0.0/8": "loopback", "169.254.0.0/16": "link-local", "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments", "192.0.2.0/24": "documentation", "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "multicast relays", "192.88.99.0/24": "6to4 relays", "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112", "198.18.0.0/15": "benchmarks", "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation", "224.0.0.0/4": "multicast", "240.0.0.0/4": "reserved, and the broadcast",
    "::/96": "IPv4-compatible, unspecified, loopback", "::ffff:0:0:0/96": "translated", "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64 of one's own", "100::/64": "discard", "100:0:0:1::/64": "dummy", "2001::/32": "Teredo",
    "2001:2::/48": "benchmarks", "2001:10::/28": "ORCHID", "2001:20::/28": "ORCHIDv2", "2001:db8::/32": "documentation",
    "2002::/16": "6to4", "2620:4f:8000::/48": "AS112", "3fff::/20": "documentation", "5f00::/16": "segment routing",
    "fc00::/7": "unique local", "fe80::/10": "link-local", "fec0::/10": "site-local", "ff00::/8": "multicast",
    "4000::/2": "not given out", "8000::/2": "not given out", "e000::/4": "not given out",
}  # fmt: skip
OPEN = [
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "8.8.8.8", "::ffff:8.8.8.8",
    "2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "2606:4700:4700::1111", "2a00:1450:4001::1", "3ffe::1",
]  # fmt: skip
EMBEDDED = {
    "compatible": "::{}", "translated": "::ffff:0:{}", "NAT64": "64:ff9b::{}", "NAT64 of one's own": "64:ff9b:1::{}",
}  # fmt: skip


@pytest.mark.parametrize("text", CLOSED)
def test_a_special_range_is_closed_from_end_to_end(text: str) -> None:
    """Nothing of it passes, mapped into IPv6 neither, until a network of the same range is allowed."""
    network = ip_network(text)
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert forbidden(str(address), ()), address
        assert not forbidden(str(address), (network,)), address
        if isinstance(address, IPv4Address):
            assert forbidden(f"::ffff:{address}", ())
            assert not forbidden(f"::ffff:{address}", (network,))


@pytest.mark.parametrize("address", OPEN)
def test_what_lies_beside_a_special_range_is_open(address: str) -> None:
    """The ranges end where the registries say."""
    assert not forbidden(address, ())
    Guard().check(address)


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "255.255.255.255", "::1"])
def test_the_addresses_that_attackers_ask_for_are_closed(address: str) -> None:
    """Metadata services, broadcast, loopback; the refusal names the address and the way out."""
    with pytest.raises(AddressForbidden, match=r"no public|not a public.*allow_networks"):
        Guard().check(address)


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8"])
def test_what_embeds_an_address_needs_a_network_of_its_own_form(inner: str) -> None:
    """An allowed IPv4 network opens its addresses and their mapped form, and no gateway to them."""
    allowed = (ip_network(f"{inner}/32"),)
    bits = int(IPv4Address(inner))
    forms = [pattern.format(inner) for pattern in EMBEDDED.values()]
    forms += [str(IPv6Address(0x2002 << 112 | bits << 80)), str(IPv6Address(0x20010000 << 96 | bits ^ 0xFFFFFFFF))]
    assert not forbidden(f"::ffff:{inner}", allowed)
    for form in forms:
        assert forbidden(form, allowed), form
        assert not forbidden(form, (ip_network(f"{ip_address(form)}/128"),)), form


def test_without_plain_only_allowed_networks_are_open() -> None:
    """What goes out unencrypted stays inside; a public address is told what to do."""
    guard = Guard((ip_network("10.0.0.0/8"),))
    guard.check("10.0.0.1", plain=False)
    guard.check("::ffff:10.0.0.1", plain=False)
    guard.check("8.8.8.8", plain=True)
    with pytest.raises(AddressForbidden, match="use https, or set allow_http"):
        guard.check("8.8.8.8", plain=False)


def test_a_socket_is_only_made_for_what_may_be_dialled() -> None:
    """The hook of both clients: the judgement stands where the socket is made."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    with pytest.raises(AddressForbidden):
        Guard().make_socket(info)
    with Guard((ip_network("127.0.0.0/8"),)).make_socket(info, plain=False) as made:
        assert made.gettimeout() == 0


def test_the_table_is_the_registry() -> None:
    """Of the IPv4 ranges none overlaps another, so that each stands for itself."""
    networks = [network for network in map(ip_network, CLOSED) if isinstance(network, IPv4Network)]
    assert not any(a.overlaps(b) for a in networks for b in networks if a != b)
