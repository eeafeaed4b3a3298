"""Judges the forms of addresses: URLs, host and port, networks. Pure: resolves no name, shows no given text.

URLs may carry secrets (a password, a token in the query), so no error here repeats one.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import SplitResult, unquote, urlsplit

from bridge.guard import Network, forbidden
from bridge.target import is_dns_name

Address = IPv4Address | IPv6Address

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_LEGACY_IPV4 = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)(\.(0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHORT_SEGMENT = re.compile(r"/[^/]{0,12}(?=/|$)")
_UNSAFE = re.compile(r"[^\x21-\x7e]|\\")
PROXY_FORM = 'a URL such as "http://proxy.example:3128", "environment", or "" for none'

_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


def split(text: str, schemes: tuple[str, ...]) -> SplitResult:
    """Takes an `http(s)` URL apart, or any other whose scheme is in `schemes`.

    Raises:
        ValueError: another scheme, no usable host or port, or a character that parsers read differently.
    """
    forms = " or ".join(f"{scheme}://" for scheme in schemes)
    if _UNSAFE.search(text):
        raise ValueError("has a space, a backslash or a character outside ASCII; percent-encode it")
    try:
        parts = urlsplit(text)
    except ValueError:  # its text repeats the URL
        raise ValueError(f"is not a URL; expected one that starts with {forms}") from None
    if parts.scheme not in schemes:
        raise ValueError(f"expected a URL that starts with {forms}")
    return parts


def host_and_port(text: str) -> tuple[str, int | None]:
    """Takes `host`, `host:port`, `[IPv6]` or `[IPv6]:port` apart; the port is 0 to 65535 or absent.

    Raises:
        ValueError: neither form.
    """
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", text)
    if match is None or (match[2] and int(match[2]) > 65535):
        raise ValueError('expected host:port with a port up to 65535 (an IPv6 address in brackets: "[::1]:8380")')
    host = match[1].removeprefix("[").removesuffix("]")
    if match[1].startswith("["):
        _ipv6(host)
    elif not _HOST.fullmatch(host):
        raise ValueError(
            "has no host name or one with characters that it can't have (write an international name as xn--)"
        )
    return host, int(match[2]) if match[2] else None


def _ipv6(host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise ValueError("has no IPv6 address between its brackets") from None


def web_url(text: str, schemes: tuple[str, ...] = ("https", "http"), *, user: bool = False) -> SplitResult:
    """Takes an `http` or `https` URL without fragment apart; with user and password only where `user` allows them.

    Raises:
        ValueError: something else, or a port of 0.
    """
    parts = split(text, schemes)
    given, at, host = parts.netloc.rpartition("@")
    if at and not user:
        raise ValueError("has a user or password in it; remove them")
    if "@" in given or ":" in unquote(given.partition(":")[0]) or _CONTROL.search(unquote(given)):
        raise ValueError("has a user or password with a character that they can't have; write an @ in them as %40")
    if "#" in text:
        raise ValueError("has a fragment (#...); remove it")
    _, port = host_and_port(host)
    if port == 0:
        raise ValueError("has port 0; expected 1 to 65535")
    return parts


def base_url(text: str) -> str:
    """Returns an upstream's base URL without its closing slash; plain http goes only to loopback.

    Raises:
        ValueError: not such a URL, one with a user, query or fragment, or one that ends with an API's version.
    """
    parts = web_url(text)
    if parts.path.rstrip("/").rpartition("/")[2] in {"v1", "v2"}:
        raise ValueError("ends with the API's version, which each call names itself; leave it out")
    if "?" in text:
        raise ValueError("has a query (?...); remove it")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("is plain http to another machine, which would show the API key on the way; use https")
    return text.rstrip("/")


def destination_url(text: str) -> str:
    """Returns a stream's URL as it is.

    Raises:
        ValueError: not http(s), or one with a user or fragment.
    """
    web_url(text)
    return text


def webhook_url(text: str) -> str:
    """Returns a webhook's URL as it is; a user and password may be in it.

    Raises:
        ValueError: not http(s), or one with a fragment.
    """
    if text.partition("://")[0] not in {"http", "https"}:
        raise ValueError(
            "expected a URL that starts with https:// or http:// for a webhook, or with redis://, rediss://, unix:// "
            "or redis+sentinel:// for a stream"
        )
    web_url(text, user=True)
    return text


def public_url(text: str) -> str:
    """Returns where others reach the bridge, without a closing slash, or the empty text.

    Raises:
        ValueError: not http(s), or one with a user, query or fragment.
    """
    if text and "?" in text:
        raise ValueError("has a query (?...); remove it")
    if text:
        web_url(text)
    return text.rstrip("/")


def sender(public_url: str, instance: str) -> str:
    """Returns the DNS name that the bridge gives itself: the host of `public_url`, else `instance`, else the host's.

    The empty text where that is none. A `public_url` that is no URL counts as none.
    """
    try:
        name = urlsplit(public_url).hostname or instance or socket.gethostname()
    except ValueError:
        name = instance
    return name if is_dns_name(name) and literal(name) is None else ""


def proxy(text: str) -> str:
    """Returns a proxy's URL, `environment`, or the empty text for none.

    Raises:
        ValueError: something else, or a URL without port or with a path.
    """
    if text in {"", "environment"}:
        return text
    if text.partition("://")[0] != "http":
        raise ValueError(f"expected {PROXY_FORM}")
    parts = web_url(text, ("http",), user=True)
    if parts.port is None or parts.path not in {"", "/"} or "?" in text:
        raise ValueError(f"has no port, or something behind it; expected {PROXY_FORM}")
    return text


def shown_url(text: str) -> str:
    """Returns a URL without user, password and query, which may hold a token, for people to read."""
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}"


def short_url(text: str) -> str:
    """Returns a URL like `shown_url`, with a path in which no token is left: `https://hooks.example/services/...`.

    Of the path its first segment stays, where that is too short for one.
    """
    parts = urlsplit(text)
    short = _SHORT_SEGMENT.match(parts.path)
    path = short[0] if short else "/"
    cut = parts.path if path == parts.path else f"{path.rstrip('/')}/..." if parts.path else ""
    return shown_url(parts._replace(path=cut, query="" if cut.endswith("...") else parts.query).geturl())


def listen(text: str) -> str:
    """Returns `host:port` as it is, or the empty text for off.

    Raises:
        ValueError: another form.
    """
    if text and host_and_port(text)[1] is None:
        raise ValueError('has no port; expected host:port such as "127.0.0.1:8380", or "" for off')
    return text


def network(text: object) -> Network:
    """Returns the network of a CIDR text such as `10.0.0.0/8`; a single address is a network of one.

    Raises:
        ValueError: another form, or bits set behind the prefix.
    """
    try:
        return ipaddress.ip_network(text if isinstance(text, str) else "")
    except ValueError:
        raise ValueError(
            'expected a network such as "10.0.0.0/8" or "fd00::/8", with no bits set behind the prefix'
        ) from None


def literal(host: str) -> Address | None:
    """Returns the address that a host spells out, in the short and hexadecimal forms of IPv4 too, or None."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not _LEGACY_IPV4.fullmatch(host):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))  # what the system's resolver makes of 127.1 or 0x7f000001
    except OSError:
        return None


def is_localhost(host: str) -> bool:
    """Whether a name is `localhost` itself; names below it may be looked up elsewhere, so they don't count."""
    return host.lower().removesuffix(".") == "localhost"


def is_loopback(host: str) -> bool:
    """Whether a host is in 127.0.0.0/8, ::1 or localhost; no other name is, whatever it resolves to."""
    address = literal(host)
    return address.is_loopback if address else is_localhost(host)


def blocked(host: str, allowed: Sequence[Network]) -> tuple[Address, ...]:
    """Returns the addresses that a host spells out, where the guard would refuse a webhook to every one of them.

    Empty for DNS names: they are judged when the socket is made.
    """
    meant = _meant(host)
    return meant if all(forbidden(str(one), allowed) for one in meant) else ()


def inside(host: str, allowed: Sequence[Network]) -> bool:
    """Whether plain http may go to a host: an address of it is in `allowed`.

    For DNS names, whether there are such networks: each of their addresses is judged when the socket is made.
    """
    meant = _meant(host)
    return any(one in network for one in meant for network in allowed) if meant else bool(allowed)


def _meant(host: str) -> tuple[Address, ...]:
    """The addresses that a host spells out."""
    address = literal(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return (address,) if address else _LOOPBACK if is_localhost(host) else ()
