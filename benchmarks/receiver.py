"""A webhook receiver that answers 204 and writes down what came; it doesn't look at signatures.

A process of its own: `python -m benchmarks.receiver` prints its port. As cheap as Python allows, so that it is not
what is measured: one loop over epoll, one read and one write a request, the marks found by one search; what they mean
is worked out by whoever asks afterwards. `GET /count` answers the number of events so far, `GET /receipts` all of
them as a list of [mark, time in ns].
"""

import json
import re
import select
import socket
import time

from benchmarks.marks import FIND

ROOM = 1 << 20
"""Bytes that are read at once."""
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
END = b"\r\n\r\n"
_length = re.compile(rb"ontent-[Ll]ength: *(\d+)").search


class Receiver:
    """All connections, and what came over them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self._open: dict[int, socket.socket] = {}
        self._rest: dict[int, bytearray] = {}
        """Descriptor -> the beginning of a request whose end has not come."""
        self._marks: list[bytes] = []
        self._times: list[tuple[int, int]] = []
        """How many marks there were, and when: one after each read."""

    def run(self) -> None:
        """For ever."""
        poll, room, accept = select.epoll(), bytearray(ROOM), self.listener.fileno()
        poll.register(accept, select.EPOLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == accept:
                    connection, _ = self.listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._open[connection.fileno()] = connection
                    poll.register(connection.fileno(), select.EPOLLIN)
                else:
                    self._read(descriptor, room)

    def _read(self, descriptor: int, room: bytearray) -> None:
        connection = self._open[descriptor]
        try:
            size = connection.recv_into(room)
        except OSError:
            size = 0
        if not size:
            del self._open[descriptor]
            self._rest.pop(descriptor, None)
            connection.close()
            return
        if rest := self._rest.pop(descriptor, None):
            rest += memoryview(room)[:size]
            room, size = rest, len(rest)
        at = self._take(connection, room, size)
        if at < size:
            self._rest[descriptor] = room[at:size] if at else room[:size]

    def _take(self, connection: socket.socket, room: bytearray, size: int) -> int:
        """Answer all requests that are there as a whole; where the next one starts."""
        at = answers = 0
        while (end := room.find(END, at, size)) >= 0:
            if room.startswith(b"GET ", at):
                self._say(connection, bytes(room[at + 4 : end]).split(b" ", 1)[0])
                at = end + 4
                continue
            length = _length(room, at, end)
            assert length, f"a request without a length: {bytes(room[at:end])!r}"
            stop = end + 4 + int(length[1])
            if stop > size:
                break
            self._marks += FIND(room, end, stop)
            at = stop
            answers += 1
        if answers:
            self._times.append((len(self._marks), time.monotonic_ns()))
            try:
                connection.sendall(ANSWER * answers)
            except OSError:
                pass  # it has gone; the next read says so
        return at

    def _say(self, connection: socket.socket, path: bytes) -> None:
        said: object = self._receipts() if path == b"/receipts" else len(self._marks)
        answer = json.dumps(said).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    def _receipts(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for count, seen in self._times:
            found += [(text.decode(), seen) for text in self._marks[len(found) : count]]
        return found


def main() -> None:
    receiver = Receiver()
    print(receiver.listener.getsockname()[1], flush=True)
    receiver.run()


if __name__ == "__main__":
    main()
