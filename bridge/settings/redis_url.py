"""Judges the URL of the Redis that holds the log. Pure: connects to nothing, shows no password.

Forms: `redis://` and `rediss://` (one server), `unix:///PATH`, `redis+sentinel://h:p,h:p/service[/db]`,
`redis+cluster://h:p,h:p` and `embedded:PATH` (a server that the bridge starts).
"""

import os
import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from bridge.settings.addresses import host_and_port, split

EMBEDDED = "embedded:"
SOCKET_NAME = "valkey.sock"
LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path is 108 with its closing NUL (unix(7))."""

_CONTROL = frozenset(map(chr, range(32)))
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
_TLS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_OPTIONS = {"rediss": _TLS, "unix": frozenset({"db"})}


def redis_url(text: str) -> str:
    """Returns the URL as it is.

    Raises:
        ValueError: none of the forms above; says which form was expected, without the text.
    """
    if text.startswith(EMBEDDED):
        _embedded(text.removeprefix(EMBEDDED))
        return text
    if text.partition("://")[0] not in _SCHEMES:
        raise ValueError(f"expected a URL that starts with {'://, '.join(_SCHEMES)}:// or {EMBEDDED}PATH")
    parts = split(text, _SCHEMES)
    if "#" in text:
        raise ValueError("has a # in it; percent-encode it as %23")
    _query(parts)
    hosts = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix":
        _socket(parts.path, hosts)
    elif parts.scheme in {"redis", "rediss"}:
        host_and_port(hosts)
        _database(parts.path)
    else:
        _several(hosts, parts)
    return text


def stream_url(text: str) -> str:
    """Returns the URL of a Redis that streams are written to.

    Raises:
        ValueError: none of the forms of `redis_url`, or `embedded:`, which is the server of another bridge.
    """
    if text.startswith(EMBEDDED):
        raise ValueError(f"is a bridge's own server; name its socket instead, unix:///PATH/{SOCKET_NAME}")
    return redis_url(text)


def without_secrets(text: str) -> str:
    """Returns the URL without user, password and query, for people to read."""
    if text.startswith(EMBEDDED):
        return text
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def has_password(text: str) -> bool:
    """Whether the URL carries a password; false for a text that is no URL."""
    if text.startswith(EMBEDDED) or "://" not in text:
        return False
    return ":" in text.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _embedded(path: str) -> None:
    if not path.strip() or path.startswith(("//", "~")) or not _CONTROL.isdisjoint(path):
        raise ValueError(f'expected {EMBEDDED}PATH with a directory, such as "{EMBEDDED}/var/lib/runbridge"')
    length = len(os.fsencode(os.path.join(path, SOCKET_NAME)))  # noqa: PTH118  # bytes count, no file is touched
    if length > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"the path of its socket, PATH/{SOCKET_NAME}, has {length} bytes and a unix socket's may have "
            f"{LONGEST_SOCKET_PATH}; choose a shorter directory"
        )


def _query(parts: SplitResult) -> None:
    allowed = _OPTIONS.get(parts.scheme, frozenset())
    if any(name not in allowed for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        here = f"those allowed are {', '.join(sorted(allowed))}" if allowed else "none is allowed here"
        raise ValueError(f"has an option after the question mark that the bridge doesn't know; {here}")


def _socket(path: str, host: str) -> None:
    if host or not path.startswith("/") or path == "/":
        raise ValueError('expected unix:///PATH with an absolute path, such as "unix:///run/redis/redis.sock"')
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(f"has a socket path of more than {LONGEST_SOCKET_PATH} bytes")


def _several(hosts: str, parts: SplitResult) -> None:
    if any(host_and_port(host)[1] is None for host in hosts.split(",")):
        raise ValueError(f"needs a port for every host, such as {parts.scheme}://10.0.0.1:26379,10.0.0.2:26379")
    if parts.scheme == "redis+cluster":
        if parts.path.strip("/"):
            raise ValueError("a cluster has no database number; end the URL after the last port")
        return
    service, slash, database = parts.path.removeprefix("/").partition("/")
    if not service:
        raise ValueError("names no service; expected redis+sentinel://host:port,host:port/service[/db]")
    _database(slash + database)


def _database(path: str) -> None:
    if not re.fullmatch(r"(/[0-9]{0,5})?", path):
        raise ValueError("expected a database number after the last slash, such as /0")
