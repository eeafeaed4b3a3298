"""Turns BRIDGE_... variables into keys of the configuration. Pure: is given the environment; shows no value.

`BRIDGE_GRACE` is `grace`, `BRIDGE_REDIS__URL` is `redis.url`, and `BRIDGE_ACCOUNTS__BCTRL_EU__API_KEY` belongs to
the account `bctrl_eu` or `Bctrl-EU`: case doesn't matter, and `-`, `.` and `:` stand as `_` in a variable's name.
`BRIDGE_SOURCES__NEWS__HEADERS__X_API_KEY` is the header `X-Api-Key` of the source `news`, and
`BRIDGE_DESTINATIONS__CRM__BATCH__MAX_EVENTS` the key `max_events` of the table `batch` of the destination `crm`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from bridge.settings import shape
from bridge.settings.schema import Settings
from bridge.settings.shape import ENTRIES, TABLES, Finding, unknown_key

PREFIX = "BRIDGE_"
CONFIG_VARIABLE = "BRIDGE_CONFIG"
"""Names the configuration file; read by the command line."""

_SERVICE = re.compile(r"BRIDGE_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
"""What Kubernetes and container links set for a service named "bridge": not meant for this program."""

_SECRETS = frozenset({"api_key", "password", "token"})
"""Keys that have a `..._file` beside them, of which one is enough."""

_HEADER = 4
"""Parts of the path of a header: the section, id, `headers`, name."""

_TABLE_OR_VALUE = "retry_schedule"
"""A key that has a table's form beside others; a variable for a key of the table sets them aside."""

_BESIDE = {"headers": "header_files", "header_files": "headers"}

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,9})?")


@dataclass(slots=True)
class Overlay:
    """What the environment says: values by key path, the variable of each, what is wrong with the rest."""

    values: dict[shape.Path, object] = field(default_factory=dict)
    variables: dict[shape.Path, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, variable: str, text: str, tables: dict[str, Any]) -> None:
        """Takes one variable in. Raises _NoKey."""
        path, info = _located(variable.upper().removeprefix(PREFIX).lower(), tables)
        for taken in (path, path[:-1]):
            if taken in self.values:
                raise _NoKey(f"sets the same key as {shape.one_line(self.variables[taken])}; remove one of them")
        self.values[path] = _value(text, info)
        self.variables[path] = variable

    def over(self, tables: dict[str, Any]) -> None:
        """Puts the values into `tables`, over what is there; what is no table there stays, to be refused."""
        for path, value in self.values.items():
            *above, key = map(str, path)
            self._displace_header(path, tables)
            here: Any = tables
            for name in above:
                if name == _TABLE_OR_VALUE and isinstance(here, dict) and isinstance(here.get(name), str | list):
                    here[name] = {}
                here = here.setdefault(name, {}) if isinstance(here, dict) else None
            if isinstance(here, dict):
                here[key] = value
                self._displace(path, here)

    def _displace(self, path: shape.Path, table: dict[str, Any]) -> None:
        """A secret from the environment wins over a secret's file in the file, and the other way round."""
        key = str(path[-1])
        other = key.removesuffix("_file") if key.endswith("_file") else f"{key}_file"
        if {key, other} & _SECRETS and (*path[:-1], other) not in self.values:
            table.pop(other, None)

    def _displace_header(self, path: shape.Path, tables: dict[str, Any]) -> None:
        """The same for a header, whatever the case of its name in the file."""
        other = _BESIDE.get(str(path[2])) if len(path) == _HEADER else None
        if other is None:
            return
        entry = shape.table(shape.table(tables, str(path[0])), str(path[1]))
        headers = shape.table(entry, other)
        for name in [name for name in headers if name.lower() == str(path[-1]).lower()]:
            if (*path[:2], other, name) not in self.values:
                del headers[name]


class _NoKey(Exception):  # a reason on its way to a Finding, never seen outside
    """Why a variable names no key."""


def overlay(environ: Mapping[str, str], tables: dict[str, Any]) -> Overlay:
    """Reads every BRIDGE_ variable, in any case; `tables` are those of the file, whose names it may mean."""
    found = Overlay()
    for variable, text in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or variable.upper() == CONFIG_VARIABLE:
            continue
        if _SERVICE.fullmatch(variable.upper()):
            continue
        try:
            found.add(variable, text, tables)
        except _NoKey as reason:
            found.findings.append(Finding((variable,), str(reason)))
    return found


def _located(name: str, tables: dict[str, Any]) -> tuple[shape.Path, FieldInfo]:
    section, _, rest = name.partition("__")
    top = shape.keys(Settings)
    if section in ENTRIES:
        return _located_entry(section, rest, tables)
    if section in TABLES:
        if not rest:
            raise _NoKey(f"names a whole table; expected {PREFIX}{section.upper()}__KEY")
        key, info = _field(rest, shape.keys(TABLES[section]))
        return (section, key), info
    if rest or section not in top:
        reason = unknown_key(section, top)
        raise _NoKey(f"{reason} Two underscores stand between table and key, as in {PREFIX}REDIS__URL.")
    return (section,), top[section]


def _located_entry(section: str, rest: str, tables: dict[str, Any]) -> tuple[shape.Path, FieldInfo]:
    fields = ENTRIES[section].keys()
    entry, _, key = rest.rpartition("__")
    if not entry:
        raise _NoKey(f"names no key; expected {PREFIX}{section.upper()}__NAME__KEY")
    outer, _, inner = entry.rpartition("__")
    if not key and inner in _BESIDE:
        raise _NoKey(f"names no header; expected {PREFIX}{section.upper()}__NAME__{inner.upper()}__HEADER")
    if outer and inner in fields and inner in _BESIDE:
        name = _entry(section, outer, tables)
        return (section, name, inner, _header(key, shape.table(shape.table(tables, section), name))), fields[inner]
    model = shape.inner(fields[inner]) if outer and inner in fields else None
    if model is not None:
        key, info = _field(key, shape.keys(model))
        return (section, _entry(section, outer, tables), inner, key), info
    key, info = _field(key, fields)
    if key in _BESIDE or info.annotation is shape.inner(info):
        last = "HEADER" if key in _BESIDE else "KEY"
        raise _NoKey(f"names a whole table; expected {PREFIX}{section.upper()}__NAME__{key.upper()}__{last}")
    return (section, _entry(section, entry, tables), key), info


def _header(name: str, entry: dict[str, Any]) -> str:
    """The header of the file that a variable means, or a new one's name, with `-` for each `_`."""
    known = [header for key in _BESIDE for header in shape.table(entry, key)]
    return next((header for header in known if _folded(header) == name), name.replace("_", "-"))


def _field(name: str, fields: dict[str, FieldInfo]) -> tuple[str, FieldInfo]:
    """The key that a variable means, in the file's spelling (`actorType`), and its field."""
    for key, info in fields.items():
        if key.lower() == name:
            return key, info
    raise _NoKey(unknown_key(name, fields))


def _entry(section: str, name: str, tables: dict[str, Any]) -> str:
    """The entry of the file that a variable means, or a new one's name."""
    same = [known for known in shape.table(tables, section) if _folded(known) == name]
    if len(same) > 1:
        raise _NoKey(f"could mean any of {', '.join(map(shape.one_line, same))}; rename all but one of them")
    return same[0] if same else name


def _folded(name: str) -> str:
    return re.sub(r"[-.:]", "_", name.lower())


def _value(text: str, info: FieldInfo) -> object:
    """The value as TOML would have given it: a list for a list, a number for a number, else the text."""
    word = text.strip().lower()
    if get_origin(info.annotation) is tuple or (_is_schedule(info) and not word.isalpha()):
        return _list(text)
    if info.annotation is bool and word in {"true", "false"}:
        return word == "true"
    if info.annotation in {int, float} and _NUMBER.fullmatch(text.strip().replace("_", "")):
        number = text.strip().replace("_", "")
        return float(number) if "." in number else int(number)
    _encodable(text)
    return text


def _is_schedule(info: FieldInfo) -> bool:
    """Whether a list is one form of the value among others, which are words."""
    return any(get_origin(getattr(part, "__origin__", part)) is tuple for part in get_args(info.annotation))


def _list(text: str) -> list[object]:
    if not text.lstrip().startswith("["):
        _encodable(text)
        return [item.strip() for item in text.split(",")] if text.strip() else []
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        raise _NoKey(
            "starts with [ and is not valid JSON; expected a JSON list, or items with commas between"
        ) from None
    for item in items:
        if isinstance(item, str):
            _encodable(item)
    return list(items)


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NoKey("holds bytes that are not UTF-8 text") from None
