"""What may be asked of a running bridge: the same commands through HTTP and through Redis. Pure values; does nothing.

In Redis a command is an entry of `<prefix>:{0}:commands` whose field `do` is its name and whose other fields are its
arguments, `spec` and `destination` as JSON. Its answer is an event in the log: `dev.runbridge.command.done` or
`dev.runbridge.command.refused`.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct, field, structs

from bridge.errors import Declined, Problem
from bridge.strict_json import BadJson, strict

Spec = dict[str, Any]
"""The keys of a `[sources.NAME]` or `[destinations.NAME]`, as in the configuration file."""


class AddSource(Struct, frozen=True, tag_field="do", tag="source.add", forbid_unknown_fields=True):
    """Add a source. The same again changes nothing; another one of that id is a conflict."""

    id: str
    spec: Spec


class ChangeSource(Struct, frozen=True, tag_field="do", tag="source.change", forbid_unknown_fields=True):
    """Give an added source other keys, all of them anew; it goes on at its cursor where that still fits.

    `patch`: `spec` is a merge patch (RFC 7396) of its present keys.
    """

    id: str
    spec: Spec
    patch: bool = False


class PauseSource(Struct, frozen=True, tag_field="do", tag="source.pause", forbid_unknown_fields=True):
    """Read nothing from a source until it is resumed; a restart changes nothing about it."""

    id: str


class ResumeSource(Struct, frozen=True, tag_field="do", tag="source.resume", forbid_unknown_fields=True):
    """Read from a paused source again, or look at a failed one at once."""

    id: str


class RemoveSource(Struct, frozen=True, tag_field="do", tag="source.remove", forbid_unknown_fields=True):
    """Remove an added source. Its cursor stays, so that adding it again goes on there, unless `forget`."""

    id: str
    forget: bool = False


class AddDestination(Struct, frozen=True, tag_field="do", tag="destination.add", forbid_unknown_fields=True):
    """Add a destination; as for sources."""

    id: str
    spec: Spec


class ChangeDestination(Struct, frozen=True, tag_field="do", tag="destination.change", forbid_unknown_fields=True):
    """Give an added destination other keys, all of them anew; it goes on where it was.

    `patch`: as for sources.
    """

    id: str
    spec: Spec
    patch: bool = False


class PauseDestination(Struct, frozen=True, tag_field="do", tag="destination.pause", forbid_unknown_fields=True):
    """Deliver nothing to a destination until it is resumed; nothing is lost meanwhile."""

    id: str


class ResumeDestination(Struct, frozen=True, tag_field="do", tag="destination.resume", forbid_unknown_fields=True):
    """Deliver to a paused or disabled destination again."""

    id: str


class RemoveDestination(Struct, frozen=True, tag_field="do", tag="destination.remove", forbid_unknown_fields=True):
    """Remove an added destination. Its place in the log stays unless `forget`, which drops what waits there too."""

    id: str
    forget: bool = False


class TestDestination(Struct, frozen=True, tag_field="do", tag="destination.test", forbid_unknown_fields=True):
    """Send one signed event of type `dev.runbridge.test` to a webhook, outside the log, and say what it answered."""

    __test__ = False  # not a test, whatever its name
    id: str


class WatchRun(Struct, frozen=True, tag_field="do", tag="run.watch", forbid_unknown_fields=True):
    """Watch one bctrl run from its beginning to its end, and forget all about it some time after that.

    `account` may be left out where there is one of bctrl's only. `destination`, the keys of a webhook, gets this run's
    events and no others. The source, and the destination, get the id `run-<run>` unless `id` is given.
    """

    run: str
    account: str = ""
    id: str = ""
    kind: Literal["bctrl.run-events.stream", "bctrl.run-events.wait", "bctrl.run.stream"] = "bctrl.run-events.stream"
    destination: Spec | None = None
    keep: str = "1h"
    """How long after the run's end the source, and the destination once it has everything, stay listed."""


class RetryParked(Struct, frozen=True, tag_field="do", tag="parked.retry", forbid_unknown_fields=True):
    """Read a parked record again, as after an upgrade, and put it into the log if it can be read now.

    `id` is its entry in the parked stream, `partition` where that is.
    """

    id: str
    partition: int = 0


Command = (
    AddSource | ChangeSource | PauseSource | ResumeSource | RemoveSource
    | AddDestination | ChangeDestination | PauseDestination | ResumeDestination | RemoveDestination | TestDestination
    | WatchRun | RetryParked
)  # fmt: skip


class Done(Struct, frozen=True):
    """A command was done. `changed` is False where things were so already; `id` is what it was about."""

    id: str
    changed: bool
    state: str = ""
    """The state of the source or destination now, where there is one still."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else there is to say, by command: a test's `status`, `seconds` and `error`."""


NAMES: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in get_args(Command))
"""The commands by name."""
_KINDS: Mapping[str, Any] = dict(zip(NAMES, get_args(Command), strict=True))
_JSON = {"spec", "destination"}
"""The arguments that are JSON."""


def command_of(fields: Mapping[str, str]) -> Command:
    """The command that an entry's fields are. Raises Declined, with every problem that can be told at once."""
    kind = _KINDS.get(fields.get("do", ""))
    if kind is None:
        problem = Problem("do", f"expected one of: {', '.join(NAMES)}")
        raise Declined("invalid", "the command can't be read", (problem,))
    known = {each.name: each for each in structs.fields(kind)}
    problems, values = [], {}
    for name, text in fields.items():
        if name == "do":
            continue
        if name not in known:
            problems.append(
                Problem(name, f"there is no such argument; those of {fields['do']} are: {', '.join(known)}")
            )
            continue
        try:
            values[name] = msgspec.convert(strict(text) if name in _JSON else text, known[name].type, strict=False)
        except BadJson as bad:
            problems.append(Problem(f"{name}.{bad.key}" if bad.key else name, bad.detail))
        except msgspec.ValidationError as error:
            problems.append(Problem(name, str(error)))
    given = values.keys() | {problem.path.partition(".")[0] for problem in problems}
    problems += [Problem(name, "is missing") for name, each in known.items() if each.required and name not in given]
    if problems:
        raise Declined("invalid", "the command can't be read", tuple(problems))
    found: Command = kind(**values)
    return found
