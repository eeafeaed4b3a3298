"""Holds `docs/events.md` to the readers: each attribute has the value of exactly the field that the table names."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from judges import judged
from normalized import RECEIPT, RECEIVED, encoded, signalled

from bridge.event import Event, Parked
from bridge.normalize import reference
from bridge.normalize.any_event import AnyStream, Pointers
from bridge.normalize.durable_work import TERMINAL, DurableWork, Noun
from bridge.normalize.own import destination_event, own_event
from bridge.normalize.run_event import AccountStream, RunStream
from bridge.sse import Decoder

PAGE = (Path(__file__).parents[1] / "docs" / "events.md").read_text("utf-8")
BASE = "https://api.example"
SAID = {
    "*base_url*": BASE, "*run*": "run-of-the-source", "*id*": "work-of-the-source", "*name*": "news", "*url*": "https://u",
    "*type_prefix*": "org.example.", "*event*": "otp", "*receipt*": RECEIPT, "*made id*": "made",
}  # fmt: skip
"""What the page's words in italics stand for here."""
OUTSIDE = {"*frame's id*": "frame id", "*frame's event*": "frame event", "*wrapper's id*": "wrapper id"}
Object = dict[str, Any]


def table(title: str) -> list[dict[str, str]]:
    """The rows of the one table of a section, by their headings."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


# -- one object of each generation, by CONTRACT sections A.2 to A.7 and D.1

OLDER = "id type kind source runId runtimeId runtimeKind spaceId time artifactId commandId connectionId contextId"
STREAMED = "id type time contextId durationSeconds name pageId status runId category connectionId frame_id"
TRACED = "id type pageId runId source spanId timestamp frame_id wrapper_id"
TODAY = (
    "id type object seq category channel outcome source runId runtimeId sandboxId spaceId pageId spanId taskId traceId "
    "conversationId time timestamp createdAt updatedAt frame_id"
)
WORK = (
    "id status runtimeId runtimeKind createdAt startedAt finishedAt cancelRequestedAt lastHeartbeatAt progress.step "
    "progress.message progress.totalSteps error.code result.ok"
)
FIELDS = {
    "`bctrl.run-events.wait`": OLDER + " correlationId name pageId status toolCallId",
    "`bctrl.run-events.stream`": STREAMED,
    "`bctrl.run.stream`, older": TRACED,
    "`bctrl.run.stream`": TODAY + " wrapper_id",
    "`bctrl.events.stream`": TODAY,
    "`bctrl.operation.wait`": WORK + " runtime workspaceId currentCall",
    "`bctrl.invocation.wait`": WORK + " runId spaceId correlationId entryCall executionMode sequenceNo durationMs",
    "`sse`": "id_pointer type_pointer subject_pointer time_pointer frame_id frame_event",
}


def built(names: str, salt: str) -> Object:
    """Values that occur once each: times are days of one month, numbers and texts tell their field."""
    found: Object = {}
    for at, name in enumerate(names.split()):
        if name in {"time", "timestamp", "time_pointer"} or name.endswith("At"):
            found[name] = f"2026-0{3 if salt == 'a' else 4}-{at + 1:02d}T00:00:00Z"
        elif name in {"progress.step", "seq", "sequenceNo", "durationMs", "progress.totalSteps"}:
            found[name] = 100 + at + (0 if salt == "a" else 50)
        else:
            found[name] = f"{salt}-{name.replace('.', '-')}-"
    return found | ({"status": "running"} if "progress.step" in found else {})


def nested(fields: Mapping[str, Any]) -> Object:
    """`a.b` as b inside a; what is outside the object is left out."""
    whole: Object = {}
    for name, value in fields.items():
        head, _, rest = name.partition(".")
        if rest:
            whole.setdefault(head, {})[rest] = value
        elif not name.startswith(("frame_", "wrapper_")):
            whole[name] = value
    return whole


def frame(fields: Mapping[str, Any], data: Object, name: str) -> bytes:
    """The bytes of a Server-Sent Event."""
    id_, event = fields.get("frame_id"), fields.get("frame_event", name)
    lines = [f"event: {event}" if event else "", f"id: {id_}" if id_ else "", f"data: {json.dumps(data)}"]
    return "\n".join(line for line in lines if line).encode() + b"\n\n"


def normalised(column: str, fields: Mapping[str, Any]) -> Object | None:
    """The event that the log gets of these fields, as the source of this column reads them; None if it gets none."""
    record = READ[column](fields)
    if not isinstance(record, Event):
        return None
    event = judged(encoded(record))
    del event["recordedtime"]  # of this moment
    return event


def _run() -> RunStream:
    return RunStream(SAID["*run*"], f"{BASE}/runs/{SAID['*run*']}")


def _framed(stream: RunStream | AnyStream, frames: bytes) -> Event | Parked | None:
    records = stream.batch(Decoder().feed(frames), RECEIVED).records
    assert len(records) <= 1
    return records[0] if records else None


def _wrapped(fields: Mapping[str, Any]) -> Event | Parked | None:
    wrapper = {
        "type": "runtime.event",
        "runId": "wrapped",
        "timestamp": "2026-05-01T00:00:00Z",
        "event": nested(fields),
    }
    return _framed(_run(), frame(fields, {"id": fields.get("wrapper_id"), **wrapper}, "runtime.event"))


def _work(noun: Noun, fields: Mapping[str, Any]) -> Event | Parked:
    work = DurableWork(noun, SAID["*id*"], f"{BASE}/{noun}s/{SAID['*id*']}")
    return work.answer(json.dumps({noun: nested(fields), "timedOutWaiting": True}).encode(), RECEIVED).record


def _any() -> AnyStream:
    pointers = Pointers("/id_pointer", "/type_pointer", "/subject_pointer", "/time_pointer")
    return AnyStream(SAID["*url*"], SAID["*name*"], pointers, SAID["*type_prefix*"], None, lambda: "made")


READ: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "`bctrl.run-events.wait`": lambda fields: _run().record(json.dumps(nested(fields)).encode(), RECEIVED),
    "`bctrl.run-events.stream`": lambda fields: _framed(_run(), frame(fields, nested(fields), "run.event")),
    "`bctrl.run.stream`, older": _wrapped,
    "`bctrl.run.stream`": _wrapped,
    "`bctrl.events.stream`": lambda fields: _framed(
        AccountStream("account", BASE), frame(fields, nested(fields), str(fields.get("type", "")))
    ),
    "`bctrl.operation.wait`": lambda fields: _work("operation", fields),
    "`bctrl.invocation.wait`": lambda fields: _work("invocation", fields),
    "`sse`": lambda fields: _framed(_any(), frame(fields, nested(fields), "")),
}


def expected(template: str, fields: Mapping[str, Any]) -> str:
    """What a cell's template says about these fields; KeyError where a field that it names isn't there."""
    parts = re.split(r"(`[^`]+`|\*[^*]+\*)", template.replace("* *", "**"))
    return "".join(str(_part(part, fields)) for part in parts)


def _part(part: str, fields: Mapping[str, Any]) -> object:
    if part in OUTSIDE:
        return fields[OUTSIDE[part].replace(" ", "_")]
    return SAID[part] if part.startswith("*") else fields[part.strip("`")] if part.startswith("`") else part


def named(template: str) -> list[str]:
    """The fields that a template names, in their order."""
    outside = {said: name.replace(" ", "_") for said, name in OUTSIDE.items()}
    parts = re.findall(r"`[^`]+`|\*[^*]+\*", template.replace("* *", "**"))
    return [outside.get(part, part.strip("`")) for part in parts if part in outside or part.startswith("`")]


# -- the tests


def test_the_page_is_current() -> None:
    """`docs/events.md` is what `python -m bridge.normalize` prints."""
    assert reference.markdown() == PAGE


def test_every_attribute_and_every_source_has_its_place() -> None:
    """The table has a row for each attribute but those that the text before it says, and a column for each kind."""
    rows = table("Attributes")
    names = {field.encode_name for field in msgspec.structs.fields(Event)}
    assert {row["attribute"].strip("`") for row in rows} | reference.EVERYWHERE == names
    assert {*FIELDS, *reference.MADE, "attribute"} == set(rows[0])
    assert all(f"`{name}`" in PAGE.partition("## Attributes")[0] for name in reference.EVERYWHERE - {"specversion"})


@pytest.mark.parametrize("column", FIELDS)
def test_each_attribute_has_the_value_of_the_field_that_the_table_names(column: str) -> None:
    """The first field that is there counts, then the next, in the cell's order; a cell without one is no attribute."""
    for row in table("Attributes"):
        name, cell = row["attribute"].strip("`"), row[column]
        if cell == "*by status*":
            continue
        fields = built(FIELDS[column], "a")
        for template in [] if cell == "-" else cell.split(", else "):
            event = normalised(column, fields)
            assert event is not None, (name, template, fields)
            default = {"frame_event": "message"} if column == "`sse`" else {}
            assert event.get(name) == expected(template, {**default, **fields}), (name, template)
            for field in named(template)[-1:]:
                del fields[field]
        event = normalised(column, fields)
        if event is not None and (cell == "-" or named(cell.split(", else ")[-1])):
            assert name not in event


@pytest.mark.parametrize("column", FIELDS)
def test_a_field_that_the_table_does_not_name_changes_no_attribute(column: str) -> None:
    """Of each field exactly those attributes change in whose cells it comes first; `data` holds every one."""
    rows = table("Attributes")
    before, others = built(FIELDS[column], "a"), built(FIELDS[column], "b")
    event = normalised(column, before)
    assert event is not None
    for field in before:
        if field == "status" and "progress.step" in before:
            others[field] = "dispatching"
        changed = normalised(column, {**before, field: others[field]})
        assert changed is not None
        different = {name for name in event.keys() | changed.keys() if event.get(name) != changed.get(name)}
        first = {row["attribute"].strip("`") for row in rows if field in named(row[column].partition(", else ")[0])}
        first |= {"partitionkey"} if "subject" in first else set()
        inside = not field.startswith(("frame_", "wrapper_"))
        by_status = {"time"} if "progress.step" in before and field in {"status", "lastHeartbeatAt"} else set()
        assert different == first | by_status | ({"data"} if inside else set()), field


@pytest.mark.parametrize("noun", ["operation", "invocation"])
def test_the_time_of_work_is_the_one_of_its_status(noun: Noun) -> None:
    """The table of times names the fields in their order for every status."""
    column = f"`bctrl.{noun}.wait`"
    rows = table("Times of operations and invocations")
    assert {status for row in rows for status in re.findall(r"`(\w+)`", row["status"])} > TERMINAL
    for row in rows:
        for status in re.findall(r"`(\w+)`", row["status"]):
            fields = {**built(FIELDS[column], "a"), "status": status}
            for template in row["`time`"].split(", else "):
                event = normalised(column, fields)
                assert event is not None
                assert event["time"] == expected(template, fields), (status, template)
                for field in named(template):
                    del fields[field]
            assert template == "*receipt*"


def test_resources_and_subjects_go_together() -> None:
    """Each row of the table of resources is what an event has whose earlier fields are not there."""
    rows = table("Resources and subjects")
    assert [row["kind"] for row in rows if row["kind"] != "`bctrl.events.stream`"] == [
        *(column for column in FIELDS if column != "`bctrl.events.stream`"), "`anchor.event.wait`"
    ]  # fmt: skip
    for column, names in FIELDS.items():
        fields = built(names, "a")
        for row in (row for row in rows if row["kind"] == column):
            event = normalised(column, fields)
            assert event is not None
            subject = row["subject"].partition(", else ")[0]
            assert (event["source"], event["subject"]) == (expected(row["source"], fields), expected(subject, fields))
            for field in named(row["source"]):
                del fields[field]


def test_signals_are_as_the_table_says() -> None:
    """A signal's attributes come from its name and its receipt; its id is made, and another one each time."""
    answer = b'{"data": {"id":"x","time":1}}'
    records = [*signalled(BASE, "otp", answer).records, *signalled(BASE, "otp", answer).records]
    event, again = (judged(encoded(record)) for record in records if isinstance(record, Event))
    for row in table("Attributes"):
        name, cell = row["attribute"].strip("`"), row["`anchor.event.wait`"]
        if cell == "-":
            assert name not in event
        elif name == "id":
            assert cell == "*UUIDv7*"
            assert (event["id"][14], event["id"] == again["id"]) == ("7", False)
        elif name == "time":
            assert cell == "*receipt*"
            assert event["time"] <= event["recordedtime"]
        else:
            assert event[name] == expected(cell, {})
    assert event["data"] == {"id": "x", "time": 1}


def test_the_bridges_own_events_are_as_the_table_says() -> None:
    """Their attributes are those of the source or destination that they are about, and what the bridge found."""
    event = own_event(id_="news:gap:u", resource="https://r", subject="s", what="gap", data={"a": 1}, time=RECEIPT)
    said = {"*name*": "news", "*what*": "gap", "*UUIDv7*": "u", "*resource*": "https://r", "*subject*": "s"}
    agree("the bridge's own, about a source", encoded(event), said)
    type_, text = destination_event(id_="u", destination="crm", what="probing", data={"a": 1}, time=RECEIPT)
    agree("the bridge's own, about a destination", text, {"*UUIDv7*": "u", "*destination*": "crm", "*what*": "probing"})
    assert judged(text)["type"] == type_


def agree(column: str, event: bytes, said: dict[str, str]) -> None:
    """Each cell of this column is what the event has, these words put in."""
    for row in table("Attributes"):
        cell = row[column]
        for word, value in {**said, "*now*": RECEIPT}.items():
            cell = cell.replace(word, value)
        assert judged(event).get(row["attribute"].strip("`"), "-") == cell
