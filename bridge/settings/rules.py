"""What no single key can tell: how the keys of the configuration fit together. Pure; never repeats a value.

They read the tables as they were given, with anything in them, so that one mistake doesn't hide another.
"""

from collections.abc import Iterator
from typing import Any

from bridge.http_client import Network
from bridge.settings import addresses, source_rules, texts
from bridge.settings.redis_url import EMBEDDED, has_password
from bridge.settings.shape import ENTRIES, Finding, Path, entries, table, text_of, texts_of

Tables = dict[str, Any]


def findings(tables: Tables) -> Iterator[Finding]:
    """Every rule that the tables break."""
    yield from _names(tables)
    yield from _redis(table(tables, "redis"))
    yield from _http(table(tables, "http"))
    for name, account in entries(tables, "accounts"):
        yield from _one_of(("accounts", name), account, "api_key", required=True)
    yield from source_rules.findings(tables)
    for name, destination in entries(tables, "destinations"):
        yield from _destination(("destinations", name), destination)
    if not tables.get("sources") and not tables.get("destinations"):
        yield Finding((), "there is nothing to do: add a [sources.NAME], a [destinations.NAME], or both")


def _names(tables: Tables) -> Iterator[Finding]:
    for section in ENTRIES:
        for name in table(tables, section):
            try:
                texts.name(name)
            except ValueError as error:
                yield Finding((section, name), f"can't be called this: {error}")


def _one_of(path: Path, entry: Tables, key: str, *, required: bool = False) -> Iterator[Finding]:
    """A secret is given or its file is, not both."""
    named = f"{key}_file"
    if key in entry and named in entry:
        yield Finding((*path, key), f"is given twice, here and in {named}; remove one of them")
    elif required and key not in entry and named not in entry:
        yield Finding((*path, key), f"is missing; give it here, in a file named by {named}, or in the environment")


def _redis(redis: Tables) -> Iterator[Finding]:
    yield from _one_of(("redis",), redis, "password")
    given = next((key for key in ("password", "password_file") if key in redis), "")
    url = text_of(redis, "url")
    if given and url.startswith(EMBEDDED):
        yield Finding(
            ("redis", given), "is not for an embedded server, which only listens on its own socket; remove it"
        )
    elif given and has_password(url):
        yield Finding(("redis", given), "is given twice, here and in url; remove one of them")


def _http(http: Tables) -> Iterator[Finding]:
    yield from _one_of(("http",), http, "token")
    try:
        host, _ = addresses.host_and_port(text_of(http, "listen") or "localhost")
    except ValueError:
        return
    if not addresses.is_loopback(host) and "token" not in http and "token_file" not in http:
        yield Finding(
            ("http", "token_file"),
            "is missing: whoever reaches the address in listen could control the bridge; "
            "name a file with a token, or listen on 127.0.0.1",
        )


def _destination(path: Path, destination: Tables) -> Iterator[Finding]:
    lists = [destination.get(key, []) for key in ("secrets", "secret_files")]
    if all(value == [] for value in lists):
        yield Finding(
            (*path, "secrets"),
            "has no secret to sign with; add one, or a file in secret_files: whsec_ and base64 of 24 to 64 bytes",
        )
    try:
        host = addresses.web_url(text_of(destination, "url")).hostname or ""
    except ValueError:
        return
    refused = addresses.blocked(host, tuple(_networks(destination)))
    if refused:
        shown = " or ".join(map(str, refused))
        entry = ", ".join(f'"{one}/{one.max_prefixlen}"' for one in refused)
        yield Finding(
            (*path, "url"),
            f"goes to {shown}, which is not a public address; if it is meant, set allow_networks = [{entry}]",
        )


def _networks(destination: Tables) -> Iterator[Network]:
    for text in texts_of(destination, "allow_networks"):
        try:
            yield addresses.network(text)
        except ValueError:
            continue
