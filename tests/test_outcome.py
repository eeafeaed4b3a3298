"""What an upstream's answer means for its source: the table of outcomes, and Retry-After."""

import json
from datetime import UTC, datetime

import pytest

from bridge.errors import HttpError, OutcomeUnknown, SourceError, SourceRefused
from bridge.retry_after import retry_after
from bridge.sources.outcome import complaint, refuse, unanswered

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def outcome(status: int, *, consuming: bool = False, body: bytes = b"", **headers: str) -> SourceError:
    """The error that an answer becomes."""
    with pytest.raises(SourceError) as raised:
        refuse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, NOW,
               consuming=consuming)  # fmt: skip
    return raised.value


@pytest.mark.parametrize("consuming", [True, False])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422, 201, 204, 301, 302, 303, 307, 308])
def test_refusals(status: int, *, consuming: bool) -> None:
    """What asking again would not help is a refusal with its status."""
    error = outcome(status, consuming=consuming)
    assert type(error) is SourceRefused
    assert error.status == status


@pytest.mark.parametrize("consuming", [True, False])
@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 501, 503, 507, 520, 599])
def test_passing_failures(status: int, *, consuming: bool) -> None:
    """What may be over soon is tried again, with the Retry-After of the answer."""
    error = outcome(status, consuming=consuming, Retry_After="7")
    assert type(error) is SourceError
    assert error.retry_after == 7.0


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_that_gave_up_leaves_the_outcome_open(status: int) -> None:
    """502 and 504 of a consuming call may have cost a record; of any other call they are failures in passing."""
    assert type(outcome(status, consuming=True)) is OutcomeUnknown
    assert type(outcome(status, consuming=False)) is SourceError


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("consuming", [True, False])
def test_no_answer(*, sent: bool, consuming: bool) -> None:
    """Without an answer, only a consuming call that may have reached the server leaves the outcome open."""
    error = unanswered(HttpError("gone", sent=sent), consuming=consuming)
    assert type(error) is (OutcomeUnknown if sent and consuming else SourceError)
    assert error.reason == "gone"


def test_redirect_says_what_to_do() -> None:
    """A redirect that was not followed names the key to correct."""
    assert "base_url" in outcome(302).reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ""),
        (b'{"code":"run.not_found","error":"The run was not found."}', "run.not_found: The run was not found."),
        (b'{"error":{"code":"auth.expired","message":"Log in"}}', "auth.expired: Log in"),
        (b'{"error":{"code":408,"message":"Timeout"}}', "408: Timeout"),
        (b'{"message":"no"}', "no"),
        (b'{"error":null}', ""),
        (b"{}", ""),
        (b"[1]", "[1]"),
        (b"plain\r\n  text\x00\n", "plain text\x00"),
        (b"<!doctype html><p>x", "an HTML page"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"error":"\xff"}', '{"error":"\ufffd"}'),
        (b"x" * 10_000, "x" * 200),
        (json.dumps({"error": "y" * 10_000}).encode(), "y" * 200),
        (b"[" * 4096, "[" * 200),
    ],
)
def test_complaint(body: bytes, said: str) -> None:
    """An error's body in one bounded line, whatever shape it has."""
    assert complaint(body) == said
    assert outcome(404, body=body).reason == f"404 {said}".strip()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 13:00:30 +0100", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Saturday, 21-Nov-26 12:00:30 GMT", 30.0),
        ("-5", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Sat, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds as a number or until an HTTP date (RFC 9110, 10.2.3); nonsense counts as absent."""
    assert retry_after({"Retry-After": value}, NOW) == seconds


def test_no_retry_after() -> None:
    """Without the header there is nothing to honour."""
    assert retry_after({}, NOW) is None
