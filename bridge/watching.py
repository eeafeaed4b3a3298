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
    problems = []
    account = command.account
    if not account:
        bctrl = [name for name, one in roster.file.accounts.items() if one.provider == "bctrl"]
        if len(bctrl) != 1:
            known = f"one of: {', '.join(bctrl)}" if bctrl else "an account of bctrl, of which there is none"
            problems.append(Problem("account", f"is missing; expected {known}"))
        account = bctrl[0] if bctrl else ""
    try:
        keep = duration(command.keep)
    except ValueError as error:
        problems.append(Problem("keep", str(error)))
        keep = 0.0
    if problems:
        raise Declined("invalid", "the run can't be watched", tuple(problems))
    id_ = command.id or f"run-{_NOT_IN_NAMES.sub('-', command.run)}"[:128]
    watch = Watch(command.run, keep)
    changes: dict[str, str] = {}
    source = _already(roster, command, account)
    if source is None:
        source = id_
        reading: Spec = {"account": account, "kind": command.kind, "run": command.run, "from": "start"}
        changes.update(roster.add(("sources", id_), reading, time, watch).changes)
    if command.destination is not None:
        before = roster.added.get(("destinations", id_))
        begin = since if changes else "start"
        if before is not None:  # the same again, later: it has begun already
            begin = before.spec.get("from", begin)
        spec: Spec = {"from": begin, **command.destination, "subjects": [command.run]}
        try:
            changes.update(roster.add(("destinations", id_), spec, time, watch).changes)
        except Declined as declined:
            raise _within(declined) from None
    return Plan(Done(source, changed=bool(changes)), changes)


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


def _within(declined: Declined) -> Declined:
    problems = tuple(Problem(f"destination.{each.path}", each.message) for each in declined.problems)
    return Declined(declined.kind, declined.detail, problems)
