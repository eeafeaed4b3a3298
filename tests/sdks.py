"""The official SDKs in versions that exclude each other: each in a directory of its own, run in a process of its own.

What they need besides (httpx, pydantic) is what the installed anchorbrowser needs, and comes from this environment.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

TODAY, LEGACY, ANCHOR = "bctrl==0.3.0", "bctrl==0.1.5", "anchorbrowser==0.11.3"
HERE = Path(__file__).parent
INSTALL_SECONDS, RUN_SECONDS = 90, 40


def installed(requirement: str, cache: pytest.Cache) -> Path:
    """The directory with one version of an SDK, installed once and kept in pytest's cache."""
    there = cache.mkdir("sdks") / requirement
    if not there.is_dir():
        fresh = Path(mkdtemp(dir=there.parent))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*command, "--target", str(fresh), requirement],
            env={name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"},  # it pins another one
            capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(fresh)
            pytest.fail(f"pip could not install {requirement}, which this test runs:\n{done.stderr}")
        try:
            fresh.rename(there)
        except OSError:  # another run of the tests was quicker
            shutil.rmtree(fresh)
    return there


async def result_of(script: str, sdk: Path, url: str) -> Any:
    """What a script of this directory prints when it is run with an SDK against an upstream."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / script), url,
        env={**os.environ, "PYTHONPATH": str(sdk), "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(RUN_SECONDS):
            printed, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()
    return json.loads(printed)
