"""The image is built from the checkout and run for real: as nobody, on a read-only root, without a shell, as process 1.

Some 75 s on an idle machine, most of it Debian's packages, PyPI's and the build: once for all tests here.
"""

import asyncio
import json
import os
import re
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from container import CAN_BUILD, ROOT, Container, Image, running
from daemon import Log, processes_on
from servers import RedisServer, free_port
from upstream import HANG, Upstream, frame, stream
from waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not CAN_BUILD, reason="needs root, buildah, debootstrap and the checkout"),
    pytest.mark.timeout(600),
]

LARGEST = 100_000_000
"""Bytes of all files of the image: what the Dockerfile says, and a few more."""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image."""
    with TemporaryDirectory(prefix="image-") as directory:
        yield Image(Path(directory))


def configuration(redis: str, upstream: Upstream, listen: str) -> str:
    """A stream into a log, with health on `listen`."""
    return (
        f'[redis]\nurl = "{redis}"\n[http]\nlisten = "{listen}"\n'
        f'[sources.s]\nkind = "sse"\nurl = "{upstream.url}/news"\n'
    )


async def healthy(container: Container, check: list[str]) -> None:
    """Wait until the image's health check is content."""
    assert check[0] == "CMD"
    await wait_until(lambda: container.call(*check[1:]) == (0, "alive\n"), "the health check to succeed", 20.0)


async def test_it_does_its_work_in_a_container(
    image: Image, tmp_path: Path, upstream: Upstream, start_server: Callable[..., RedisServer]
) -> None:
    """Events pass into a real Redis; the health check agrees; SIGTERM ends it with 0; it starts a second time.

    It runs as nobody, as process 1, with no privilege to have or to gain, and leaves the image as it was.
    """
    redis = start_server("redis-system" if Path("/usr/bin/redis-server").exists() else "redis", port=free_port())
    log = Log(redis)
    upstream.on("/news", stream(frame("e1"), frame("e2"), then=HANG), stream(frame("e3"), then=HANG))
    text = configuration(f"redis://127.0.0.1:{redis.port}", upstream, f"127.0.0.1:{free_port()}")
    before = image.files()

    for expected in (["e1", "e2"], ["e1", "e2", "e3"]):
        with running(image, tmp_path, text) as container:
            await log.has(*expected)
            await healthy(container, image.config["Healthcheck"]["Test"])
            status = container.status()
            assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4
            assert status["NSpid"].split()[-1] == "1"
            assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
            assert status["NoNewPrivs"] == "1"
            assert await asyncio.to_thread(container.stop) == 0
            assert '"drained": true' in container.text
    assert image.files() == before
    assert list((tmp_path / "volume").iterdir()) == []


async def test_its_own_valkey_lives_in_the_volume(image: Image, tmp_path: Path, upstream: Upstream) -> None:
    """`embedded:` below the volume: killed, it comes back and is reaped; its data outlives the container.

    Another command reads it there; and whoever is trusted on the way to an upstream is known.
    """
    upstream.on("/news", stream(frame("e1"), then=HANG))
    text = configuration("embedded:/var/lib/runbridge/log", upstream, f"127.0.0.1:{free_port()}")
    with running(image, tmp_path, text) as container:
        await healthy(container, image.config["Healthcheck"]["Test"])
        await upstream.asked("/news")
        (server,) = servers(container)
        os.kill(server, signal.SIGKILL)
        await wait_until(lambda: [pid for pid in servers(container) if pid != server], "the server to come back")
        assert not [state for state in container.processes().values() if state.startswith("Z")]
        assert await asyncio.to_thread(container.stop) == 0
    directory = tmp_path / "volume" / "log"
    assert directory.stat().st_uid == 65532
    assert processes_on(directory) == []

    with running(image, tmp_path, text) as container:
        await healthy(container, image.config["Healthcheck"]["Test"])
        code, said = await asyncio.to_thread(container.call, "runbridge", "tail", "--from=start", "--count=1", "--json")
        assert (code, json.loads(said)["event"]["id"]) == (0, "e1")
        counted = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 100)"
        assert container.call("python", "-c", counted) == (0, "True\n")


def servers(container: Container) -> list[int]:
    """The numbers of its servers that run."""
    return [pid for pid, state in container.processes().items() if "valkey" in state and not state.startswith("Z")]


async def test_a_mistake_ends_it_with_78(image: Image, tmp_path: Path) -> None:
    """As process 1 too; and the health check of what doesn't run can't be content."""
    with running(image, tmp_path, "[redis]\nurl = 1\n") as container:
        assert await asyncio.to_thread(container._outer.wait, 20) == 78
        assert "redis.url" in container.text


def test_there_is_nothing_else_in_it(image: Image) -> None:
    """No shell, no package manager, no pip, no setuid, nothing that anybody may write but the volume and /tmp."""
    modes = image.files()
    programs = {
        Path(path).name
        for path, (mode, _, _) in modes.items()
        if mode & 0o111 and mode >> 12 == 0o10 and not re.search(r"\.(so(\.[0-9.]+)?|py)$", path)
    }
    assert programs == {"python3.11", "runbridge", "valkey-server"}
    assert [path for path, (mode, _, _) in modes.items() if mode & 0o6000 and mode >> 12 == 0o10] == []
    open_to_all = {path for path, (mode, _, _) in modes.items() if mode & 0o002 and mode >> 12 != 0o12}
    assert open_to_all == {"tmp", "var/lib/runbridge"}
    assert [path for path in modes if re.search(r"/(pip|setuptools|test|tests)(/|$)", path)] == []
    assert sum(size for mode, size, _ in modes.values() if mode >> 12 == 0o10) < LARGEST


def test_what_is_compiled_stays_compiled(image: Image) -> None:
    """Every module has its bytecode, which is never compared with its source: a read-only root can't mend it."""
    flags = {
        int.from_bytes(path.read_bytes()[4:8], "little")
        for path in image.root.rglob("*.pyc")
    }  # fmt: skip
    assert flags == {0b01}  # PEP 552: by hash, unchecked
    assert (image.root / "opt/runbridge/lib/python3.11/site-packages/bridge/__pycache__/app.cpython-311.pyc").exists()


def test_each_package_brings_its_licence_and_its_entry(image: Image) -> None:
    """A scanner finds Debian's packages with their versions, as in images of that kind."""
    entries = sorted((image.root / "var/lib/dpkg/status.d").iterdir())
    assert {"libc6", "libssl3", "python3.11-minimal", "ca-certificates"} <= {entry.name for entry in entries}
    for entry in entries:
        assert re.search(r"^Version: \S+$", entry.read_text(), re.MULTILINE), entry.name
        assert (image.root / "usr/share/doc" / entry.name / "copyright").stat().st_size > 0


def test_the_image_says_what_it_is(image: Image) -> None:
    """Labels, volume and version are the project's; user, entry point and stop signal are an orchestrator's to read."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = {
        name.rpartition(".")[2]: text for name, text in image.config["Labels"].items() if "opencontainers" in name
    }
    assert labels.keys() == {"title", "description", "licenses", "version"}
    assert (labels["title"], labels["licenses"]) == (project["name"], project["license"])
    assert labels["version"] == project["version"]
    assert list(image.config["Volumes"]) == [image.config["WorkingDir"]] == ["/var/lib/runbridge"]
    assert image.config["StopSignal"] == "SIGTERM"
