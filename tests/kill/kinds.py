"""The kinds of sources that the kill suite plays: their settings, and the truth about each as the emulator tells it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kill.emulated import KEY, VERSION, Emulated

RUNS = "runs"
ALL = "all"
"""The two emulators: of an account whose runs are followed one by one, and of one that is followed as a whole."""
MEMBERS = ("run-a", "run-b", "run-c")
"""The runs of the account that is followed as a whole."""
SIGNAL = "one time/code"
ENDINGS = ("succeeded", "failed", "cancelled", "timed_out")


@dataclass(frozen=True, slots=True)
class Kind:
    """One source; `name` is its id, and that of its run.

    `truth` is where its events are listed: the list of the run, the frames of the very stream, or the account's list.
    """

    name: str
    call: str
    truth: Literal["list", "frames", "account"]
    keys: Mapping[str, object] = field(default_factory=dict)

    @property
    def now(self) -> bool:
        """Whether it leaves out what a gap has cost."""
        return self.keys.get("on_gap") == "now"

    @property
    def bytewise(self) -> bool:
        """Whether the stream brings what the list has, byte for byte; times by the clock change with a restart."""
        return self.call == "bctrl.run-events.stream" and not self.now


STREAM = {"idle_timeout": "1s", "max_event_bytes": "1MiB"}
KINDS = (
    Kind("wait", "bctrl.run-events.wait", "list", {"wait_timeout": "1s", "max_event_bytes": "1MiB"}),
    Kind("v1", "bctrl.run-events.stream", "list", {"api": "v1", **STREAM}),
    Kind("v2", "bctrl.run-events.stream", "list", STREAM),
    Kind("now", "bctrl.run-events.stream", "list", {"on_gap": "now", **STREAM}),
    Kind("g5", "bctrl.run.stream", "frames", {"version": "", **STREAM}),
    Kind("g6", "bctrl.run.stream", "frames", STREAM),
    Kind("sse", "sse", "frames", STREAM),
    Kind("whole", "bctrl.events.stream", "account", {"from": "start", **STREAM}),
)
"""Every kind that brings events, and the one with another `on_gap`. Works and signals are beside them."""


@dataclass(slots=True)
class Truth:
    """What a source should have brought."""

    ids: list[str] = field(default_factory=list)
    """In the upstream's order."""
    group: dict[str, str] = field(default_factory=dict)
    """Id -> what its order is judged among: the run in an account, spans or events in a run's stream."""
    bodies: dict[str, str] = field(default_factory=dict)
    """Id -> its JSON, where that goes out unchanged."""
    names: dict[str, str] = field(default_factory=dict)
    """Another name that an unreadable record may show (its frame's id, its run and time) -> id."""
    late: set[str] = field(default_factory=set)
    """Ids of what was added after the run had ended, which may come before or behind its end."""
    ended: str = ""
    """The id of the end."""

    def add(self, id_: str, said: Mapping[str, object], *, group: str = "", body: str = "") -> None:
        """One event."""
        self.ids.append(id_)
        self.group[id_] = group
        if body:
            self.bodies[id_] = body
        if isinstance(time := said.get("time"), str):
            self.names[f"{said.get('runId')}@{time}"] = id_
        data = said.get("data")
        if isinstance(data, dict) and "late" in data:
            self.late.add(id_)

    def end(self, id_: str) -> None:
        """The end."""
        self.ids.append(id_)
        self.group[id_] = "end"
        self.ended = id_


async def truth_of(kind: Kind, emulator: Emulated) -> Truth:
    """The truth about one source, once its runs are over and no fault is on."""
    truth = Truth()
    if kind.truth == "account":
        for body in await emulator.listed("/v1/events", order="asc"):
            said = json.loads(body)
            truth.add(said["id"], said, group=str(said["runId"]))
    elif kind.truth == "list":
        for body in await emulator.listed(f"/v1/runs/{kind.name}/events", {}):
            said = json.loads(body)
            truth.add(said["id"], said, body=body.decode() if kind.bytewise else "")
        truth.end(f"{kind.name}:ended")
    else:
        await _framed(kind, emulator, truth)
    return truth


async def _framed(kind: Kind, emulator: Emulated, truth: Truth) -> None:
    query = "?include=events" if kind.call == "sse" else ""
    headers = VERSION if kind.name == "g6" else {}
    for frame in await emulator.frames(f"/v1/runs/{kind.name}/stream{query}", headers):
        said = json.loads(frame.data)
        if frame.event == "run.ended":
            truth.end(frame.id if kind.call == "sse" else f"{kind.name}:ended")
        elif frame.event == "runtime.event":
            truth.add(said["event"]["id"], said["event"], group="event")
            truth.names[frame.id] = said["event"]["id"]
        else:
            truth.add(frame.id, said, group="trace")


def resource(kind: Kind, urls: Mapping[str, str]) -> str:
    """How the CloudEvents `source` of its events begins."""
    if kind.truth == "account":
        return f"{urls[ALL]}/"
    return f"{urls[RUNS]}/v1/runs/sse/stream" if kind.call == "sse" else f"{urls[RUNS]}/runs/{kind.name}"


def settings(kind: Kind, urls: Mapping[str, str]) -> str:
    """Its table in the configuration."""
    keys: dict[str, object] = {"kind": kind.call, "recheck": "1s", **kind.keys}
    if kind.call == "sse":
        keys |= {
            "url": f"{urls[RUNS]}/v1/runs/{kind.name}/stream?include=events", "cursor_query": "after",
            "id_pointer": "/event/id", "type_pointer": "/event/type", "terminal_event": "run.ended",
            "headers.Authorization": f"Bearer {KEY}",
        }  # fmt: skip
    elif kind.truth == "account":
        keys |= {"account": ALL}
    else:
        keys |= {"account": RUNS, "run": kind.name}
    return table(kind.name, keys)


def works(count: int) -> list[tuple[str, str]]:
    """Noun and id of each operation and invocation."""
    return [(noun, f"{noun}-{number:02d}") for noun in ("operation", "invocation") for number in range(count)]


def work_settings(noun: str, id_: str) -> str:
    """The table of one operation's or invocation's source."""
    keys = {"account": RUNS, "kind": f"bctrl.{noun}.wait", noun: id_, "wait_timeout": "1s", "recheck": "1s"}
    return table(id_, keys)


def signal_settings() -> str:
    """The table of the named event's source."""
    return table(
        "code", {"account": "anchor", "kind": "anchor.event.wait", "event": SIGNAL, "wait_timeout": "1s",
                 "recheck": "1s"},
    )  # fmt: skip


def table(name: str, keys: Mapping[str, object]) -> str:
    """A source's table; a JSON text is TOML too."""
    return "\n".join([f"[sources.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""])
