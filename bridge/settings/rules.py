"""What no single key can tell: how the keys of the configuration fit together. Pure; never repeats a value.

They read the tables as they were given, with anything in them, so that one mistake doesn't hide another.
"""

from collections.abc import Iterator
from typing import Any

from bridge.settings import addresses, destination_rules, given_once, source_rules, texts
from bridge.settings.redis_url import EMBEDDED
from bridge.settings.shape import ENTRIES, Finding, entries, table, text_of

Tables = dict[str, Any]


def findings(tables: Tables) -> Iterator[Finding]:
    """Every rule that the tables break."""
    yield from _names(tables)
    yield from _redis(table(tables, "redis"))
    yield from _http(table(tables, "http"))
    for name, account in entries(tables, "accounts"):
        yield from given_once.secret(("accounts", name), account, "api_key", required=True)
    yield from source_rules.findings(tables)
    yield from destination_rules.findings(tables)
    if not any(tables.get(section) for section in ENTRIES):
        yield Finding(
            (),
            "there is nothing to do: add a [sources.NAME] or a [destinations.NAME], or an [accounts.NAME] for sources "
            "that are added while it runs",
        )


def _names(tables: Tables) -> Iterator[Finding]:
    for section in ENTRIES:
        for name in table(tables, section):
            try:
                texts.name(name)
            except ValueError as error:
                yield Finding((section, name), f"can't be called this: {error}")


def _redis(redis: Tables) -> Iterator[Finding]:
    given = next((key for key in ("password", "password_file") if key in redis), "")
    if given and text_of(redis, "url").startswith(EMBEDDED):
        yield Finding(
            ("redis", given), "is not for an embedded server, which only listens on its own socket; remove it"
        )
    yield from given_once.password(("redis",), redis)


def _http(http: Tables) -> Iterator[Finding]:
    yield from given_once.secret(("http",), http, "token")
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
