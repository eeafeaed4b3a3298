"""An upstream that costs next to nothing: writes ready-made Server-Sent Events. A cursor counts for `steady` alone.

A process of its own: `python -m benchmarks.upstream` prints its port. The name of the run says what is played:

    /v1|v2/runs/burst-<events>-<bytes>/events/stream        as fast as it is read, from blocks made once
    /v1|v2/runs/ready-<events>-<lanes>-<together>/events/stream
                                                            the same with the ready-made events of `benchmarks.entries`
    /v1|v2/runs/paced-<events>-<per second>/events/stream   one by one, each with a mark and its time of writing
    /v1|v2/runs/steady-<events>-<per second>/events/stream  the same, begun with its first reader: the next one gets
                                                            what comes after its `cursor`, what is late at once
    /v1|v2/runs/idle/events/stream                          a comment every five seconds
    /v1/runs/idle/events/wait                               no event, once `timeoutMs` is over
    /v1/runs/paced-<events>-<per second>/events/wait        one by one, each at its time or when it is asked for
    /v1/runs/<any>                                          a run that goes on

A name may go on (`burst-1000-330-b`, `paced-100-10-3`, where it is a number), for several runs of one kind.
Of all but `steady` every reader gets all.

No response ends by itself: the reader goes when it has what it wants. The body has no length and no chunks.
"""

import functools
import json
import socketserver
import time
from urllib.parse import parse_qs

from benchmarks.entries import Lanes, bodies
from benchmarks.marks import mark

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BLOCK = 400
"""Frames in one write of a burst."""
GOLDEN = 0.618034
"""Multiples of it, without their whole part, lie evenly between 0 and 1 however many there are."""
_begun: dict[str, float] = {}
"""When the first reader of a steady run came."""


def event(index: int, run: str, **data: object) -> bytes:
    """The JSON of event `index`, as a browser run says it."""
    seconds, ms = divmod(index, 1000)
    body = {
        "id": event_id(index),
        "time": f"2026-06-25T{12 + seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}Z",
        "type": "network.response",
        "category": "network",
        "runId": run,
        "status": "finished",
        "pageId": "page_1",
        "data": {"url": f"https://shop.example/api/items?page={index}", "status": 200, **data},
    }
    return json.dumps(body, separators=(",", ":")).encode()


def event_id(index: int) -> str:
    """The id of event `index`."""
    return f"evt_{index:012d}"


def after(query: str) -> int:
    """The event that comes after the `cursor` of a query."""
    cursor = parse_qs(query).get("cursor", [""])[0]
    return int(cursor.partition("_")[2]) + 1 if cursor else 0


def frame(index: int, body: bytes) -> bytes:
    """One frame of the stream."""
    return b"event: run.event\nid: %b\ndata: %b\n\n" % (event_id(index).encode(), body)


@functools.cache
def burst(events: int, size: int) -> list[bytes]:
    """Blocks of frames whose JSON has `size` bytes each."""
    run = f"burst-{events}-{size}"
    text = "x" * (size - len(event(0, run, text="")) - len(str(events)) // 2)
    frames = (frame(index, event(index, run, text=text)) for index in range(events))
    parts = list(frames)
    return [b"".join(parts[start : start + BLOCK]) for start in range(0, events, BLOCK)]


@functools.cache
def ready(events: int, lanes: int, together: int) -> list[bytes]:
    """Blocks of frames of events that are CloudEvents already."""
    parts = [frame(index, body) for index, body in enumerate(bodies(events, Lanes(lanes, together)))]
    return [b"".join(parts[start : start + BLOCK]) for start in range(0, events, BLOCK)]


class Reader(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self.answer():
                pass
        except (OSError, IndexError):
            return  # the reader has gone

    def answer(self) -> bool:
        """One request; whether another one may follow on the connection."""
        path = self.rfile.readline().split()[1].decode()
        length = 0
        while line := self.rfile.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        path, _, query = path.partition("?")
        parts = path.split("/")
        kind, *numbers = parts[3].split("-")
        if parts[-1] == "wait":
            self.wait(parts[3], json.loads(self.rfile.read(length)))
            return True
        if parts[-1] != "stream":
            self.tell({"id": parts[3], "status": "active"})
            return True
        self.wfile.write(HEADERS)
        if kind == "burst":
            self.wfile.writelines(burst(*map(int, numbers[:2])))
        elif kind == "ready":
            self.wfile.writelines(ready(*map(int, numbers[:3])))
        elif kind == "paced":
            self.play(parts[3], *map(int, numbers[:3]))
        elif kind == "steady":
            begun = _begun.setdefault(parts[3], time.monotonic())
            self.write(parts[3], begun, *map(int, numbers[:2]), after(query))
        while True:
            self.wfile.write(b": still here\n\n")
            time.sleep(5)

    def wait(self, run: str, asked: dict[str, object]) -> None:
        """One long-poll; the cursor is the number of the event that comes next, and the time of the first."""
        kind, *numbers = run.split("-")
        if kind == "idle":
            time.sleep(asked["timeoutMs"] / 1000)
            return self.tell({"event": None, "cursor": None, "timedOut": True})
        events, rate = map(int, numbers[:2])
        number, start = map(float, asked.get("cursor", f"0 {time.monotonic()}").split())
        index = int(number)
        if index >= events:
            time.sleep(asked["timeoutMs"] / 1000)
            return self.tell({"event": None, "cursor": None, "timedOut": True})
        time.sleep(max(0.0, start + index / rate - time.monotonic()))
        said = json.loads(event(index, run, mark=mark(run, index, time.monotonic_ns())))
        self.tell({"event": said, "cursor": f"{index + 1} {start}", "timedOut": False})

    def tell(self, said: object) -> None:
        """A JSON answer."""
        body = json.dumps(said, separators=(",", ":")).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.wfile.write(head + body)

    def play(self, run: str, events: int, rate: int, at: int = 0) -> None:
        """`rate` events a second, each written by itself; several runs take turns instead of speaking all at once."""
        now = time.monotonic()
        self.write(run, now + (at * GOLDEN - now * rate) % 1 / rate, events, rate)

    def write(self, run: str, start: float, events: int, rate: int, first: int = 0) -> None:
        """The events from the first one on, each at its time or at once."""
        for index in range(first, events):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            self.wfile.write(frame(index, event(index, run, mark=mark(run, index, time.monotonic_ns()))))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024
    block_on_close = False


def main() -> None:
    with Server(("127.0.0.1", 0), Reader) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
