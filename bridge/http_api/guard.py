"""Judges who may ask: the bearer token, and that no web page steers a bridge through its user's browser. Pure.

A browser sends a page's requests wherever the page wants, and a name of the page's own may lead to loopback (DNS
rebinding). So where no token may be needed, on loopback, `Host` has to be a loopback name; elsewhere a token always is,
which no browser adds by itself. What a browser says of the page (`Origin`, `Sec-Fetch-Site`) has to be this server.
"""

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from bridge.http_api.problem import Refused

_PORTS = {"http": 80, "https": 443}
_UNFIT = frozenset("/\\@?# \t")
"""What no authority has, but a URL that begins with one may."""


@dataclass(frozen=True, slots=True)
class Access:
    """Whom the server answers: bearers of `token`, everybody without one; `public_url` is where others reach it."""

    token: str | None = field(default=None, repr=False)
    public_url: str = ""


@dataclass(frozen=True, slots=True)
class Came:
    """What of a request is judged: the values of each header, none where it was not sent."""

    method: str
    path: str
    hosts: Sequence[str]
    origins: Sequence[str]
    sites: Sequence[str]
    """Of `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/)."""
    authorizations: Sequence[str]


def judge(access: Access, came: Came, *, loopback: bool, free: bool) -> None:
    """Raises Refused where this request is not to be answered.

    `loopback`: the server listens there only. `free`: what is asked for needs no token.
    """
    host = _host(came.hosts)
    if loopback and not _is_loopback(host.hostname or "") and not _same(host, access.public_url):
        raise Refused(403, "this Host is not the bridge's: ask by a loopback name or address, or set http.public_url")
    for origin in came.origins:
        if not _is_origin(origin, host) and not _same_origin(origin, access.public_url):
            raise Refused(403, "this Origin is not the bridge's: no other web page may ask it")
    navigated = came.path == "/" and came.method in ("GET", "HEAD")
    if not navigated and any(site not in ("same-origin", "none") for site in came.sites):
        raise Refused(403, "this request comes from another web page (Sec-Fetch-Site)")
    if access.token is not None and not free and not _bears(came.authorizations, access.token):
        raise Refused(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    return _is_loopback(host)


def _host(hosts: Sequence[str]) -> SplitResult:
    if len(hosts) != 1:
        raise Refused(400, "expected one Host header (RFC 9112, section 3.2)")
    parts = _authority(hosts[0])
    if parts is None:
        raise Refused(400, "expected a host and perhaps a port in Host")
    return parts


def _authority(text: str) -> SplitResult | None:
    if not text or not text.isascii() or not text.isprintable() or _UNFIT & set(text):
        return None
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port  # raises for what is none
    except ValueError:
        return None
    return parts if parts.hostname and port != 0 else None


def _is_loopback(name: str) -> bool:
    bare = name.removesuffix(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):  # RFC 6761, section 6.3: never asked of the DNS
        return True
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _same(host: SplitResult, url: str) -> bool:
    """Whether a Host is that of a URL, whatever the port: a proxy in front may listen on another one."""
    return bool(url) and host.hostname == urlsplit(url).hostname


def _is_origin(origin: str, host: SplitResult) -> bool:
    """Whether an Origin (RFC 6454, section 7) is where Host leads to."""
    parts = _origin(origin)
    if parts is None:
        return False
    default = _PORTS[parts.scheme]
    return (parts.hostname, parts.port or default) == (host.hostname, host.port or default)


def _same_origin(origin: str, url: str) -> bool:
    parts, there = _origin(origin), urlsplit(url)
    if parts is None or there.scheme not in _PORTS or parts.scheme != there.scheme:
        return False
    default = _PORTS[parts.scheme]
    return (parts.hostname, parts.port or default) == (there.hostname, there.port or default)


def _origin(text: str) -> SplitResult | None:
    scheme, _, rest = text.partition("://")
    if scheme not in _PORTS or _authority(rest) is None:  # `null` among them
        return None
    return urlsplit(text)


def _bears(given: Sequence[str], token: str) -> bool:
    """In constant time whatever was sent; any bytes may be."""
    sent = given[0].encode(errors="surrogateescape") if len(given) == 1 else b""
    scheme, _, rest = sent.partition(b" ")
    return hmac.compare_digest(rest, token.encode()) and scheme.lower() == b"bearer"


def came_of(method: str, path: str, headers: Mapping[str, Sequence[str]]) -> Came:
    """From the values of the headers that are judged."""
    return Came(
        method, path, headers["Host"], headers["Origin"], headers["Sec-Fetch-Site"], headers["Authorization"]
    )  # fmt: skip
