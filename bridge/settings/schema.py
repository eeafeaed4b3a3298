"""The keys of the configuration, as frozen values with their defaults. Reads no file and no environment.

`docs/configuration.md` is made from it, `sources` and `destinations`: the docstring below a key is its description
there.
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.settings import addresses, forms
from bridge.settings.destinations import REDIS, WEBHOOK, RedisDestination, WebhookDestination, kind_of
from bridge.settings.redis_url import without_secrets
from bridge.settings.section import Section
from bridge.settings.sources import AnySource

logging.getLogger("pydantic_settings").addFilter(lambda _: False)  # at debug level it writes every value down


class Redis(Section):
    """The Redis that holds the log. Version 7.0 or later, or Valkey."""

    url: forms.RedisUrl = Field(default="redis://127.0.0.1:6379/0")  # type: ignore[assignment]  # becomes a secret
    """Where it is: `redis://host:port/db`, `rediss://` (TLS), `unix:///PATH`, `redis+sentinel://h:p,h:p/service/db`,
    `redis+cluster://h:p,h:p`, or `embedded:PATH`: a Valkey of the bridge's own, with its files in PATH."""
    password: forms.Password | None = None
    """Its password, where the URL doesn't hold one."""
    password_file: forms.LocalPath | None = None
    """A file that holds the password."""

    @property
    def address(self) -> str:
        """The URL without user, password and query, for people to read."""
        return without_secrets(self.url.get_secret_value())


class Log(Section):
    """The log in Redis Streams."""

    prefix: forms.Name = "bridge"
    """First part of every key in Redis."""
    partitions: forms.Partitions = 1
    """How many streams the sources are spread over. Stays as it is once the log has entries."""
    retention: forms.Waiting = 7 * 86400.0
    """Entries older than this are trimmed, unless a destination has not settled them."""
    max_entries: forms.Entries = 1_000_000
    """Entries that a partition keeps at most. Trims even what a destination has not settled, and says so."""
    dedup_window: forms.Window = 10_000
    """Recent event ids that are remembered for each source, to leave out what the upstream sends twice."""
    min_replicas_acked: forms.Replicas = 0
    """Replicas that must have an append before it counts. 1 where Redis fails over to a replica."""


class Http(Section):
    """The bridge's own HTTP server: health, metrics, control."""

    listen: forms.Listen = "127.0.0.1:8380"
    """Address and port. Another address than loopback needs a token."""
    token: forms.Token | None = None
    """What callers send as `Authorization: Bearer ...`."""
    token_file: forms.LocalPath | None = None
    """A file that holds the token."""
    public_url: forms.PublicUrl = ""
    """Where others reach this server: what the links of the format `thin` begin with. `http://` and `listen` when
    empty."""

    @property
    def links(self) -> str:
        """What links to this server begin with, without a closing slash; empty where it is off."""
        return self.public_url or (f"http://{self.listen}" if self.listen else "")

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on, or None for off."""
        if not self.listen:
            return None
        host, port = addresses.host_and_port(self.listen)
        return host, port or 0


class Logging(Section):
    """What the bridge says on standard error."""

    level: forms.Level = "info"
    """The least urgent lines that are written."""
    format: forms.Format = "auto"
    """`auto` is `console` on a terminal and `json` elsewhere."""


class Account(Section):
    """Access to one upstream. The table's name is what sources call it by."""

    provider: Literal["bctrl", "anchor"]
    """Whose API this is."""
    api_key: forms.Token
    """The key, where it isn't in a file. One of `api_key` and `api_key_file`."""
    api_key_file: forms.LocalPath | None = None
    """A file that holds the key; read once, at start."""
    max_connections: forms.Connections = 4096
    """Open connections to this account at most. A stream or a wait holds one each; one is kept for short requests."""
    requests_per_second: forms.Rate = 500.0
    """Requests started per second on this account at most, waits and reconnections included."""


class BctrlAccount(Account):
    """An account at bctrl."""

    provider: Literal["bctrl"]
    """Whose API this is."""
    base_url: forms.BaseUrl = "https://api.bctrl.ai"
    """Where its API is. Plain http only to this machine."""


class AnchorAccount(Account):
    """An account at Anchor Browser."""

    provider: Literal["anchor"]
    """Whose API this is."""
    base_url: forms.BaseUrl = "https://api.anchorbrowser.io"
    """Where its API is. Plain http only to this machine."""


AnyAccount = BctrlAccount | AnchorAccount
_OneDestination = Annotated[
    Annotated[WebhookDestination, Tag(WEBHOOK)] | Annotated[RedisDestination, Tag(REDIS)], Discriminator(kind_of)
]


class Settings(BaseSettings):
    """Everything that can be set, read once by `bridge.settings.load`. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    grace: forms.Seconds = 20.0
    """How long what is under way may take to end after SIGTERM."""
    spool: forms.Directory = ""
    """A directory for signals that can't be stored yet, so that no restart loses them; off when empty."""
    instance: forms.NameOrEmpty = ""
    """This bridge's name among several; the host's name when empty."""
    redis: Redis = Field(default_factory=Redis)
    log: Log = Field(default_factory=Log)
    http: Http = Field(default_factory=Http)
    logging: Logging = Field(default_factory=Logging)
    accounts: Annotated[
        Mapping[str, Annotated[AnyAccount, Field(discriminator="provider")]], AfterValidator(MappingProxyType)
    ] = {}
    sources: Annotated[
        Mapping[str, Annotated[AnySource, Field(discriminator="kind")]], AfterValidator(MappingProxyType)
    ] = {}
    destinations: Annotated[Mapping[str, _OneDestination], AfterValidator(MappingProxyType)] = {}

    @property
    def sender(self) -> str:
        """The DNS name that the bridge gives itself where a receiver is asked for consent; empty for none."""
        return addresses.sender(self.http.public_url, self.instance)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Takes only what `load` hands over: it has read the environment by the rules of `environment`."""
        return (init_settings,)
