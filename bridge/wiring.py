"""What settings point to, as the values that the layers below take. Pure: opens nothing, connects to nothing."""

from pathlib import Path

from bridge.embedded import EmbeddedServer
from bridge.http_client import HttpClient
from bridge.redis_log import Keys, LogOptions, Server
from bridge.settings import AnyAccount, Settings
from bridge.sources.account import Account

EMBEDDED = "embedded:"


def embedded_of(settings: Settings) -> EmbeddedServer | None:
    """The bridge's own server, not started, where `redis.url` asks for one."""
    url = settings.redis.url.get_secret_value()
    return EmbeddedServer(Path(url.removeprefix(EMBEDDED))) if url.startswith(EMBEDDED) else None


def server_of(settings: Settings) -> Server:
    """Where the log lives; for `embedded:` the socket of its server, running or not."""
    embedded, password = embedded_of(settings), settings.redis.password
    if embedded is not None:
        return Server(embedded.url)
    return Server(settings.redis.url.get_secret_value(), password.get_secret_value() if password else None)


def keys_of(settings: Settings) -> list[Keys]:
    """The keys of each partition."""
    return [Keys(settings.log.prefix, partition) for partition in range(settings.log.partitions)]


def log_options(settings: Settings) -> LogOptions:
    """Section `[log]`."""
    log = settings.log
    return LogOptions(
        prefix=log.prefix,
        partitions=log.partitions,
        retention=log.retention,
        max_entries=log.max_entries,
        window=log.dedup_window,
        replicas=log.min_replicas_acked,
    )


def account_of(name: str, account: AnyAccount, client: HttpClient) -> Account:
    """An account that asks through `client`."""
    return Account(name, account.base_url, credentials_of(account), client, rate=account.requests_per_second)


def credentials_of(account: AnyAccount) -> dict[str, str]:
    """The header that carries an account's key."""
    key = account.api_key.get_secret_value()
    return {"anchor-api-key": key} if account.provider == "anchor" else {"Authorization": f"Bearer {key}"}
