"""What is said where a request is not done: problem details (RFC 9457). Decides nothing; knows no handler."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import Struct

from bridge.errors import Declined, LogUnavailable, Problem

CONTENT_TYPE = "application/problem+json"
_STATUS = {"invalid": 422, "missing": 404, "conflict": 409, "unavailable": 503}


class Mistake(Struct, frozen=True):
    """One mistake in a request: `path` is its key path, or the parameter's name; `message` what to do."""

    path: str
    message: str


class ProblemDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was not done (RFC 9457); nothing of it was. `errors` has every mistake found, at once."""

    title: str
    """The status in words."""
    status: int
    detail: str
    errors: list[Mistake] = []


class Refused(Exception):
    """A request that is not done; `headers` are those of the answer."""

    def __init__(
        self, status: int, detail: str, errors: tuple[Problem, ...] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def of_declined(declined: Declined) -> Refused:
    """What the bridge declined, as an answer."""
    headers = {"Retry-After": "5"} if declined.kind == "unavailable" else {}
    return Refused(_STATUS[declined.kind], declined.detail, declined.problems, headers)


def of_unavailable(error: LogUnavailable | TimeoutError) -> Refused:
    """The log can't be asked; Redis' word for it, where it has one."""
    code = f" ({error.code})" if isinstance(error, LogUnavailable) else ""
    return Refused(503, f"the log can't be read or written at the moment{code}", headers={"Retry-After": "5"})


def details(refused: Refused) -> bytes:
    """The body."""
    errors = [Mistake(problem.path, problem.message) for problem in refused.errors]
    return msgspec.json.encode(
        ProblemDetails(
            title=HTTPStatus(refused.status).phrase, status=refused.status, detail=refused.detail, errors=errors
        )
    )


def response(refused: Refused) -> web.Response:
    """The answer."""
    headers = {"Content-Type": CONTENT_TYPE, "X-Content-Type-Options": "nosniff", **refused.headers}
    return web.Response(status=refused.status, body=details(refused), headers=headers)
