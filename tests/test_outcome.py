"""What an upstream's answer means for its source: the table of outcomes, row by row, and the bodies of errors."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import CursorRefused, HttpError, OutcomeUnknown, SourceError, SourceRefused
from bridge.sources import reference
from bridge.sources.outcome import (
    ERROR_BODY,
    NOT_FOUND,
    TABLE,
    UNSERVED,
    Answer,
    Complaint,
    Means,
    complaint,
    judge,
    refusal,
    unanswered,
)

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
OPERATIONS = Path(__file__).parents[1] / "docs/operations.md"

GONE_RUN = b'{"code":"run.not_found","error":"The requested resource was not found.","reasonClass":"not_found"}'
GONE_RUN_NESTED = b'{"error":{"code":"run.not_found","message":"No such run.","requestId":"q"}}'
NO_ROUTE = b'{"code":"route.not_found","error":"No route GET /v2/runs/r/events/stream?cursor=e1"}'
NO_ROUTE_NESTED = b'{"error":{"code":"route.not_found","message":"Not found."}}'
OLD_VERSION = b'{"error":{"code":"request.version_unsupported","message":"2025-01-01 is no version."}}'
OLD_CURSOR = b'{"code":"request.version_unsupported","error":"The cursor is of a version that has gone."}'
BAD_CURSOR = b'{"code":"pagination.cursor_invalid","error":"The cursor has expired."}'
BAD_CURSOR_NESTED = b'{"error":{"code":"pagination.cursor_invalid","message":"Invalid."}}'
CONFLICT = b'{"code":"SUBSCRIPTION_CURSOR_CONFLICT","error":"conflict"}'
NO_EVENT = b'{"error":{"code":"event.not_found","message":"No such event."}}'
NO_RESUME = b'{"message":"Last-Event-ID is unknown"}'
NO_AFTER = b'{"code":"request.invalid","error":"`after` is no event id"}'
ANCHOR = b'{"error":{"code":408,"message":"Event was not signaled within the specified timeout"}}'
BAD_FILTER = b'{"code":"request.invalid","error":"type: try again after you have corrected it"}'
TOO_LATE = b'{"code":"route.timeout","error":"gave up after 30 s; the cursor is still good"}'
HTML = b"<!doctype html><p>the cursor is gone"
TEXT = b"Cannot GET /v2/runs/r/events/stream?cursor=e1"


def told(status: int, body: bytes = b"", /, **how: Any) -> Answer:
    """An answer with this body; `how` are the flags of the call."""
    return Answer(status, complaint(body), **how)


STREAM: dict[str, Any] = {"stream": True}
RESUMED: dict[str, Any] = {"stream": True, "cursor": "evt_3"}
ACCOUNT: dict[str, Any] = {**RESUMED, "whole": True}
PAGE: dict[str, Any] = {"cursor": "evt_3"}
SIGNAL: dict[str, Any] = {"consuming": True}


def plain(message: str, code: str = "not_found") -> bytes:
    """An error of a code that says nothing more than its status."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


CASES: dict[str, tuple[list[Answer], list[Answer]]] = {
    "502 and 504 of a call that consumes": (
        [told(502, **SIGNAL), told(504, HTML, **SIGNAL), told(504, ANCHOR, **SIGNAL)],
        [told(502), told(504, **RESUMED), told(503, **SIGNAL), told(500, **SIGNAL)],
    ),
    "4xx that names or repeats the cursor, 410 to a cursor": (
        [told(400, BAD_CURSOR, **PAGE), told(400, BAD_CURSOR_NESTED, **RESUMED), told(404, NO_EVENT, **RESUMED),
         told(409, CONFLICT, **RESUMED), told(422, NO_AFTER, **RESUMED), told(400, NO_RESUME, **RESUMED),
         told(400, b"unknown cursor", **PAGE), told(400, b"after is too old", **PAGE),
         told(404, b'{"code":"SUBSCRIPTION_GONE"}', **PAGE), told(410, **PAGE), told(410, HTML, **RESUMED),
         told(400, plain("Unknown event evt_3"), **RESUMED), told(422, plain("no such id: 'evt_3'."), **PAGE),
         told(404, plain("evt_3"), **RESUMED), told(404, b"event evt_3 is unknown", **PAGE),
         told(400, plain('event "3" is unknown'), cursor="3")],
        [told(400, BAD_CURSOR), told(410), told(404, NO_EVENT), told(400, BAD_FILTER, **PAGE), told(400, **PAGE),
         told(400, HTML, **PAGE), told(404, GONE_RUN, **RESUMED), told(404, NO_ROUTE, **RESUMED),
         told(404, TEXT, **RESUMED), told(401, BAD_CURSOR, **PAGE), told(403, BAD_CURSOR, **PAGE),
         told(408, TOO_LATE, **PAGE), told(425, TOO_LATE, **PAGE), told(429, TOO_LATE, **PAGE),
         told(500, BAD_CURSOR, **PAGE), told(409, b'{"error":"try after a while"}', **PAGE),
         told(400, plain("Unknown event evt_3")), told(400, plain("Unknown event evt_33"), **PAGE),
         told(400, plain("no GET /v1/events/stream?after=evt_3"), **PAGE), told(400, plain("run_evt_3"), **PAGE),
         told(400, plain("at most 3 of them"), cursor="3"), told(500, plain("evt_3"), **PAGE),
         told(404, plain("evt_3", "route.not_found"), **PAGE)],
    ),
    "404 with JSON to a cursor of an account's stream, unless it names another thing (route, space, run, ...)": (
        [told(404, body, **ACCOUNT) for body in
         (plain("Not found"), plain("", "404"), b"{}", b'{"message":"Not Found"}', plain("No such event.", "NOT_FOUND"),
          b'{"code":"resource.not_found","error":"The requested resource was not found."}')],
        [told(404, plain("Not found"), **RESUMED), told(404, plain("Not found"), stream=True, whole=True),
         told(400, plain("Not found"), **ACCOUNT), told(404, b"", **ACCOUNT), told(404, HTML, **ACCOUNT),
         told(404, b"not found", **ACCOUNT), told(404, NO_ROUTE, **ACCOUNT), told(404, GONE_RUN, **ACCOUNT),
         told(404, plain("No such space", "space.not_found"), **ACCOUNT),
         told(404, plain("Organization not found"), **ACCOUNT), told(404, plain("no such sub-account"), **ACCOUNT),
         told(404, b'{"message":"no Route matched with those values"}', **ACCOUNT)],
    ),
    "`route.not_found`, `request.version_unsupported`, 405, 404 or 501 with HTML or text": (
        [told(404, NO_ROUTE), told(404, NO_ROUTE_NESTED, **RESUMED), told(404, NO_ROUTE, **RESUMED),
         told(400, OLD_VERSION, **PAGE), told(400, OLD_CURSOR, **PAGE), told(404, HTML, **RESUMED),
         told(404, TEXT, **RESUMED), told(404, b"Not Found"), told(405), told(405, GONE_RUN),
         told(405, **SIGNAL), told(501, HTML)],
        [told(404), told(404, GONE_RUN), told(404, GONE_RUN_NESTED, **RESUMED), told(404, b"[]"), told(404, b"{}"),
         told(400, HTML), told(410, HTML), told(501), told(501, GONE_RUN), told(500, HTML), told(403, HTML)],
    ),
    "408, 409, 425, 429": (
        [told(status, body, **how) for status in (408, 409, 425, 429) for body in (b"", HTML, TEXT, ANCHOR)
         for how in ({}, RESUMED, SIGNAL)],
        [told(407), told(424), told(426), told(428), told(409, CONFLICT, **PAGE)],
    ),
    "5xx": (
        [told(500), told(501), told(502), told(503, HTML), told(504, TEXT, **RESUMED), told(507), told(520), told(599),
         told(500, ANCHOR, **SIGNAL), told(500, BAD_CURSOR, **PAGE)],
        [told(499), told(501, HTML), told(502, **SIGNAL), told(504, **SIGNAL)],
    ),
    "3xx": (
        [told(300), told(301), told(302, HTML, **RESUMED), told(303), told(304), told(307, **SIGNAL), told(308),
         told(399)],
        [told(299), told(400)],
    ),
    "401, 403": (
        [told(401), told(403), told(401, HTML), told(403, GONE_RUN), told(401, BAD_CURSOR, **RESUMED),
         told(403, **SIGNAL)],
        [told(400), told(402), told(404)],
    ),
    "404": (
        [told(404), told(404, GONE_RUN), told(404, GONE_RUN_NESTED, **RESUMED), told(404, b"{}", **SIGNAL),
         told(404, b"[1]"), told(404, BAD_CURSOR)],
        [told(404, HTML), told(404, b"gone"), told(404, BAD_CURSOR, **PAGE), told(410), told(403)],
    ),
    "400, 422 and other 4xx": (
        [told(400), told(422), told(402), told(406), told(410), told(413), told(418), told(451), told(499),
         told(400, BAD_FILTER, **PAGE), told(400, HTML, **RESUMED), told(422, ANCHOR, **SIGNAL)],
        [told(400, BAD_CURSOR, **PAGE), told(400, OLD_VERSION), told(404), told(401), told(429), told(500), told(308)],
    ),
    "204 where a stream was expected": (
        [told(204, **STREAM), told(204, **RESUMED)],
        [told(204), told(204, **PAGE), told(204, **SIGNAL), told(205, **STREAM), told(200, **STREAM)],
    ),
    "200 with HTML or JSON where a stream was expected": (
        [told(200, HTML, **STREAM), told(200, b"{}", **RESUMED), told(200, b'{"error":"x"}', **STREAM)],
        [told(200, HTML), told(200, b"{}", **SIGNAL), told(201, b"{}", **STREAM), told(204, **STREAM)],
    ),
    "200 with a body that can't be read": (
        [told(200), told(200, HTML, **SIGNAL), told(200, b"[1]", **PAGE)],
        [told(200, b"{}", **STREAM), told(201), told(202, **SIGNAL)],
    ),
    "other 2xx": (
        [told(201), told(202, **STREAM), told(204), told(204, **SIGNAL), told(206, **RESUMED), told(299)],
        [told(200), told(204, **STREAM), told(300)],
    ),
}  # fmt: skip
"""By row: answers that it decides, and their nearest neighbours, which another row decides."""

BODIES = [b"", b"{}", GONE_RUN, NO_ROUTE, BAD_CURSOR, ANCHOR, HTML, TEXT, b"[1]", b"null"]
CALLS: list[dict[str, Any]] = [{}, STREAM, PAGE, RESUMED, ACCOUNT, SIGNAL]
PASSING = (408, 425, 429, 500, 502, 503, 504, 520, 599)


def test_every_row_has_its_cases() -> None:
    """A row that is added, removed or renamed has to be so here, too."""
    assert [row.answers for row in TABLE] == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_row(name: str) -> None:
    """Each row decides what it names, and nothing beside it."""
    hits, misses = CASES[name]
    assert {answer: judge(answer).answers for answer in hits} == dict.fromkeys(hits, name)
    assert [answer for answer in misses if judge(answer).answers == name] == []


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("how", CALLS, ids=str)
def test_every_answer_has_a_meaning(body: bytes, how: dict[str, Any]) -> None:
    """Whatever is answered to whichever call, a row fits, and the safe side is kept."""
    found = {status: judge(told(status, body, **how)).means for status in range(200, 600)}
    consuming = how.get("consuming", False)
    assert {status for status, means in found.items() if means is Means.UNKNOWN} == ({502, 504} if consuming else set())
    lost = {status for status, means in found.items() if means is Means.GAP}
    assert lost <= (set(range(400, 500)) - {401, 403, 408, 425, 429} if how.get("cursor") else set())
    assert all(found[status] in {Means.RETRY, Means.UNKNOWN} for status in PASSING if body is not NO_ROUTE)
    assert {found[401], found[403]} == {Means.RECHECK}


def test_the_last_row_takes_what_is_left() -> None:
    """A status that there should not be is an outcome, too."""
    assert judge(told(199)) is judge(told(299)) is TABLE[-1]
    assert judge(told(600)).means is Means.RETRY


ERRORS: list[tuple[Answer, bytes, type[SourceError], str]] = [
    (told(504, **SIGNAL), HTML, OutcomeUnknown, "504 an HTML page"),
    (told(400, **PAGE), BAD_CURSOR, CursorRefused, "400 pagination.cursor_invalid: The cursor has expired."),
    (told(404), NO_ROUTE_NESTED, SourceRefused, f"404 route.not_found: Not found.: {UNSERVED}"),
    (told(404), HTML, SourceRefused, f"404 an HTML page: {UNSERVED}"),
    (told(405), b"", SourceRefused, f"405: {UNSERVED}"),
    (told(429), b"", SourceError, "429"),
    (told(503), b"busy", SourceError, "503 busy"),
    (told(302), b"", SourceRefused, "302: a redirect to another origin is not followed; correct base_url or url"),
    (told(401), b'{"error":"no"}', SourceRefused,
     "401 no: the key was refused; correct the account's api_key, or headers"),
    (told(404), GONE_RUN_NESTED, SourceRefused, f"404 run.not_found: No such run.: {NOT_FOUND}"),
    *((told(404), body, SourceRefused, f"404: {NOT_FOUND}") for body in (b"", b"null", b"[]", b"{}", b'{"code":404}')),
    (told(404), plain("404: Not Found", "404"), SourceRefused, f"404 Not Found: {NOT_FOUND}"),
    (told(404), b'"404"', SourceRefused, f'404 "404": {NOT_FOUND}'),
    (told(500), plain("Failed", "500"), SourceError, "500 Failed"),
    (told(500), b"500 Internal Server Error", SourceError, "500 Internal Server Error"),
    (told(500), b"5000 too many", SourceError, "500 5000 too many"),
    (told(422), b"{}", SourceRefused, "422: the upstream refuses this request: correct its filters or id"),
    (told(204, **STREAM), b"", SourceRefused, "204: the upstream asks not to reconnect"),
    (told(200, **STREAM), b'{"error":"x"}', SourceError, "200 x: an event stream was expected"),
    (told(200), b"[1]", SourceError, "200 [1]"),
    (told(204), b"", SourceRefused, "204: 200 was expected"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "body", "kind", "reason"), ERRORS)
def test_refusal(answer: Answer, body: bytes, kind: type[SourceError], reason: str) -> None:
    """An answer is an error of the kind its row means; the reason is the upstream's words and what to do about them."""
    headers = {"Retry-After": "7"}
    error = refusal(answer.status, headers, body, NOW, consuming=answer.consuming, cursor=answer.cursor,
                    stream=answer.stream, whole=answer.whole)  # fmt: skip
    assert type(error) is kind
    assert error.reason == reason
    if isinstance(error, SourceRefused):
        assert (error.status, error.unserved) == (answer.status, reason.endswith(UNSERVED))
    else:
        assert error.retry_after == (None if kind is CursorRefused else 7.0)


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("consuming", [True, False])
def test_no_answer(*, sent: bool, consuming: bool) -> None:
    """Without an answer, only a consuming call that may have reached the server leaves the outcome open."""
    error = unanswered(HttpError("gone", sent=sent), consuming=consuming)
    assert type(error) is (OutcomeUnknown if sent and consuming else SourceError)
    assert error.reason == "gone"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", Complaint("", "", "empty")),
        (b" \r\n", Complaint("", "", "empty")),
        (GONE_RUN, Complaint("run.not_found", "The requested resource was not found.", "flat")),
        (b'{"code":"auth.expired"}', Complaint("auth.expired", "", "flat")),
        (b'{"code":404,"message":"no"}', Complaint("404", "no", "flat")),
        (b'{"error":"no"}', Complaint("", "no", "flat")),
        (GONE_RUN_NESTED, Complaint("run.not_found", "No such run.", "nested")),
        (ANCHOR, Complaint("408", "Event was not signaled within the specified timeout", "nested")),
        (b'{"error":{"code":null,"message":["x"]}}', Complaint("", "", "nested")),
        (b'{"error":{}}', Complaint("", "", "nested")),
        (b'{"error":true}', Complaint("", "", "flat")),
        (b'{"message":"no"}', Complaint("", "no", "json")),
        (b'{"detail":"Not\\n found"}', Complaint("", "Not found", "json")),
        (b'{"error":null}', Complaint("", "", "json")),
        *((body, Complaint("", "", "json")) for body in (b"{}", b"[]", b"null", b" [ ] ")),
        (b"[1, \n 2]", Complaint("", "[1, 2]", "json")),
        (b'"no"', Complaint("", '"no"', "json")),
        (b"-1.5", Complaint("", "-1.5", "json")),
        (b"plain\r\n  text\x00\n", Complaint("", "plain text\x00", "text")),
        (b"<!doctype html><p>x", Complaint("", "an HTML page", "html")),
        (b"\n <HTML>", Complaint("", "an HTML page", "html")),
        (b"\xff\xfe", Complaint("", "\ufffd\ufffd", "text")),
        (b'{"error":"\xff"}', Complaint("", '{"error":"\ufffd"}', "text")),
        (b'{"error":"cut o', Complaint("", '{"error":"cut o', "text")),
        (b"[" * 4096, Complaint("", "[" * 200, "text")),
        (b"x" * 10_000, Complaint("", "x" * 200, "text")),
        (json.dumps({"error": "y" * 4000}).encode(), Complaint("", "y" * 200, "flat")),
        (json.dumps({"error": {"code": "c" * 300, "message": "m"}}).encode(), Complaint("c" * 200, "m", "nested")),
    ],
)
def test_complaint(body: bytes, said: Complaint) -> None:
    """An error's body as code, message and form, whatever shape it has."""
    assert complaint(body) == said


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "message", "x"]), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.binary(max_size=ERROR_BODY) | ANYTHING.map(lambda value: json.dumps(value).encode()), st.integers(200, 599))
def test_any_body_is_one_bounded_line(body: bytes, status: int) -> None:
    """No body breaks the reading of it, and the log's line stays a line."""
    for how in CALLS:
        flags: dict[str, Any] = how
        reason = refusal(status, {}, body, NOW, **flags).reason
        assert reason.startswith(str(status))
        assert len(reason) <= 400
        assert reason.splitlines() == [reason]


def test_the_page_is_current() -> None:
    """The table in `docs/operations.md` is what `python -m bridge.sources docs/operations.md` makes of the code."""
    page = OPERATIONS.read_text()
    assert page == reference.renewed(page)
    assert all(row.answers in page for row in TABLE)
