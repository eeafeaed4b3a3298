"""What a URL means to a client: whom to dial, and what to ask for. Resolves nothing, and shows no secret."""

import base64
import re
import urllib.request
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"[a-z0-9._-]{1,253}")
_PORTS = {"https": 443, "http": 80}
_DNS_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Target:
    """An http or https URL, taken apart. Its repr shows neither login nor path."""

    scheme: str
    host: str
    """As it is resolved: ASCII, without brackets, with its zone."""
    port: int
    path: str
    """As it is sent: with the query, never decoded or encoded."""
    login: str = ""
    """What follows `Basic ` in an Authorization header; "" for none."""

    def __repr__(self) -> str:
        return f"Target({self.scheme}://{self.authority})"

    @property
    def name(self) -> str:
        """Whom a certificate has to name: neither a zone nor the closing dot is part of it."""
        return self.host.partition("%")[0].rstrip(".")

    @property
    def endpoint(self) -> str:
        """Host and port, as CONNECT asks for them."""
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's (RFC 9110, 7.2)."""
        return self.endpoint.removesuffix(f":{_PORTS[self.scheme]}")


def is_dns_name(text: str) -> bool:
    """Whether it has the letters and the length of a DNS name, so that it may become a header."""
    return _DNS_NAME.fullmatch(text) is not None


def target_of(url: str) -> Target:
    """Takes an absolute http or https URL apart; an international name becomes its ASCII form.

    Raises:
        ValueError: it is none, or one that parsers read differently. The text never repeats the URL.
    """
    try:
        parts = urlsplit(url)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError("the URL is not valid") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if _UNSAFE.search(url) or not path.isascii() or not path.startswith("/") or port == 0:
        raise ValueError("the URL is not valid")
    if parts.scheme not in _PORTS:
        raise ValueError("the URL is not valid: expected one that starts with https:// or http://")
    login = ""
    if "@" in parts.netloc:
        user_info = unquote_to_bytes(parts.username or "") + b":" + unquote_to_bytes(parts.password or "")
        login = base64.b64encode(user_info).decode()
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path, login)


def _host(text: str) -> str:
    if ":" in text:
        return text.replace("%25", "%", 1)  # RFC 6874
    name = text.encode("idna").decode().lower()
    if not _NAME.fullmatch(name):
        raise ValueError("no host name")
    return name


def proxy_from_environment(url: str) -> str:
    """The proxy that the environment names for this URL, as the standard library reads it; "" for none.

    `http_proxy`, `https_proxy` and `no_proxy`, in small letters or capitals.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    found = urllib.request.getproxies().get(parts.scheme, "")
    if not found or urllib.request.proxy_bypass(host):
        return ""
    return found if "://" in found else f"http://{found}"
