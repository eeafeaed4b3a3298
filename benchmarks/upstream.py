"""An upstream that costs next to nothing: writes ready-made Server-Sent Events. Refuses cursors: every reader gets all.

A process of its own: `python -m benchmarks.upstream` prints its port. The name of the run says what is played:

    /v1|v2/runs/burst-<events>-<bytes>/events/stream        as fast as it is read, from blocks made once
    /v1|v2/runs/paced-<events>-<per second>/events/stream   one by one, with the time of writing in each
    /v1|v2/runs/idle/events/stream                          a comment every five seconds

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
            self.answer()
        except OSError:
            return  # the reader has gone

    def answer(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        kind, *numbers = path.partition("?")[0].split("/")[3].split("-")
        self.wfile.write(HEADERS)
        if kind == "burst":
            for block in burst(*map(int, numbers[:2])):
                self.wfile.write(block)
        elif kind == "paced":
            self.play(*map(int, numbers[:2]))
        while True:
            self.wfile.write(b": still here\n\n")
            time.sleep(5)

    def play(self, events: int, rate: int) -> None:
        """`rate` events a second, each written by itself."""
        run = f"paced-{events}-{rate}"
        start = time.monotonic()
        for index in range(events):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            self.wfile.write(frame(index, event(index, run, **{SENT: time.monotonic_ns()})))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


def main() -> None:
    with Server(("127.0.0.1", 0), Reader) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
