"""The users of docs/security.md on real servers: the bridge works with its own, others can do what it says, no more."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Command
from daemon import Daemon, configuration, stream_source
from delivering import QUICK, destination
from redis import Redis
from redis.exceptions import NoPermissionError
from servers import FLAVOURS, RedisServer, free_port
from typer.testing import CliRunner
from waiting import wait_blocking

from bridge.cli import app
from bridge.redis_log.scripts import __file__ as scripts

PAGE = (Path(__file__).parents[1] / "docs" / "security.md").read_text()
USERS = {line.split()[1]: line.split()[2:] for line in re.findall(r"^user .*$", PAGE, re.MULTILINE)}
SECRET = "whsec_" + "MDEy" * 8
EVENTS, COMMANDS, DEFINITIONS = ("bridge:{0}:" + name for name in ("events", "commands", "definitions"))
SPEC = {"url": "https://crm.example/hooks", "secrets": [SECRET]}


@pytest.fixture(params=FLAVOURS)
def server(request: pytest.FixtureRequest, start_server: Callable[..., RedisServer]) -> RedisServer:
    """A server with the page's users."""
    found = start_server(request.param, port=str(free_port()))
    unknown = {"+client|setinfo"} - {f"+{name}" for name in found.call("ACL", "CAT", "connection")}  # Redis 7.0
    for name, rules in USERS.items():
        found.call("ACL", "SETUSER", name, *(rule for rule in rules if rule not in unknown))
    return found


def url(server: RedisServer, user: str) -> str:
    """The server, as this user."""
    return server.url.replace("://", f"://{user}:{password(user)}@")


def password(user: str) -> str:
    """As the page has it."""
    return str(next(rule[1:] for rule in USERS[user] if rule[0] == ">"))


def denied(server: RedisServer) -> list[str]:
    """Who was denied what since the last time."""
    entries: Any = server.client().acl_log()
    server.call("ACL", "LOG", "RESET")
    return [f"{one['username']}: {one['object']} ({one['reason']})" for one in entries]


@pytest.fixture
def as_user(server: RedisServer) -> Iterator[Callable[[str], Redis]]:
    """`as_user(name)`: a client."""
    clients: list[Redis] = []

    def client(name: str) -> Redis:
        clients.append(Redis.from_url(url(server, name), decode_responses=True, protocol=2))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[str]:
    """The URL of a local upstream that knows every run."""
    port = free_port()
    command = Command(tmp_path, "emulator", "--port", str(port), "--any-run")
    wait_blocking(lambda: "http" in command.out, "the upstream", 20.0)
    yield f"http://127.0.0.1:{port}"
    command.process.terminate()
    command.process.wait()


def run(path: Path, line: str) -> str:
    """What a command prints that ends well."""
    done = CliRunner().invoke(app, [*line.split(), "--config", str(path)])
    assert done.exit_code == 0, (path, line, done.output, done.exception)
    return done.output


@pytest.mark.parametrize("server", ["valkey"], indirect=True)  # nine seconds of commands, once
def test_each_user_can_do_its_work(server: RedisServer, emulator: str, tmp_path: Path) -> None:
    """The bridge reads, logs, delivers, gives up and is steered, people and services do their part: none is denied."""
    hook = destination("crm", "http://127.0.0.1:1/", retry_schedule=QUICK, max_attempts=2)
    text = configuration(url(server, "runbridge"), stream_source() + hook, bctrl=emulator)
    for user in USERS:
        (tmp_path / f"{user}.toml").write_text(text.replace(url(server, "runbridge"), url(server, user)))
    new = "--account bctrl --kind bctrl.run-events.stream --run"
    daemon = Daemon(tmp_path, text).start()
    try:
        wait_blocking(lambda: server.call("XLEN", "bridge:{0}:dead:crm") > 0, "a dead letter")
        run(tmp_path / "commander.toml", f"sources add by-commander {new} c")
        run(tmp_path / "reader.toml", "tail --from start -n 2")
        for line in (
            f"sources add by-operator {new} o", "status", "sources list", "sources show s", "sources pause s",
            "cursor get s", "cursor set s --drop --yes", "sources resume s", "destinations list",
            "destinations show crm", "dead list --destination crm", "dead retry --destination crm --all",
            "dead drop --destination crm --all --yes --force", "parked list", "replay --list",
            "destinations resume crm", "replay --destination crm --from start --detach",
        ):  # fmt: skip
            run(tmp_path / "operator.toml", line)
        (replay,) = run(tmp_path / "operator.toml", "replay --list --json").splitlines()
        run(tmp_path / "operator.toml", f"replay --cancel {json.loads(replay)['id']}")
        wait_blocking(lambda: not server.call("KEYS", "*~*"), "the end of the replay")
        daemon.signal(signal.SIGHUP)
        wait_blocking(lambda: daemon.lines("configuration.reloaded"), "the reload")
        daemon.signal(signal.SIGTERM)
        wait_blocking(lambda: not daemon.alive, "the daemon's end", 20.0)
        run(tmp_path / "operator.toml", "status")
    except BaseException as error:
        error.add_note(f"the daemon said:\n{daemon.text[-4000:]}")
        raise
    finally:
        daemon.kill()
    assert denied(server) == []


def test_a_reader_reads_the_log_and_nothing_else(server: RedisServer, as_user: Callable[[str], Redis]) -> None:
    """It can't write to the log, command, or see what was added."""
    server.call("XADD", EVENTS, "*", "id", "a")
    server.call("HSET", DEFINITIONS, "destinations crm", json.dumps({"spec": SPEC}))
    reader = as_user("reader")

    assert reader.xlen(EVENTS) == 1
    assert reader.xread({EVENTS: "0"})
    for refused in (
        ("XADD", EVENTS, "*", "id", "b"), ("XADD", COMMANDS, "*", "do", "source.pause"), ("HGETALL", DEFINITIONS),
        ("XRANGE", COMMANDS, "-", "+"), ("XDEL", EVENTS, "0-1"), ("GET", "another"), ("KEYS", "*"),
        ("EVAL", "return redis.call('HGETALL', KEYS[1])", 1, DEFINITIONS), ("CONFIG", "GET", "*"),
    ):  # fmt: skip
        with pytest.raises(NoPermissionError):
            reader.execute_command(*refused)


def test_a_reader_may_have_a_group_of_its_own(server: RedisServer, as_user: Callable[[str], Redis]) -> None:
    """With the rights that the page adds for it, which still let it add nothing to the log."""
    more = re.search(r"add `(%RW~[^`]+)`", PAGE)
    assert more is not None
    server.call("XADD", EVENTS, "*", "id", "a")
    server.call("ACL", "SETUSER", "reader", *more[1].split())
    reader = as_user("reader")

    assert reader.xgroup_create(EVENTS, "mine", "0")
    assert reader.xreadgroup("mine", "one", {EVENTS: ">"})
    assert reader.xack(EVENTS, "mine", "0-1") == 0
    with pytest.raises(NoPermissionError):
        reader.xadd(EVENTS, {"id": "forged"})


def test_a_commander_asks_and_sees_no_secret(server: RedisServer, as_user: Callable[[str], Redis]) -> None:
    """It adds commands and reads the log, where the answers are; no command and no definition can be read."""
    server.call("HSET", DEFINITIONS, "destinations crm", json.dumps({"spec": SPEC}))
    commander = as_user("commander")

    assert commander.xadd(COMMANDS, {"do": "destination.add", "id": "crm", "spec": json.dumps(SPEC)})
    assert commander.xlen(EVENTS) == 0
    for refused in (
        ("XRANGE", COMMANDS, "-", "+"), ("XREVRANGE", COMMANDS, "+", "-"), ("XREAD", "STREAMS", COMMANDS, "0"),
        ("HGETALL", DEFINITIONS), ("HSET", DEFINITIONS, "a", "b"), ("XADD", EVENTS, "*", "id", "forged"),
        ("XDEL", COMMANDS, "0-1"), ("COPY", COMMANDS, EVENTS), ("SET", "bridge:{0}:clock", "0 0"),
    ):  # fmt: skip
        with pytest.raises(NoPermissionError):
            commander.execute_command(*refused)


def test_the_bridge_and_the_operator_keep_to_their_prefix(
    server: RedisServer, as_user: Callable[[str], Redis]
) -> None:  # fmt: skip
    """Neither touches another program's keys, by a command or by a script, or the server itself."""
    for name in ("runbridge", "operator"):
        client = as_user(name)
        for refused in (
            ("GET", "another"), ("DEL", "another"), ("EVAL", "return redis.call('GET', KEYS[1])", 1, "another"),
            ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"),
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                client.execute_command(*refused)
    with pytest.raises(NoPermissionError):
        as_user("operator").xtrim(EVENTS, maxlen=0)


def test_the_bridge_may_run_what_its_scripts_call() -> None:
    """Every command of every script is among those of its user, however seldom it is called."""
    texts = "".join(path.read_text() for path in (Path(scripts).parent / "lua").glob("*.lua"))
    called = set(re.findall(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", texts))
    allowed = {rule[1:] for rule in USERS["runbridge"] if rule[0] == "+"}

    with_subcommands = {"XGROUP", "XINFO"}
    needed = {f"{name}|{sub}".lower() if name in with_subcommands else name.lower() for name, sub in called}
    assert needed - allowed == set()
