"""What the configured sources are: settings in, the objects of `bridge.sources` out. Opens nothing."""

from bridge.normalize.any_event import Pointers
from bridge.settings import (
    AnySource,
    EventsStream,
    EventWait,
    InvocationWait,
    OperationWait,
    RunEventsStream,
    RunEventsWait,
    RunStream,
    Settings,
    Sse,
)
from bridge.sources import any_stream, durable_wait, event_wait, events_stream, run_events_stream, run_events_wait
from bridge.sources import run_stream as whole_run
from bridge.sources.account import Account
from bridge.sources.subscription import Start, Subscription

Filters = list[tuple[str, str]]


def subscription_of(name: str, source: AnySource, account: Account) -> Subscription:
    """The source of this name, asking through `account`."""
    match source:
        case EventWait():
            return event_wait.EventWait(
                name, account, event=source.event, wait_timeout=source.wait_timeout, recheck=source.recheck
            )
        case OperationWait():
            return durable_wait.DurableWait(
                name, account, noun="operation", work=source.operation, wait_timeout=source.wait_timeout,
                recheck=source.recheck,
            )  # fmt: skip
        case InvocationWait():
            return durable_wait.DurableWait(
                name, account, noun="invocation", work=source.invocation, wait_timeout=source.wait_timeout,
                recheck=source.recheck,
            )  # fmt: skip
        case RunEventsWait():
            return run_events_wait.RunEventsWait(
                name, account, run=source.run, filters=_wait_filters(source), wait_timeout=source.wait_timeout,
                max_event_bytes=source.max_event_bytes, recheck=source.recheck,
                start=Start(source.from_, source.on_gap),
            )  # fmt: skip
        case _:
            return _stream_of(name, source, account)


def _stream_of(
    name: str, source: RunEventsStream | RunStream | EventsStream | Sse, account: Account
) -> Subscription:  # fmt: skip
    match source:
        case RunEventsStream():
            return run_events_stream.RunEventsStream(
                name, account, run=source.run, api=source.api, filters=_stream_filters(source),
                idle_timeout=source.idle_timeout, max_event_bytes=source.max_event_bytes, recheck=source.recheck,
                start=Start(source.from_, source.on_gap),
            )  # fmt: skip
        case RunStream():
            return whole_run.RunStream(
                name, account, run=source.run, include=source.include, headers=_generation(source),
                idle_timeout=source.idle_timeout, max_event_bytes=source.max_event_bytes, recheck=source.recheck,
                start=Start(source.from_, source.on_gap),
            )  # fmt: skip
        case EventsStream():
            return events_stream.EventsStream(
                name, account, filters=_account_filters(source), headers=_generation(source),
                idle_timeout=source.idle_timeout, max_event_bytes=source.max_event_bytes, recheck=source.recheck,
                start=Start(source.from_, source.on_gap),
            )  # fmt: skip
        case Sse():
            pointers = Pointers(source.id_pointer, source.type_pointer, source.subject_pointer, source.time_pointer)
            return any_stream.AnyStream(
                name, account, url=source.url, pointers=pointers, type_prefix=source.type_prefix,
                cursor_query=source.cursor_query, terminal_event=source.terminal_event,
                idle_timeout=source.idle_timeout, max_event_bytes=source.max_event_bytes, recheck=source.recheck,
                start=Start(on_gap=source.on_gap),
            )  # fmt: skip


def resource_of(settings: Settings, source: str) -> str:
    """The resource that a configured source reads: the CloudEvents `source` of its events. KeyError for another id.

    Those of a whole account bring events of many resources; this is then the bridge's own events'.
    """
    return resource_read(settings, settings.sources[source])


def resource_read(settings: Settings, chosen: AnySource) -> str:
    """The same of a source that need not be in the settings; its account is."""
    if isinstance(chosen, Sse):
        return any_stream.resource(chosen.url)
    base_url = settings.accounts[chosen.account].base_url
    match chosen:
        case EventWait():
            return event_wait.resource(base_url, chosen.event)
        case OperationWait():
            return durable_wait.resource(base_url, "operation", chosen.operation)
        case InvocationWait():
            return durable_wait.resource(base_url, "invocation", chosen.invocation)
        case EventsStream():
            return events_stream.resource(base_url)
        case _:
            return run_events_stream.resource(base_url, chosen.run)


def _stream_filters(source: RunEventsStream) -> Filters:
    """Query parameters under the API's own names; a list repeats its key (CONTRACT A.4)."""
    return [
        *(("type", type_) for type_ in source.types),
        *(("category", category) for category in source.categories),
        *_given(connectionId=source.connection, pageId=source.page, contextId=source.context),
    ]


def _wait_filters(source: RunEventsWait) -> Filters:
    """The body's fields under the API's own names (CONTRACT A.3)."""
    return [
        *(("type", type_) for type_ in source.types),
        *(("kind", kind) for kind in source.kinds),
        *(("source", origin) for origin in source.sources),
        *_given(connectionId=source.connection, pageId=source.page, contextId=source.context),
    ]


def _account_filters(source: EventsStream) -> Filters:
    """Query parameters under the API's own names (CONTRACT A.7); `from` belongs to the history alone."""
    several = {"category": source.category, "type": source.type, "channel": source.channel, "outcome": source.outcome}
    return [
        *_given(
            browser=source.browser, sandbox=source.sandbox, run=source.run, task=source.task,
            conversation=source.conversation, agent=source.agent, actor=source.actor, actorType=source.actor_type,
            to=source.to,
        ),
        *((name, value) for name, values in several.items() for value in values),
    ]  # fmt: skip


def _generation(source: RunStream | EventsStream) -> dict[str, str]:
    """The headers that name the API's version, the space and the subaccount (CONTRACT A.1)."""
    headers = {
        "BCTRL-Version": source.version, "BCTRL-Space": source.space, "BCTRL-Subaccount-Id": source.subaccount
    }  # fmt: skip
    return {name: value for name, value in headers.items() if value}


def _given(**values: str | None) -> Filters:
    return [(name, value) for name, value in values.items() if value]
