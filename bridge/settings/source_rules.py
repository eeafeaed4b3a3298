"""How the keys of sources fit together, and sources with their accounts. Pure; never repeats a value.

Like all rules they read the tables as they were given, with anything in them.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from bridge.settings import addresses, given_once, texts, units
from bridge.settings.schema import BctrlAccount, Settings
from bridge.settings.shape import ENTRIES, Finding, Path, entries, keys, nearest, one_line, table, text_of, written
from bridge.settings.sources import EventWait

Tables = dict[str, Any]

_STREAM = "bctrl.run-events.stream"
_WAIT = "anchor.event.wait"
_SSE = "sse"
_ONLY = {"categories": "v2", "page": "v1", "context": "v1"}

_SELECTED = {
    "bctrl.run-events.stream": ("run", "reads the same run with the same filters"),
    "bctrl.run-events.wait": ("run", "reads the same run with the same filters"),
    "bctrl.operation.wait": ("operation", "waits for the same operation on the same account"),
    "bctrl.invocation.wait": ("invocation", "waits for the same invocation on the same account"),
    "bctrl.run.stream": ("run", "reads the same run with the same filters"),
    "bctrl.events.stream": ("account", "reads the same account with the same filters"),
    "anchor.event.wait": ("event", "waits for the same event on the same account"),
    "sse": ("url", "reads the same URL with the same headers"),
}
"""By kind: the key that selects what is read, and what two sources do that select the same."""

_TUNING = frozenset(
    {
        "kind", "recheck", "api", "version", "from", "on_gap", "wait_timeout", "idle_timeout", "max_event_bytes",
        "cursor_query", "id_pointer", "type_pointer", "subject_pointer", "time_pointer", "type_prefix",
        "terminal_event",
    }
)  # fmt: skip
"""Keys that change how something is read, and not what: all others of a source are its filters."""

_BOTH = frozenset({"trace", "events"})


def findings(tables: Tables) -> Iterator[Finding]:
    """Every rule about sources that the tables break."""
    for name, source in entries(tables, "sources"):
        path = ("sources", name)
        yield from _account(path, source, tables)
        yield from _api(path, source)
        yield from _wait(path, source, tables)
        yield from _times(path, source)
        if text_of(source, "kind") == _SSE:
            yield from _sse(path, source)
    yield from _doubles(tables)
    yield from _connections(tables)


def _account(path: Path, source: Tables, tables: Tables) -> Iterator[Finding]:
    name, accounts, kind = text_of(source, "account"), table(tables, "accounts"), text_of(source, "kind")
    if kind == _SSE:
        return
    place = (*path, "account")
    if name and name not in accounts:
        known = f"The accounts are: {', '.join(map(one_line, accounts))}." if accounts else "Add it as [accounts.NAME]."
        yield Finding(place, f"there is no such account{nearest(name, accounts)} {known}")
        return
    account = accounts.get(name)
    given = text_of(account, "provider") if isinstance(account, dict) else ""
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
        if text_of(source, "kind") == _STREAM and source.get(key) and api in ("v1", "v2") and api != needed:
            yield Finding((*path, key), f'is only for api = "{needed}"; remove it, or set api to that')


def _wait(path: Path, source: Tables, tables: Tables) -> Iterator[Finding]:
    """Only waits that consume have to end: a wait with a cursor can be cut off, and loses nothing."""
    if text_of(source, "kind") != _WAIT:
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


def _times(path: Path, source: Tables) -> Iterator[Finding]:
    if text_of(source, "kind") != "bctrl.events.stream":
        return
    try:
        first, last = (datetime.fromisoformat(texts.time(source.get(key))) for key in ("from", "to"))
    except ValueError:
        return
    if first >= last:
        yield Finding((*path, "to"), "has to be after from, or no event is between them")


def _sse(path: Path, source: Tables) -> Iterator[Finding]:
    headers, files = table(source, "headers"), table(source, "header_files")
    yield from given_once.header(path, source)
    try:
        parts = addresses.web_url(text_of(source, "url"))
    except ValueError:
        return
    if (headers or files) and parts.scheme == "http" and not addresses.is_loopback(parts.hostname or ""):
        yield Finding(
            (*path, "url"),
            "is plain http to another machine, which would show the headers on the way; use https, or remove them",
        )
    query = text_of(source, "cursor_query")
    if query and query in dict(parse_qsl(parts.query, keep_blank_values=True)):
        yield Finding((*path, "cursor_query"), "is in the query of url already; remove it there")


def _doubles(tables: Tables) -> Iterator[Finding]:
    alike: dict[tuple[str, str], list[tuple[str, Tables]]] = {}
    for name, source in entries(tables, "sources"):
        kind = text_of(source, "kind")
        selected = text_of(source, _SELECTED[kind][0]) if kind in _SELECTED else ""
        if selected and (kind == _SSE or text_of(source, "account")):
            alike.setdefault((kind, selected), []).append((name, source))
    for (kind, _), named in alike.items():
        if len(named) > 1:  # thousands of sources are compared for each that is added: most differ in this one key
            yield from _doubles_among(kind, named)


def _doubles_among(kind: str, named: list[tuple[str, Tables]]) -> Iterator[Finding]:
    key, same = _SELECTED[kind]
    seen: dict[object, str] = {}
    for name, source in named:
        first = seen.setdefault(_filters(kind, source), name)
        if first != name:
            why = "and a signal reaches one waiter only" if kind == _WAIT else "so every event would come twice"
            path = ("sources", name) if key == "account" else ("sources", name, key)
            yield Finding(path, f"{written(('sources', first))} {same}, {why}; remove one of the two")


def _filters(kind: str, source: Tables) -> object:
    fields = keys(ENTRIES["sources"].models[kind])
    return tuple(_comparable(key, source.get(key)) for key in fields if key not in _TUNING)


def _comparable(key: str, value: object) -> object:
    """The same for a text and a list of it, for any order of a list, and for an empty list and none."""
    if isinstance(value, dict):
        return frozenset((str(name).lower(), str(inner)) for name, inner in value.items())
    listed = value if isinstance(value, list) else [] if value is None else [value]
    found = frozenset(map(str, listed))
    return frozenset() if key == "include" and found == _BOTH else found


def _connections(tables: Tables) -> Iterator[Finding]:
    used = Counter(text_of(source, "account") for _, source in entries(tables, "sources"))
    for name, account in entries(tables, "accounts"):
        limit = account.get("max_connections", BctrlAccount.model_fields["max_connections"].default)
        if isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= used[name]:
            yield Finding(
                ("accounts", name, "max_connections"),
                f"is {limit}, and {used[name]} sources use this account: each holds a connection, and one is kept for "
                f"short requests; set it to {used[name] + 1} or more",
            )
