"""Watching one run in one call: which source, and which destination, that takes. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from bridge.commands import Done, Spec, WatchRun
from bridge.errors import Declined, Problem
from bridge.roster import Plan, Roster, Watch
from bridge.settings import RunEventsStream, RunEventsWait, RunStream
from bridge.settings.units import duration

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._:-]")


def watched(roster: Roster, command: WatchRun, time: str, since: str) -> Plan:
    """What watching this run changes: nothing where it is watched already. Raises Declined.

    A destination of a run that nobody has watched yet needs nothing of the log from before `since`, a time just past.
    """
    account, problems = _account(roster, command)
    keep = 0.0
    try:
        keep = duration(command.keep)
    except ValueError as error:
        problems.append(Problem("keep", str(error)))
    id_ = command.id or f"run-{_NOT_IN_NAMES.sub('-', command.run)}"[:128]
    watch = Watch(command.run, keep)
    changes: dict[str, str] = {}
    kinds: list[Declined] = []
    source = _already(roster, command, account)
    if source is None:
        source = id_
        reading: Spec = {"account": account, "kind": command.kind, "run": command.run, "from": "start"}
        try:
            changes.update(roster.add(("sources", id_), reading, time, watch).changes)
        except Declined as declined:
            kinds.append(declined)
            problems += [each for each in declined.problems if each.path != "account" or account]
    if command.destination is not None:
        begin = since if source == id_ else "start"
        try:
            changes.update(roster.add(("destinations", id_), _hook(roster, command, id_, begin), time, watch).changes)
        except Declined as declined:
            kinds.append(declined)
            problems += [Problem(f"destination.{each.path}", each.message) for each in declined.problems]
    if problems or kinds:
        first = kinds[0] if kinds and not problems else Declined("invalid", "the run can't be watched")
        raise Declined(first.kind, first.detail, tuple(dict.fromkeys(problems)))
    return Plan(Done(source, changed=bool(changes), state="connecting" if source == id_ else ""), changes)


def _account(roster: Roster, command: WatchRun) -> tuple[str, list[Problem]]:
    """The account, or why there is none to take."""
    if command.account:
        return command.account, []
    bctrl = [name for name, one in roster.file.accounts.items() if one.provider == "bctrl"]
    if len(bctrl) == 1:
        return bctrl[0], []
    known = f"one of: {', '.join(bctrl)}" if bctrl else "an account of bctrl, of which there is none"
    return "", [Problem("account", f"is missing; expected {known}")]


def _hook(roster: Roster, command: WatchRun, id_: str, begin: str) -> Spec:
    before = roster.added.get(("destinations", id_))
    if before is not None:  # the same again, later: it has begun already
        begin = before.spec.get("from", begin)
    return {"from": begin, **(command.destination or {}), "subjects": [command.run]}


def _already(roster: Roster, command: WatchRun, account: str) -> str | None:
    """The source that reads the whole run already."""
    for name in roster.ids("sources"):
        model = roster.model(("sources", name))
        if isinstance(model, RunEventsStream | RunEventsWait | RunStream):
            same: Mapping[str, Any] = {"account": account, "run": command.run, "kind": command.kind}
            if all(getattr(model, key) == value for key, value in same.items()) and not _filtered(model):
                return name
    return None


def _filtered(model: RunEventsStream | RunEventsWait | RunStream) -> bool:
    keys = ("types", "categories", "kinds", "sources", "connection", "page", "context", "include")
    return any(getattr(model, key, None) for key in keys)
