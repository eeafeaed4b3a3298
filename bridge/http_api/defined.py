"""Sources and destinations: listed, added, changed, paused, resumed, removed, by commands to the running bridge.

Judges no key itself: whoever does the commands says every problem of a definition, with its path.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from aiohttp import web
from msgspec import Struct

from bridge.commands import (
    AddDestination,
    AddSource,
    ChangeDestination,
    ChangeSource,
    Done,
    PauseDestination,
    PauseSource,
    RemoveDestination,
    RemoveSource,
    ResumeDestination,
    ResumeSource,
    TestDestination,
    WatchRun,
)
from bridge.errors import Declined, Problem
from bridge.http_api.body import JSON, MERGE_PATCH
from bridge.http_api.operation import Body, Call, Operation, Says
from bridge.http_api.problem import Refused
from bridge.http_api.served import Served, answer, nothing
from bridge.overview import DestinationView, SourceView
from bridge.ports import Definition, Steering

View = SourceView | DestinationView


class Sources(Struct, frozen=True):
    """All sources."""

    sources: list[SourceView]


class Destinations(Struct, frozen=True):
    """All destinations, and those that are configured no more but have dead letters."""

    destinations: list[DestinationView]


class SourceWhole(SourceView, kw_only=True, frozen=True):
    """One source and how it is defined; no definition where it is only remembered."""

    definition: Definition | None = None


class DestinationWhole(DestinationView, kw_only=True, frozen=True):
    """One destination and how it is defined; no definition where it is only remembered."""

    definition: Definition | None = None


class Removal(Struct, frozen=True, kw_only=True):
    """How to remove."""

    forget: Literal["true", "false"] = "false"
    """Its cursor, or its place in the log and what waits there, goes too."""


class Watching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to watch a run; all of it may be left out."""

    account: str = ""
    """The account of bctrl's, where there are several."""
    id: str = ""
    """What the source, and the destination, are called; `run-<run>` when empty."""
    kind: Literal["bctrl.run-events.stream", "bctrl.run-events.wait", "bctrl.run.stream"] = "bctrl.run-events.stream"
    """The upstream call."""
    destination: dict[str, Any] | None = None
    """The keys of a webhook that gets this run's events and no others."""
    keep: str = "1h"
    """How long after the run's end it all stays listed."""


@dataclass(frozen=True, slots=True)
class Section:
    """What differs between sources and destinations."""

    name: Literal["sources", "destinations"]
    one: Literal["source", "destination"]
    view: type[View]
    whole: Callable[..., View]
    every: type[Struct]
    add: type[AddSource | AddDestination]
    change: type[ChangeSource | ChangeDestination]
    pause: type[PauseSource | PauseDestination]
    resume: type[ResumeSource | ResumeDestination]
    remove: type[RemoveSource | RemoveDestination]


SECTIONS = (
    Section(
        "sources", "source", SourceView, SourceWhole, Sources, AddSource, ChangeSource, PauseSource, ResumeSource,
        RemoveSource,
    ),
    Section(
        "destinations", "destination", DestinationView, DestinationWhole, Destinations, AddDestination,
        ChangeDestination, PauseDestination, ResumeDestination, RemoveDestination,
    ),
)  # fmt: skip


class Defined:
    """The handlers for one section."""

    def __init__(self, section: Section, served: Served) -> None:
        self._its = section
        self._steering = served.steering

    def operations(self) -> list[Operation]:
        """The table of these."""
        its, all_, one = self._its, f"/v1/{self._its.name}", f"/v1/{self._its.name}/{{id}}"
        location = {"Location": "Where it is."}
        view, whole = Says(200, "How it stands now.", its.view), Says(200, "How it stands now.", its.whole)
        added = Says(201, "It was added; its state is to be watched.", its.view, headers=location)
        already = Says(200, "It was so already, or is changed.", its.view, headers=location)
        gone = Says(204, "It is gone.")
        spec, title = Body(its.name), its.one.title()
        named = Body(its.name, named=True)
        patch = Body(its.name, types=(MERGE_PATCH, JSON), patch=True)
        make = partial(Operation, tag=its.name)
        return [
            make("GET", all_, f"list{title}s", f"All {its.name}", self._list, [Says(200, "All.", its.every)],
                 refuses=(503,)),
            make("POST", all_, f"add{title}", f"Add a {its.one}; the same again changes nothing", self._add,
                 [added, already], body=named, refuses=(409, 503)),
            make("GET", one, f"get{title}", f"One {its.one} and its definition", self._get, [whole],
                 refuses=(404, 503)),
            make("PUT", one, f"put{title}", f"Add a {its.one}, or give it these keys and no others", self._put,
                 [added, already], body=spec, refuses=(404, 409, 503)),
            make("PATCH", one, f"patch{title}", f"Change some keys of an added {its.one} (JSON merge patch, RFC 7396)",
                 self._patch, [already], body=patch, refuses=(404, 409, 503)),
            make("DELETE", one, f"remove{title}", f"Remove an added {its.one}", self._remove, [gone], query=Removal,
                 refuses=(404, 409, 503)),
            make("POST", f"{one}/pause", f"pause{title}", f"Pause a {its.one} until it is resumed",
                 partial(self._simple, its.pause), [view], refuses=(404, 409, 503)),
            make("POST", f"{one}/resume", f"resume{title}", f"Resume a {its.one} that is paused, failed or disabled",
                 partial(self._simple, its.resume), [view], refuses=(404, 409, 503)),
        ]  # fmt: skip

    async def _list(self, _call: Call) -> web.StreamResponse:
        return answer(self._its.every(getattr(await self._steering.overview(), self._its.name)))

    async def _get(self, call: Call) -> web.StreamResponse:
        id_ = call.path["id"]
        view = await view_of(self._steering, self._its, id_)
        found = next((each for each in await self._steering.definitions(self._its.name) if each.id == id_), None)
        if view is None and found is None:
            raise Refused(404, f"there is no {self._its.one} {id_!r}")
        if view is None:
            view = _made(
                self._its, id_, found.spec if found else {}, "paused" if found and found.paused else "starting"
            )
        fields = {name: getattr(view, name) for name in view.__struct_fields__}
        return answer(self._its.whole(**fields, definition=found))

    async def _add(self, call: Call) -> web.StreamResponse:
        spec = dict(call.body)
        id_ = spec.pop("id", None)
        if not isinstance(id_, str):
            raise Refused(422, f"the {self._its.one} can't be used", (Problem("id", "expected a text"),))
        return await self._shown(await self._steering.do(self._its.add(id_, spec)), spec, new=201)

    async def _put(self, call: Call) -> web.StreamResponse:
        """Change what is there, else add it: each is one step, and the other is tried where somebody was faster."""
        id_, spec = call.path["id"], call.body
        if spec.get("id") == id_:  # what was sent by POST may be sent here too
            spec = {key: value for key, value in spec.items() if key != "id"}
        for change, next_ in ((True, "missing"), (False, "conflict")):
            command = self._its.change(id_, spec) if change else self._its.add(id_, spec)
            try:
                return await self._shown(await self._steering.do(command), spec, new=200 if change else 201)
            except Declined as declined:
                if declined.kind != next_:
                    raise
        return await self._shown(await self._steering.do(self._its.change(id_, spec)), spec, new=200)

    async def _patch(self, call: Call) -> web.StreamResponse:
        done = await self._steering.do(self._its.change(call.path["id"], call.body, patch=True))
        return await self._shown(done, {}, new=200)

    async def _remove(self, call: Call) -> web.StreamResponse:
        await self._steering.do(self._its.remove(call.path["id"], forget=call.query.forget == "true"))
        return nothing()

    async def _simple(self, command: type[Any], call: Call) -> web.StreamResponse:
        return await self._shown(await self._steering.do(command(call.path["id"])), {}, new=200)

    async def _shown(self, done: Done, spec: dict[str, Any], *, new: int) -> web.Response:
        return await shown(self._steering, self._its, done, spec, new=new)


class Extra:
    """The handlers that only one section has: a destination's test, and a run's watch."""

    def __init__(self, served: Served) -> None:
        self._steering = served.steering

    def operations(self) -> list[Operation]:
        """The table of these."""
        test = Says(200, "What it answered: `detail` has `status`, `seconds` and `error`.", Done)
        location = {"Location": "Where the source is."}
        watched = [
            Says(201, "It is watched; the source's state is to be watched.", SourceView, headers=location),
            Says(200, "It was watched so already.", SourceView, headers=location),
        ]
        return [
            Operation("POST", "/v1/destinations/{id}/test", "testDestination", "Send a test event to a webhook",
                self._test, [test], refuses=(404, 409, 503), tag="destinations"),
            Operation("POST", "/v1/runs/{run}/watch", "watchRun", "Watch a run from its beginning to its end",
                self._watch, watched, body=Body(Watching, required=False), refuses=(404, 409, 503), tag="runs"),
        ]  # fmt: skip

    async def _test(self, call: Call) -> web.StreamResponse:
        return answer(await self._steering.do(TestDestination(call.path["id"])))

    async def _watch(self, call: Call) -> web.StreamResponse:
        asked: Watching = call.body
        run = call.path["run"]
        command = WatchRun(run, asked.account, asked.id, asked.kind, asked.destination, asked.keep)
        spec = {"kind": asked.kind, "account": asked.account}
        return await shown(self._steering, SECTIONS[0], await self._steering.do(command), spec, new=201)


async def view_of(steering: Steering, section: Section, id_: str) -> View | None:
    """How one stands, or None. Raises LogUnavailable."""
    views: Sequence[View] = getattr(await steering.overview(), section.name)
    return next((each for each in views if each.id == id_), None)


async def shown(
    steering: Steering, section: Section, done: Done, spec: dict[str, Any], *, new: int
) -> web.Response:  # fmt: skip
    """What was done, as the view: `new` is the status where something has changed."""
    view = await view_of(steering, section, done.id)
    if view is None:  # the overview may be a second old
        view = _made(section, done.id, spec, done.state)
    elif done.state:
        fields = {name: getattr(view, name) for name in view.__struct_fields__}
        view = section.view(**{**fields, "state": done.state})
    location = f"/v1/{section.name}/{done.id}"
    return answer(view, new if done.changed else 200, location=location)


def _made(section: Section, id_: str, spec: dict[str, Any], state: str) -> View:
    if section.one == "source":
        kind, account = (text if isinstance(text := spec.get(key, ""), str) else "" for key in ("kind", "account"))
        return SourceView(id=id_, kind=kind, account=account, defined="added", state=state)
    url = spec.get("url")
    kind_ = "webhook" if not isinstance(url, str) or url.startswith("http") else "stream"
    return DestinationView(id=id_, kind=kind_, defined="added", state=state)  # type: ignore[arg-type]  # one of two
