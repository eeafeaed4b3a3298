"""The list of a run's events, `GET /v1/runs/{id}/events`, as the history of the calls that follow the run.

The list has fewer filters than those calls, so what they would leave out is left out here as well.
"""

from collections.abc import Callable, Sequence

from msgspec import UNSET

from bridge.event import Event
from bridge.normalize.attributes import CATEGORIES
from bridge.normalize.run_event import PREFIX, RunStream
from bridge.sources.account import Account
from bridge.sources.history import History

ATTRIBUTES = {
    "type": "type", "kind": "category", "category": "category", "source": "origin", "connectionId": "connectionid",
    "pageId": "pageid", "contextId": "contextid", "status": "status",
}  # fmt: skip
"""The filters of the calls, by the attribute that each looks at."""
LISTED = frozenset({"type", "pageId", "contextId"})
"""The filters that the list has in every generation of it."""


def run_list(
    account: Account, run: str, filters: Sequence[tuple[str, str]], reads: RunStream, *,
    resumes: bool, notice: Callable[[str, dict[str, object]], Event],
) -> History:  # fmt: skip
    """The list of one run; `resumes` says that an event's id is a cursor of the call that goes on behind it."""
    return History(
        account, account.url("v1", "runs", run, "events"), headers={},
        params=[(name, value) for name, value in filters if name in LISTED], reads=reads,
        ordered=False, resumes=resumes, notice=notice, wanted=wanted(filters),
    )  # fmt: skip


def wanted(filters: Sequence[tuple[str, str]]) -> Callable[[Event], bool]:
    """True for the events that fit: one of the values of each filter. An attribute that is not there fits."""
    values: dict[str, set[str]] = {}
    for name, value in filters:
        attribute = ATTRIBUTES[name]
        written = PREFIX + value if attribute == "type" else CATEGORIES.get(value, value)
        values.setdefault(attribute, set()).add(written)

    def fits(event: Event) -> bool:
        found = ((getattr(event, attribute), allowed) for attribute, allowed in values.items())
        return all(value is UNSET or value in allowed for value, allowed in found)

    return fits
