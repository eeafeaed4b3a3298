"""Sources in the configuration: how their keys fit together, headers, the environment, the rows of `check`."""

from pathlib import Path

import pytest
from source_tables import (
    EVENT,
    EVENTS,
    INVOCATION,
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

from bridge.cli.check import examine
from bridge.settings import EventsStream, Sse

# ---- rules


@pytest.mark.parametrize("count", [2, 3])
def test_an_account_keeps_a_connection_for_short_requests(tmp_path: Path, count: int) -> None:
    """As many connections as sources are one too few; one more is enough. Sources without account count for none."""
    account = f"{OTHER}max_connections = {count}"
    kinds = [source.replace('"a"', '"b"') for source in (OPERATION, f"{INVOCATION}{account}")]
    if count > len(kinds):
        assert read(tmp_path, SSE, WAIT, *kinds).accounts["b"].max_connections == count
    else:
        found = mistakes(tmp_path, SSE, WAIT, *kinds)
        assert list(found) == ["accounts.b.max_connections"]
        assert "2 sources use this account" in found["accounts.b.max_connections"]
        assert "set it to 3 or more" in found["accounts.b.max_connections"]


DOUBLES = [
    (STREAM, "run", 'from = "now"\napi = "v1"', 'types = ["x"]'),
    (WAIT, "run", "wait_timeout = 3\ntypes = []", 'kinds = ["event"]'),
    (WAIT, "run", 'on_gap = "stop"', 'sources = ["tool"]'),
    (OPERATION, "operation", "wait_timeout = 3", 'operation = "p"'),
    (INVOCATION, "invocation", "wait_timeout = 3", 'invocation = "j"'),
    (RUN, "run", 'version = ""\ninclude = ["events", "trace"]', 'include = ["trace"]'),
    (RUN, "run", 'from = "now"', 'space = "x"'),
    (EVENTS, "", 'from = "now"\nversion = ""', 'agent = "x"'),
    (EVENTS, "", 'on_gap = "now"', 'actorType = "x"'),
    (EVENTS, "", "category = []", 'category = "x"'),
    (EVENTS, "", "recheck = 3", 'subaccount = "x"'),
    (EVENT, "event", "wait_timeout = 3", 'event = "f"'),
    (SSE, "url", 'id_pointer = "/a"\ntype_prefix = "x"', 'headers.X = "y"'),
    (SSE, "url", 'cursor_query = "after"', 'url = "https://h.example/t"'),
]


@pytest.mark.parametrize(("source", "key", "same", "different"), DOUBLES)
def test_no_two_sources_read_the_same(tmp_path: Path, source: str, key: str, same: str, different: str) -> None:
    """The same call with the same filters is refused however it is tuned; another filter or selector passes."""
    found = mistakes(tmp_path, source, f"{source}{same}")
    path = f"sources.s1.{key}".rstrip(".")
    assert list(found) == [path]
    assert "sources.s0" in found[path]
    selector = different.partition(" ")[0]
    kept = "".join(f"{line}\n" for line in source.splitlines() if not line.startswith(f"{selector} "))
    assert len(read(tmp_path, source, f"{kept}{different}").sources) == 2


def test_the_same_on_another_account_passes(tmp_path: Path) -> None:
    """Two accounts may each read what has the same name at both."""
    sources = [STREAM, WAIT, OPERATION, INVOCATION, RUN, EVENTS]
    others = [source.replace('"a"', '"b"') for source in sources]
    assert len(read(tmp_path, *sources, *others, f"{SSE}{OTHER}").sources) == 13


def test_a_text_and_a_list_of_it_are_the_same_filter(tmp_path: Path) -> None:
    """A filter counts by what it lets through: neither its form nor its order matters."""
    assert mistakes(tmp_path, f'{EVENTS}type = "x"', f'{EVENTS}type = ["x"]')
    assert mistakes(tmp_path, f'{WAIT}types = ["x", "y"]', f'{WAIT}types = ["y", "x"]')
    assert len(read(tmp_path, f'{WAIT}types = ["x", "y"]', f'{WAIT}types = ["y"]').sources) == 2


def test_only_a_wait_that_consumes_has_to_be_below_grace(tmp_path: Path) -> None:
    """A wait with a cursor can be cut off at a stop and loses nothing; a signal that is taken away can't."""
    assert only(tmp_path, f"{WAIT}wait_timeout = 100").wait_timeout == 100.0
    assert only(tmp_path, f"{OPERATION}wait_timeout = 100").wait_timeout == 100.0
    assert "has to be below grace" in str(mistakes(tmp_path, f"{EVENT}wait_timeout = 100"))


def test_a_time_to_end_is_after_the_time_to_begin(tmp_path: Path) -> None:
    """Times are compared, not their texts; a beginning without a time fits any end."""
    end = 'to = "2026-10-03T00:00:00Z"\n'
    assert list(mistakes(tmp_path, f'{EVENTS}{end}from = "2026-10-03T02:00:00+02:00"')) == ["sources.s0.to"]
    assert only(tmp_path, f'{EVENTS}{end}from = "2026-10-03T01:59:59+02:00"').to
    assert only(tmp_path, f'{EVENTS}{end}from = "start"').to


# ---- headers


@pytest.mark.parametrize("given", ['headers.X = "y"', 'header_files.X = "key"'])
def test_headers_go_over_plain_http_to_this_machine_only(tmp_path: Path, given: str) -> None:
    """A header may hold a secret, so it never crosses a network in the clear; without one, plain http is fine."""
    (tmp_path / "key").write_text("k")
    for url, good in {"http://h.example/": False, "http://127.0.0.1:1/": True, "https://h.example/": True}.items():
        source = f'kind = "sse"\nurl = "{url}"\n'
        assert only(tmp_path, source).url == url
        if good:
            assert only(tmp_path, f"{source}{given}").headers["X"]
        else:
            assert "plain http to another machine" in mistakes(tmp_path, f"{source}{given}")["sources.s0.url"]


def test_headers_come_from_their_files_too(tmp_path: Path) -> None:
    """`header_files` are read at start, stripped, and stand among `headers`; none of them is shown."""
    (tmp_path / "key").write_text(f" {SECRET}\n")
    sse = only(tmp_path, f'{SSE}headers = {{ X-A = "{SECRET}1" }}\nheader_files.Authorization = "key"')
    assert isinstance(sse, Sse)
    assert {name: value.get_secret_value() for name, value in sse.headers.items()} == {
        "X-A": f"{SECRET}1",
        "Authorization": SECRET,
    }
    assert "TELLTALE" not in f"{sse}{sse!r}"
    with pytest.raises(TypeError):
        sse.headers["X"] = sse.headers["X-A"]  # type: ignore[index]


def test_a_header_is_given_once(tmp_path: Path) -> None:
    """Case doesn't make another header, and neither does a file."""
    (tmp_path / "key").write_text("k")
    found = mistakes(tmp_path, f'{SSE}headers = {{ X-A = "1", x-a = "2" }}\nheader_files = {{ X-a = "key" }}')
    assert list(found) == ["sources.s0.header_files.X-a", "sources.s0.headers.x-a"]
    assert "here and in headers.X-A" in found["sources.s0.headers.x-a"]


def test_the_cursor_has_one_place_in_the_query(tmp_path: Path) -> None:
    """A parameter that the URL has already would be sent twice."""
    source = 'kind = "sse"\nurl = "https://h/?a=1&after="\ncursor_query = '
    assert list(mistakes(tmp_path, f'{source}"after"')) == ["sources.s0.cursor_query"]
    assert only(tmp_path, f'{source}"aft"').cursor_query == "aft"


def test_a_header_comes_from_the_environment(tmp_path: Path) -> None:
    """A variable finds the header of the file in any case, makes a new one, and displaces a header's file."""
    environ = {
        "BRIDGE_SOURCES__S0__HEADERS__AUTHORIZATION": SECRET, "BRIDGE_SOURCES__S0__HEADERS__X_API_KEY": "new",
        "BRIDGE_SOURCES__S0__HEADERS__X_OLD": "other", "BRIDGE_SOURCES__S0__ON_GAP": "stop",
    }  # fmt: skip
    text = f'{SSE}headers.X-Old = "old"\nheader_files = {{ authorization = "nowhere" }}'
    headers = only(tmp_path, text, environ).headers
    assert {name.lower(): value.get_secret_value() for name, value in headers.items()} == {
        "x-old": "other", "authorization": SECRET, "x-api-key": "new",
    }  # fmt: skip
    (tmp_path / "key").write_text("filed")
    environ = {"BRIDGE_SOURCES__S0__HEADER_FILES__X_OLD": "key"}
    headers = only(tmp_path, f'{SSE}headers.X-Old = "old"', environ).headers
    assert [value.get_secret_value() for value in headers.values()] == ["filed"]


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("BRIDGE_SOURCES__S0__HEADERS", "a", "BRIDGE_SOURCES__S0__HEADERS"),
        ("BRIDGE_SOURCES__S0__HEADERS__", "a", "BRIDGE_SOURCES__S0__HEADERS__"),
        ("BRIDGE_SOURCES__S0__HEADERS__HOST", "a", "sources.s0.headers.host"),
        ("BRIDGE_SOURCES__S0__HEADERS__X", f"{SECRET}\n", "sources.s0.headers.x"),
        ("BRIDGE_SOURCES__S0__HEADERS__X", "\udcff", "BRIDGE_SOURCES__S0__HEADERS__X"),
        ("BRIDGE_ACCOUNTS__A__HEADERS__X", "a", "BRIDGE_ACCOUNTS__A__HEADERS__X"),
    ],
)
def test_a_variable_that_is_no_header_is_named(tmp_path: Path, variable: str, value: str, path: str) -> None:
    """A variable for the whole table, for a forbidden header or with a bad value is an error that names it."""
    found = mistakes(tmp_path, SSE, environ={variable: value})
    assert list(found) == [path]
    assert variable in path + found[path]


def test_keys_in_two_cases_come_from_the_environment(tmp_path: Path) -> None:
    """A variable has no case: it finds `actorType`; numbers, lists and single texts arrive as in the file."""
    environ = {
        "BRIDGE_SOURCES__S0__ACTORTYPE": "human", "BRIDGE_SOURCES__S0__CATEGORY": "agent, page",
        "BRIDGE_SOURCES__S0__FROM": "2026-10-03T00:00:00Z", "BRIDGE_ACCOUNTS__A__REQUESTS_PER_SECOND": "2.5",
        "BRIDGE_ACCOUNTS__A__MAX_CONNECTIONS": "5",
    }  # fmt: skip
    settings = read(tmp_path, EVENTS, environ=environ)
    events, account = settings.sources["s0"], settings.accounts["a"]
    assert isinstance(events, EventsStream)
    assert (events.actor_type, events.category, events.from_) == ("human", ("agent", "page"), "2026-10-03T00:00:00Z")
    assert (account.requests_per_second, account.max_connections) == (2.5, 5)


# ---- check


def test_check_shows_what_every_source_reads(tmp_path: Path) -> None:
    """One row a source: what it selects, its filters under the file's names, a URL without its query."""
    filters = f'{EVENTS}actorType = "human"\ntype = ["x", "y"]\nrun = "r"'
    sse = f'kind = "sse"\nurl = "https://h.example/s?token={SECRET.split()[1]}"\nheaders.X = "{SECRET}"'
    read(tmp_path, STREAM, WAIT, OPERATION, INVOCATION, RUN, EVENTS, filters, EVENT, sse)
    report = examine(tmp_path / "bridge.toml", None)
    assert [(row.where, row.details) for row in report.rows if row.what == "source"] == [
        ("run r", "bctrl.run-events.stream, account: a"),
        ("run r", "bctrl.run-events.wait, account: a"),
        ("operation o", "bctrl.operation.wait, account: a"),
        ("invocation i", "bctrl.invocation.wait, account: a"),
        ("run r", "bctrl.run.stream, account: a"),
        ("the whole account", "bctrl.events.stream, account: a"),
        ("the whole account run=r actorType=human type=x,y", "bctrl.events.stream, account: a"),
        ("event e", "anchor.event.wait, account: n"),
        ("https://h.example/s?...", "sse, headers: 1 set"),
    ]
    assert "TELLTALE" not in str(report)
