"""Receives webhooks of runbridge: verified, each event once, answered at once. Python 3.9 or later.

    WEBHOOK_KEYS="whsec_..." python receiver.py 8080

WEBHOOK_KEYS holds one or more keys with spaces between: all that may sign for now. `whsec_` secrets need the standard
library only. A `whpk_` public key needs `pip install cryptography`, since Python has no ed25519 of its own.
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 300  # seconds that the clocks may differ, and that a request may be under way
LARGEST_BODY = 16 * 1024 * 1024
REMEMBERED = 100_000  # ids
MOST_WAITING = 1_000  # requests


# <verify>
class NotGenuine(Exception):
    """Why a request can't be trusted."""


def verify(keys, headers, body):
    """Raises NotGenuine unless one of the signatures is by one of the keys. `body` is the bytes as they came."""
    message_id = headers.get("webhook-id")
    timestamp = headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not (message_id and timestamp and signatures):
        raise NotGenuine("a webhook- header is missing")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(time.time() - int(timestamp)) > TOLERANCE:
        raise NotGenuine("the timestamp is too old or too new")
    signed = f"{message_id}.{timestamp}.".encode() + body
    for signature in signatures.split():
        version, _, text = signature.partition(",")
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            continue
        if any(fits(key, version, signed, raw) for key in keys):
            return
    raise NotGenuine("no signature is by one of our keys")


def fits(key, version, signed, signature):
    """Whether this is the key's signature. Versions that are not known yet never fit, and are no error."""
    kind, _, text = key.partition("_")
    raw = base64.b64decode(text)
    if (kind, version) == ("whsec", "v1"):
        expected = hmac.new(raw, signed, hashlib.sha256).digest()
        return hmac.compare_digest(expected, signature)  # takes as long however much of it is right
    if (kind, version) == ("whpk", "v1a"):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed)
        except InvalidSignature:
            return False
        return True
    return False


# </verify>


class Inbox:
    """What has arrived and waits for `handle`, and the ids of what came lately.

    In memory, so that a crash loses what waits: where that matters, insert id and body into a table whose id is unique
    before the answer, and work from the table.
    """

    def __init__(self):
        self._known = {}
        self._lock = threading.Lock()
        self._waiting = queue.Queue(MOST_WAITING)
        self.get = self._waiting.get

    def put(self, message_id, body):
        """False when there is no room now; what is known already needs none."""
        with self._lock:
            if message_id in self._known:
                return True
            try:
                self._waiting.put_nowait((message_id, body))
            except queue.Full:
                return False
            self._known[message_id] = None
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]  # the oldest
            return True


class Receiver(BaseHTTPRequestHandler):
    """One connection. `keys` and `inbox` are set on the class before it serves."""

    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True
    timeout = 60

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > LARGEST_BODY:
            self.close_connection = True  # since the body is not read
            return self.answer(413 if length else 411)
        body = self.rfile.read(int(length))
        try:
            verify(self.keys, self.headers, body)
        except NotGenuine as error:
            self.log_error("refused: %s", error)
            return self.answer(401)
        if not self.inbox.put(self.headers["webhook-id"], body):
            return self.answer(503)
        return self.answer(204)  # also for what is known already: it has arrived

    def answer(self, status):
        self.send_response(status)
        if status == 503:
            self.send_header("retry-after", "5")
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_request(self, *_):
        pass


def handle(message_id, body):
    """What this receiver is for. One event after another, so that their order stays."""
    events = json.loads(body)
    for event in events if isinstance(events, list) else [events]:  # a list with `format = "batched"`
        print(message_id, event.get("type"), event.get("subject"), event.get("id"), flush=True)


def working(inbox):
    while True:
        message_id, body = inbox.get()
        try:
            handle(message_id, body)
        except Exception as error:  # one event that can't be handled must not stop the others
            print("not handled:", message_id, repr(error), file=sys.stderr, flush=True)


def main():
    Receiver.keys = os.environ.get("WEBHOOK_KEYS", "").split()
    if not Receiver.keys:
        sys.exit("set WEBHOOK_KEYS to the destination's key, whsec_... or whpk_... (`runbridge keys` makes one)")
    Receiver.inbox = Inbox()
    threading.Thread(target=working, args=(Receiver.inbox,), daemon=True).start()
    host = os.environ.get("HOST", "127.0.0.1")  # 0.0.0.0 in a container of its own
    server = ThreadingHTTPServer((host, int(sys.argv[1]) if len(sys.argv) > 1 else 8080), Receiver)
    print("listening on port", server.server_port, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
