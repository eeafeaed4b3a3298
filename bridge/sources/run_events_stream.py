"""`bctrl.run-events.stream`: `GET /v2/runs/{id}/events/stream` (or `/v1`), Server-Sent Events.

Its history is the list of the run's events, whose ids are the stream's cursors (CONTRACT A.5). Refuses to send a
`limit`, whose meaning on a stream no document tells.
"""

from collections.abc import Sequence

from bridge.normalize.resource import below
from bridge.normalize.run_event import RunStream
from bridge.sources.account import Account
from bridge.sources.event_stream import Call, EventStream
from bridge.sources.run_list import run_list
from bridge.sources.run_look import RunLook
from bridge.sources.subscription import FROM_UPSTREAM, Start, scope_of


def resource(base_url: str, run: str) -> str:
    """The CloudEvents `source` of a run's events."""
    return below(base_url, "runs", run)


class RunEventsStream(EventStream):
    """One run's event stream. `filters` are query parameters under the API's own names."""

    def __init__(
        self, id_: str, account: Account, *, run: str, api: str = "v2", filters: Sequence[tuple[str, str]] = (),
        idle_timeout: float = 60.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0,
        start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        reads = RunStream(run, resource(account.base_url, run))
        url = account.url(api, "runs", run, "events", "stream")
        super().__init__(
            id_, account, Call(url, "cursor", filters, idle_timeout=idle_timeout, max_event_bytes=max_event_bytes),
            reads, resource=reads.resource, subject=run, recheck=recheck, scope=scope_of(api, filters), start=start,
        )  # fmt: skip
        self.look = RunLook(account, run, {})
        self.history = run_list(account, run, filters, reads, resumes=True, notice=self.notice)
