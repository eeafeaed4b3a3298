"""Makes a destination's workers from its settings: the loop, what it wants, how it sends. Opens no connection."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random

from bridge.deliver import Delivery
from bridge.delivery.filter import Filter
from bridge.delivery.form import form
from bridge.delivery.gate import Gate
from bridge.delivery.health import Rules
from bridge.delivery.lane import Limits, Together
from bridge.delivery.replay_gate import MOST
from bridge.delivery.template import Template
from bridge.event import Entry
from bridge.fan_out import FanOut
from bridge.guard import Guard
from bridge.handshake import Introduced
from bridge.ports import Observe, Send, Tracer
from bridge.post import PostClient, Spawn, Tls, proxy_from_environment
from bridge.redis_log import RedisLog, Server, Streams, position_key
from bridge.replay import Live, Replays, Sender
from bridge.secret_files import RotatingSigner
from bridge.settings import AnyDestination, RedisDestination, WebhookDestination
from bridge.signing import signing_key
from bridge.stop import Stop
from bridge.supervisor import Phase, Worker
from bridge.webhook import Endpoint, Webhook


@dataclass(frozen=True, slots=True)
class Around:
    """What all destinations of a bridge share."""

    log: RedisLog
    links: str
    """What links to this bridge's HTTP server begin with; empty where it is off."""
    sender: str
    """The DNS name that this bridge gives itself."""
    observe: Observe
    spawn: Spawn
    start: Callable[[Worker], None]
    stop: Stop
    tracer: Tracer | None = None


def filter_of(destination: AnyDestination) -> Filter:
    """What a destination wants."""
    return Filter(destination.types, destination.subjects, destination.sources, destination.filter)


def limits_of(destination: WebhookDestination) -> Limits:
    """How hard a webhook is worked."""
    batch = destination.batch
    together = Together(batch.max_events, batch.max_bytes, batch.max_wait_ms / 1000)
    return Limits(
        max_in_flight=destination.max_in_flight,
        max_attempts=destination.max_attempts,
        schedule=destination.schedule,
        refusals=1 if destination.on_refused == "dead" else 3,
        block=destination.on_exhausted == "block",
        ordered=destination.order == "subject",
        together=together if destination.format == "batched" else None,
    )


def client_of(destination: WebhookDestination, spawn: Spawn, most: int | None = None) -> PostClient:
    """The connections of a webhook, `most` of them or as many as it may have in flight.

    Raises ConfigurationError for a file of `tls` that can't be used any more.
    """
    proxy = destination.proxy
    return PostClient(
        destination.url,
        guard=Guard(tuple(destination.allow_networks)),
        spawn=spawn,
        tls=Tls(destination.tls.ca_file, destination.tls.cert_file, destination.tls.key_file),
        proxy=proxy_from_environment(destination.url) if proxy == "environment" else proxy,
        timeout=destination.timeout,
        connections=most or destination.max_in_flight,
        plain=not destination.inside_only,
    )


def signer_of(name: str, destination: WebhookDestination, observe: Observe) -> RotatingSigner:
    """How a webhook is signed."""
    keys = [signing_key(secret.get_secret_value()) for secret in destination.secrets]
    return RotatingSigner(name, keys, [Path(file) for file in destination.secret_files], observe)


def endpoint_of(
    name: str, destination: WebhookDestination, around: Around, signer: RotatingSigner, *, partition: int,
    marks: bytes = b"",
) -> Endpoint:  # fmt: skip
    """What is sent to a webhook of one partition's events, to which links lead."""
    return Endpoint(
        name,
        destination.url,
        form(destination.format, _link(around.links, partition)),
        signer,
        headers=tuple((name, value.get_secret_value()) for name, value in destination.headers.items()),
        origin=around.sender if destination.handshake else "",
        marks=marks,
    )


def send_of(endpoint: Endpoint, client: PostClient, gate: Gate, around: Around) -> Send:
    """What sends to an endpoint, and asks it first where it has an origin."""
    send = Webhook(endpoint, client, around.observe, around.tracer)
    return Introduced(send, endpoint, client, gate, around.observe) if endpoint.origin else send


def start_of(begin: str) -> str:
    """Where a new destination begins, as the log takes it: "start", "now", or ms since 1970."""
    return begin if begin in {"start", "now"} else str(int(datetime.fromisoformat(begin).timestamp() * 1000))


def _link(links: str, partition: int) -> Callable[[Entry], str]:
    base = f"{links}/v1/events/{partition}-"
    return lambda entry: base + entry.entry.rpartition(":")[2]


async def workers_of(
    name: str, destination: AnyDestination, around: Around, stack: contextlib.AsyncExitStack
) -> Sequence[Worker]:  # fmt: skip
    """A destination's loops, one a partition. Their connections are closed with the stack."""
    make = _webhook_workers if isinstance(destination, WebhookDestination) else _fan_out_workers
    return await make(name, destination, around, stack)  # type: ignore[arg-type]  # each gets its own kind


async def _fan_out_workers(
    name: str, destination: RedisDestination, around: Around, stack: contextlib.AsyncExitStack
) -> Sequence[Worker]:  # fmt: skip
    template, wants = Template(destination.stream), filter_of(destination)
    password = destination.password.get_secret_value() if destination.password else None
    server, prefix = Server(destination.url, password), around.log.prefix
    found = []
    for partition, followed in enumerate(around.log.followed(name, start_of(destination.from_))):
        target = Streams(
            server,
            position_key(prefix, partition, name, template.tag(partition)),
            most=destination.max_entries or None,
            like=template.key(Entry("", "", "", "", b""), partition),
        )
        stack.push_async_callback(target.close)
        copy = FanOut(
            name, followed, target, wants, partial(template.key, partition=partition),
            reserved=f"{prefix}:{{", observe=around.observe, stop=around.stop,
        )  # fmt: skip
        found.append(Worker(f"fan out {name} {partition}", copy.run, Phase.FINISH))
    return found


def _sender(
    name: str, destination: WebhookDestination, around: Around, signer: RotatingSigner, gate: Gate
) -> Sender:  # fmt: skip
    @contextlib.asynccontextmanager
    async def sender(partition: int, marks: bytes) -> AsyncIterator[Send]:
        client = client_of(destination, around.spawn, MOST)
        endpoint = endpoint_of(name, destination, around, signer, partition=partition, marks=marks)
        try:
            yield send_of(endpoint, client, gate, around)
        finally:
            await client.close()

    return sender


async def _webhook_workers(
    name: str, destination: WebhookDestination, around: Around, stack: contextlib.AsyncExitStack
) -> Sequence[Worker]:  # fmt: skip
    client = client_of(destination, around.spawn)
    stack.push_async_callback(client.close)
    signer = signer_of(name, destination, around.observe)
    limits, wants = limits_of(destination), filter_of(destination)
    rules = Rules(disable_after=destination.disable_after or None)
    gate = Gate(
        rules, destination.max_in_flight, around.log.clock.seconds, Random(), rate=destination.rate_limit,
        stranger=destination.handshake,
    )  # fmt: skip
    replays = Replays(
        Live(
            name, around.log, _sender(name, destination, around, signer, gate), wants, limits, gate,
            around.observe, around.stop,
            lambda name, run: around.start(Worker(name, run, Phase.FINISH)),
        )
    )  # fmt: skip
    workers = []
    for partition, lanes in enumerate(around.log.lanes(name, start_of(destination.from_), limits.together)):
        endpoint = endpoint_of(name, destination, around, signer, partition=partition)
        delivery = Delivery(
            name, lanes, send_of(endpoint, client, gate, around), wants, limits,
            gate=gate, observe=around.observe, stop=around.stop, keeper=partition == 0,
            replays=partial(replays.take, partition),
        )  # fmt: skip
        workers.append(Worker(f"deliver {name} {partition}", delivery.run, Phase.FINISH))
    return workers
