"""The package is whole as a wheel: every file it needs is in it, and it runs from there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the checkout, or the one that RUNBRIDGE_WHEEL names where there is no checkout."""
    given = os.environ.get("RUNBRIDGE_WHEEL")
    if given:
        return Path(given)
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(directory), str(ROOT)], check=True)
    (built,) = directory.glob("runbridge-*.whl")
    return built


def test_the_wheel_holds_what_is_read_at_run_time(wheel: Path) -> None:
    """Scripts, schema and the typing marker are in the wheel; tests are not."""
    names = zipfile.ZipFile(wheel).namelist()

    for needed in ("append", "arm", "open_source", "open_destination", "take", "settle", "trim"):
        assert f"bridge/redis_log/lua/{needed}.lua" in names
    assert "bridge/schema/event.schema.json" in names
    assert "bridge/py.typed" in names
    assert not any(name.startswith("tests") for name in names)


def test_the_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the command checks a configuration with its own files alone."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "bridge.toml").write_text(
        '[accounts.b]\nprovider = "bctrl"\napi_key = "k"\n'
        '[sources.s]\naccount = "b"\nkind = "bctrl.run-events.stream"\nrun = "r"\n'
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "site")}
    program = "import bridge, bridge.redis_log.scripts; print(bridge.__file__)"

    where = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    checked = subprocess.run(
        [sys.executable, "-m", "bridge", "check", "--config", "bridge.toml"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert where.stdout.startswith(str(tmp_path / "site"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
