"""An upstream that costs next to nothing: writes ready-made Server-Sent Events. Refuses cursors: every reader gets all.

A process of its own: `python -m benchmarks.upstream` prints its port. The name of the run says what is played:

    /v1|v2/runs/burst-<events>-<bytes>/events/stream        as fast as it is read, from blocks made once
    /v1|v2/runs/paced-<events>-<per second>/events/stream   one by one, with the time of writing in each
    /v1|v2/runs/idle/events/stream                          a comment every five seconds
    /v1/runs/idle/events/wait                               no event, once `timeoutMs` is over
    /v1/runs/paced-<events>-<per second>/events/wait        one by one, each at its time or when it is asked for
    /v1/runs/<any>                                          a run that goes on

A name may go on (`burst-1000-330-b`), for several runs of one kind.

No response ends by itself: the reader goes when it has what it wants. The body has no length and no chunks.
"""

import functools
import json
import socketserver
import time

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BLOCK = 400
"""Frames in one write of a burst."""
SENT = "sentNs"
"""Field of a paced event: `time.monotonic_ns()` (one clock for all processes of a machine) just before the write."""


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
        parts = path.partition("?")[0].split("/")
        kind, *numbers = parts[3].split("-")
        if parts[-1] == "wait":
            self.wait(kind, numbers, json.loads(self.rfile.read(length)))
            return True
        if parts[-1] != "stream":
            self.tell({"id": parts[3], "status": "active"})
            return True
        self.wfile.write(HEADERS)
        if kind == "burst":
            for block in burst(*map(int, numbers[:2])):
                self.wfile.write(block)
        elif kind == "paced":
            self.play(*map(int, numbers[:2]))
        while True:
            self.wfile.write(b": still here\n\n")
            time.sleep(5)

    def wait(self, kind: str, numbers: list[str], asked: dict[str, object]) -> None:
        """One long-poll; the cursor is the number of the event that comes next, and the time of the first."""
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
        said = json.loads(event(index, f"paced-{events}-{rate}", **{SENT: time.monotonic_ns()}))
        self.tell({"event": said, "cursor": f"{index + 1} {start}", "timedOut": False})

    def tell(self, said: object) -> None:
        """A JSON answer."""
        body = json.dumps(said, separators=(",", ":")).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.wfile.write(head + body)

    def play(self, events: int, rate: int) -> None:
        """`rate` events a second, each written by itself."""
        run = f"paced-{events}-{rate}"
        start = time.monotonic()
        for index in range(events):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            self.wfile.write(frame(index, event(index, run, **{SENT: time.monotonic_ns()})))


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
