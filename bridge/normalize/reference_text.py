"""Holds the words of `docs/events.md` that are the same whatever the readers do. No logic."""

HEAD = """# Events

<!-- Made by `python -m bridge.normalize > docs/events.md`; a test fails where it is not current. -->

Every entry of the log, and the body of a webhook, is one [CloudEvent 1.0](https://cloudevents.io) in its JSON
form. `bridge/schema/event.schema.json` is its JSON Schema. This page tells where each attribute comes from. What the
formats `binary`, `batched` and `thin` make of it is in [receiving](receiving.md#what-arrives).

## What a reader can rely on

- `source` and `id` together name an event. The same upstream event has the same two through every call that brings it
  and after every restart, so they are what to de-duplicate by. Where an id is made at receipt, [ids](#ids) says so.
- `subject` is the ordering key: the events of one subject from one source of the bridge are in the upstream's order,
  in the log and at each webhook. `partitionkey` is always the same text.
- `sequence` numbers the entries of one source of the bridge: 20 digits, so a later one is the greater text. Numbers
  are left out where a record was parked. Events about a destination belong to no source and have none.
- `time` is when it happened, `recordedtime` when the bridge wrote it; both RFC 3339 in UTC, ending in `Z`. Upstream
  times are read leniently: without a zone they are UTC, numbers are seconds since 1970, or milliseconds from 10^11 on;
  one that can't be read counts as absent.
- `data` is what the upstream sent, byte for byte: spaces, escapes, the order of names and digits of numbers are kept.
  `datacontenttype` is `application/json`. Only `sse` can bring data that is no JSON: it is then `text/plain`, and
  `data` is the text as a JSON string.
- An attribute is there only with a value. One that is null, empty, or no text or number upstream is left out, and is
  still in `data`. A number becomes its text, with the digits that the upstream wrote. Half a surrogate pair
  (`"\\ud83d"`) stays as it is in `data` and is U+FFFD in an attribute.
- `type`, `category`, `origin` and `status` are open: upstreams add words without notice. Ignore what you don't know.
- What can't be read at all (not UTF-8, too large; and but for `sse`: no JSON object, no id, no type) is not in the log
  but in the stream `<prefix>:{<partition>}:parked`, whole or, if too large, its beginning, and with the reason.
  Heartbeats, comments, `[DONE]` and unknown frames without an `id:` line are neither: they only show that the
  connection lives.
- A destination gets the bridge's own events too, also those about itself, unless its `types` say otherwise. One that is
  disabled gets them when it is enabled again.

## Attributes

Each column is one kind of source. `name` is a field of the object in `data`, with a dot where it is inside another;
*name* is said elsewhere (see below the table); all else is meant literally. Where the first is absent, the next counts.
"""

LEGEND = """
- *run*, *id*, *event*, *url*, *type_prefix*: keys of the source's configuration (*id* is its `operation` or
  `invocation`). *name* is the source's own. Two beside each other are joined without the space. `id_pointer` and its
  like are what the configured pointer points to.
- *base_url*: of the source's account, as it is configured. *url* is without its query and its fragment, which may
  hold a secret. Ids are percent-encoded in `source`, and nowhere else.
- *frame's id*, *frame's event*: the `id:` line of the Server-Sent Event itself, and its `event:` line, or `message`.
- *wrapper's id*: of the object around the event, `{"type": "runtime.event", "id": ..., "event": {...}}`; `data` is the
  event inside. The wrapper's other fields are not read.
- *receipt*: when the bridge received it. *made id*, *UUIDv7*: see [ids](#ids). *by status*: see [times of operations
  and invocations](#times-of-operations-and-invocations).
- *what*, *resource*, *subject*: see [types](#types) and [resources](#resources-and-subjects). *now*: when it was found.
  *destination*: the name of one in the configuration.
- `bctrl.run.stream` stands here twice: as today's API sends it, and as the older one does (`version = ""`).
- The calls of v2 are documented without their events: they are read as those of `/v1/runs/{id}/events/stream`.
- All bctrl readers look for the same names, so a field that an API sends without documenting it has its attribute
  too; `traceparent` is one that no API documents.
"""

TYPES = (
    (
        "ai.bctrl.*type*",
        (
            "An event under the upstream's own type, such as ai.bctrl.navigation. `bctrl.run.stream` also brings "
            "ai.bctrl.span.started, span.updated, span.completed and control.changed, whose `data` is the whole "
            "object of the frame."
        ),
    ),
    (
        "ai.bctrl.run.ended",
        (
            "The run is over, told by its stream or by `GET /v1/runs/{id}`. `data` is what told it; `status` is the "
            "last one of the run; `time` is its `finishedAt`, else `endedAt`, else as for every event. Behind it the "
            "source of that run is at its end; in `bctrl.events.stream` it is an event like others."
        ),
    ),
    (
        "ai.bctrl.operation.*status*, ai.bctrl.invocation.*status*",
        "The work came to this status, or to the next step of it. `data` is the work as it was then.",
    ),
    ("io.anchorbrowser.event.signaled", "A named event was signaled. `data` is what it was signaled with."),
    ("*type_prefix* *type*", "An event of an `sse` source: the pointed type, or the frame's `event:`, or `message`."),
    (
        "dev.runbridge.source.gap",
        (
            "The bridge itself: events of this source may be missing here. `data` has `source` (its name), `reason`, "
            "`certain` (false where perhaps nothing is missing), and where a cursor was lost `cursor` and `action` "
            "(`earliest`, `now`, `backfill` or `stop`)."
        ),
    ),
    (
        "dev.runbridge.source.failed",
        (
            "The bridge itself: the upstream refuses this source, and is asked again from time to time. `data` has "
            "`source` (its name), `reason` and `status` (of HTTP)."
        ),
    ),
    (
        "dev.runbridge.destination.probing",
        (
            "The bridge itself: most attempts at this destination failed, so it is only tried from time to time. "
            "`data` is described [below](#events-about-a-destination), for all five of these types."
        ),
    ),
    (
        "dev.runbridge.destination.recovered",
        "The bridge itself: an attempt was delivered after a time of probing, or after a warning.",
    ),
    (
        "dev.runbridge.destination.failing",
        "The bridge itself, a warning: nothing but failure for 50, 70 or 90 % of `disable_after`.",
    ),
    (
        "dev.runbridge.destination.disabled",
        (
            "The bridge itself: nothing is sent until a person enables it. It answered 410, or there was nothing but "
            "failure for `disable_after`."
        ),
    ),
    ("dev.runbridge.destination.enabled", "The bridge itself: a person enabled it."),
    (
        "dev.runbridge.entry.unreadable",
        (
            "Never in the log: stands in a webhook for an entry that somebody else added and that is no CloudEvent. "
            "In a batch it has the entry's `event` in `data_base64`, in the format `thin` neither that nor any data. "
            "Its `source` is `urn:runbridge:log`, its `id` the entry's `webhook-id`, `logentry` its place in the log; "
            "it has no `time`."
        ),
    ),
)
"""A type, and what it is."""

IDS = (
    ("the upstream's", "every event that has one", "yes"),
    (
        "*run*:ended",
        (
            "`ai.bctrl.run.ended`, unless a whole event tells it under an id of its own; *run* is the source's, or in "
            "`bctrl.events.stream` the event's `runId`"
        ),
        "yes",
    ),
    ("*id*:*status*", "an operation or invocation that is over, or tells no step", "yes"),
    ("*id*:*status*:ended", "an operation or invocation that is over with a status that nobody knows", "yes"),
    ("*id*:*status*:*step*", "an operation or invocation under way, at `progress.step`", "yes"),
    (
        "*id*:*digest*:id:*n*",
        "an event of an `sse` source whose id came before with other bytes: the n-th frame of these bytes since then",
        "yes",
    ),
    (
        "*last id*:*digest*:*n*",
        "an event of an `sse` source without an id, behind one that has one: the n-th frame of these bytes since that",
        "yes",
    ),
    (
        "*UUIDv7*",
        "an event of an `sse` source before the first id (or behind 10,000 different frames without one)",
        "no: each receipt has its own",
    ),
    ("*UUIDv7*", "a signal of a named event: two with equal data are two", "made once, at receipt"),
    ("*name*:*what*:*UUIDv7*", "an event of the bridge's own about a source", "no: one for each time it is said"),
    ("*UUIDv7*", "an event of the bridge's own about a destination", "made once, when it changes"),
)
"""An id, whose it is, and whether it is the same when the same is seen again."""

RESOURCES = """
## Resources and subjects

`source` is the resource, without the version of its API. `bctrl.events.stream` takes the first of its rows whose field
is there. An event of the bridge's own about a source has the resource and the subject of that source; those of
`bctrl.events.stream` are the last of its rows.

"""

DESTINATIONS = """
## Events about a destination

They are said once for each change, in the same step as it is stored, in the first partition. In `data`:

"""

DESTINATION_DATA = (
    ("`destination`", "its name"),
    ("`state`", "what it is from now on: `active`, `probing` or `disabled`"),
    (
        "`reason`, `status`",
        (
            "the last failure in words, and its status of HTTP, null where there was no answer; empty and null for "
            "`recovered` and `enabled`"
        ),
    ),
    ("`attempts`", "those of the last 5 minutes that were delivered or failed, since the bridge started"),
    ("`failures`, `share`", "how many of them failed, and their share, 0 to 1"),
)
"""A field of `data` in events about a destination, and what it is."""

DIFFERENCES = """
## The same name, another meaning

- **`source`** in `data` is the part of the upstream that saw the event, never the CloudEvents `source`; it is the
  attribute `origin`. Each API generation has words of its own for it.
- **`kind` and `category`** are one attribute, `category`; the field `category` wins where there are both. The words of
  `kind` that later APIs have otherwise are written their way: {words}. All others
  stay. Today's API has another vocabulary (`lifecycle`, `control`, `machine`, ...) under the same name.
- **`status`** is that of the event; of the run for `ai.bctrl.run.ended`; of the work for operations and invocations.
  Today's events have `outcome` (`ok`, `denied`, `failed`, `unknown`), which is read where there is no `status`.
- **The last statuses of a run** differ: `stopped` and `failed` in the older API (its documents also show `completed`),
  `ended` and `failed` in today's. Rely on the type ai.bctrl.run.ended, not on the word.
- **`timed_out`** is an end of the work itself. A wait that only ran out of its own time (`timedOutWaiting`) tells the
  state so far, and is no end.
- **`cancelled` and `canceled`** are both possible; the upstream's spelling is kept.
- **`run.ended`** is the end as the name of a frame, or as the `type` of a plain object. A whole event about an end (one
  with `kind`, `category`, `seq` or `"object": "event"`), or one in a wrapper, is an event under its own id.
- **`runtimeId`** is the runtime in the older APIs and the browser in today's; the attribute is `runtimeid` for both.
- **`workspaceId`** of an operation is what later APIs call the space: `spaceid`.
"""
