"""The servers that tests share, a daemon with upstream and log, and the check that no test leaves an unknown key."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
import trustme
from daemon import Daemon, Log, configuration
from following import Stage
from servers import FLAVOURS, RedisServer
from upstream import Upstream

from bridge.dial import Tls
from bridge.redis_log.keys import Keys

_KEYS = Keys("PREFIX", 0)
_TABLE = {
    _KEYS.events: "stream",
    _KEYS.parked: "stream",
    _KEYS.dead("NAME"): "stream",
    _KEYS.commands: "stream",
    _KEYS.source("NAME"): "hash",
    _KEYS.recent("NAME"): "list",
    _KEYS.destination("NAME"): "hash",
    _KEYS.held("NAME"): "hash",
    _KEYS.due("NAME"): "zset",
    _KEYS.oldest("NAME"): "zset",
    _KEYS.lane("NAME") + "SUBJECT": "list",
    _KEYS.lane("NAME") + "SUBJECT\n": "set",
    _KEYS.lanes_of("NAME"): "hash",
    _KEYS.requests("NAME"): "list",
    _KEYS.requests(): "set",
    _KEYS.clock: "string",
    _KEYS.definitions: "hash",
}
"""Every key that there may be, and its type."""


def _pattern(key: str) -> re.Pattern[str]:
    text = re.escape(key.replace("{0}", "{PARTITION}")).replace("PARTITION", r"\d+")
    return re.compile(
        text.replace("PREFIX", ".+?").replace("NAME", "[A-Za-z0-9._:-]+").replace("SUBJECT", ".*"), re.DOTALL
    )


_PATTERNS = [(_pattern(key), kind) for key, kind in _TABLE.items()]


def unknown_keys(server: RedisServer) -> list[str]:
    """The keys of a server that are not in the key table, or not of the type it says."""
    found = {key: server.call("TYPE", key) for key in server.client().scan_iter(count=1000)}
    return [
        f"{key} ({kind})"
        for key, kind in found.items()
        if not any(kind == known and pattern.fullmatch(key) for pattern, known in _PATTERNS)
    ]


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[dict[str, RedisServer]]:
    """The servers shared by all tests: empty at the start of each, to be used but not configured."""
    with TemporaryDirectory(prefix="log-") as directory:
        servers = {flavour: RedisServer(flavour, Path(directory) / flavour).start() for flavour in FLAVOURS}
        yield servers
        for server in servers.values():
            server.stop()


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """Each kind of server that this machine has, in turn."""
    return str(request.param)


@pytest.fixture
def server(flavour: str, shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A server shared with other tests, empty at the start: its data may be changed, its configuration not."""
    return shared_servers[flavour]


@pytest.fixture
def start_server() -> Iterator[Callable[..., RedisServer]]:
    """`start_server(flavour, **options)`: a server of the test's own, stopped after it."""
    with TemporaryDirectory(prefix="log-") as directory:
        servers: list[RedisServer] = []

        def start(flavour: str, **options: Any) -> RedisServer:
            servers.append(RedisServer(flavour, Path(directory) / str(len(servers)), **options))
            return servers[-1].start()

        yield start
        try:
            left = [key for server in servers if server.has_data for key in unknown_keys(server)]
        finally:
            for server in servers:
                server.kill()
        assert not left, f"keys that are not in the key table: {left}"


@pytest.fixture
def prefix() -> str:
    """What this test's keys start with."""
    return f"t-{uuid4().hex[:8]}"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted upstream."""
    async with Upstream() as found:
        yield found


@pytest.fixture
def log(shared_servers: dict[str, RedisServer], prefix: str) -> Log:
    """The log of `daemon`, on one kind of server: no source knows which holds it."""
    return Log(shared_servers["valkey"], prefix)


@pytest.fixture
def daemon(tmp_path: Path, log: Log, upstream: Upstream) -> Callable[..., Daemon]:
    """`daemon(*sources, ...)`: a daemon, not yet started, with both accounts at `upstream` and its events in `log`.

    `redis` is another way to the log's server, `more` and `accounts` are those of `configuration`, and other keywords
    are variables of its environment.
    """

    def make(
        *sources: str, redis: str = "", more: str = "", accounts: Mapping[str, Mapping[str, Any]] | None = None,
        **environment: str,
    ) -> Daemon:  # fmt: skip
        text = configuration(
            redis or log.server.url, "\n".join(sources), prefix=log.prefix, bctrl=upstream.url, anchor=upstream.url,
            more=more, accounts=accounts,
        )  # fmt: skip
        return Daemon(tmp_path, text, **environment)

    return make


@pytest.fixture
def stage(upstream: Upstream, log: Log, daemon: Callable[..., Daemon]) -> Stage:
    """An upstream without scripts, a log, and daemons between them."""
    return Stage(upstream, log, daemon)


@pytest.fixture(autouse=True)
def _only_known_keys(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test leaves no key on a shared server that is not in the key table."""
    yield
    if "shared_servers" not in request.fixturenames:
        return
    servers: dict[str, RedisServer] = request.getfixturevalue("shared_servers")
    left = [key for server in servers.values() for key in unknown_keys(server)]
    for server in servers.values():
        server.call("FLUSHALL")
    assert not left, f"keys that are not in the key table: {left}"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Tls:
    """Its certificate, and a client's."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = authority.issue_cert("client@example")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    return Tls(str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"), str(tmp_path / "client.key"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest begins first, or the others would wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_container.py")
