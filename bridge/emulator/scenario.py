"""Reads a scenario file (TOML or JSON) into `Options`. Starts nothing.

All keys are optional; an unknown one is an error that names those there are.

    any_run = false            # every key of Options, and:
    api_key = "local"
    heartbeat = 5.0

    [script]                   # of runs made on demand
    rate = 4.0

    [[runs]]                   # the runs there are from the start; each with the keys of RunScript
    id = "run_demo"
    rate = 20.0
    events = 1000

    [[runs]]
    id = "run_by_hand"
    script = false             # fed by POST /_emulator/runs/{id}/events

    [[operations]]             # those there are from the start, and [[invocations]]; each with the keys of WorkScript
    id = "op_1"
    steps = 5
    seconds = 0.5
    ending = "failed"          # or script = false: set by POST /_emulator/operations/{id}

    [faults]                   # every key of FaultSettings
    cut_after = 100

    [[phases]]                 # after so many seconds these faults take the place of all others
    after = 30.0
    faults = { status = 503, retry_after = "2" }
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from bridge.emulator.browser_run import RunScript
from bridge.emulator.faults import FaultSettings
from bridge.emulator.options import DEMO_RUN, Options, Phase, RunOption, WorkOption
from bridge.emulator.works import WorkScript

Built = TypeVar("Built", Options, Phase, RunScript, WorkScript, FaultSettings)
Script = TypeVar("Script", RunScript, WorkScript)
MAX_FILE = 1 << 20


def load(path: Path) -> Options:
    """Options from a file; ValueError says what is wrong and where, OSError that it can't be read."""
    raw = path.read_bytes()
    if len(raw) > MAX_FILE:
        raise ValueError(f"{path}: larger than {MAX_FILE} bytes")
    try:
        table = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw.decode())
        return build(Options, table, "")
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None


def build(kind: type[Built], table: object, where: str) -> Built:
    """A value of this kind from a table; ValueError names the key that doesn't fit."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{where or 'the file'}: must be a table")  # noqa: TRY004 - the file is wrong, not a type
    hints = get_type_hints(kind)
    known = [each.name for each in fields(kind)]
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"{_under(where, unknown[0])}: unknown; there are {', '.join(known)}")
    values: dict[str, Any] = {name: _convert(value, hints[name], _under(where, name)) for name, value in table.items()}
    try:
        return kind(**values)
    except ValueError as wrong:
        raise ValueError(f"{where}: {wrong}" if where else str(wrong)) from None
    except TypeError:
        raise ValueError(f"{where}: needs {', '.join(known)}") from None


def fault(text: str) -> tuple[str, object]:
    """One fault from the form NAME=VALUE; lists as 3,7. ValueError says what is wrong."""
    name, equals, value = text.partition("=")
    hint = get_type_hints(FaultSettings).get(name)
    if hint is None or not equals:
        names = ", ".join(each.name for each in fields(FaultSettings))
        raise ValueError(f"{text}: not of the form NAME=VALUE with one of these names: {names}")
    return name, _convert(_from_text(value, hint), hint, name)


def _from_text(value: str, hint: Any) -> object:  # noqa: ANN401 - a type hint has no type
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return [_from_text(part.strip(), inner) for part in value.split(",") if part.strip()]
    if hint is str or get_origin(hint) is Literal:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _convert(value: object, hint: Any, where: str) -> object:  # noqa: ANN401 - as above
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (RunOption, WorkOption):
        return _one(hint, value, where)
    if is_dataclass(hint):
        return build(cast("type[FaultSettings]", hint), value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(each, inner[0], f"{where}[{at}]") for at, each in enumerate(value))
    if origin is Literal and value in inner:
        return value
    if hint is float and type(value) in (int, float) and _finite(cast("float", value)):
        return float(cast("float", value))
    # A bool is an int to isinstance, and no number to anybody who writes a file.
    if hint is not float and type(value) in (inner if origin is UnionType else (hint,)):
        return value
    raise ValueError(f"{where}: must be {_wording(hint)}")


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond all floats
        return False


def _one(kind: Any, value: object, where: str) -> RunOption | WorkOption:  # noqa: ANN401 - as above
    if kind is RunOption:
        run, story = _named(value, where, RunScript, DEMO_RUN)
        return RunOption(id=run, script=story)
    work, script = _named(value, where, WorkScript, "")
    return WorkOption(id=work, script=script)


def _named(value: object, where: str, kind: type[Script], usual: str) -> tuple[str, Script | None]:
    """The id and script of a run or a piece of work."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: must be a table")  # noqa: TRY004 - as above
    id_, script = value.get("id", usual), value.get("script", True)
    if not isinstance(id_, str) or not id_:
        raise ValueError(f"{_under(where, 'id')}: must be a text that is not empty")
    if not isinstance(script, bool):
        raise ValueError(f"{_under(where, 'script')}: must be true, or false for one that goes by hand")  # noqa: TRY004 - as above
    options = {name: each for name, each in value.items() if name not in ("id", "script")}
    return id_, build(kind, options, where) if script else None


def _wording(hint: Any) -> str:  # noqa: ANN401 - as above
    if get_origin(hint) is tuple:
        return f"a list, each {_wording(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in get_args(hint))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", int | None: "a whole number"}
    words[bool | int] = "true, false or a whole number"
    return words.get(hint, "a table")


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
