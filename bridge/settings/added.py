"""One source or destination that is added while the bridge runs: judged by the same rules as those of the file.

Refuses every key that names a file: who may add a webhook need not be able to read this machine's files.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Literal

from pydantic import BaseModel, SecretStr, ValidationError

from bridge.errors import Problem
from bridge.settings import problems, rules
from bridge.settings.destinations import AnyDestination
from bridge.settings.schema import Settings
from bridge.settings.shape import Finding, Path, written
from bridge.settings.sources import AnySource

Section = Literal["sources", "destinations"]
Tables = dict[str, Any]

MOST_BYTES = 64 << 10
"""The JSON text of one definition, at most."""
DEEPEST = 16
"""Tables within tables, at most."""


class Unfit(Exception):  # a list of mistakes on its way to whoever asked
    """The definition can't be used; each problem's path begins at the definition's own keys."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def added(section: Section, name: str, spec: Mapping[str, Any], around: Tables) -> AnySource | AnyDestination:
    """The source or destination of these keys, beside `around`: the tables of everything else there is (`tables_of`).

    Raises Unfit, with every problem at once.
    """
    found = fit({section: {name: spec}}, around)[section, name]
    if isinstance(found, Unfit):
        raise found
    return found


def fit(
    specs: Mapping[Section, Mapping[str, Mapping[str, Any]]], around: Tables
) -> dict[tuple[Section, str], AnySource | AnyDestination | Unfit]:
    """The same for any number at once: what each is, or why it can't be used beside `around` and the others."""
    given = {(section, name): spec for section, named in specs.items() for name, spec in named.items()}
    unfit: dict[tuple[Section, str], dict[str, str]] = {}

    def refuse(section: Section, name: str, path: Path, message: str) -> None:
        unfit.setdefault((section, name), {}).setdefault(written(path) or "id", message)

    for (section, name), spec in given.items():
        if _too_deep(spec):
            unfit[section, name] = {"": f"is nested deeper than {DEEPEST} tables"}
        for path in _files(spec):
            refuse(section, name, path, _FILES)
    sound = {at: deepcopy(dict(spec)) for at, spec in given.items() if at not in unfit or "" not in unfit[at]}
    for finding in _findings(sound, around):
        for at in given.keys() & {(finding.path[0], finding.path[1])}:
            refuse(*at, finding.path[2:], finding.message)
    models = Settings(**_alone({at: spec for at, spec in sound.items() if at not in unfit}, around))
    return {
        at: Unfit(tuple(Problem(path, message) for path, message in sorted(unfit[at].items())))
        if at in unfit
        else getattr(models, at[0])[at[1]]
        for at in given
    }


def _findings(sound: Mapping[tuple[Section, str], Tables], around: Tables) -> Iterator[Finding]:
    beside = dict(around)
    for (section, name), spec in sound.items():
        beside[section] = {**beside.get(section, {}), name: spec}
    yield from (finding for finding in rules.findings(beside) if len(finding.path) > 1)
    alone = _alone(sound, around)
    try:
        Settings(**alone)
    except ValidationError as error:
        yield from problems.findings(error, alone)


def _alone(sound: Mapping[tuple[Section, str], Tables], around: Tables) -> Tables:
    tables: Tables = {"instance": "x", "accounts": around.get("accounts", {}), "sources": {}, "destinations": {}}
    for (section, name), spec in sound.items():
        tables[section][name] = spec
    return tables


_FILES = "names a file, which only the configuration file may do; give the value itself, or define this there"


def _files(spec: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    for key, value in spec.items():
        if str(key).endswith(("_file", "_files")):
            yield (*path, key)
        elif isinstance(value, dict) and key != "headers":
            yield from _files(value, (*path, key))


def _too_deep(spec: object, depth: int = 0) -> bool:
    inner = spec.values() if isinstance(spec, Mapping) else spec if isinstance(spec, list) else ()
    return depth > DEEPEST or any(_too_deep(value, depth + 1) for value in inner)


def tables_of(settings: Settings) -> Tables:
    """What `added` needs to know of everything else, as if it had been read from a file."""
    found: Tables = {"grace": settings.grace, "instance": settings.instance}
    for section in ("log", "http"):
        found[section] = keys_of(getattr(settings, section))
    for section in ("accounts", "sources", "destinations"):
        found[section] = {name: keys_of(entry) for name, entry in getattr(settings, section).items()}
    return found


def keys_of(model: BaseModel) -> Tables:
    """A table's keys as they could stand in a file, secrets among them; those that were not given are left out."""
    found: Tables = _plain(model)
    return {key: value for key, value in found.items() if not key.endswith(("_file", "_files"))}


def shown(model: BaseModel) -> tuple[Tables, list[str]]:
    """A table's keys without its secrets, and the paths of those that were left out."""
    hidden: list[str] = []
    return _without(model, (), hidden) or {}, hidden


def _given(model: BaseModel) -> Tables:
    names = {name: field.alias or name for name, field in type(model).model_fields.items()}
    return {names[name]: getattr(model, name) for name in type(model).model_fields if name in model.model_fields_set}


def _plain(value: Any) -> Any:  # noqa: ANN401  # whatever a table may hold
    match value:
        case BaseModel():
            return {key: _plain(inner) for key, inner in _given(value).items()}
        case SecretStr():
            return value.get_secret_value()
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _without(value: Any, path: Path, hidden: list[str]) -> Any:  # noqa: ANN401  # as above
    match value:
        case BaseModel() | Mapping():
            keys = _given(value) if isinstance(value, BaseModel) else value
            found = {str(key): _without(inner, (*path, str(key)), hidden) for key, inner in keys.items()}
            return {key: inner for key, inner in found.items() if inner is not None} or None
        case SecretStr():
            hidden.append(written(path))
            return None
        case [SecretStr(), *_]:
            hidden.append(written(path))
            return None
        case list() | tuple():
            return [_without(inner, (*path, at), hidden) for at, inner in enumerate(value)]
        case str() if "://" in value and path[-1:] in {("url",), ("proxy",)}:
            return _without_login(value, path, hidden)
        case _:
            return _plain(value)


def _without_login(url: str, path: Path, hidden: list[str]) -> str | None:
    """A URL that holds a user, a password or a query is hidden whole: any of them may be the secret."""
    rest = url.partition("://")[2]
    if "@" in rest.partition("/")[0] or "?" in rest:
        hidden.append(written(path))
        return None
    return url
