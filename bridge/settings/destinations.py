"""The kinds of destinations, one model for each, told by the URL's scheme. Pure; judges no key by another."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from bridge.delivery.schedule import STANDARD, Schedule
from bridge.settings import addresses, forms
from bridge.settings.headers import bounded
from bridge.settings.redis_url import without_secrets
from bridge.settings.section import Section

WEBHOOK, REDIS = "webhook", "redis"
_STREAMS = frozenset({"redis", "rediss", "unix", "embedded", "redis+sentinel", "redis+cluster"})


def kind_of(entry: object) -> str:
    """What a destination is by its URL, whether as it was given or as a value: `webhook` where that says nothing."""
    url = entry.get("url") if isinstance(entry, dict) else getattr(entry, "url", None)
    return REDIS if isinstance(url, str) and url.partition(":")[0].lower() in _STREAMS else WEBHOOK


class Exponential(Section):
    """Waits that grow: `first`, then `factor` times the last one, up to `longest`."""

    first: forms.Timeout = 5.0
    """The wait before the second attempt. The first attempt is made at once."""
    factor: forms.Factor = 3.0
    """How many times the last wait the next one is."""
    longest: forms.Timeout = 86_400.0
    """No wait is longer than this."""


class Batch(Section):
    """How many events go into one request of the format `batched`. Whichever bound is reached first ends a batch."""

    max_events: forms.BatchEvents = 100
    """Events in one request."""
    max_bytes: forms.BatchBytes = 256 << 10
    """Bytes of one request's body. A larger event goes alone."""
    max_wait_ms: forms.BatchWait = 100
    """Milliseconds that the first event of a batch waits for others."""


class Tls(Section):
    """Certificates for https, in PEM. The files are read at start."""

    ca_file: forms.PathOrEmpty = ""
    """Certificates of the authorities to trust, instead of the system's."""
    cert_file: forms.PathOrEmpty = ""
    """The bridge's own certificate, for a receiver that asks for one, with those of its chain behind it."""
    key_file: forms.PathOrEmpty = ""
    """The key of that certificate, without a passphrase. In `cert_file` too, where there is no `key_file`."""


def _named_schedule(value: object) -> object:
    if value == []:
        raise ValueError(f"expected {forms.SCHEDULE.words}")
    return {"standard": STANDARD.waits, "exponential": {}}.get(value, value) if isinstance(value, str) else value


def _form_of_schedule(value: object) -> str:
    return "table" if isinstance(value, dict | Exponential) else "list"


RetrySchedule = Annotated[
    Annotated[forms.Waits, Tag("list")] | Annotated[Exponential, Tag("table")],
    Discriminator(_form_of_schedule),
    BeforeValidator(_named_schedule),
    forms.SCHEDULE,
]
Headers = Annotated[
    Mapping[forms.WebhookHeaderName, forms.WebhookHeaderValue],
    AfterValidator(MappingProxyType),
    AfterValidator(bounded),
    forms.HEADERS,
]
HeaderFiles = Annotated[
    Mapping[forms.WebhookHeaderName, forms.LocalPath], AfterValidator(MappingProxyType), forms.HEADER_FILES
]


class Destination(Section):
    """Whom events are delivered to. The table's name is the destination's id."""

    url: str = Field(repr=False)  # may hold a password or a token
    """Where events go; its scheme tells the kind of destination."""
    types: forms.Globs = ()
    """Only events whose type matches one of these globs, such as `ai.bctrl.run.*`; all when empty."""
    subjects: forms.Globs = ()
    """Only events whose subject (the run, operation or invocation, or the event's name) matches one of these."""
    sources: forms.Globs = ()
    """Only events whose `source` matches one of these, such as `https://api.bctrl.ai/runs/*`."""
    filter: forms.Filter = ""
    """Only events that this expression is true for, such as `category == "network" and data.status >= 500`."""
    from_: forms.StartOrTime = Field(default="start", alias="from")
    """Where a new destination begins: at the `start` of the log, with what arrives from `now` on, or at a time."""


class WebhookDestination(Destination):
    """A webhook: events are posted to an `https://` or `http://` URL, signed by Standard Webhooks.

    The table's name is the destination's id.
    """

    url: forms.WebhookUrl = Field(repr=False)
    """Where events are posted to. A user and password in it are sent as Basic authorization. Plain http only into
    `allow_networks` or with `allow_http`."""
    secrets: forms.WebhookSecrets = ()
    """Standard Webhooks secrets: `whsec_...` signs by HMAC, `whsk_...` by ed25519. All of them sign: two during a
    rotation."""
    secret_files: forms.LocalPaths = ()
    """Files that hold one secret each; they come after those of `secrets`. From 1 to 10 secrets in all."""
    order: forms.Order = "subject"
    """`subject`: events of one subject go one after the other; `none`: each goes as soon as it can."""
    max_in_flight: forms.InFlight = 32
    """Requests that are under way at once."""
    timeout: forms.Timeout = 15.0
    """How long one attempt may take, from the connection to the end of the answer."""
    max_attempts: forms.Attempts = 10
    """Attempts for one event before it is exhausted."""
    retry_schedule: RetrySchedule = Field(default="standard")  # type: ignore[assignment]  # becomes the waits of STANDARD
    """The waits before each attempt, at most 100, the first attempt's first; where that isn't zero, it is the second
    attempt's. The last one repeats. `standard` is 0, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h;
    `exponential` is the table below with its defaults."""
    on_refused: forms.OnRefused = "retry"
    """An answer that refuses the event itself (4xx, but 408, 410, 425 and 429): `retry` makes a dead letter at the
    third, `dead` at the first."""
    on_exhausted: forms.OnExhausted = "dead"
    """When all attempts are used up: `dead` makes a dead letter and goes on with the subject; `block` goes on trying,
    and the subject waits."""
    disable_after: forms.DisableAfter = 5 * 86_400.0
    """A destination that has only failed for this long is disabled. Never with `"off"` or `"0s"`."""
    rate_limit: forms.RateLimit | None = None
    """Requests started per second at most, or `"100/s"`, `"600/m"`, `"10/h"`. No limit without."""
    format: forms.BodyFormat = "structured"
    """How CloudEvents are sent: `structured` (one JSON object), `binary` (attributes as headers, data as the body),
    `batched` (a JSON array), `thin` (no data but a link to it)."""
    batch: Annotated[Batch, forms.TABLE] = Field(default_factory=Batch)
    """Bounds of a batch; only with `format = "batched"`."""
    headers: Headers = Field(default={})
    """Headers to send besides the bridge's own, each a secret: `headers.Authorization = "Bearer ..."`. At most 64 with
    8 KiB in all."""
    header_files: HeaderFiles = Field(default={})
    """Files that hold a header's value each: `header_files.Authorization = "secrets/crm"`; read once, at start."""
    handshake: forms.Switch = False
    """Whether the receiver has to allow the bridge first (the handshake of the CloudEvents webhook specification), once
    after each start. It may lower `rate_limit`."""
    allow_networks: forms.Networks = ()
    """Networks that this destination may be in although they aren't public."""
    allow_http: forms.Switch = False
    """Whether plain http may go anywhere, and show the events to whoever is on the way."""
    tls: Annotated[Tls, forms.TABLE] = Field(default_factory=Tls)
    """Certificates of its own; only for https. TLS 1.2 is the oldest that is spoken."""
    proxy: forms.Proxy = Field(default="", repr=False)  # may hold a password
    """`http://[user:password@]host:port` of a proxy, or `"environment"` for what `https_proxy`, `http_proxy` and
    `no_proxy` say. None when empty, whatever the environment says. A proxy looks names up itself: only an address that
    `url` spells out is judged then."""

    @property
    def address(self) -> str:
        """The URL without user, password, query and most of its path, for people to read: a token may be in each."""
        return addresses.short_url(self.url)

    @property
    def schedule(self) -> Schedule:
        """When an event is tried again."""
        given = self.retry_schedule
        if isinstance(given, Exponential):
            return Schedule.exponential(given.first, given.factor, given.longest)
        return Schedule.listed(given)

    @property
    def inside_only(self) -> bool:
        """Whether it may only be reached inside `allow_networks`, at public addresses neither: plain http."""
        return self.url.startswith("http:") and not self.allow_http


class RedisDestination(Destination):
    """A stream in Redis for each type, subject, source or partition, so that a consumer reads only what it wants.

    Each event is there exactly once. The table's name is the destination's id.
    """

    url: forms.StreamUrl = Field(repr=False)
    """The Redis to write to, in the forms of `redis.url`: `redis://host:port/db`, `rediss://` (TLS), `unix:///PATH`,
    `redis+sentinel://h:p,h:p/service/db`, `redis+cluster://h:p,h:p`."""
    password: forms.Password | None = None
    """Its password, where the URL doesn't hold one."""
    password_file: forms.LocalPath | None = None
    """A file that holds the password."""
    stream: forms.StreamTemplate
    """The stream's key, such as `runs:{subject}` or `events:{type}`. The fields are `{type}`, `{subject}`, `{source}`
    and `{partition}`; at least one character stands outside them, and `{{` and `}}` are braces. On a cluster it begins
    with a hash tag, such as `{{bridge}}:runs:{subject}`."""
    max_entries: forms.StreamEntries = 100_000
    """Entries that each stream keeps, roughly: older ones go. 0 for all."""

    @property
    def address(self) -> str:
        """The URL without user, password and query, for people to read."""
        return without_secrets(self.url)


AnyDestination = WebhookDestination | RedisDestination
