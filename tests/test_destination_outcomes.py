"""Holds what comes of an attempt to the table of outcomes, row by row, as a receiver and the dead letters show it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from delivering import QUICK, Stage, destination
from receiver import Hook, Receiver, accept, status
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Result
from bridge.delivery.outcome import NO_ANSWER, TABLE, Row

STATUSES = (200, 201, 206, 299, 300, 302, 304, 400, 401, 403, 404, 405, 407, 408, 409, 413, 415, 422, 425, 429,
            451, 499, 500, 501, 502, 503, 504, 599)  # fmt: skip
BROKEN = ("cut", "garbage")
"""No status: a connection that ends, an answer that is no HTTP."""
TYPES = ["ai.bctrl.*"]
URL = "/hook?token=hidden"


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers what the event's subject says: a status, or nothing proper."""
    async with Receiver(by_subject) as found:
        yield found


async def by_subject(hook: Hook) -> web.StreamResponse:
    """The status that the subject begins with."""
    kind = hook.subject.partition(" ")[0]
    if kind in BROKEN:
        transport = hook.request.transport
        assert transport is not None
        if kind == "garbage":
            transport.write(b"SMTP/1.0 220 hello \xff\r\n\r\n")
        transport.close()
    number = int(kind) if kind.isdigit() else 500
    return web.Response(status=number, headers={"Location": "/on"}, body=b"" if number in {204, 304} else b"so it is")


def row_of(answer: str) -> Row:
    """The first row that fits."""
    return NO_ANSWER if answer in BROKEN else next(row for row in TABLE if int(answer) in row.statuses)


ROWS = {
    row.answers: [answer for answer in [*map(str, STATUSES), *BROKEN] if row_of(answer) is row]
    for row in (*TABLE, NO_ANSWER)
    if row.result is not Result.GONE and row.answers != "any other status"
}


@pytest.mark.parametrize("name", ROWS)
async def test_a_row_of_the_table(stage: Stage, receiver: Receiver, name: str) -> None:
    """So many attempts as its result allows, the next of the subject only then, and a dead letter that says all."""
    subjects = ROWS[name]
    row = row_of(subjects[0])
    made = {Result.DELIVERED: 1, Result.REFUSED: 3}.get(row.result, 2)
    stage.put([(f"e-{subject}", subject) for subject in subjects])
    behind = subjects[: len(subjects) < 4]  # so many failures that the breaker stays shut
    stage.put([(f"f-{subject}", subject) for subject in behind])
    attempts = 2 if row.counts else 10
    there = destination("crm", receiver.url + URL, types=TYPES, max_attempts=attempts, retry_schedule=QUICK)
    async with stage.bridge(there):
        await stage.all_settled("crm")
    assert subjects
    assert {hook.target for hook in receiver.hooks} == {URL}
    for subject in subjects:
        after = [f"f-{subject}"] * made if subject in behind else []
        assert receiver.ids(subject) == [f"e-{subject}"] * made + after
        assert len({hook.headers["webhook-id"] for hook in receiver.of(f"e-{subject}")}) == 1
    letters = {letter["id"]: letter for letter in stage.dead("crm")}
    assert len(letters) == (0 if row.result is Result.DELIVERED else len(subjects) + len(behind))
    entries = stage.entries()
    for id_, letter in letters.items():
        subject = letter["subject"]
        told = ["last_answer"] if subject.isdigit() and subject != "304" else []
        assert list(letter) == [
            "id", "type", "subject", "event", "entry", "attempts", "last_status", "last_error", "time", *told,
        ]  # fmt: skip
        assert (letter["entry"], letter["event"].encode()) == entries[id_]
        assert (letter["type"], letter["attempts"]) == ("ai.bctrl.navigation", str(made))
        assert letter["last_status"] == (subject if subject.isdigit() else "")
        assert letter["last_error"] == f"answered {subject}: {row.reads}" or row is NO_ANSWER
        assert letter.get("last_answer", "so it is") == "so it is"
        assert "hidden" not in letter["last_error"]
        assert abs(datetime.now(UTC) - datetime.fromisoformat(letter["time"])) < timedelta(seconds=60)


async def test_a_refusal_is_tried_again_by_the_schedule_or_not_at_all(stage: Stage, receiver: Receiver) -> None:
    """`on_refused = "retry"` makes three tries at the schedule's times, `"dead"` one; neither is near the breaker."""
    events = [(f"e{number}", f"422 {number}") for number in range(12)]
    stage.put(events)
    async with Receiver(by_subject) as strict:
        patient = destination("patient", receiver.url, types=TYPES, retry_schedule=[0.1, 0.4])
        at_once = destination("hasty", strict.url, types=TYPES, retry_schedule=[9], on_refused="dead")
        async with stage.bridge(patient, at_once):
            await stage.all_settled("patient")
            await stage.all_settled("hasty")
        assert sorted(strict.ids()) == sorted(id_ for id_, _ in events)
    for id_, _ in events:
        first, second, third = (hook.at for hook in receiver.of(id_))
        assert 0.07 < second - first < 0.35
        assert 0.31 < third - second < 0.75
    assert [letter["attempts"] for letter in stage.dead("patient")] == ["3"] * 12
    assert [letter["attempts"] for letter in stage.dead("hasty")] == ["1"] * 12
    assert stage.told("patient") == stage.told("hasty") == []


@pytest.mark.parametrize("kind", ["500 a", "422 a"], ids=["failed", "refused"])
async def test_what_is_exhausted_blocks_its_subject_where_asked_to(
    stage: Stage, receiver: Receiver, kind: str
) -> None:  # fmt: skip
    """`on_exhausted = "block"`: it is tried on at the last wait, its subject waits, others flow, none is given up."""
    stage.put([("e1", kind), ("e2", kind), ("f1", "204 b")])
    keys = {"retry_schedule": [0.03], "max_attempts": 2, "on_exhausted": "block"}
    async with stage.bridge(destination("crm", receiver.url, types=TYPES, **keys)):
        await wait_until(lambda: len(receiver.of("e1")) >= 5, "more attempts than there are")
        assert (receiver.of("e2"), len(receiver.of("f1"))) == ([], 1)
        receiver.answer = accept
        await stage.all_settled("crm")
    assert receiver.ids(kind)[-2:] == ["e1", "e2"]
    assert stage.dead("crm") == []


@pytest.mark.parametrize("number", [429, 503])
async def test_one_answer_that_asks_to_wait_pauses_the_whole_destination(
    stage: Stage, receiver: Receiver, number: int
) -> None:  # fmt: skip
    """Retry-After holds all subjects back, in flight ones end, and it uses up no more attempts than were made."""
    receiver.answer = status(number, Retry_After="1")
    stage.put([("e1", "run-1")])
    async with stage.bridge(destination("crm", receiver.url, types=TYPES, retry_schedule=[0.01])):
        await wait_until(lambda: receiver.hooks, "the first attempt")
        await wait_until(lambda: stage.attempts("crm", "run-1") == 1, "its failure in the log")
        receiver.answer = accept
        stage.put([(f"e{number}", f"run-{number}") for number in range(2, 6)])
        await stage.all_settled("crm")
    first, *others = sorted(hook.at for hook in receiver.hooks)
    assert len(others) == 5
    assert all(1.0 <= at - first < 2.5 for at in others)
