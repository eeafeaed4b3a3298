"""The types of the configuration's values: what a value looks like, and the words that say so. Pure.

Every type ends in `Expects`: an error about a wrong value says "expected ..." with exactly these words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from bridge.http_client import Network
from bridge.settings import addresses, texts, units
from bridge.settings.redis_url import redis_url


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
LocalPath = Annotated[str, AfterValidator(texts.local_path), Expects("a path as a text", "path")]
LocalPaths = Annotated[tuple[LocalPath, ...], Field(strict=False), Expects("a list of paths as texts", "list of paths")]
Directory = Annotated[str, AfterValidator(texts.directory), Expects('a directory as a text, or "" for off', "path")]

Token = Annotated[SecretStr, _secret(texts.token), Expects("a text of visible ASCII characters", "secret")]
Password = Annotated[SecretStr, _secret(texts.password), Expects("a text", "secret")]
WebhookSecret = Annotated[SecretStr, _secret(texts.webhook_secret), Expects("a text that starts with whsec_")]
WebhookSecrets = Annotated[
    tuple[WebhookSecret, ...],
    Field(strict=False),
    Expects("a list of texts, each whsec_ and the base64 of 24 to 64 random bytes", "list of secrets"),
]

RedisUrl = Annotated[SecretStr, _secret(redis_url), Expects("a URL as a text", "URL")]
BaseUrl = Annotated[str, AfterValidator(addresses.base_url), Expects("an http(s) URL as a text", "URL")]
DestinationUrl = Annotated[str, AfterValidator(addresses.destination_url), Expects("an http(s) URL as a text", "URL")]
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
Schedule = Annotated[
    tuple[Seconds, ...],
    Field(strict=False),
    Expects('a list of durations such as ["1s", "1m"]', "list of durations"),
]

MIB = 1 << 20
EventBytes = Annotated[
    int,
    BeforeValidator(units.size),
    Field(ge=MIB, le=256 * MIB),  # Redis takes 512 MiB in one value; the encoded event is larger than its data
    Expects(f"{units.SIZE_FORM}; from 1MiB to 256MiB", "size, 1MiB to 256MiB"),
]


def _whole(lowest: int, highest: int) -> Expects:
    return Expects(f"a whole number from {lowest} to {highest}", f"{lowest} to {highest}")


Partitions = Annotated[int, Field(ge=1, le=64), _whole(1, 64)]
Entries = Annotated[int, Field(ge=1, le=10**12), _whole(1, 10**12)]
Window = Annotated[int, Field(ge=1, le=10**6), _whole(1, 10**6)]
Replicas = Annotated[int, Field(ge=0, le=100), _whole(0, 100)]
Attempts = Annotated[int, Field(ge=1, le=10**6), _whole(1, 10**6)]
InFlight = Annotated[int, Field(ge=1, le=1024), _whole(1, 1024)]

Level = Annotated[Literal["debug", "info", "warning", "error"], Expects('"debug", "info", "warning" or "error"')]
Format = Annotated[Literal["auto", "console", "json"], Expects('"auto", "console" or "json"')]
Api = Annotated[Literal["v2", "v1"], Expects('"v2" or "v1"')]
Start = Annotated[Literal["start", "now"], Expects('"start" or "now"')]
