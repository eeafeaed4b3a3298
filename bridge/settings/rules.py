"""What no single key can tell: how the keys of the configuration fit together. Pure; never repeats a value.

They read the tables as they were given, with anything in them, so that one mistake doesn't hide another.
"""

from collections.abc import Iterator
from typing import Any

from bridge.http_client import Network
from bridge.settings import addresses, texts, units
from bridge.settings.redis_url import EMBEDDED, has_password
from bridge.settings.schema import EventWait, Settings
from bridge.settings.shape import ENTRIES, Finding, Path, entries, nearest, one_line, table, written

Tables = dict[str, Any]

_STREAM = "bctrl.run-events.stream"
_WAIT = "anchor.event.wait"
_ONLY = {"categories": "v2", "page": "v1", "context": "v1"}
_FILTERS = ("connection", "page", "context")


def findings(tables: Tables) -> Iterator[Finding]:
    """Every rule that the tables break."""
    yield from _names(tables)
    yield from _redis(table(tables, "redis"))
    yield from _http(table(tables, "http"))
    for name, account in entries(tables, "accounts"):
        yield from _one_of(("accounts", name), account, "api_key", required=True)
    for name, source in entries(tables, "sources"):
        yield from _account(("sources", name), source, tables)
        yield from _api(("sources", name), source)
        yield from _wait(("sources", name), source, tables)
    yield from _doubles(tables)
    for name, destination in entries(tables, "destinations"):
        yield from _destination(("destinations", name), destination)
    if not tables.get("sources") and not tables.get("destinations"):
        yield Finding((), "there is nothing to do: add a [sources.NAME], a [destinations.NAME], or both")


def _text(entry: Tables, key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _texts(entry: Tables, key: str) -> tuple[str, ...]:
    value = entry.get(key)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


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
    url = _text(redis, "url")
    if given and url.startswith(EMBEDDED):
        yield Finding(
            ("redis", given), "is not for an embedded server, which only listens on its own socket; remove it"
        )
    elif given and has_password(url):
        yield Finding(("redis", given), "is given twice, here and in url; remove one of them")


def _http(http: Tables) -> Iterator[Finding]:
    yield from _one_of(("http",), http, "token")
    try:
        host, _ = addresses.host_and_port(_text(http, "listen") or "localhost")
    except ValueError:
        return
    if not addresses.is_loopback(host) and "token" not in http and "token_file" not in http:
        yield Finding(
            ("http", "token_file"),
            "is missing: whoever reaches the address in listen could control the bridge; "
            "name a file with a token, or listen on 127.0.0.1",
        )


def _account(path: Path, source: Tables, tables: Tables) -> Iterator[Finding]:
    name, accounts = _text(source, "account"), table(tables, "accounts")
    place = (*path, "account")
    if name and name not in accounts:
        known = f"The accounts are: {', '.join(map(one_line, accounts))}." if accounts else "Add it as [accounts.NAME]."
        yield Finding(place, f"there is no such account{nearest(name, accounts)} {known}")
        return
    account = accounts.get(name)
    given = _text(account, "provider") if isinstance(account, dict) else ""
    kind = _text(source, "kind")
    needed = kind.partition(".")[0]
    if given in ENTRIES["accounts"].models and kind in ENTRIES["sources"].models and given != needed:
        where = written(("accounts", name))
        yield Finding(
            place,
            f'this kind needs an account whose provider is "{needed}", and that of {where} is "{given}"',
        )


def _api(path: Path, source: Tables) -> Iterator[Finding]:
    api = source.get("api", "v2")
    for key, needed in _ONLY.items():
        if _text(source, "kind") == _STREAM and source.get(key) and api in ("v1", "v2") and api != needed:
            yield Finding((*path, key), f'is only for api = "{needed}"; remove it, or set api to that')


def _wait(path: Path, source: Tables, tables: Tables) -> Iterator[Finding]:
    if _text(source, "kind") != _WAIT:
        return
    try:
        wait = units.duration(source.get("wait_timeout", EventWait.model_fields["wait_timeout"].default))
        grace = units.duration(tables.get("grace", Settings.model_fields["grace"].default))
    except ValueError:
        return
    if wait >= grace:
        lengths = f"{units.duration_text(wait)} is not below {units.duration_text(grace)}"
        yield Finding(
            (*path, "wait_timeout"),
            f"has to be below grace, so that a wait can end at a stop; {lengths}: shorten it, or lengthen that",
        )


def _doubles(tables: Tables) -> Iterator[Finding]:
    seen: dict[object, str] = {}
    for name, source in entries(tables, "sources"):
        kind, account = _text(source, "kind"), _text(source, "account")
        key, what = ("event", _text(source, "event")) if kind == _WAIT else ("run", _text(source, "run"))
        if kind not in {_WAIT, _STREAM} or not account or not what:
            continue
        first = seen.setdefault((kind, account, what, _filters(source)), name)
        if first == name:
            continue
        other = written(("sources", first))
        if kind == _WAIT:
            message = f"{other} waits for the same event on the same account, and a signal reaches one waiter only"
        else:
            message = f"{other} reads the same run with the same filters, so every event would come twice"
        yield Finding(("sources", name, key), f"{message}; remove one of the two")


def _filters(source: Tables) -> object:
    lists = (frozenset(_texts(source, key)) for key in ("types", "categories"))
    return (*lists, *(_text(source, key) for key in _FILTERS))


def _destination(path: Path, destination: Tables) -> Iterator[Finding]:
    lists = [destination.get(key, []) for key in ("secrets", "secret_files")]
    if all(value == [] for value in lists):
        yield Finding(
            (*path, "secrets"),
            "has no secret to sign with; add one, or a file in secret_files: whsec_ and base64 of 24 to 64 bytes",
        )
    try:
        host = addresses.web_url(_text(destination, "url")).hostname or ""
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
    for text in _texts(destination, "allow_networks"):
        try:
            yield addresses.network(text)
        except ValueError:
            continue
