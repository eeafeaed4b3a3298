"""What a command changes is planned whole, before anything is stored or started."""

import json
from typing import Any

import pytest

from bridge.commands import (
    AddDestination,
    AddSource,
    ChangeSource,
    Command,
    PauseSource,
    RemoveSource,
    ResumeSource,
    WatchRun,
)
from bridge.errors import Declined
from bridge.roster import MOST, Plan, Roster
from bridge.settings import Settings
from bridge.watching import watched

SECRET = "whsec_Zm9yIHRoZSB0ZXN0cyBvbmx5LCBub3Qgc2VjcmV0"
NOW, SINCE = "2026-11-22T08:00:00.000Z", "2026-11-22T07:59:00.000Z"
HOOK = {"url": "https://crm.example/hooks", "secrets": [SECRET]}


def run(name: str, **keys: Any) -> dict[str, Any]:
    """The keys of a source that reads a run."""
    return {"account": "bctrl", "kind": "bctrl.run-events.stream", "run": name, **keys}


def file(*accounts: str, **sources: dict[str, Any]) -> Settings:
    """A configuration file with these sources."""
    named = {name: {"provider": "bctrl", "api_key": "key-key"} for name in accounts or ("bctrl",)}
    tables: dict[str, Any] = {"instance": "x", "accounts": named, "sources": sources}
    return Settings(**tables)


class Kept:
    """A roster, and what would be stored."""

    def __init__(self, settings: Settings) -> None:
        self.roster = Roster(settings)
        self.fields: dict[str, str] = {}

    def do(self, command: Command) -> Plan:
        """Plan a command, and take the plan for stored."""
        if isinstance(command, WatchRun):
            plan = watched(self.roster, command, NOW, SINCE)
        else:
            plan = self.roster.plan(command, NOW)
        self.fields = {name: value for name, value in {**self.fields, **plan.changes}.items() if value}
        self.roster.adopt(self.fields)
        return plan

    def refused(self, command: Command) -> Declined:
        """A command that is declined."""
        with pytest.raises(Declined) as caught:
            self.do(command)
        return caught.value

    @property
    def wanted(self) -> set[str]:
        """The sources and destinations that would run."""
        settings = self.roster.wanted
        return {*settings.sources, *settings.destinations}


def test_the_same_again_changes_nothing_and_another_is_a_conflict() -> None:
    """Adding is idempotent by id, however the values are written."""
    kept = Kept(file())
    assert kept.do(AddSource("a", run("r1", recheck="60s"))).done.changed
    assert not kept.do(AddSource("a", run("r1", recheck=60))).done.changed
    assert kept.refused(AddSource("a", run("r2"))).kind == "conflict"
    assert kept.wanted == {"a"}


def test_the_file_wins_and_what_was_added_waits_behind_it() -> None:
    """An added definition of an id that the file names is shadowed, and is back once the file names it no more."""
    kept = Kept(file())
    kept.do(AddSource("a", run("r1")))
    kept.roster.replace(file(a=run("r2")))
    assert kept.roster.wanted.sources["a"].run == "r2"  # type: ignore[union-attr]
    definition = kept.roster.definition(("sources", "a"))
    assert (definition.defined, definition.shadowed) == ("file", True)
    assert kept.refused(ChangeSource("b", run("r1"))).kind == "missing"
    assert kept.refused(AddSource("a", run("r1"))).kind == "conflict"
    kept.roster.replace(file())
    assert kept.roster.wanted.sources["a"].run == "r1"  # type: ignore[union-attr]


def test_what_the_file_defines_can_be_paused_but_not_changed() -> None:
    """Pausing is kept beside the file; changing and removing belong into it."""
    kept = Kept(file(a=run("r1")))
    assert kept.refused(RemoveSource("a")).kind == "conflict"
    assert kept.refused(ChangeSource("a", run("r3"))).kind == "conflict"
    assert kept.do(PauseSource("a")).done.changed
    assert not kept.do(PauseSource("a")).done.changed
    assert kept.wanted == set()
    assert kept.do(ResumeSource("a")).done.changed
    assert kept.wanted == {"a"}


def test_a_patch_changes_what_it_names_and_keeps_what_is_secret() -> None:
    """A JSON merge patch (RFC 7396): null takes a key away."""
    kept = Kept(file())
    sse = {"kind": "sse", "url": "https://n.example/", "headers": {"Authorization": "Bearer s"}, "recheck": "60s"}
    kept.do(AddSource("a", sse))
    kept.do(ChangeSource("a", {"recheck": None, "type_prefix": "n."}, patch=True))
    source = kept.roster.wanted.sources["a"]
    assert (source.type_prefix, source.recheck) == ("n.", 300.0)  # type: ignore[union-attr]
    stored = json.loads(kept.fields["sources a"])["spec"]
    assert stored == {
        "kind": "sse", "url": "https://n.example/", "headers": {"Authorization": "Bearer s"}, "type_prefix": "n."
    }  # fmt: skip
    assert kept.refused(ChangeSource("a", {"kind": None}, patch=True)).problems[0].path == "kind"


def test_what_no_longer_fits_the_file_rests_and_says_why() -> None:
    """A reload that takes an account away leaves what was added with it unusable, and everything else alone."""
    kept = Kept(file("bctrl", "other"))
    kept.do(AddSource("a", run("r1", account="other")))
    kept.do(AddSource("b", run("r2")))
    kept.roster.replace(file("bctrl"))
    assert kept.wanted == {"b"}
    assert kept.roster.unusable["sources", "a"][0].path == "account"
    assert kept.do(RemoveSource("a")).done.changed


def test_damaged_definitions_spoil_no_other() -> None:
    """Whatever lies in Redis, the rest runs."""
    kept = Kept(file())
    kept.do(AddSource("a", run("r1")))
    kept.roster.adopt({**kept.fields, "sources b": "{", "sources c": '{"spec": 1}', "what": "x", "paused": ""})
    assert kept.wanted == {"a"}
    assert {name for _, name in kept.roster.unusable} == {"b", "c"}


def test_a_run_is_watched_in_one_call() -> None:
    """The source, from the run's beginning, and a destination that gets this run's events and no others."""
    kept = Kept(file())
    assert kept.do(WatchRun("r/1", destination=HOOK)).done.id == "run-r-1"
    settings = kept.roster.wanted
    source, destination = settings.sources["run-r-1"], settings.destinations["run-r-1"]
    assert (source.run, source.from_) == ("r/1", "start")  # type: ignore[union-attr]
    assert (destination.subjects, destination.from_) == (("r/1",), SINCE)
    assert not kept.do(WatchRun("r/1", destination=HOOK)).done.changed


def test_a_run_that_is_read_already_is_not_read_twice() -> None:
    """Whoever reads the whole run is the watch's source; one with filters is not."""
    kept = Kept(file(a=run("r1"), b=run("r2", types=["x"])))
    plan = kept.do(WatchRun("r1", destination=HOOK))
    assert (plan.done.id, plan.done.changed, list(plan.changes)) == ("a", True, ["destinations run-r1"])
    assert kept.roster.wanted.destinations["run-r1"].from_ == "start"
    assert kept.do(WatchRun("r2")).done.id == "run-r2"


def test_a_watch_says_all_that_is_wrong() -> None:
    """Each problem at its key, and nothing half applied."""
    kept = Kept(file("one", "two"))
    hook = {"url": "ftp://x", "secrets": []}
    refused = kept.refused(WatchRun("r", keep="long", destination=hook))
    assert {each.path for each in refused.problems} == {"account", "keep", "destination.url", "destination.secrets"}
    refused = kept.refused(WatchRun("r", account="nobody", keep="long", destination=hook))
    assert [each.path for each in refused.problems if each.path == "account"] == ["account"]
    assert kept.fields == {}


def test_there_is_a_most() -> None:
    """Nobody fills the daemon's memory with definitions, large or many."""
    kept = Kept(file())
    many = {f"destinations d{at}": "{" for at in range(10)}
    kept.roster.adopt(many)
    large = {**HOOK, "types": ["x" * 1000 for _ in range(100)]}
    assert "bytes of keys" in str(kept.refused(AddDestination("a", large)))
    kept.roster.added = {("sources", str(at)): None for at in range(MOST)}  # type: ignore[misc]  # only counted
    assert kept.refused(AddDestination("b", HOOK)).kind == "conflict"
