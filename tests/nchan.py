"""A real nginx with the nchan module as a server of event streams: started, restarted, published to.

Refuses to imitate it, and to do without it: where it is not installed, a test that needs it fails and says so.
Its manual is at https://nchan.io.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from servers import free_port
from waiting import wait_blocking

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
"""Where Debian's package puts it."""

_CONFIGURATION = """
daemon off;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log;
load_module {module};
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}/temp; proxy_temp_path {directory}/temp; fastcgi_temp_path {directory}/temp;
  uwsgi_temp_path {directory}/temp; scgi_temp_path {directory}/temp;
  nchan_shared_memory_size 16m;
  nchan_message_timeout 5m;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/publish/(.+)$ {{
      nchan_publisher;
      nchan_channel_id $1;
      nchan_message_buffer_length {buffer};
    }}
    location ~ ^/follow/(.+)$ {{
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message oldest;
    }}
  }}
}}
"""


def _nginx() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert found, "nginx is not installed; on Debian: apt-get install nginx libnginx-mod-nchan"
    assert MODULE.exists(), f"nginx has no nchan module at {MODULE}; on Debian: apt-get install libnginx-mod-nchan"
    return found


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: it is followed, from the oldest message in its buffer on, at `path`."""

    origin: str
    name: str

    @property
    def path(self) -> str:
        """Where its events are followed, below the origin."""
        return f"/follow/{self.name}"

    def publish(self, message: Any) -> str:
        """Publish a message as JSON, on a connection of its own; the id that nchan gave it."""
        with contextlib.closing(self._connection()) as connection:
            headers = {"Accept": "text/json", "Content-Type": "application/json"}
            connection.request("POST", f"/publish/{self.name}", json.dumps(message), headers)
            answer = connection.getresponse()
            assert answer.status in (201, 202), f"nchan answered {answer.status} to a message"
            return str(json.loads(answer.read())["last_message_id"])

    def exists(self) -> bool:
        """True where it has had a message or a follower. Raises OSError while nginx is not up."""
        with contextlib.closing(self._connection()) as connection:
            connection.request("GET", f"/publish/{self.name}")
            return connection.getresponse().status == 200

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.origin.removeprefix("http://"), timeout=10.0)


class Nchan:
    """nginx on a port of 127.0.0.1, with all its files in `directory`; each channel keeps the last `buffer` messages.

    Messages are in its memory: `restart` loses them, and a SIGHUP too. As a context it runs, and is gone afterwards.
    """

    def __init__(self, directory: Path, *, buffer: int) -> None:
        self._directory = directory
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "temp").mkdir(parents=True, exist_ok=True)
        user = "user root root;" if os.geteuid() == 0 else ""  # or its worker may not enter a test's directory
        text = _CONFIGURATION.format(user=user, directory=directory, module=MODULE, port=self._port, buffer=buffer)
        (directory / "nginx.conf").write_text(text)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self._port}"

    def channel(self, name: str) -> Channel:
        """A channel of this name; it begins with its first message or follower."""
        return Channel(self.url, name)

    def start(self) -> None:
        """Start it; return when it answers."""
        log = self._directory / "error.log"
        self._process = subprocess.Popen(
            [_nginx(), "-p", str(self._directory), "-c", "nginx.conf", "-e", str(log)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_blocking(self._answers, f"nginx up, see {log}", 10.0)

    def stop(self) -> None:
        """End it; what was published is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10.0)
            self._process = None

    def restart(self) -> None:
        """End it and start it again."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        process = self._process
        assert process is not None
        assert process.poll() is None, f"nginx ended: {(self._directory / 'error.log').read_text()[-2000:]}"
        with contextlib.suppress(OSError):
            return not self.channel("nobody").exists()
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
