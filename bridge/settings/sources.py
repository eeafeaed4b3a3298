"""The kinds of sources, one model for each upstream call, as frozen values. Pure; judges no key by another."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bridge.settings import forms
from bridge.settings.section import Section

_FROM = (
    "Where the first start begins: `upstream` sends no cursor, and the upstream begins where it does; `start` reads "
    "the history first, through the list call, then follows; `now` leaves out what happened before."
)
_EARLIEST = (
    "`earliest` starts again without a cursor (what the upstream sends again and is older than `log.dedup_window` "
    "comes twice); `now` goes on with what happens from now; `stop` fails and waits for a person."
)
_GAP = "What to do when the upstream no longer knows the stored cursor: "
_ON_GAP = f"{_GAP}`backfill` reads what was missed through the list call; {_EARLIEST}"
_OLDER = (
    " What is older than now is told by `time_pointer`; without one, `now` takes whatever is sent without a cursor."
)
_VERSION = (
    "The generation of the API, sent as `BCTRL-Version`. Empty sends none, for accounts that are still on the "
    "generation before it."
)


class Source(Section):
    """One subscription upstream. The table's name is the source's id."""

    kind: str
    """The upstream call."""
    recheck: forms.Waiting = 300.0
    """A source that the upstream refused is tried again after this."""


class AccountSource(Source):
    """A source that an account is needed for."""

    account: forms.Name
    """The account it uses: the NAME of an `[accounts.NAME]`."""


class RunEventsStream(AccountSource):
    """The events of one bctrl run, as they happen: `GET /v2/runs/{run}/events/stream`, Server-Sent Events."""

    kind: Literal["bctrl.run-events.stream"]
    """The upstream call."""
    run: forms.Selector
    """The run's id."""
    api: forms.Api = "v2"
    """The generation of the API: `v2`, or `v1` for `GET /v1/runs/{run}/events/stream`."""
    types: forms.Selectors = ()
    """Only events of these upstream types; all when empty."""
    categories: forms.Selectors = ()
    """Only events of these categories; all when empty. `v2` only."""
    connection: forms.Selector | None = None
    """Only events of this connection."""
    page: forms.Selector | None = None
    """Only events of this page. `v1` only."""
    context: forms.Selector | None = None
    """Only events of this context. `v1` only."""
    from_: forms.Begin = Field(default="upstream", alias="from", description=_FROM)
    on_gap: forms.OnGap = Field(default="backfill", description=_ON_GAP)
    idle_timeout: forms.Waiting = 60.0
    """A connection that brings no byte for this long is dead and is replaced."""
    max_event_bytes: forms.EventBytes = 8 * forms.MIB
    """A larger event is parked instead of logged."""


class RunEventsWait(AccountSource):
    """The events of one bctrl run, one wait after the other: `POST /v1/runs/{run}/events/wait`."""

    kind: Literal["bctrl.run-events.wait"]
    """The upstream call."""
    run: forms.Selector
    """The run's id."""
    types: forms.Selectors = ()
    """Only events of these upstream types; all when empty."""
    kinds: forms.EventKinds = ()
    """Only events of these kinds; all when empty."""
    sources: forms.EventSources = ()
    """Only events from these sources of the upstream's; all when empty."""
    connection: forms.Selector | None = None
    """Only events of this connection."""
    page: forms.Selector | None = None
    """Only events of this page."""
    context: forms.Selector | None = None
    """Only events of this context."""
    wait_timeout: forms.UpstreamWait = 25.0
    """How long one wait lasts before the next. An event ends it at once."""
    from_: forms.Begin = Field(default="upstream", alias="from", description=_FROM)
    on_gap: forms.OnGap = Field(default="backfill", description=_ON_GAP)
    max_event_bytes: forms.EventBytes = 8 * forms.MIB
    """A larger event is parked instead of logged."""


class OperationWait(AccountSource):
    """The progress and the end of one bctrl operation: `POST /v1/operations/{operation}/wait`, until it is over."""

    kind: Literal["bctrl.operation.wait"]
    """The upstream call."""
    operation: forms.Selector
    """The operation's id."""
    wait_timeout: forms.UpstreamWait = 2.0
    """How long one wait lasts: a change of status or progress is seen at its end at the latest."""


class InvocationWait(AccountSource):
    """The progress and the end of one bctrl invocation: `POST /v1/invocations/{invocation}/wait`, until it is over."""

    kind: Literal["bctrl.invocation.wait"]
    """The upstream call."""
    invocation: forms.Selector
    """The invocation's id."""
    wait_timeout: forms.UpstreamWait = 2.0
    """How long one wait lasts: a change of status or progress is seen at its end at the latest."""


class RunStream(AccountSource):
    """Events and trace of one bctrl run in today's API: `GET /v1/runs/{run}/stream`, Server-Sent Events."""

    kind: Literal["bctrl.run.stream"]
    """The upstream call."""
    run: forms.Selector
    """The run's id."""
    include: forms.Includes = ()
    """Only its `trace` (spans) or only its `events`; both when empty."""
    version: forms.NameOrEmpty = Field(default="2026-10-03", description=_VERSION)
    space: forms.Ascii | None = None
    """The space, sent as `BCTRL-Space`."""
    subaccount: forms.Ascii | None = None
    """The subaccount, sent as `BCTRL-Subaccount-Id`."""
    from_: forms.Begin = Field(default="upstream", alias="from", description=_FROM)
    on_gap: forms.OnGap = Field(default="backfill", description=_ON_GAP)
    idle_timeout: forms.Waiting = 60.0
    """A connection that brings no byte for this long is dead and is replaced."""
    max_event_bytes: forms.EventBytes = 8 * forms.MIB
    """A larger event is parked instead of logged."""


class EventsStream(AccountSource):
    """The events of a whole bctrl account, every run's among them: `GET /v1/events/stream`, Server-Sent Events.

    The filters have the API's own names; without any, every event comes.
    """

    kind: Literal["bctrl.events.stream"]
    """The upstream call."""
    version: forms.NameOrEmpty = Field(default="2026-10-03", description=_VERSION)
    space: forms.Ascii | None = None
    """The space, sent as `BCTRL-Space`."""
    subaccount: forms.Ascii | None = None
    """The subaccount, sent as `BCTRL-Subaccount-Id`."""
    browser: forms.Selector | None = None
    """Only events of this browser."""
    sandbox: forms.Selector | None = None
    """Only events of this sandbox."""
    run: forms.Selector | None = None
    """Only events of this run."""
    task: forms.Selector | None = None
    """Only events of this task."""
    conversation: forms.Selector | None = None
    """Only events of this conversation."""
    agent: forms.Selector | None = None
    """Only events of this agent."""
    actor: forms.Selector | None = None
    """Only events of this actor, by its id."""
    actor_type: forms.Selector | None = Field(default=None, alias="actorType")
    """Only events of actors of this type, such as `agent` or `human`."""
    category: forms.OneOrMore = ()
    """Only events of this category or these; all when empty."""
    type: forms.OneOrMore = ()
    """Only events of this upstream type or these; all when empty."""
    channel: forms.OneOrMore = ()
    """Only events that came by this channel or these; all when empty."""
    outcome: forms.OneOrMore = ()
    """Only events with this outcome or these; all when empty."""
    from_: forms.BeginOrTime = Field(
        default="upstream", alias="from", description=f"{_FROM} A time: the history from there on, then follows."
    )
    to: forms.Time | None = None
    """Only events up to this time (RFC 3339)."""
    on_gap: forms.OnGap = Field(default="backfill", description=_ON_GAP)
    idle_timeout: forms.Waiting = 60.0
    """A connection that brings no byte for this long is dead and is replaced."""
    max_event_bytes: forms.EventBytes = 8 * forms.MIB
    """A larger event is parked instead of logged."""


class EventWait(AccountSource):
    """A named event of Anchor Browser: `POST /v1/events/{event}/wait`, one wait at any time."""

    kind: Literal["anchor.event.wait"]
    """The upstream call."""
    event: forms.Selector
    """The event's name."""
    wait_timeout: forms.Waiting = 15.0
    """How long one wait lasts before the next. Below `grace`, so that the last one can end at a stop."""


class Sse(Source):
    """Any Server-Sent Events: `GET` of a URL, resumed by `Last-Event-ID`. Needs no account.

    A JSON pointer (RFC 6901) such as `/data/id` says where in an event's data an attribute is; the frame's own `id:`
    and `event:` are taken where there is none.
    """

    kind: Literal["sse"]
    """The upstream call."""
    url: forms.DestinationUrl = Field(repr=False)  # its path or query may hold a token
    """Where the stream is. Plain http to another machine only while there are no headers."""
    headers: Annotated[
        Mapping[forms.HeaderName, forms.HeaderValue], AfterValidator(MappingProxyType), forms.HEADERS
    ] = {}
    """Headers to send, each a secret: `headers.Authorization = "Bearer ..."`."""
    header_files: Annotated[
        Mapping[forms.HeaderName, forms.LocalPath], AfterValidator(MappingProxyType), forms.HEADER_FILES
    ] = {}
    """Files that hold a header's value each: `header_files.Authorization = "secrets/news"`; read once, at start."""
    cursor_query: forms.Ascii | None = None
    """The name of a query parameter that gets the cursor, besides the header `Last-Event-ID`.

    With `id_pointer` too, a stream whose frames have no ids goes on after the ids of its data.
    """
    id_pointer: forms.Pointer | None = None
    """Where an event's id is."""
    type_pointer: forms.Pointer | None = None
    """Where an event's type is."""
    subject_pointer: forms.Pointer | None = None
    """Where an event's subject is: events of one subject are delivered in order."""
    time_pointer: forms.Pointer | None = None
    """Where an event's time is."""
    type_prefix: forms.Prefix = ""
    """Put before an event's type."""
    terminal_event: forms.Label | None = None
    """An event of this name (the frame's `event:`) ends the source; nothing behind it is read."""
    on_gap: forms.OnGapOfSse = Field(default="earliest", description=f"{_GAP}{_EARLIEST}{_OLDER}")
    idle_timeout: forms.Waiting = 60.0
    """A connection that brings no byte for this long is dead and is replaced."""
    max_event_bytes: forms.EventBytes = 8 * forms.MIB
    """A larger event is parked instead of logged."""


AnySource = (
    RunEventsStream | RunEventsWait | OperationWait | InvocationWait | RunStream | EventsStream | EventWait | Sse
)
