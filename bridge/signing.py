"""Standard Webhooks 1.0.0 signatures (v1, HMAC-SHA256) over bytes. Pure; refuses malformed secrets.

https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. Written by hand because the
reference package signs the text form of bytes; it is the oracle in the tests.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of key material that the specification allows."""


def key_of(secret: str) -> bytes:
    """The key bytes of a `whsec_...` secret. Raises ValueError, without showing the secret, if it has another form."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a secret starts with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"after {PREFIX} comes base64") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"a secret holds {SHORTEST} to {LONGEST} bytes, this one {len(key)}")
    return key


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,<base64>` per key, separated by spaces, the first key's first."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def message_id(source: str, event_id: str) -> str:
    """The `webhook-id` of an event: the same on every attempt, after every restart, from every replica.

    A digest of the CloudEvents identity (`source`, `id`), since an id may hold the dot that the signed text forbids.
    """
    identity = f"{source}\n{event_id}".encode(errors="surrogatepass")
    return "msg_" + hashlib.blake2b(identity, digest_size=16).hexdigest()
