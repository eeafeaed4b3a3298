"""Standard Webhooks 1.0.0 signatures over bytes: v1 (HMAC-SHA256), v1a (ed25519). Pure; refuses malformed keys.

https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. v1 is written by hand because the
reference package signs the text form of bytes and one key only; it is the oracle in the tests. ed25519 is libsodium's
(PyNaCl), which is imported where a key needs it: that takes 30 ms.
"""

import hashlib
from base64 import b64decode, b64encode
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a whsec_ secret that the specification allows."""
MOST_KEYS = 10
"""Keys that sign at once: each is an entry of some 50 or 90 bytes in a header, and ed25519 costs 20 µs a request."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies ed25519 signatures: 32 bytes. As a text `whpk_...`, which is no secret."""

    raw: bytes

    def __str__(self) -> str:
        return PUBLIC + b64encode(self.raw).decode()


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """What makes ed25519 signatures: 64 bytes, a seed and its public key, as libsodium and the reference server do."""

    pair: bytes

    @classmethod
    def of_seed(cls, seed: bytes) -> Self:
        """The key pair of 32 random bytes (RFC 8032, section 5.1.5)."""
        from nacl.bindings import crypto_sign_seed_keypair  # noqa: PLC0415  # only where a key needs it

        return cls(crypto_sign_seed_keypair(seed)[1])

    @property
    def public(self) -> PublicKey:
        """The half that receivers get."""
        return PublicKey(self.pair[32:])


SigningKey = bytes | PrivateKey
"""The bytes of a `whsec_...` secret, or a `whsk_...` key."""
VerifyingKey = bytes | PublicKey


def signing_key(secret: str) -> SigningKey:
    """The key of a `whsec_...` or `whsk_...` secret. Raises ValueError, without showing it, for anything else."""
    if secret.startswith(PUBLIC):
        raise ValueError(f"a {PUBLIC} key only verifies; the secret that signs starts with {SECRET} or {PRIVATE}")
    if secret.startswith(PRIVATE):
        return private_key(secret)
    key = _decoded(secret, SECRET)
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"a secret holds {SHORTEST} to {LONGEST} bytes, this one {len(key)}")
    return key


key_of = signing_key  # the name by which `bridge.app` calls it


def private_key(secret: str) -> PrivateKey:
    """The key pair of a `whsk_...` secret: 64 bytes, seed and public key, or the seed alone.

    Raises:
        ValueError: another form, or halves that don't belong together. Doesn't show the secret.
    """
    raw = _decoded(secret, PRIVATE)
    if len(raw) not in {32, 64}:
        raise ValueError(f"a {PRIVATE} key holds 64 bytes, or 32 as a seed alone, this one {len(raw)}")
    key = PrivateKey.of_seed(raw[:32])
    if raw not in {key.pair, key.pair[:32]}:
        raise ValueError(f"the two halves of this {PRIVATE} key don't belong together")
    return key


def verifying_key(text: str) -> VerifyingKey:
    """The key of a `whsec_...`, `whpk_...` or `whsk_...` text. Raises ValueError, without showing it, for others."""
    if not text.startswith(PUBLIC):
        key = signing_key(text)
        return key.public if isinstance(key, PrivateKey) else key
    raw = _decoded(text, PUBLIC)
    if len(raw) != 32:
        raise ValueError(f"a {PUBLIC} key holds 32 bytes, this one {len(raw)}")
    return PublicKey(raw)


def text_of(key: SigningKey) -> str:
    """The secret as people keep it: what `signing_key` reads. To be shown to nobody but them."""
    raw, prefix = (key.pair, PRIVATE) if isinstance(key, PrivateKey) else (key, SECRET)
    return prefix + b64encode(raw).decode()


def _decoded(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        raise ValueError(f"a secret starts with {SECRET} or {PRIVATE}")
    try:
        return b64decode(text.removeprefix(prefix), validate=True)
    except ValueError:  # binascii.Error is one
        raise ValueError(f"after {prefix} comes base64") from None


def signed_content(message_id: str, timestamp: int, body: bytes) -> bytes:
    """What is signed: `id.timestamp.body`. The id holds no dot, or it could pass for another id and timestamp."""
    return b"%s.%d.%s" % (message_id.encode(), timestamp, body)


class Signer:
    """Signs with one to ten keys, in their order; a key that is given twice signs once. Never shows them."""

    __slots__ = ("_entries",)

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        unique = tuple(dict.fromkeys(keys))
        if not 1 <= len(unique) <= MOST_KEYS:
            raise ValueError(f"1 to {MOST_KEYS} keys can sign at once, not {len(unique)}")
        self._entries = tuple(_v1a(key) if isinstance(key, PrivateKey) else _v1(key) for key in unique)

    def __repr__(self) -> str:
        return f"<Signer with {len(self._entries)} keys>"

    def header(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The `webhook-signature`: an entry per key, such as `v1,<base64>`, separated by spaces.

        `message_id` has no dot in it (`message_id` makes none), `timestamp` is in seconds since 1970.
        """
        signed = signed_content(message_id, timestamp, body)
        return " ".join([entry(signed) for entry in self._entries])


def _v1(key: bytes) -> Callable[[bytes], str]:
    """HMAC with the state after either pad made once (RFC 2104, section 4).

    For 600 bytes 1.3 µs with its base64; a copied `hmac` object takes 1.8, `hmac.digest` 2.4 (measured).
    """
    if not SHORTEST <= len(key) <= LONGEST:  # a longer one than a block, 64 bytes, would have to be hashed first
        raise ValueError(f"a key holds {SHORTEST} to {LONGEST} bytes, this one {len(key)}")
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def entry(signed: bytes) -> str:
        first, last = inner.copy(), outer.copy()
        first.update(signed)
        last.update(first.digest())
        return "v1," + b2a_base64(last.digest(), newline=False).decode()

    return entry


def _v1a(key: PrivateKey) -> Callable[[bytes], str]:
    from nacl.bindings import crypto_sign  # noqa: PLC0415  # only where a key needs it

    pair = key.pair
    return lambda signed: "v1a," + b2a_base64(crypto_sign(signed, pair)[:64], newline=False).decode()


def message_id(source: str, event_id: str) -> str:
    """The `webhook-id` of an event: the same on every attempt, after every restart, from every replica.

    A digest of the CloudEvents identity (`source`, `id`), since an id may hold the dot that the signed text forbids.
    """
    identity = f"{source}\n{event_id}".encode(errors="surrogatepass")
    return "msg_" + hashlib.blake2b(identity, digest_size=16).hexdigest()
