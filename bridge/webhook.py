"""One attempt at one webhook destination: a signed POST of the event's bytes. Refuses to decide what comes next.

Standard Webhooks headers, CloudEvents structured mode (https://github.com/cloudevents/spec, HTTP binding 3.2): the
body is the event as it lies in the log. Redirects are failures; the answer's body is read to a cap and dropped.
"""

import asyncio
import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from bridge.backoff import RETRY_AFTER_CAP
from bridge.clock import now, unix
from bridge.errors import HttpError
from bridge.event import Entry
from bridge.facts import AttemptMade
from bridge.http_client import HttpClient
from bridge.lane import Delivered, Failed, Outcome
from bridge.ports import Observe
from bridge.retry_after import retry_after
from bridge.signing import message_id, signature

MAX_ANSWER = 8192
"""Bytes of an answer that are read; a receiver that sends more is not waited for."""


class _Identity(msgspec.Struct):
    source: str = ""
    id: str = ""


_identity = msgspec.json.Decoder(_Identity).decode


def type_filter(globs: Sequence[str]) -> Callable[[str], bool]:
    """A predicate over event types: any of the globs, or everything where there are none."""
    if not globs:
        return lambda _type: True
    matches = re.compile("|".join(fnmatch.translate(glob) for glob in globs)).match
    return lambda type_: matches(type_) is not None


def webhook_id(entry: Entry) -> str:
    """The deterministic `webhook-id` of a log entry; one that is no CloudEvent is known by its fields."""
    try:
        identity = _identity(entry.event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return message_id(entry.subject, entry.id or entry.entry)
    return message_id(identity.source, identity.id)


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where a destination is and how it is signed to. Never shows its keys; its URL only without the query."""

    name: str
    url: str
    keys: tuple[bytes, ...]
    timeout: float = 15.0
    at_once: int = 32
    """Requests under way at once, over all partitions."""


class Webhook:
    """Sends to one endpoint over its own pool of connections."""

    def __init__(self, endpoint: Endpoint, client: HttpClient, observe: Observe) -> None:
        self._endpoint = endpoint
        self._client = client
        self._observe = observe
        self._slots = asyncio.Semaphore(endpoint.at_once)

    async def __call__(self, entry: Entry, attempt: int) -> Outcome:
        """Try once (`bridge.ports.Send`). Waiting for a free place takes nothing from the time allowed."""
        async with self._slots:
            return await self._try(entry, attempt)

    async def _try(self, entry: Entry, attempt: int) -> Outcome:
        clock = asyncio.get_running_loop().time
        started = clock()
        outcome = await self._post(entry)
        failed = isinstance(outcome, Failed)
        self._observe(
            AttemptMade(
                self._endpoint.name,
                entry.id,
                attempt,
                "failed" if failed else "delivered",
                outcome.status,
                clock() - started,
                outcome.error if isinstance(outcome, Failed) else "",
            )
        )
        return outcome

    async def _post(self, entry: Entry) -> Outcome:
        id_, timestamp = webhook_id(entry), int(unix())
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": id_,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._endpoint.keys, id_, timestamp, entry.event),
        }
        try:
            async with self._client.request(
                "POST", self._endpoint.url, headers=headers, body=entry.event,
                total=self._endpoint.timeout, follow=False,
            ) as response:  # fmt: skip
                await response.read(MAX_ANSWER)
        except HttpError as error:
            return Failed(None, error.reason, counts=not error.ours)
        if 200 <= response.status < 300:
            return Delivered(response.status)
        wait = retry_after(response.headers, now())
        return Failed(
            response.status, f"answered {response.status}", None if wait is None else min(wait, RETRY_AFTER_CAP)
        )
