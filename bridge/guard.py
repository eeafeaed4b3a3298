"""Judges the addresses that webhooks may go to, where the socket is made. Refuses to resolve names and to connect.

What is dialled is what is judged, so neither a literal's spelling nor a name that changes its mind gains anything.
"""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IANA gives out of IPv6. Forms that embed an IPv4 address (mapped, translated, NAT64) lie outside."""
# What `is_global` of Python 3.11 to 3.13 lets through, though it reaches inside or nowhere (measured):
# 6to4, Teredo and ORCHID forms, documentation prefixes, 6to4 relays, multicast, shared address space; and what IANA's
# special-purpose registries call global, though no receiver can be there: AS112's sinks and multicast relays.
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
        "224.0.0.0/4", "192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
        "240.0.0.0/4", "0.0.0.0/8", "100.64.0.0/10",
    )
)  # fmt: skip


def forbidden(address: str, allowed: Sequence[Network]) -> bool:
    """True if no webhook may go to this IP address: it is not a public one, and no allowed network holds it.

    An IPv4-mapped address is the IPv4 address to the system, and judged as such. Every other form that embeds one
    (NAT64, 6to4, Teredo, IPv4-compatible) is only allowed by a network of its own form.
    """
    ip = _meant(address)
    if _holds(allowed, ip):
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_UNICAST:
        return True
    return not ip.is_global or _holds(_DENIED, ip)


def _meant(address: str) -> Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _holds(networks: Sequence[Network], ip: Address) -> bool:
    return any(ip in network for network in networks if network.version == ip.version)


class AddressForbidden(OSError):
    """The guard's refusal, raised where the socket would be made."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Where connections may go: public addresses, and those of `allowed`."""

    allowed: tuple[Network, ...] = ()

    def check(self, address: str, *, plain: bool = True) -> None:
        """Raises AddressForbidden where nothing may go to this address; `plain`: not even outside `allowed`.

        With `plain=False` only the allowed networks are open: what goes out unencrypted stays inside them.
        """
        if forbidden(address, self.allowed):
            raise AddressForbidden(f"{address} is not a public address, and no allow_networks entry holds it")
        if not plain and not _holds(self.allowed, _meant(address)):
            raise AddressForbidden(f"plain http may not go to {address}: use https, or set allow_http")

    def make_socket(self, info: tuple[int, int, int, str, Any], *, plain: bool = True) -> socket.socket:
        """A non-blocking socket for this entry of `getaddrinfo`. Raises as `check`, and OSError as `socket`."""
        self.check(info[4][0], plain=plain)
        return open_socket(info)


def open_socket(info: tuple[int, int, int, str, Any]) -> socket.socket:
    """A non-blocking socket, not judged by anybody. Raises OSError."""
    made = socket.socket(*info[:3])
    made.setblocking(False)  # noqa: FBT003  # the standard library's signature
    return made
