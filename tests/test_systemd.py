"""The units say what the daemon does, systemd has nothing to say about them, and the daemon tells systemd the truth."""

import configparser
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import Daemon, Log, configuration, never, stream_source
from notified import Notified
from servers import RedisServer, free_port
from upstream import HANG, Upstream, answer, frame, stream
from waiting import wait_until

from bridge.cli.options import EX_CONFIG
from bridge.pulse import LONGEST
from bridge.settings import load
from bridge.settings.units import duration

ROOT = Path(__file__).parent.parent
UNITS = ("runbridge.service", "runbridge@.service")
PATH = "/v2/runs/r/events/stream"
SEEN = """
    accept4 access arch_prctl bind brk chdir chmod clock_nanosleep clone clone3 close close_range connect dup2
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve fadvise64 fcntl fdatasync flock fsync
    futex getcwd getdents64 getpeername getpid getrandom getsockname getsockopt gettid io_uring_enter io_uring_setup
    ioctl kill listen lseek madvise mkdir mmap mprotect mremap munmap newfstatat openat pipe2 poll prctl pread64
    prlimit64 read readlink recvfrom recvmsg rename rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn
    sched_getaffinity sendto set_robust_list set_tid_address setitimer setsid setsockopt shutdown socket socketpair
    stat statx sysinfo umask uname unlink unlinkat vfork wait4 write writev
"""
"""What strace saw of the daemon and its embedded server, with webhooks and a rewrite of the append-only file."""


def text_of(name: str) -> str:
    """A unit file."""
    return (ROOT / "systemd" / name).read_text()


def service(text: str) -> configparser.SectionProxy:
    """The service section; a key that stands twice keeps its last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(text)
    return parser["Service"]


def all_of(text: str, key: str) -> list[str]:
    """Every value of a key that may stand more than once."""
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def with_credentials(text: str) -> str:
    """The unit with the lines for credentials that it shows as comments."""
    return re.sub(r"^#(?=(LoadCredential|Environment)=)", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_says_what_the_daemon_does(name: str) -> None:
    """Its command, its exit codes and its times are the daemon's."""
    settings, config = service(text_of(name)), "%i" if "@" in name else "bridge"

    assert settings["ExecStart"].endswith(f"/bin/runbridge run --config /etc/runbridge/{config}.toml")
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (settings["Type"], settings["NotifyAccess"]) == ("notify", "main")
    assert settings["RestartPreventExitStatus"] == str(EX_CONFIG)
    assert float(settings["TimeoutStopSec"]) > default_grace()
    assert float(settings["WatchdogSec"]) >= LONGEST
    assert settings["DynamicUser"] == "yes"


def default_grace() -> float:
    """The default `grace` in seconds, as the reference states it."""
    reference = (ROOT / "docs" / "configuration.md").read_text()
    found = re.search(r"`grace`.*?`?\"(\d+s)\"", reference)
    assert found is not None
    return duration(found[1])


def test_the_units_are_the_same_but_for_the_instance() -> None:
    """What protects the one protects the others: the template differs only where it names its instance."""
    one, many = (dict(service(text_of(name))) for name in UNITS)
    differing = {key for key in one.keys() | many.keys() if one.get(key) != many.get(key)}

    assert differing == {"ExecStart", "StateDirectory", "User"}
    assert all("%i" in many[key] for key in differing)
    variables = [set(all_of(text_of(name), "Environment")) for name in UNITS]
    assert variables[1] - variables[0] == {"BRIDGE_INSTANCE=%l-%i"}


@pytest.mark.parametrize("name", UNITS)
def test_the_credentials_it_shows_can_be_used(name: str, tmp_path: Path) -> None:
    """An account without a key gets its own from the credential that the unit shows, by the variable it shows."""
    text = with_credentials(text_of(name))
    (credential,) = all_of(text, "LoadCredential")
    variables = dict(line.split("=", 1) for line in all_of(text, "Environment") if line.startswith("BRIDGE_"))
    assert any(value == f"%d/{credential.split(':')[0]}" for value in variables.values())
    (tmp_path / credential.split(":")[0]).write_text("sk_credential\n")
    environment = {
        key: value.replace("%d", str(tmp_path)).replace("%l-%i", "h-one") for key, value in variables.items()
    }
    config = tmp_path / "bridge.toml"
    config.write_text('[accounts.bctrl]\nprovider = "bctrl"\nbase_url = "https://api.bctrl.ai"\n')

    settings = load(config, environment)

    assert settings.accounts["bctrl"].api_key is not None
    assert settings.accounts["bctrl"].api_key.get_secret_value() == "sk_credential"
    assert settings.instance == "h-one" or "@" not in name


def test_the_page_says_what_the_units_do() -> None:
    """The lines for a drop-in are the unit's own, and every file that the commands take from here is there."""
    page = (ROOT / "docs" / "systemd.md").read_text()
    shown = with_credentials(text_of("runbridge.service")).splitlines()
    lines = "".join(re.findall(r"```ini\n(.*?)```", page, re.DOTALL)).splitlines()
    lines += re.findall(r"`(Environment=.*?)`", page)
    assert [line for line in lines if line not in shown] == []
    assert len(lines) == 3
    assert "runbridge-%i" in service(text_of("runbridge@.service"))["StateDirectory"]
    sources = re.findall(r" ((?:systemd|config)/\S+)", "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)))
    assert len(sources) == 3
    assert all((ROOT / name).is_file() for name in sources)


if shutil.which("systemd-analyze"):  # a test of the machines that have it; .ci/run installs it

    @pytest.mark.parametrize("judgement", [["verify", "--man=no"], ["security", "--offline=true", "--threshold=12"]])
    @pytest.mark.parametrize("name", UNITS)
    def test_systemd_accepts_the_unit(name: str, judgement: list[str], tmp_path: Path) -> None:
        """Systemd has nothing to say about the unit with its credentials, and calls it exposed by 1.2 of 10 at most."""
        there = tmp_path / name
        there.write_text(with_credentials(text_of(name)).replace("/opt/runbridge/bin/runbridge", sys.executable))

        done = subprocess.run(["systemd-analyze", *judgement, str(there)], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
        assert "runbridge" not in done.stderr, done.stderr

    @pytest.mark.parametrize("name", UNITS)
    def test_the_unit_allows_every_call_of_the_daemon(name: str) -> None:
        """No system call that the daemon or the embedded server makes is filtered away, and privileged ones are."""
        groups = call_groups()
        allowed, denied = (
            {call for line in all_of(text_of(name), "SystemCallFilter") if line.startswith("~") is negative
             for group in line.removeprefix("~").split() for call in calls(group, groups)}
            for negative in (False, True)
        )  # fmt: skip

        assert set(SEEN.split()) - (allowed - denied) == set()
        assert not {"setuid", "chown", "mount", "ptrace", "bpf", "reboot"} & (allowed - denied)

    def call_groups() -> dict[str, list[str]]:
        """Group -> its system calls and further groups, as systemd knows them."""
        done = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True)
        groups: dict[str, list[str]] = {}
        for line in done.stdout.splitlines():
            if line.startswith("@"):
                groups[line.strip()] = members = []
            elif line.strip() and not line.strip().startswith("#"):
                members.append(line.strip())
        return groups

    def calls(name: str, groups: dict[str, list[str]]) -> set[str]:
        """The system calls of a group, those of the groups in it among them."""
        return {call for member in groups[name] for call in (calls(member, groups) if member[0] == "@" else {member})}


async def test_systemd_is_told_the_truth(
    tmp_path: Path, start_server: Callable[..., RedisServer], upstream: Upstream
) -> None:
    """READY comes only with Redis, and whatever a source is refused; STATUS counts; RELOADING, READY; STOPPING."""
    redis = start_server("valkey", port=free_port())
    redis.stop()
    upstream.on(PATH, stream(frame("e1"), frame("e2"), then=HANG))
    upstream.on("/v2/runs/gone/events/stream", answer(404, {}))
    sources = stream_source() + stream_source("refused", run="gone")
    with Notified(tmp_path) as systemd:
        config = configuration(redis.url, sources, bctrl=upstream.url)
        async with Daemon(tmp_path, config, NOTIFY_SOCKET=systemd.address) as daemon:
            await daemon.line("log.blocked")
            await wait_until(systemd.status, "a first STATUS")
            assert "READY=1" not in systemd.lines
            redis.start()
            await wait_until(lambda: systemd.count("READY=1") == 1, "READY")
            await Log(redis).longer(2)  # both events, and the one that says that a source is refused
            daemon.signal(signal.SIGHUP)
            await wait_until(lambda: systemd.count("READY=1") == 2, "READY after the reload")
            said = [line for line in systemd.lines if line in {"READY=1", "RELOADING=1"}]
            assert said == ["READY=1", "RELOADING=1", "READY=1"]
            await wait_until(lambda: any("3 events in" in text for text in systemd.status()), "the events in STATUS")
            assert await daemon.stop() == 0
        assert systemd.count("STOPPING=1") == 1
        assert systemd.lines.index("STOPPING=1") > systemd.lines.index("RELOADING=1")


async def test_the_watchdog_starves_while_a_loop_hangs(tmp_path: Path, upstream: Upstream) -> None:
    """WATCHDOG comes while the loops go round and not while one hangs, here in the midst of a reload."""
    upstream.on(PATH, stream(then=HANG))
    with Notified(tmp_path) as systemd:
        variables = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "400000"}
        config = configuration(f"embedded:{tmp_path / 'log'}", stream_source(), bctrl=upstream.url)
        async with Daemon(tmp_path, config, **variables) as daemon:
            await wait_until(lambda: systemd.count("WATCHDOG=1") >= 3, "three signs of life")
            await wait_until(lambda: "READY=1" in systemd.lines, "READY")
            # a file that never ends: whoever reads it hangs until somebody writes
            text = daemon.config.read_text()
            daemon.config.unlink()
            os.mkfifo(daemon.config)
            daemon.signal(signal.SIGHUP)
            await wait_until(lambda: "RELOADING=1" in systemd.lines, "the reload")
            fed = systemd.count("WATCHDOG=1")
            await never(lambda: systemd.count("WATCHDOG=1") > fed + 1, "a sign of life", 1.0)
            daemon.config.write_text(text)
            await wait_until(lambda: systemd.count("WATCHDOG=1") >= fed + 3, "signs of life again")
