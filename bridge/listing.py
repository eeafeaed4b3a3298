"""What a roster holds, as the overview lists it: each source and destination with what it is. Pure."""

from collections.abc import Mapping

from bridge.errors import Problem
from bridge.roster import At, Roster
from bridge.settings import AccountSource, RedisDestination, WebhookDestination
from bridge.subscriptions import resource_read
from bridge.views import Listed


def listed_source(roster: Roster, id_: str, problems: Mapping[str, tuple[Problem, ...]]) -> Listed:
    """One source. `problems` is why something could not be started, by `source <id>`."""
    at: At = ("sources", id_)
    model, paused = roster.model(at), at in roster.paused
    unusable = _why(roster.unusable.get(at) or problems.get(f"source {id_}", ()))
    if model is None or isinstance(model, WebhookDestination | RedisDestination):
        return Listed(id=id_, kind="", defined="added", paused=paused, unusable=unusable)
    return Listed(
        id=id_, kind=model.kind, account=model.account if isinstance(model, AccountSource) else "",
        resource=resource_read(roster.file, model), defined=roster.defined(at), paused=paused, unusable=unusable,
    )  # fmt: skip


def listed_destination(roster: Roster, id_: str, problems: Mapping[str, tuple[Problem, ...]]) -> Listed:
    """One destination; `problems` as for sources, by `destination <id>`."""
    at: At = ("destinations", id_)
    model, paused = roster.model(at), at in roster.paused
    unusable = _why(roster.unusable.get(at) or problems.get(f"destination {id_}", ()))
    if not isinstance(model, WebhookDestination | RedisDestination):
        return Listed(id=id_, kind="webhook", defined="added", paused=paused, unusable=unusable)
    return Listed(
        id=id_, kind="stream" if isinstance(model, RedisDestination) else "webhook", url=model.address,
        defined=roster.defined(at), paused=paused, unusable=unusable,
    )  # fmt: skip


def _why(problems: tuple[Problem, ...]) -> str:
    return "; ".join(map(str, problems))
