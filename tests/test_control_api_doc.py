"""Holds docs/control-api.md to a real bridge: each request that it shows has the status that it says."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from asking import running
from daemon import Daemon, stream_source
from servers import free_port

DOCUMENT = Path(__file__).parents[1] / "docs/control-api.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(curl -s.*?)\s+# (\d{3})$", re.MULTILINE | re.DOTALL)


def shown() -> list[tuple[str, int]]:
    """The commands in their order, and their statuses."""
    found = [(command, int(status)) for block in _BLOCK.findall(DOCUMENT.read_text()) for command, status in _of(block)]
    assert sum(block.count("curl ") for block in _BLOCK.findall(DOCUMENT.read_text())) == len(found)
    return found


def _of(block: str) -> list[tuple[str, str]]:
    return _COMMAND.findall(block)


async def answered(command: str) -> int:
    """The status that a command is answered with; what never ends is left after a moment."""
    more = "--output /dev/null --write-out '%{http_code}' --max-time " + ("0.5" if "-sN" in command else "20")
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command.replace("curl ", f"curl {more} ", 1), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    status, _ = await process.communicate()
    return int(status)


async def test_every_request_shown_is_answered_so(daemon: Callable[..., Daemon]) -> None:
    """From top to bottom, on a bridge with one account: what one adds another changes."""
    port = free_port()
    one = daemon(stream_source("file"), BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}")
    async with running(one, port):
        for command, status in shown():
            found = await answered(command.replace("127.0.0.1:8380", f"127.0.0.1:{port}"))
            expected = (200, 503) if "/readyz" in command else (status,)  # its upstream has no script for these runs
            assert found in expected, command
