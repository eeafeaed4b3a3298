"""`bctrl.run.stream`: `GET /v1/runs/{id}/stream`, the events and the trace of one run as Server-Sent Events.

Frames wrap what they bring and have ids of their own, which resume the stream and are no event's (CONTRACT A.6, A.7).
So behind the history it starts at its own beginning, and what the list has told is left out (`bridge.sources.seam`).
"""

from collections.abc import Mapping, Sequence

from bridge.normalize.run_event import RunStream as Reads
from bridge.sources.account import Account
from bridge.sources.event_stream import Call, EventStream
from bridge.sources.history import History
from bridge.sources.run_events_stream import resource
from bridge.sources.run_list import run_list
from bridge.sources.run_look import RunLook
from bridge.sources.subscription import FROM_UPSTREAM, Start, scope_of


class RunStream(EventStream):
    """One run's stream. `headers` name the generation of the API (`BCTRL-Version`), the space and the subaccount."""

    def __init__(
        self, id_: str, account: Account, *, run: str, include: Sequence[str] = (), headers: Mapping[str, str],
        idle_timeout: float = 60.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0,
        start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        reads = Reads(run, resource(account.base_url, run))
        asked = sorted(set(include)) if len(set(include)) == 1 else ()  # both are the same as none
        call = Call(
            account.url("v1", "runs", run, "stream"), "after", [("include", each) for each in include], headers,
            idle_timeout, max_event_bytes,
        )  # fmt: skip
        super().__init__(
            id_, account, call, reads, resource=reads.resource, subject=run, recheck=recheck, start=start,
            scope=scope_of(headers.get("BCTRL-Version", ""), [("include", each) for each in asked]),
        )  # fmt: skip
        self.look = RunLook(account, run, headers)
        if "events" not in (asked or ("events",)):
            self.history = None  # no list tells spans
        elif "BCTRL-Version" in headers:
            self.history = History(
                account, account.url("v1", "events"), headers=headers, params=[("run", run)], reads=reads,
                ordered=True, resumes=False, notice=self.notice,
            )  # fmt: skip
        else:
            self.history = run_list(account, run, (), reads, resumes=False, notice=self.notice)
