"""Checks a request that was signed by Standard Webhooks 1.0.0, and says what doesn't fit. Pure; shows no key.

A verdict is a value: a request that isn't genuine is an expected result here.
"""

import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.signing import PublicKey, VerifyingKey

MOST_SHOWN = 5
"""Unknown versions that a problem names."""

ID, TIMESTAMP, SIGNATURE = HEADERS = "webhook-id", "webhook-timestamp", "webhook-signature"

_SECONDS = re.compile(r"[0-9]{1,12}")
_VERSION = re.compile(r"[A-Za-z0-9]{1,8}")
_LENGTHS = {"v1": 32, "v1a": 64}
_NEEDS = {"v1": "v1 (HMAC-SHA256), which the whsec_ secret verifies", "v1a": "v1a (ed25519), for its whpk_ public key"}


class Signature(NamedTuple):
    """One entry of `webhook-signature`; `raw` is None where it is not base64 of its version's length."""

    version: str
    raw: bytes | None


class Fit(NamedTuple):
    """Which signature is by which key, both counted from 1."""

    signature: int
    version: str
    key: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check. `sent` is the timestamp, in seconds since 1970, where there is one."""

    problems: tuple[str, ...]
    """What doesn't fit and what to do about it, one sentence each; empty for a genuine request."""
    fits: tuple[Fit, ...]
    signatures: tuple[Signature, ...]
    message_id: str
    sent: int | None

    @property
    def ok(self) -> bool:
        """Whether the request is genuine, and in time where that was asked."""
        return not self.problems


def verify(
    keys: Sequence[VerifyingKey],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance: float | None = None,
) -> Verdict:
    """Checks a captured request against at least one key; any one signature by any one key is enough.

    `headers` may be written in capitals and hold others; `now` and `tolerance` are seconds, and without a tolerance
    the timestamp may have any age. Signatures of other versions are left alone, as the specification wants.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}
    id_, timestamp, header = (given.get(name, "") for name in HEADERS)
    problems = [f"the header {name} is missing" for name in HEADERS if not given.get(name)]
    complete = not problems
    if "." in id_:
        problems.append(f"{ID} holds a dot, which would let it pass for another id and timestamp")
    sent = int(timestamp) if _SECONDS.fullmatch(timestamp) else None
    if timestamp and sent is None:
        problems.append(f"{TIMESTAMP} is not a whole number of seconds since 1970")
    elif sent is not None and tolerance is not None and abs(now - sent) > tolerance:
        problems.append(_untimely(now - sent, tolerance))
    signatures = tuple(map(_signature, header.split()))
    fits: tuple[Fit, ...] = ()
    if complete:
        prefix = _bytes_of(f"{id_}.{timestamp}.")
        fits = tuple(_fits(keys, signatures, prefix + body))
        if not fits:
            problems.append(_why(keys, signatures, prefix, body))
    return Verdict(tuple(problems), fits, signatures, id_, sent)


def span(seconds: float) -> str:
    """A length of time for people: `42 s`, `2.5 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{round(seconds / length, 1):g} {unit}"
    return f"{seconds:.0f} s"


def _bytes_of(text: str) -> bytes:
    """The bytes that a header was decoded from, those that are no UTF-8 among them. Never raises."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # decoded from none
        return text.encode(errors="surrogatepass")


def _signature(entry: str) -> Signature:
    version, _, text = entry.partition(",")
    if not _VERSION.fullmatch(version):
        return Signature("unknown", None)
    try:
        raw = b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        return Signature(version, None)
    return Signature(version, raw if len(raw) == _LENGTHS.get(version, len(raw)) else None)


def _version_of(key: VerifyingKey) -> str:
    return "v1a" if isinstance(key, PublicKey) else "v1"


def _fits(keys: Sequence[VerifyingKey], signatures: Sequence[Signature], signed: bytes) -> Iterator[Fit]:
    for key_number, key in enumerate(keys, 1):
        is_by_key = _v1a(key, signed) if isinstance(key, PublicKey) else _v1(key, signed)
        for number, (version, raw) in enumerate(signatures, 1):
            if raw is not None and version == _version_of(key) and is_by_key(raw):
                yield Fit(number, version, key_number)


def _v1(key: bytes, signed: bytes) -> Callable[[bytes], bool]:
    expected = hmac.digest(key, signed, "sha256")
    return lambda raw: hmac.compare_digest(expected, raw)  # takes as long however much of it fits


def _v1a(key: PublicKey, signed: bytes) -> Callable[[bytes], bool]:
    from nacl.bindings import crypto_sign_open  # noqa: PLC0415  # 30 ms that only ed25519 is worth
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415  # as above

    def is_by_key(raw: bytes) -> bool:
        try:
            crypto_sign_open(raw + signed, key.raw)
        except BadSignatureError:
            return False
        return True

    return is_by_key


def _untimely(age: float, tolerance: float) -> str:
    if age > 0:
        return f"{TIMESTAMP} is {span(age)} old, and {span(tolerance)} are allowed: sent again by somebody, or late"
    return f"{TIMESTAMP} is {span(-age)} ahead, and {span(tolerance)} are allowed: compare the clocks"


def _why(keys: Sequence[VerifyingKey], signatures: Sequence[Signature], prefix: bytes, body: bytes) -> str:
    """The likeliest reason why no signature fits."""
    known = [signature for signature in signatures if signature.version in _LENGTHS]
    if not known:
        versions = ", ".join(sorted({signature.version for signature in signatures})[:MOST_SHOWN])
        return f"{SIGNATURE} holds no v1 or v1a signature (only {versions}): signed by another scheme, or cut"
    mine = {_version_of(key) for key in keys}
    ours = [signature for signature in known if signature.version in mine]
    if not ours:
        needed = " and ".join(_NEEDS[version] for version in sorted({signature.version for signature in known}))
        return f"the request is signed with {needed}: no such key was given"
    if all(signature.raw is None for signature in ours):
        return (
            f"the {ours[0].version} signature is not base64 of {_LENGTHS[ours[0].version]} bytes: it was cut or changed"
        )
    for altered, what in _altered(body):
        if altered != body and any(_fits(keys, ours, prefix + altered)):
            return f"the body was changed: {what}. Verify the bytes as they arrive, before anything reads them"
    return (
        "no signature fits: it was made with another secret, or the body is not byte for byte what was sent "
        "(parsed and written again?), or id or timestamp were changed"
    )


def _altered(body: bytes) -> Iterator[tuple[bytes, str]]:
    """What a capture or a framework often does to a body, undone."""
    yield body.rstrip(b"\r\n"), "a line end was added at its end"
    yield body.removeprefix(b"\xef\xbb\xbf"), "a byte order mark was put before it"
    yield body.replace(b"\r\n", b"\n"), "its line ends became CRLF"
    yield body.replace(b"\n", b"\r\n"), "its line ends became LF"
    for end in (b"\n", b"\r\n"):
        yield body + end, "the line end at its end is missing"
