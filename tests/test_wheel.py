"""The package is whole as a wheel: every file it needs is in it, and it runs from there."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def build(site: Path, work: Path) -> None:
    """Unpack a wheel built from the checkout into `site`."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(work), str(ROOT)], check=True)
    (built,) = work.glob("runbridge-*.whl")
    zipfile.ZipFile(built).extractall(site)


def gather(site: Path) -> None:
    """Copy into `site` what the installed wheel brought; its command stands outside and is left out, as bytecode is."""
    for file in files("runbridge") or []:
        if file.parts[0] != ".." and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel's files alone: built from the checkout, or the installed one's if bridge/ is gone."""
    directory = tmp_path_factory.mktemp("site")
    if (ROOT / "bridge").is_dir():
        build(directory, tmp_path_factory.mktemp("wheel"))
    else:
        gather(directory)
    return directory


def test_the_wheel_holds_what_is_read_at_run_time(site: Path) -> None:
    """Scripts, schema, typing marker, command and licence are in the wheel; nothing but the package is."""
    for script in ("append", "arm", "open_source", "open_destination", "take", "settle", "trim"):
        assert (site / "bridge" / "redis_log" / "lua" / f"{script}.lua").is_file()
    assert (site / "bridge" / "schema" / "event.schema.json").is_file()
    assert (site / "bridge" / "py.typed").is_file()

    (metadata,) = site.glob("runbridge-*.dist-info")
    assert "runbridge = bridge.__main__:main" in (metadata / "entry_points.txt").read_text()
    assert (metadata / "licenses" / "LICENSE").is_file()
    assert {path.name for path in site.iterdir()} == {"bridge", metadata.name}


def test_the_wheel_runs_without_the_checkout(site: Path, tmp_path: Path) -> None:
    """Elsewhere, the command checks a configuration with the wheel's files alone."""
    (tmp_path / "bridge.toml").write_text(
        '[accounts.b]\nprovider = "bctrl"\napi_key = "k"\n'
        '[sources.s]\naccount = "b"\nkind = "bctrl.run-events.stream"\nrun = "r"\n'
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
    program = "import bridge, bridge.redis_log.scripts; print(bridge.__file__)"

    where = subprocess.run(
        [sys.executable, "-c", program], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    checked = subprocess.run(
        [sys.executable, "-m", "bridge", "check", "--config", "bridge.toml"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert where.stdout.startswith(str(site))
    assert checked.returncode == 0, checked.stdout + checked.stderr
