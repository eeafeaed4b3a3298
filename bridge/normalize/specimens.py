"""Shows what the readers make of one object of each API generation, whose fields all hold different values. Pure.

Refuses to know where an attribute comes from: it looks the value of the attribute up among those it put in.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from bridge.event import Event, Parked
from bridge.normalize.any_event import AnyStream, Pointers
from bridge.normalize.durable_work import DurableWork, Noun
from bridge.normalize.resource import below
from bridge.normalize.run_event import AccountStream, RunStream
from bridge.sse import Frame

Inputs = Mapping[str, object]
"""Paths and values: `pageId` and `progress.step` are in the object, `frame.id` and `wrapper.id` around it."""
Record = Event | Parked | None

RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)
GIVEN = {
    "~base~": "*base_url*", "~run~": "*run*", "~work~": "*id*", "~name~": "*name*", "~url~": "*url*",
    "~prefix~": "*type_prefix*", "~made~": "*made id*", "2026-01-01T00:00:00Z": "*receipt*",
}  # fmt: skip
"""What the configuration and the moment say, by the values that stand for it here."""
AROUND = {"frame.id": "*frame's id*", "frame.event": "*frame's event*", "wrapper.id": "*wrapper's id*"}
TIMES = (
    "time", "timestamp", "createdAt", "updatedAt", "startedAt", "finishedAt", "lastHeartbeatAt", "cancelRequestedAt",
    "time_pointer",
)  # fmt: skip
POINTERS = ("id_pointer", "type_pointer", "subject_pointer", "time_pointer")
NUMBERS = {"progress.step": 4711, "seq": 4712, "sequenceNo": 4713}


@dataclass(frozen=True, slots=True)
class Specimen:
    """One column of the table: the fields that an object of this generation has, and what reads it."""

    heading: str
    fields: tuple[str, ...]
    read: Callable[[Inputs], Record]
    fixed: Mapping[str, object] = field(default_factory=dict)
    """Values that have to be these."""

    def inputs(self) -> dict[str, object]:
        """A value of its own for every field."""
        return {path: self.fixed.get(path, value(path)) for path in self.fields}


def value(path: str) -> object:
    """The value that stands for a field."""
    if path in TIMES:
        return f"2026-02-01T00:00:{TIMES.index(path):02d}Z"
    return NUMBERS.get(path, f"~{path}~")


def written(inputs: Inputs) -> bytes:
    """The object of these fields, as JSON."""
    whole: dict[str, object] = {}
    for path, said in inputs.items():
        head, _, rest = path.partition(".")
        inner = whole.setdefault(head, {}) if rest else None
        if isinstance(inner, dict):
            inner[rest] = said
        else:
            whole[head] = said
    return msgspec.json.encode(whole)


def told(inputs: Inputs, whole: bytes) -> Frame:
    """The frame that brings these bytes."""
    own = "frame.id" in inputs
    return Frame(str(inputs.get("frame.event", "message")), whole, str(inputs.get("frame.id", "")), None, own_id=own)


def inside(inputs: Inputs) -> dict[str, object]:
    """The fields of the object itself."""
    return {path: said for path, said in inputs.items() if not path.startswith(("frame.", "wrapper."))}


_run = RunStream("~run~", below("~base~", "runs", "~run~"))
_account = AccountStream("account", "~base~")
_any = AnyStream("~url~", "~name~", Pointers(*(f"/{name}" for name in POINTERS)), "~prefix~", None, lambda: "~made~")


def _first(stream: RunStream | AnyStream, frame: Frame) -> Record:
    records = stream.batch([frame], RECEIVED).records
    return records[0] if records else None


def _answered(inputs: Inputs) -> Record:
    return _run.record(written(inputs), RECEIVED)


def _framed(inputs: Inputs) -> Record:
    return _first(_run, told(inputs, written(inside(inputs))))


def _wrapped(inputs: Inputs) -> Record:
    wrapper = {path.removeprefix("wrapper."): said for path, said in inputs.items() if path.startswith("wrapper.")}
    whole = msgspec.json.encode({**wrapper, "event": msgspec.Raw(written(inside(inputs)))})
    return _first(_run, told({"frame.event": "runtime.event", **inputs}, whole))


def _of_account(inputs: Inputs) -> Record:
    return _first(_account, told(inputs, written(inside(inputs))))


def _of_any(inputs: Inputs) -> Record:
    return _first(_any, told(inputs, written(inside(inputs))))


def _work(noun: Noun) -> Callable[[Inputs], Record]:
    work = DurableWork(noun, "~work~", below("~base~", f"{noun}s", "~work~"))
    return lambda inputs: (
        work.answer(b'{"timedOutWaiting":true,"%s":%s}' % (noun.encode(), written(inputs)), RECEIVED).record
    )


_TODAY = (
    "id", "type", "object", "seq", "category", "channel", "outcome", "source", "actor.id", "actor.type", "actor.name",
    "target.id", "runId", "runtimeId", "sandboxId", "spaceId", "pageId", "spanId", "taskId", "traceId",
    "conversationId", "data.x", "time", "timestamp", "createdAt", "updatedAt",
)  # fmt: skip
_DURABLE = (
    "id", "status", "runtimeId", "runtimeKind", "createdAt", "startedAt", "finishedAt", "cancelRequestedAt",
    "lastHeartbeatAt", "progress.step", "progress.message", "error.code", "result.runtime",
)  # fmt: skip

SPECIMENS = (
    Specimen(
        "`bctrl.run-events.wait`",
        (
            "id", "type", "kind", "source", "runId", "runtimeId", "runtimeKind", "spaceId", "time", "artifactId",
            "commandId", "connectionId", "contextId", "correlationId", "data.x", "name", "pageId", "status",
            "toolCallId",
        ),
        _answered,
    ),
    Specimen(
        "`bctrl.run-events.stream`",
        (
            "id", "type", "time", "contextId", "data.x", "durationSeconds", "name", "pageId", "status", "runId",
            "category", "connectionId", "frame.id",
        ),
        _framed,
        {"frame.event": "run.event"},
    ),
    Specimen(
        "`bctrl.run.stream`, older",
        (
            "id", "type", "data.x", "pageId", "runId", "source", "spanId", "timestamp",
            "frame.id", "wrapper.id", "wrapper.runId", "wrapper.timestamp",
        ),
        _wrapped,
    ),
    Specimen(
        "`bctrl.run.stream`",
        (*_TODAY, "frame.id", "wrapper.id", "wrapper.runId", "wrapper.timestamp"),
        _wrapped,
    ),
    Specimen("`bctrl.events.stream`", (*_TODAY, "frame.id"), _of_account),
    Specimen(
        "`bctrl.operation.wait`",
        (*_DURABLE, "runtime", "workspaceId", "currentCall"),
        _work("operation"),
        {"status": "running"},
    ),
    Specimen(
        "`bctrl.invocation.wait`",
        (
            *_DURABLE, "runId", "spaceId", "correlationId", "entryCall", "executionMode", "sequenceNo", "durationMs",
            "metadata.x", "request.mode",
        ),
        _work("invocation"),
        {"status": "running"},
    ),
    Specimen("`sse`", (*POINTERS, "frame.id", "frame.event"), _of_any),
)  # fmt: skip


def origins(specimen: Specimen, attribute: str, *, instead: Mapping[str, object] | None = None) -> list[str]:
    """Where an attribute comes from, in the order in which the reader looks; empty where it is never there.

    `instead` are other values for some fields.
    """
    inputs = {**specimen.inputs(), **(instead or {})}
    found: list[str] = []
    while isinstance(record := specimen.read(inputs), Event):
        said = _attribute(record, attribute)
        text, used = _labelled(said, inputs) if said is not None else ("", [])
        if not text or text in found:
            break
        found.append(text)
        if not used:
            break
        del inputs[used[-1]]
    return found


def _attribute(record: Event, attribute: str) -> str | None:
    said = msgspec.json.decode(msgspec.json.encode(record), type=dict[str, msgspec.Raw]).get(attribute)
    return None if said is None else msgspec.json.decode(said, type=str)


def _labelled(said: str, inputs: Inputs) -> tuple[str, list[str]]:
    """The text with a label for every known value, and the fields that they are the values of."""
    labels = {str(put): AROUND.get(path, f"`{path}`") for path, put in inputs.items()}
    labels |= {known: label for known, label in GIVEN.items() if known not in labels}
    paths = {str(put): path for path, put in inputs.items()}
    parts = re.split("(" + "|".join(map(re.escape, labels)) + ")", said)
    text = "".join(labels.get(part, part) for part in parts).replace("**", "* *")  # which Markdown would take for bold
    return text, [paths[part] for part in parts if part in paths]
