"""Builds the image from the checkout's Dockerfile and runs it as a container engine would, of which there is none here.

Debian's own packages make the base, under the base's name; buildah builds on it. A container is the image's root bound
read-only, with a process table of its own, the image's user, environment, directory and entry point, and no privileges
to gain. Needs root, buildah and debootstrap. Refuses to use or to leave anything in the machine's own store of images.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from waiting import wait_blocking

ROOT = Path(__file__).parent.parent
TOOLS = ("buildah", "debootstrap", "unshare", "nsenter")
CAN_BUILD = os.geteuid() == 0 and all(map(shutil.which, TOOLS)) and (ROOT / "bridge").is_dir()
NODES = ("null", "zero", "full", "random", "urandom")
"""What every engine puts into /dev."""

_MACHINE_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whoever this machine trusts, so does the build: on its way to PyPI there may be a mirror."""


class Image:
    """The built image: its configuration, and a directory with its root."""

    def __init__(self, directory: Path) -> None:
        self._buildah = [
            "buildah", f"--root={directory}/store", f"--runroot={directory}/run", "--storage-driver=vfs",
        ]  # fmt: skip
        (self.base,) = re.findall(r"^FROM (\S+:\S+) AS", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        self._import()
        self._build()
        inspected = json.loads(self._call("inspect", "--type=image", "runbridge"))
        self.config: dict[str, Any] = inspected["Docker"]["config"]
        self.root = Path(self._call("mount", self._call("from", "--pull-never", "runbridge")))

    def files(self) -> dict[str, tuple[int, int, int]]:
        """Mode, size and time of change (ns) of everything in the root, by path."""
        found = {}
        for path in self.root.rglob("*"):
            status = path.lstat()
            found[str(path.relative_to(self.root))] = (status.st_mode, status.st_size, status.st_mtime_ns)
        return found

    def _import(self) -> None:
        container = self._call("from", "scratch")
        release = "bookworm"
        self._run("debootstrap", "--variant=minbase", release, self._call("mount", container))
        self._call("commit", "--rm", "--format=docker", container, f"docker.io/library/{self.base}")

    def _build(self) -> None:
        trusted = [f"--volume={_MACHINE_CERTIFICATES}:/usr/local/share/ca-certificates/machine.crt:ro"]
        self._call(
            "build", "--isolation=chroot", "--format=docker", "--pull-never", "--tag=runbridge",
            *(trusted if _MACHINE_CERTIFICATES.exists() else []), str(ROOT),
        )  # fmt: skip

    def _call(self, *arguments: str) -> str:
        return self._run(*self._buildah, *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()


class Container:
    """One run of the image. `volume` is what it may write to, `config` the file that it finds in /etc/runbridge."""

    def __init__(self, image: Image, volume: Path, config: Path, output: Path, environment: Mapping[str, str]) -> None:
        self._output = output
        taken = image.config
        user, group = taken["User"].split(":")
        self._become = [f"--setuid={user}", f"--setgid={group}"]
        self._environment = [*taken["Env"], *(f"{name}={value}" for name, value in environment.items())]
        binds = [(f"/dev/{node}", f"dev/{node}") for node in NODES]
        binds += [(str(volume), next(iter(taken["Volumes"])).lstrip("/")), (str(config.parent), "etc/runbridge")]
        # devices and mount points are made on a tmpfs over /dev, the root itself stays as it is
        script = [
            "set -e", f"cd '{image.root}'", "mount --bind . .", f"cd '{image.root}'", "mount -t tmpfs tmpfs dev",
            *(f"touch dev/{node}" for node in NODES), "mount -t proc proc proc",
            *(f"mount --bind '{there}' {here}" for there, here in binds), "mount -o remount,bind,ro etc/runbridge",
            "mount -o remount,bind,ro .",
            'exec "$@"',
        ]  # fmt: skip
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "sh", "-c"]
        at, entry = (f"--root={image.root}", f"--wd={taken['WorkingDir']}"), [*taken["Entrypoint"], *taken["Cmd"]]
        command = [*isolated, "\n".join(script), "sh", *self._inside("unshare", *at), *entry]
        with output.open("wb") as to:
            self._outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=to, stderr=to)
        self.pid = int(wait_blocking(self._child, f"the first process: {self.text}"))

    @property
    def text(self) -> str:
        """All it has said."""
        return self._output.read_text()

    def call(self, *command: str) -> tuple[int, str]:
        """Exit code and output of another command in it, as a health check runs."""
        enter = self._inside("nsenter", f"--target={self.pid}", "--mount", "--pid", "--ipc", "--uts", "--root", "--wd")
        done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=20)
        return done.returncode, done.stdout + done.stderr

    def status(self) -> dict[str, str]:
        """What the kernel says of its first process: `Uid`, `CapEff`, `NoNewPrivs`, `NSpid`, ..."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def processes(self) -> dict[int, str]:
        """State (`Z` for one that nobody has reaped) and name of each process in it, by its number here."""
        there = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/pid").readlink() == there:
                    name, _, rest = (process / "stat").read_text().partition(") ")
                    found[int(process.name)] = f"{rest[0]} {name.partition('(')[2]}"
            except OSError:  # it has ended meanwhile
                continue
        return found

    def stop(self, timeout: float = 25.0) -> int:
        """SIGTERM to its first process, and its end; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self._outer.wait(timeout)

    def remove(self) -> None:
        """Kill it, if it still runs."""
        if self._outer.poll() is None:  # not by --kill-child: a process that becomes another user forgets that
            os.kill(self.pid, signal.SIGKILL)
        self._outer.kill()
        self._outer.wait()

    def _inside(self, tool: str, *options: str) -> list[str]:
        env, setpriv, found = (shutil.which(name) or name for name in ("env", "setpriv", tool))
        return [setpriv, "--no-new-privs", env, "-i", *self._environment, found, *options, *self._become, "--"]

    def _child(self) -> str:
        """The number of its first process, once that is the image's own program."""
        assert self._outer.poll() is None, self.text
        child = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().strip()
        return child if child and "python" in os.path.realpath(f"/proc/{child}/exe") else ""


@contextmanager
def running(image: Image, directory: Path, text: str, **environment: str) -> Iterator[Container]:
    """A container with this configuration; its volume is `directory`/volume, and stays."""
    volume, config = directory / "volume", directory / "etc" / "bridge.toml"
    volume.mkdir(exist_ok=True)
    volume.chmod(0o1777)  # as the image has it, which a new volume begins with
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    config.chmod(0o644)
    container = Container(image, volume, config, directory / f"{os.urandom(4).hex()}.said", environment)
    try:
        yield container
    except BaseException as error:
        error.add_note(f"what it said:\n{container.text[-4000:]}")
        raise
    finally:
        container.remove()
