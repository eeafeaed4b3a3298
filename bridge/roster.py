"""What a bridge is to run: the file's sources and destinations, those added while running, and what is paused.

Pure: plans what a command changes, and stores and starts nothing. Where both define the same id the file's is in use,
and the added one waits, shadowed, until the file names that id no more.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from bridge import commands
from bridge.commands import Command, Done, Spec
from bridge.errors import Declined, Problem
from bridge.overview import Defined
from bridge.ports import Definition
from bridge.settings import AnyDestination, AnySource, Settings
from bridge.settings.added import MOST_BYTES, Section, Tables, Unfit, added, fit, keys_of, shown, tables_of

MOST = 10_000
"""Sources and destinations added while running, at most."""

At = tuple[Section, str]
_SECTIONS: tuple[Section, ...] = ("sources", "destinations")
_PAUSED = "paused "
_NOUNS = {"sources": "source", "destinations": "destination"}


class Watch(msgspec.Struct, frozen=True):
    """A definition made to watch one run; it goes `keep` seconds after the run's end."""

    run: str
    keep: float


class Added(msgspec.Struct, frozen=True):
    """A definition as it is stored."""

    spec: Spec
    time: str = ""
    watch: Watch | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a command changes of what is stored, by field; "" removes one."""

    done: Done
    changes: Mapping[str, str] = field(default_factory=dict)


def field_of(at: At) -> str:
    """The field that stores a definition."""
    return f"{at[0]} {at[1]}"


class Roster:
    """The whole of it at one moment; `replace` and `adopt` make it another."""

    def __init__(self, file: Settings) -> None:
        self.file = file
        self.added: dict[At, Added] = {}
        self.paused: set[At] = set()
        self.unusable: dict[At, tuple[Problem, ...]] = {}
        """What was added and does not fit the file any more, and why."""
        self._models: dict[At, AnySource | AnyDestination] = {}
        self._tables: Tables = tables_of(file)
        self._judged: dict[At, tuple[Spec, AnySource | AnyDestination]] = {}
        """What the last plans were about, so that it isn't judged twice."""
        self._given: dict[At, tuple[object, Tables]] = {}
        """The tables of models, kept: making them anew for each command takes a second of ten thousand."""

    def replace(self, file: Settings) -> None:
        """Another file, beside the same additions."""
        self.file, self._tables = file, tables_of(file)
        self._models, self._judged = {}, {}
        self._fit()

    def adopt(self, fields: Mapping[str, str]) -> None:
        """What is stored now, by field; what can't be read is unusable and stays there."""
        before, self.added, self.paused = self.added, {}, set()
        damaged: dict[At, tuple[Problem, ...]] = {}
        for name, value in fields.items():
            section, _, id_ = name.removeprefix(_PAUSED).partition(" ")
            for known in _SECTIONS:
                if section == known and name.startswith(_PAUSED):
                    self.paused.add((known, id_))
                elif section == known:
                    try:
                        self.added[known, id_] = msgspec.json.decode(value, type=Added)
                    except msgspec.MsgspecError as error:
                        damaged[known, id_] = (Problem("", f"what is stored is damaged: {error}"),)
        same = {at for at, one in self.added.items() if at in before and before[at].spec == one.spec}
        self._models = {at: model for at, model in self._models.items() if at in same}
        self._given = {at: given for at, given in self._given.items() if at in same}
        self._fit()
        self.unusable |= damaged

    def _fit(self) -> None:
        """Judge what was not judged yet, beside the file and what was."""
        specs: dict[Section, dict[str, Spec]] = {section: {} for section in _SECTIONS}
        judged, self._judged = self._judged, {}
        for at, one in self.added.items():
            if at in self._models or self.in_file(at):
                continue
            if at in judged and judged[at][0] == one.spec:
                self._models[at] = judged[at][1]
            else:
                specs[at[0]][at[1]] = one.spec
        self._models = {at: model for at, model in self._models.items() if not self.in_file(at)}
        self.unusable = {}
        if not any(specs.values()):
            return
        for at, found in fit(specs, self._around()).items():
            if isinstance(found, Unfit):
                self.unusable[at] = found.problems
            else:
                self._models[at] = found

    # -- what there is

    def in_file(self, at: At) -> bool:
        """Whether the file defines it."""
        return at[1] in getattr(self.file, at[0])

    def known(self, at: At) -> bool:
        """Whether there is one."""
        return at in self.added or at in self.unusable or self.in_file(at)

    def model(self, at: At) -> AnySource | AnyDestination | None:
        """What it is; None where it can't be used."""
        found: AnySource | AnyDestination | None = getattr(self.file, at[0]).get(at[1])
        return found or self._models.get(at)

    def ids(self, section: Section) -> list[str]:
        """All of them, the file's first."""
        later = {name for of, name in (*self.added, *self.unusable) if of == section}
        named = getattr(self.file, section)
        return [*named, *sorted(later - named.keys())]

    def defined(self, at: At) -> Defined:
        """Where the one in use is defined."""
        return "file" if self.in_file(at) else "added"

    @property
    def wanted(self) -> Settings:
        """What is to run: the file's settings with all usable sources and destinations that aren't paused."""
        update: dict[str, object] = {}
        for section in _SECTIONS:
            models = {name: self.model((section, name)) for name in self.ids(section)}
            update[section] = {
                name: model for name, model in models.items() if model and (section, name) not in self.paused
            }
        return self.file.model_copy(update=update)

    @property
    def resting(self) -> list[str]:
        """The destinations that are paused, or can't be used for now."""
        return [name for section, name in (*self.paused, *self.unusable) if section == "destinations"]

    def definition(self, at: At) -> Definition:
        """How it is defined, without its secrets."""
        model = self.model(at)
        spec, hidden = (self.added[at].spec if at in self.added else {}, []) if model is None else shown(model)
        if model is None:  # it can't be read as a whole, so nobody can tell which of its values are secret
            spec, hidden = {}, sorted(spec)
        return Definition(
            id=at[1], defined=self.defined(at), paused=at in self.paused,
            shadowed=at in self.added and self.in_file(at), spec=spec, hidden=hidden,
        )  # fmt: skip

    def run_of(self, source: str) -> str | None:
        """The run that a source reads, if it reads one."""
        found: str | None = getattr(self.model(("sources", source)), "run", None)
        return found

    def watches(self) -> Iterator[tuple[At, Watch]]:
        """What was made to watch a run."""
        return ((at, one.watch) for at, one in self.added.items() if one.watch is not None)

    # -- what a command changes

    def plan(self, command: Command, time: str) -> Plan:
        """What it would change. Raises Declined, with every problem at once."""
        match command:
            case commands.AddSource() | commands.AddDestination():
                return self.add((_section(command), command.id), command.spec, time)
            case commands.ChangeSource() | commands.ChangeDestination():
                return self._change((_section(command), command.id), command.spec, time, patch=command.patch)
            case commands.RemoveSource() | commands.RemoveDestination():
                return self._remove((_section(command), command.id))
            case commands.PauseSource() | commands.PauseDestination():
                return self._pause((_section(command), command.id), time)
            case commands.ResumeSource() | commands.ResumeDestination():
                return self._resume((_section(command), command.id))
            case _:
                return Plan(Done(command.id, changed=False))

    def add(self, at: At, spec: Spec, time: str, watch: Watch | None = None) -> Plan:
        """Adding one; nothing where it is there already. Raises Declined."""
        if self.in_file(at):
            raise Declined("conflict", f"{_name(at)} is defined in the configuration file; change it there")
        model = self._judge(at, spec)
        if at in self.added:
            if self._models.get(at) == model:
                return Plan(Done(at[1], changed=False))
            raise Declined("conflict", f"there is another {_name(at)} already; change that, or remove it first")
        if len(self.added) >= MOST:
            raise Declined("conflict", f"{MOST} sources and destinations were added already; remove some first")
        return Plan(Done(at[1], changed=True, state=_begins(at)), {field_of(at): _stored(Added(spec, time, watch))})

    def _change(self, at: At, spec: Spec, time: str, *, patch: bool) -> Plan:
        self._must_be_added(at)
        before = self.added.get(at, Added({}))
        changed: Spec = _patched(before.spec, spec) if patch else spec
        model = self._judge(at, changed)
        if self._models.get(at) == model and changed == before.spec:
            return Plan(Done(at[1], changed=False))
        state = "paused" if at in self.paused else _begins(at)
        return Plan(
            Done(at[1], changed=True, state=state), {field_of(at): _stored(Added(changed, time, before.watch))}
        )  # fmt: skip

    def _remove(self, at: At) -> Plan:
        self._must_be_added(at)
        changes = {field_of(at): ""}
        if at in self.paused:
            changes[_PAUSED + field_of(at)] = ""
        return Plan(Done(at[1], changed=True, state="removed"), changes)

    def _pause(self, at: At, time: str) -> Plan:
        self._must_be(at)
        changes = {} if at in self.paused else {_PAUSED + field_of(at): time}
        return Plan(Done(at[1], changed=bool(changes), state="paused"), changes)

    def _resume(self, at: At) -> Plan:
        self._must_be(at)
        if at not in self.paused:
            return Plan(Done(at[1], changed=False, state="unusable" if at in self.unusable else ""))
        state = "unusable" if at in self.unusable else _begins(at)
        return Plan(Done(at[1], changed=True, state=state), {_PAUSED + field_of(at): ""})

    def _judge(self, at: At, spec: Spec) -> AnySource | AnyDestination:
        size = len(msgspec.json.encode(spec))
        if size > MOST_BYTES:
            raise Declined("invalid", f"{_name(at)} has {size} bytes of keys, above {MOST_BYTES}")
        try:
            model = added(at[0], at[1], spec, self._around(at))
        except Unfit as unfit:
            raise Declined("invalid", f"{_name(at)} can't be used", unfit.problems) from None
        self._judged[at] = spec, model
        return model

    def _around(self, but: At | None = None) -> Tables:
        """The tables of everything that is in use, but of one."""
        tables = dict(self._tables)
        for section in _SECTIONS:
            tables[section] = dict(tables.get(section, {}))
        for (section, name), model in self._models.items():
            if (section, name) not in self._given or self._given[section, name][0] is not model:
                self._given[section, name] = model, keys_of(model)
            tables[section][name] = self._given[section, name][1]
        if but is not None:
            tables[but[0]].pop(but[1], None)
        return tables

    def _must_be(self, at: At) -> None:
        if not self.known(at):
            raise Declined("missing", f"there is no {_name(at)}")

    def _must_be_added(self, at: At) -> None:
        self._must_be(at)
        if self.in_file(at):
            raise Declined(
                "conflict",
                f"{_name(at)} is defined in the configuration file, which is in use; change it there, or pause it",
            )


def _section(command: Any) -> Section:  # noqa: ANN401  # any command about one source or destination
    of: Literal["source", "destination"] = command.__struct_config__.tag.partition(".")[0]
    return "sources" if of == "source" else "destinations"


def _begins(at: At) -> str:
    """The state in which one begins."""
    return "connecting" if at[0] == "sources" else "active"


def _name(at: At) -> str:
    return f"{_NOUNS[at[0]]} {at[1]!r}" if at[1].isprintable() else f"such {_NOUNS[at[0]]}"


def _stored(one: Added) -> str:
    return msgspec.json.encode(one).decode()


def _patched(target: Any, patch: Any) -> Any:  # noqa: ANN401  # JSON
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    found = deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _patched(found.get(key), value)
    return found
