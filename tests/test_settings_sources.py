"""The kinds of sources in the configuration: every key with its default, its right values and its mistakes."""

from pathlib import Path
from typing import Any, get_args

import pytest
from source_tables import (
    EVENT,
    EVENTS,
    INVOCATION,
    KINDS,
    OPERATION,
    OTHER,
    RUN,
    SECRET,
    SSE,
    STREAM,
    WAIT,
    mistakes,
    only,
    read,
)

from bridge.settings import (
    AnySource,
    EventsStream,
    InvocationWait,
    OperationWait,
    RunEventsStream,
    RunEventsWait,
    RunStream,
    shape,
)

# ---- keys


def test_every_kind_is_a_source() -> None:
    """The kinds that can be configured are those that the layers above are given."""
    assert set(shape.ENTRIES["sources"].models.values()) == set(get_args(AnySource))


def test_every_kind_has_its_documented_defaults(tmp_path: Path) -> None:
    """A source that says only what it must has the defaults of the public contract."""
    sources: Any = read(tmp_path, *KINDS).sources
    stream, wait, operation, invocation, run, events, event, sse = sources.values()
    followed = (stream, wait, run, events)
    assert {(source.from_, source.on_gap, source.max_event_bytes) for source in followed} == {
        ("upstream", "backfill", 8 << 20)
    }
    assert {source.idle_timeout for source in (stream, run, events, sse)} == {60.0}
    assert {source.recheck for source in sources.values()} == {300.0}
    assert (wait.types, wait.kinds, wait.sources) == ((), (), ())
    assert [source.wait_timeout for source in (wait, operation, invocation, event)] == [25.0, 2.0, 2.0, 15.0]
    assert {(source.version, source.space, source.subaccount) for source in (run, events)} == {
        ("2026-10-03", None, None)
    }
    assert run.include == ()
    assert (events.actor_type, events.category, events.to) == (None, (), None)
    assert (dict(sse.headers), dict(sse.header_files), sse.type_prefix) == ({}, {}, "")
    assert (sse.on_gap, sse.max_event_bytes, sse.id_pointer) == ("earliest", 8 << 20, None)


GOOD = [
    (WAIT, 'types = ["x", "y"]', "types", ("x", "y")),
    (WAIT, 'kinds = ["tool_call", "event"]', "kinds", ("tool_call", "event")),
    (WAIT, 'sources = ["platform"]', "sources", ("platform",)),
    (WAIT, 'connection = "c"', "connection", "c"),
    (WAIT, 'page = "p"', "page", "p"),
    (WAIT, 'context = "c"', "context", "c"),
    (WAIT, 'wait_timeout = "2m"', "wait_timeout", 120.0),
    (WAIT, 'from = "start"', "from_", "start"),
    (WAIT, 'on_gap = "earliest"', "on_gap", "earliest"),
    (WAIT, 'max_event_bytes = "1MiB"', "max_event_bytes", 1 << 20),
    (STREAM, 'from = "now"', "from_", "now"),
    (STREAM, 'on_gap = "stop"', "on_gap", "stop"),
    (OPERATION, "wait_timeout = 1", "wait_timeout", 1.0),
    (INVOCATION, 'wait_timeout = "60s"', "wait_timeout", 60.0),
    (RUN, 'include = ["trace"]', "include", ("trace",)),
    (RUN, 'version = ""', "version", ""),
    (RUN, 'space = "sp_1"', "space", "sp_1"),
    (RUN, 'subaccount = "sub/1"', "subaccount", "sub/1"),
    (RUN, 'idle_timeout = "5s"', "idle_timeout", 5.0),
    (EVENTS, 'version = "2027-01-01"', "version", "2027-01-01"),
    (EVENTS, 'actorType = "human"', "actor_type", "human"),
    (EVENTS, 'category = "lifecycle"', "category", ("lifecycle",)),
    (EVENTS, 'type = ["run.started", "run.ended"]', "type", ("run.started", "run.ended")),
    (EVENTS, "channel = []", "channel", ()),
    (EVENTS, 'outcome = "ok"', "outcome", ("ok",)),
    (EVENTS, 'from = "2026-10-03T00:00:00Z"', "from_", "2026-10-03T00:00:00Z"),
    (EVENTS, 'from = "now"', "from_", "now"),
    (EVENTS, 'to = "2026-10-03T00:00:00.123456789+02:00"', "to", "2026-10-03T00:00:00.123456789+02:00"),
    (EVENTS, "to = 2026-10-03T00:00:00Z", "to", "2026-10-03T00:00:00Z"),
    (EVENTS, "from = 2026-10-03 00:00:00+02:00", "from_", "2026-10-03T00:00:00+02:00"),
    *((EVENTS, f'{key} = "x"', key, "x") for key in ("browser", "sandbox", "run", "task", "conversation", "agent")),
    *((EVENTS, f'{key} = "x"', key, "x") for key in ("actor", "space", "subaccount")),
    (SSE, 'cursor_query = "after"', "cursor_query", "after"),
    *((SSE, f'{key}_pointer = "/a~1b/0"', f"{key}_pointer", "/a~1b/0") for key in ("id", "type", "subject", "time")),
    (SSE, 'id_pointer = ""', "id_pointer", ""),
    (SSE, 'id_pointer = "/a/~0"', "id_pointer", "/a/~0"),
    (SSE, 'type_prefix = "com.example."', "type_prefix", "com.example."),
    (SSE, 'terminal_event = "all done"', "terminal_event", "all done"),
    (SSE, 'on_gap = "now"', "on_gap", "now"),
    ('kind = "sse"\n', 'url = "http://h.example/s?a=b"', "url", "http://h.example/s?a=b"),
]


@pytest.mark.parametrize(("source", "line", "field", "value"), GOOD, ids=lambda value: str(value)[-40:])
def test_every_key_takes_its_form(tmp_path: Path, source: str, line: str, field: str, value: object) -> None:
    """A right value of a key arrives as it was written, or in its unit."""
    assert getattr(only(tmp_path, f"{source}{line}"), field) == value


FORBIDDEN = ["Accept", "accept-encoding", "Cache-Control", "Last-Event-ID", "Host", "Content-Length", "Connection"]
FORBIDDEN += ["Transfer-Encoding", "Keep-Alive", "TE", "Trailer", "Upgrade", "Proxy-Authorization", "Proxy-Connection"]
BAD = [
    (STREAM, 'from = "end"', "from", '"upstream", "start" or "now"'),
    (STREAM, "from = 2026-10-03T00:00:00Z", "from", '"upstream", "start" or "now"'),
    (STREAM, 'from_ = "now"', "from_", 'did you mean "from"?'),
    (STREAM, 'on_gap = "skip"', "on_gap", '"backfill", "earliest", "now" or "stop"'),
    (WAIT, 'kinds = ["file"]', "kinds[0]", '"command", "network", "console", "artifact", "tool_call", "runtime"'),
    (WAIT, 'kinds = "event"', "kinds", '"runtime", "browser", "event"'),
    (WAIT, 'sources = ["cdp"]', "sources[0]", '"platform", "connection", "runtime", "artifact" or "tool"'),
    (WAIT, 'types = "x"', "types", "a list of texts"),
    (WAIT, 'wait_timeout = "121s"', "wait_timeout", "from 1s to 120s"),
    (WAIT, 'wait_timeout = "999ms"', "wait_timeout", "from 1s to 120s"),
    (WAIT, "max_event_bytes = 1", "max_event_bytes", "from 1MiB"),
    (WAIT, 'categories = ["a"]', "categories", "The keys here are: "),
    (OPERATION, 'wait_timeout = "5m"', "wait_timeout", "from 1s to 120s"),
    (OPERATION, 'run = "r"', "run", "operation"),
    (INVOCATION, "wait_timeout = 0", "wait_timeout", "from 1s to 120s"),
    (RUN, 'include = ["spans"]', "include[0]", '"trace" or "events"'),
    (RUN, 'version = "a b"', "version", "1 to 128 letters"),
    (RUN, 'space = "é"', "space", "visible ASCII"),
    (RUN, 'subaccount = ""', "subaccount", "is empty; expected 1 to 128 visible ASCII"),
    (EVENTS, 'actor_type = "human"', "actor_type", 'did you mean "actorType"?'),
    (EVENTS, 'category = ""', "category", "1 to 128 characters"),
    (EVENTS, "category = 3", "category", "a text or a list of texts"),
    (EVENTS, 'type = ["a", ""]', "type[1]", "1 to 128 characters"),
    (EVENTS, 'run = ["a"]', "run", "a text of 1 to 128"),
    (EVENTS, 'from = "2026-10-03"', "from", 'with Z or an offset such as +02:00 at its end; or one of "upstream"'),
    (EVENTS, 'from = "2026-02-30T00:00:00Z"', "from", "there is no such time"),
    (EVENTS, "from = 2026-10-03", "from", "expected a time such as"),
    (EVENTS, "to = 2026-10-03T00:00:00", "to", "with Z or an offset"),
    (EVENTS, 'to = "now"', "to", "expected a time such as"),
    (EVENTS, "to = 1", "to", "expected a time such as"),
    (SSE, 'account = "a"', "account", "there is no such key"),
    (SSE, 'from = "start"', "from", "there is no such key"),
    (SSE, 'on_gap = "backfill"', "on_gap", '"earliest", "now" or "stop"'),
    (SSE, 'cursor_query = "a b"', "cursor_query", "visible ASCII"),
    *((SSE, f'{key}_pointer = "a"', f"{key}_pointer", "starts with") for key in ("id", "type", "subject", "time")),
    (SSE, 'id_pointer = "/a~2"', "id_pointer", '"~0" for "~"'),
    (SSE, 'id_pointer = "/a~"', "id_pointer", '"~0" for "~"'),
    (SSE, 'type_prefix = "a b"', "type_prefix", "no space among them"),
    (SSE, f'type_prefix = "{"x" * 129}"', "type_prefix", "at most 128"),
    (SSE, 'terminal_event = ""', "terminal_event", "1 to 128 characters"),
    (SSE, 'terminal_event = "a\\n"', "terminal_event", "control character"),
    (SSE, "headers = 3", "headers", "expected a table of header names and texts"),
    (SSE, "header_files = []", "header_files", "expected a table of header names and paths"),
    (SSE, "headers.X-A = 3", "headers.X-A", "expected a text of visible ASCII"),
    (SSE, 'headers.X-A = ""', "headers.X-A", "is empty"),
    (SSE, 'headers.X-A = " a"', "headers.X-A", "space at an end"),
    (SSE, f'headers.X-A = "{SECRET}\\r\\nX: y"', "headers.X-A", "a character that no header can have"),
    (SSE, f'headers.X-A = "{SECRET}é"', "headers.X-A", "a character that no header can have"),
    (SSE, 'headers."X A" = "a"', 'headers."X A"', "is no header's name"),
    (SSE, 'headers."" = "a"', 'headers.""', "is no header's name"),
    *((SSE, f'headers.{name} = "a"', f"headers.{name}", "that the bridge sets itself") for name in FORBIDDEN),
    (SSE, 'header_files.Host = "a"', "header_files.Host", "that the bridge sets itself"),
    (SSE, 'header_files.X-A = ""', "header_files.X-A", "not a regular file"),
    (SSE, 'header_files.X-A = "nowhere"', "header_files.X-A", "does not exist"),
    (SSE, 'header_files.X-A = "Bearer a.b"', "header_files.X-A", "if this is the secret itself"),
    (SSE, f'header_files.X-A = "{SECRET}"', "header_files.X-A", "if this is the secret itself"),
    ('kind = "sse"\n', "", "url", "is missing; expected an http(s) URL"),
    ('kind = "sse"\n', 'url = "ftp://h/"', "url", "https:// or http://"),
    ('kind = "sse"\n', 'url = "https://u:p@h/"', "url", "user or password"),
    ('kind = "sse"\n', 'url = "https://h/#x"', "url", "fragment"),
    (
        'kind = "bctrl.run-event.wait"\n',
        "",
        "kind",
        'there is no such kind; expected one of: "bctrl.run-events.stream"',
    ),
    ('account = "a"\nkind = "bctrl.operation.wait"\n', "", "operation", "is missing"),
    ('account = "a"\nkind = "bctrl.invocation.wait"\n', "", "invocation", "is missing"),
    ('kind = "bctrl.events.stream"\n', "", "account", "is missing"),
    *(
        (kind.replace('"a"', '"n"'), "", "account", 'accounts.n is "anchor"')
        for kind in (STREAM, WAIT, OPERATION, INVOCATION, RUN, EVENTS)
    ),
    (EVENT.replace('"n"', '"a"'), "", "account", 'accounts.a is "bctrl"'),
]


@pytest.mark.parametrize(("source", "line", "key", "words"), BAD, ids=lambda value: str(value)[-40:])
def test_a_mistake_in_a_source_is_named(tmp_path: Path, source: str, line: str, key: str, words: str) -> None:
    """A wrong value of a key is the only problem, at its key path, in people's words."""
    found = mistakes(tmp_path, f"{source}{line}")
    assert list(found) == [f"sources.s0.{key}"]
    assert words in found[f"sources.s0.{key}"]


def test_all_mistakes_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    """A mistake in a header, a list or a rule hides no other."""
    sse = f'{SSE}headers.Host = "a"\nheaders.X = ""\nheader_files.x = "nix"\nid_pointer = "a"\n'
    found = mistakes(tmp_path, sse, f'{WAIT}kinds = ["a", "event", "b"]', f"{WAIT}x = 1", OPERATION, OPERATION)
    assert set(found) == {
        "sources.s0.headers.Host", "sources.s0.headers.X", "sources.s0.header_files.x", "sources.s0.id_pointer",
        "sources.s1.kinds[0]", "sources.s1.kinds[2]", "sources.s2.x", "sources.s4.operation",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_connections = 0", "a whole number from 1 to 100000"),
        ("max_connections = 100001", "a whole number from 1 to 100000"),
        ("max_connections = true", "a whole number from 1 to 100000"),
        ("requests_per_second = 0.09", "a number from 0.1 to 100000"),
        ("requests_per_second = 100001", "a number from 0.1 to 100000"),
        ("requests_per_second = nan", "a number from 0.1 to 100000"),
        ('requests_per_second = "5"', "a number from 0.1 to 100000"),
    ],
)
def test_the_limits_of_an_account_have_bounds(tmp_path: Path, line: str, words: str) -> None:
    """A limit out of its range is named with the range."""
    found = mistakes(tmp_path, f"{OPERATION}\n{OTHER}{line}")
    assert list(found) == [f"accounts.b.{line.partition(' ')[0]}"]
    assert words in str(found)


def test_an_account_has_limits(tmp_path: Path) -> None:
    """The limits have their documented defaults, and take whole numbers and fractions."""
    account = read(tmp_path, OPERATION).accounts["a"]
    assert (account.max_connections, account.requests_per_second) == (4096, 500.0)
    account = read(tmp_path, f"{OPERATION}\n{OTHER}max_connections = 1\nrequests_per_second = 0.1").accounts["b"]
    assert (account.max_connections, account.requests_per_second) == (1, 0.1)


def test_every_model_is_the_one_of_its_kind(tmp_path: Path) -> None:
    """The kind decides the class that the layers above get."""
    expected = [RunEventsStream, RunEventsWait, OperationWait, InvocationWait, RunStream, EventsStream]
    assert [type(source) for source in read(tmp_path, *KINDS).sources.values()][:6] == expected
