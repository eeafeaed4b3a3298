"""What the emulator refuses, in one line that says why; and the answers that are in no event call but complete it."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from test_emulator import KEYS, Client

from bridge.emulator import Emulator, FaultSettings, Options, Phase, RunOption, RunScript, WorkOption, WorkScript
from bridge.emulator.scenario import fault, load

DEEP = b"[" * 100_000
FLAT_WAIT = "/v1/runtimes/rt_1/invocations/done/wait"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A run of thirty events, one that is fed by hand, and an invocation that is over; a client that has the keys."""
    runs = (RunOption(id="run", script=RunScript(rate=0, events=30)), RunOption(id="hand", script=None))
    over = (WorkOption(id="done", script=WorkScript(seconds=0)),)
    options = Options(runs=runs, operations=over, invocations=over)
    async with Emulator(options) as emulator, aiohttp.ClientSession(headers=KEYS) as session:
        yield Client(emulator, session)


# -- what it is started with


def test_a_wrong_option_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    """A rate without a meaning, or a file nested too deeply, ends the command with 2 and a line that names it."""
    deep = tmp_path / "deep.json"
    deep.write_bytes(DEEP)
    for arguments, said in ((("--rate", "inf"), "rate = inf"), (("--scenario", str(deep)), "nested too deeply")):
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "emulator", "--port", "0", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["deep.toml", "deep.json"])
def test_a_file_nested_too_deeply_is_named(tmp_path: Path, name: str) -> None:
    """The nesting of a scenario file is bounded, and too much of it is an error that names the file."""
    path = tmp_path / name
    path.write_bytes(b"runs = " * name.endswith("toml") + DEEP)
    with pytest.raises(ValueError, match=f"{name}: nested too deeply"):
        load(path)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1" + "0" * 400])
def test_numbers_are_finite(tmp_path: Path, number: str) -> None:
    """A number that is none, or beyond all numbers, is refused where it stands, in a file as on the command line."""
    path = tmp_path / "run.toml"
    path.write_text(f"[[runs]]\nid = 'a'\nrate = {number}\n")
    with pytest.raises(ValueError, match=r"runs\[0\].rate: must be a number"):
        load(path)
    with pytest.raises(ValueError, match="slow: must be"):
        fault(f"slow={'1e999' if number == 'inf' else number}")


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (RunScript, {"rate": float("inf")}, "rate = inf: at most"),
        (RunScript, {"rate": float("nan")}, "rate = nan"),
        (Phase, {"after": -1.0, "faults": FaultSettings()}, "after = -1.0"),
        (Options, {"runs": (RunOption(id=""),)}, "runs: an id is empty"),
        (FaultSettings, {"retry_after": "2\r\nX: y"}, "fault retry_after"),
        (FaultSettings, {"redirect_to": "http://a/\n"}, "fault redirect_to"),
        (FaultSettings, {"redirect_to": "there"}, "fault redirect_to = there: must be a URL"),
        (FaultSettings, {"redirect_to": "http://[::x]"}, "must be a URL"),
    ],
)
def test_what_cannot_work_is_refused(kind: Any, options: dict[str, Any], said: str) -> None:
    """A value that would fail later, in the middle of an answer, is refused at once and named."""
    with pytest.raises(ValueError, match=said):
        kind(**options)


# -- what it is asked


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/run/events/wait",
        "/v1/runs/run/wait",
        "/v1/operations/done/wait",
        FLAT_WAIT,
        "/v1/events/otp/wait",
        "/v1/events/otp",
        "/_emulator/faults",
        "/_emulator/restart",
        "/_emulator/runs/hand/events",
        "/_emulator/events",
        "/_emulator/signals/otp",
    ],
)
async def test_a_body_nested_too_deeply_is_a_bad_request(client: Client, path: str) -> None:
    """Such a body is answered with 400, as any other without a meaning."""
    status, body, _ = await client.ask("POST", path, data=DEEP)
    assert status == 400
    assert body["error"]


@pytest.mark.parametrize("data", [[1], "text", 5, None])
async def test_only_an_object_can_be_signaled(client: Client, data: object) -> None:
    """The data of a signal is an object, as documented, so that each answer of a wait has one."""
    status, body, _ = await client.ask("POST", "/v1/events/otp", json={"data": data})
    assert (status, body["error"]["code"]) == (400, 400)
    assert client.emulator.named_events["remembered"] == {}


# -- what completes the event calls


async def test_a_run_has_all_that_the_older_documents_require(client: Client) -> None:
    """Without BCTRL-Version a run has each field that the documents of June and of late July 2026 require."""
    listed = (await client.ask("GET", "/v1/runs"))[1]["data"]
    for run in (*listed, (await client.ask("GET", "/v1/runs/run"))[1]):
        assert {"spaceId", "runtimeId", "runtimeType", "createdAt", "startedAt", "finishedAt"} <= run.keys()
        assert {"durationSeconds", "failure", "recording", "counts"} <= run.keys()
        assert {"events", "files", "spans", "invocations", "toolCalls"} == run["counts"].keys()
        assert run["recording"] == {"enabled": False}
        assert run["counts"]["events"] == run["eventCount"]


@pytest.mark.parametrize("headers", [{}, {"BCTRL-Version": "2026-10-03"}])
async def test_there_are_no_webhooks(client: Client, headers: dict[str, str]) -> None:
    """The list of webhooks is there, and empty."""
    status, body, _ = await client.ask("GET", "/v1/webhooks", headers=headers)
    assert (status, body) == (200, {"data": [], "hasMore": False, "nextCursor": None})


# -- faults of the waits that answer in a form of their own


async def test_poll_faults_touch_the_older_wait_for_an_invocation(client: Client) -> None:
    """The faults of a wait spoil the answer of the older path as they do that of the later one."""

    async def spoiled(name: str) -> Any:
        client.emulator.faults.replace(FaultSettings(poll_fault=name, huge_bytes=20_000))  # type: ignore[arg-type]
        async with client.session.post(client.emulator.url + FLAT_WAIT, json={}) as answer:
            return await answer.read()

    usual = json.loads(await spoiled(""))
    assert (usual["id"], usual["action"], usual["waitStatus"]) == ("done", "act", "completed")
    for broken in ("cut", "lost-answer"):
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await spoiled(broken)
    with pytest.raises(json.JSONDecodeError):
        json.loads(await spoiled("bad-json"))
    assert len(await spoiled("huge")) >= 20_000
    assert "id" not in json.loads(await spoiled("no-id"))
    assert isinstance(json.loads(await spoiled("not-object")), str)


async def test_slow_touches_named_events(client: Client) -> None:
    """`slow` halves the answer of a named-event wait too; all of it arrives."""
    client.emulator.faults.set(slow=0.1)
    client.emulator.signal("otp", {"code": "1"})
    began = time.monotonic()
    status, body, _ = await client.ask("POST", "/v1/events/otp/wait", json={"timeoutMs": 5000})
    assert (status, body) == (200, {"data": {"code": "1"}})
    assert time.monotonic() - began >= 0.1
