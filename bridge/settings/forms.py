"""The types of the configuration's values: what a value looks like, and the words that say so. Pure.

Every type ends in `Expects`: an error about a wrong value says "expected ..." with exactly these words.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bridge.guard import Network
from bridge.settings import addresses, headers, texts, units
from bridge.settings.redis_url import redis_url, stream_url
from bridge.signing import MOST_KEYS


@dataclass(frozen=True, slots=True)
class Expects:
    """What a value of a key looks like: `words` follow "expected", `form` is short, for a table."""

    words: str
    form: str = ""


def _secret(judge: Callable[[str], str]) -> AfterValidator:
    def judged(value: SecretStr) -> SecretStr:
        judge(value.get_secret_value())
        return value

    return AfterValidator(judged)


Name = Annotated[str, AfterValidator(texts.name), Expects(texts.NAME_FORM, "name")]
NameOrEmpty = Annotated[str, AfterValidator(texts.name_or_empty), Expects(f'{texts.NAME_FORM}, or ""', "name")]
Selector = Annotated[str, AfterValidator(texts.selector), Expects("a text of 1 to 128 characters", "text")]
Selectors = Annotated[
    tuple[Selector, ...], Field(strict=False), Expects('a list of texts such as ["first", "second"]', "list of texts")
]
OneOrMore = Annotated[
    tuple[Selector, ...],
    BeforeValidator(texts.one_or_more),
    Field(strict=False),
    Expects('a text or a list of texts such as ["first", "second"]', "text or list of texts"),
]
Glob = Annotated[str, AfterValidator(texts.glob), Expects("a text of 1 to 1024 characters", "glob")]
Globs = Annotated[
    tuple[Glob, ...],
    Field(strict=False, max_length=100),
    Expects('a list of at most 100 texts such as ["first.*", "second"]', "list of globs"),
]
Filter = Annotated[str, AfterValidator(texts.expression), Expects("an expression as a text", "expression")]
StreamTemplate = Annotated[
    str, AfterValidator(texts.stream_template), Expects('a text such as "runs:{subject}"', "template of a key")
]
Label = Annotated[str, AfterValidator(texts.label), Expects("a text of 1 to 128 characters", "text")]
Ascii = Annotated[str, AfterValidator(texts.ascii_text), Expects("1 to 128 visible ASCII characters", "text")]
Prefix = Annotated[
    str, AfterValidator(texts.ascii_or_empty), Expects('a text of at most 128 visible ASCII characters, or ""', "text")
]
Pointer = Annotated[
    str, AfterValidator(texts.pointer), Expects('a JSON pointer such as "/data/id"', "JSON pointer (RFC 6901)")
]
Time = Annotated[str, BeforeValidator(texts.time), Expects(texts.TIME_FORM, "time (RFC 3339)")]
LocalPath = Annotated[str, AfterValidator(texts.local_path), Expects("a path as a text", "path")]
LocalPaths = Annotated[tuple[LocalPath, ...], Field(strict=False), Expects("a list of paths as texts", "list of paths")]
PathOrEmpty = Annotated[str, AfterValidator(texts.directory), Expects('a path as a text, or "" for none', "path")]
Directory = Annotated[str, AfterValidator(texts.directory), Expects('a directory as a text, or "" for off', "path")]

Token = Annotated[SecretStr, _secret(texts.token), Expects("a text of visible ASCII characters", "secret")]
Password = Annotated[SecretStr, _secret(texts.password), Expects("a text", "secret")]
WebhookSecret = Annotated[SecretStr, _secret(texts.webhook_secret), Expects("a text that starts with whsec_ or whsk_")]
WebhookSecrets = Annotated[
    tuple[WebhookSecret, ...],
    Field(strict=False, max_length=MOST_KEYS),
    Expects(
        f"a list of at most {MOST_KEYS} texts, those of secret_files among them; each {texts.SECRET_FORM}",
        "list of secrets",
    ),
]

HeaderName = Annotated[str, AfterValidator(headers.name)]
HeaderValue = Annotated[SecretStr, _secret(headers.value), Expects("a text of visible ASCII characters")]
WebhookHeaderName = Annotated[str, AfterValidator(headers.webhook_name)]
WebhookHeaderValue = Annotated[SecretStr, _secret(headers.webhook_value), Expects("a text of visible ASCII characters")]
HEADERS = Expects("a table of header names and texts", "table of secrets")
HEADER_FILES = Expects("a table of header names and paths as texts", "table of paths")

RedisUrl = Annotated[SecretStr, _secret(redis_url), Expects("a URL as a text", "URL")]
BaseUrl = Annotated[str, AfterValidator(addresses.base_url), Expects("an http(s) URL as a text", "URL")]
DestinationUrl = Annotated[str, AfterValidator(addresses.destination_url), Expects("an http(s) URL as a text", "URL")]
PublicUrl = Annotated[str, AfterValidator(addresses.public_url), Expects('an http(s) URL as a text, or ""', "URL")]
WebhookUrl = Annotated[
    str, AfterValidator(addresses.webhook_url), Expects("a URL as a text, such as https://... or redis://...", "URL")
]
StreamUrl = Annotated[str, AfterValidator(stream_url), Expects("a redis:// URL as a text", "URL")]
Proxy = Annotated[str, AfterValidator(addresses.proxy), Expects(addresses.PROXY_FORM, 'URL, `"environment"` or `""`')]
Listen = Annotated[
    str,
    AfterValidator(addresses.listen),
    Expects('host:port such as "127.0.0.1:8380", or "" for off', 'host:port, `""` for off'),
]
Networks = Annotated[
    tuple[Annotated[Network, BeforeValidator(addresses.network)], ...],
    Field(strict=False),
    Expects('a list of networks such as ["10.0.0.0/8"]', "list of networks"),
]

Seconds = Annotated[float, BeforeValidator(units.duration), Expects(units.DURATION_FORM, "duration")]
Waiting = Annotated[Seconds, Field(ge=1.0), Expects(f"{units.DURATION_FORM}; at least 1s", "duration, 1s or more")]
Timeout = Annotated[Seconds, Field(ge=0.001), Expects(f"{units.DURATION_FORM}; at least 1ms", "duration, 1ms or more")]
UpstreamWait = Annotated[
    Seconds, Field(ge=1.0, le=120.0), Expects(f"{units.DURATION_FORM}; from 1s to 120s", "duration, 1s to 120s")
]
Waits = Annotated[tuple[Seconds, ...], Field(strict=False, max_length=100)]
SCHEDULE = Expects(
    'a list of 1 to 100 durations such as ["0s", "5s", "5m"], a table such as '
    '{ first = "1s", factor = 2, longest = "12h" }, "standard" or "exponential"',
    'list of durations, table, `"standard"` or `"exponential"`',
)
DisableAfter = Annotated[
    float, BeforeValidator(units.duration_or_off), Expects(units.DURATION_OR_OFF_FORM, 'duration, or `"off"`')
]

MIB = 1 << 20
EventBytes = Annotated[
    int,
    BeforeValidator(units.size),
    Field(ge=MIB, le=256 * MIB),  # Redis takes 512 MiB in one value; the encoded event is larger than its data
    Expects(f"{units.SIZE_FORM}; from 1MiB to 256MiB", "size, 1MiB to 256MiB"),
]
BatchBytes = Annotated[
    int,
    BeforeValidator(units.size),
    Field(ge=1 << 10, le=8 * MIB),
    Expects(f"{units.SIZE_FORM}; from 1KiB to 8MiB", "size, 1KiB to 8MiB"),
]


def _whole(lowest: int, highest: int) -> Expects:
    return Expects(f"a whole number from {lowest} to {highest}", f"{lowest} to {highest}")


Partitions = Annotated[int, Field(ge=1, le=64), _whole(1, 64)]
Entries = Annotated[int, Field(ge=1, le=10**12), _whole(1, 10**12)]
Window = Annotated[int, Field(ge=1, le=10**6), _whole(1, 10**6)]
Replicas = Annotated[int, Field(ge=0, le=100), _whole(0, 100)]
Attempts = Annotated[int, Field(ge=1, le=10**6), _whole(1, 10**6)]
InFlight = Annotated[int, Field(ge=1, le=1024), _whole(1, 1024)]
BatchEvents = Annotated[int, Field(ge=1, le=10_000), _whole(1, 10_000)]
BatchWait = Annotated[int, Field(ge=0, le=60_000), _whole(0, 60_000)]
StreamEntries = Annotated[int, Field(ge=0, le=10**12), _whole(0, 10**12)]
Connections = Annotated[int, Field(ge=1, le=100_000), _whole(1, 100_000)]
Rate = Annotated[
    float,
    Field(ge=0.1, le=100_000, allow_inf_nan=False),
    Expects("a number from 0.1 to 100000", "0.1 to 100000"),
]
RateLimit = Annotated[float, BeforeValidator(units.rate), Expects(units.RATE_FORM, "rate")]
Factor = Annotated[float, Field(ge=1.0, le=100.0, allow_inf_nan=False), Expects("a number from 1 to 100", "1 to 100")]
Switch = Annotated[bool, Expects("true or false")]
TABLE = Expects("a table, such as { key = value }", "table")


def _one_of(literal: object) -> Expects:
    *first, last = map(json.dumps, get_args(literal))
    return Expects(f"{', '.join(first)} or {last}")


def _list_of(literal: object) -> Expects:
    known = ", ".join(map(json.dumps, get_args(literal)))
    return Expects(f"a list of texts out of {known}", f"list out of {known}")


_Level = Literal["debug", "info", "warning", "error"]
_Format = Literal["auto", "console", "json"]
_Api = Literal["v2", "v1"]
_Order = Literal["subject", "none"]
_OnRefused = Literal["retry", "dead"]
_OnExhausted = Literal["dead", "block"]
_BodyFormat = Literal["structured", "binary", "batched", "thin"]
_Begin = Literal["upstream", "start", "now"]
_OnGap = Literal["backfill", "earliest", "now", "stop"]
_OnGapOfSse = Literal["earliest", "now", "stop"]
_EventKind = Literal["command", "network", "console", "artifact", "tool_call", "runtime", "browser", "event"]
_EventSource = Literal["platform", "connection", "runtime", "artifact", "tool"]
_Include = Literal["trace", "events"]

Level = Annotated[_Level, _one_of(_Level)]
Format = Annotated[_Format, _one_of(_Format)]
Api = Annotated[_Api, _one_of(_Api)]
Order = Annotated[_Order, _one_of(_Order)]
OnRefused = Annotated[_OnRefused, _one_of(_OnRefused)]
OnExhausted = Annotated[_OnExhausted, _one_of(_OnExhausted)]
BodyFormat = Annotated[_BodyFormat, _one_of(_BodyFormat)]
StartOrTime = Annotated[
    str,
    BeforeValidator(texts.start_or_time),
    Expects(f'"start", "now" or {texts.TIME_FORM}', '"start", "now" or a time (RFC 3339)'),
]
Begin = Annotated[_Begin, _one_of(_Begin)]
BeginOrTime = Annotated[
    str,
    BeforeValidator(texts.begin_or_time),
    Expects(f'"upstream", "start", "now" or {texts.TIME_FORM}', '"upstream", "start", "now" or a time (RFC 3339)'),
]
OnGap = Annotated[_OnGap, _one_of(_OnGap)]
OnGapOfSse = Annotated[_OnGapOfSse, _one_of(_OnGapOfSse)]
EventKinds = Annotated[
    tuple[Annotated[_EventKind, _one_of(_EventKind)], ...], Field(strict=False), _list_of(_EventKind)
]
EventSources = Annotated[
    tuple[Annotated[_EventSource, _one_of(_EventSource)], ...], Field(strict=False), _list_of(_EventSource)
]
Includes = Annotated[tuple[Annotated[_Include, _one_of(_Include)], ...], Field(strict=False), _list_of(_Include)]
