"""Holds verification to what other programs sign, and to reasons that a person can act on."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix

from bridge.signing import PrivateKey, Signer, VerifyingKey, verifying_key
from bridge.verification import Fit, Verdict, span, verify

KEY = b"k" * 24
PAIR = PrivateKey.of_seed(b"s" * 32)
OTHER = PrivateKey.of_seed(b"o" * 32)
AT = 1_793_334_731
BODY = b'{"type": "a",\n "data": 1}\n'
IDS = st.text(st.characters(exclude_characters=".", codec="utf-8"), min_size=1).filter(lambda id_: id_ == id_.strip())


def headers(signature: str, id_: str = "msg_1", at: int | str = AT) -> dict[str, str]:
    """The three headers, as a proxy may write them."""
    return {"Webhook-Id": id_, "WEBHOOK-TIMESTAMP": str(at), "webhook-signature": signature, "Host": "crm.example"}


def checked(*keys: VerifyingKey, body: bytes = BODY, signed_by: Signer | None = None) -> Verdict:
    """The verdict on a request that was signed by both kinds of keys, if not by others."""
    signature = (signed_by or Signer([KEY, PAIR])).header("msg_1", AT, BODY)
    return verify(keys, headers(signature), body, now=AT)


@given(st.binary(min_size=24, max_size=64), IDS, st.integers(0, 2**32), st.text())
def test_what_the_packages_sign_is_genuine(key: bytes, id_: str, at: int, body: str) -> None:
    """`standardwebhooks` and `svix` sign any text so that it verifies; any other text does not."""
    secret = "whsec_" + base64.b64encode(key).decode()
    for package in (Webhook, Svix):
        signature = package(secret).sign(id_, datetime.fromtimestamp(at, UTC), body)
        verdict = verify([verifying_key(secret)], headers(signature, id_, at), body.encode(), now=at)
        assert verdict.ok
        assert (verdict.message_id, verdict.sent, verdict.fits) == (id_, at, (Fit(1, "v1", 1),))
        assert not verify([key], headers(signature, id_, at), body.encode() + b"!", now=at).ok
        assert not verify([key], headers(signature, id_, at + 1), body.encode(), now=at).ok
        assert not verify([key], headers(signature, id_ + "!", at), body.encode(), now=at).ok


@given(st.binary(min_size=32, max_size=32), st.binary())
def test_what_another_library_signs_is_genuine(seed: bytes, body: bytes) -> None:
    """An ed25519 signature of another library verifies with its public key, and with no other body or key."""
    made = Ed25519PrivateKey.from_private_bytes(seed)
    key = verifying_key("whpk_" + base64.b64encode(made.public_key().public_bytes_raw()).decode())
    signature = "v1a," + base64.b64encode(made.sign(b"msg_1.%d." % AT + body)).decode()
    assert verify([key], headers(signature), body, now=AT).fits == (Fit(1, "v1a", 1),)
    assert not verify([key], headers(signature), body + b"!", now=AT).ok
    assert not verify([PAIR.public], headers(signature), body, now=AT).ok


def test_one_of_several_is_enough() -> None:
    """Any signature by any key verifies, and the verdict says which; unknown versions and broken entries are passed."""
    ours = Signer([b"x" * 24, KEY, OTHER, PAIR]).header("msg_1", AT, BODY)
    signature = f"v2,AAAA v1 v1, v1,### , v1a,AAAA {ours}"
    verdict = verify([b"y" * 24, PAIR.public, KEY], headers(signature), BODY, now=AT)
    assert verdict.ok
    assert verdict.fits == (Fit(10, "v1a", 2), Fit(8, "v1", 3))


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(missing: str) -> None:
    """Absent or empty, it is told by its name and nothing is verified."""
    given = {name.lower(): value for name, value in headers(V1).items()}
    for broken in ({name: value for name, value in given.items() if name != missing}, given | {missing: " "}):
        verdict = verify([KEY], broken, BODY, now=AT)
        assert verdict.problems == (f"the header {missing} is missing",)


V1 = Signer([KEY]).header("msg_1", AT, BODY)
V1A = Signer([PAIR]).header("msg_1", AT, BODY)


@pytest.mark.parametrize(
    ("signature", "key", "reason"),
    [
        ("v2,AAAA hello \x1b[2J,AAAA", KEY, "holds no v1 or v1a signature (only hello, unknown, v2)"),
        (V1.replace("v1,", "v2,"), KEY, "holds no v1 or v1a signature (only v2)"),
        (V1A, KEY, "signed with v1a (ed25519), for its whpk_ public key: no such key was given"),
        (V1, PAIR.public, "signed with v1 (HMAC-SHA256), which the whsec_ secret verifies: no such key was given"),
        (V1[:-4], KEY, "the v1 signature is not base64 of 32 bytes"),
        (V1[:-2] + "!=", KEY, "the v1 signature is not base64 of 32 bytes"),
        (V1A[:-5], PAIR.public, "the v1a signature is not base64 of 64 bytes"),
        (V1, b"o" * 24, "no signature fits: it was made with another secret, or the body is not byte for byte"),
        (V1A, OTHER.public, "no signature fits"),
        (V1.replace("v1,", "v1a,"), PAIR.public, "the v1a signature is not base64 of 64 bytes"),
    ],
)
def test_the_reason_says_what_to_look_at(signature: str, key: VerifyingKey, reason: str) -> None:
    """Another scheme, the other kind of key, a header that was cut and a wrong key are told apart."""
    (problem,) = verify([key], headers(signature), BODY, now=AT).problems
    assert reason in problem


@pytest.mark.parametrize("key", [KEY, PAIR.public])
@pytest.mark.parametrize(
    ("sent", "came", "reason"),
    [
        (b"{}", b"{}\n", "a line end was added at its end"),
        (b"{}\n", b"{}", "the line end at its end is missing"),
        (b"{\n}\n", b"{\r\n}\r\n", "its line ends became CRLF"),
        (b"{\r\n}", b"{\n}", "its line ends became LF"),
        (b"{}", b"\xef\xbb\xbf{}", "a byte order mark was put before it"),
    ],
)
def test_what_a_capture_did_to_the_body_is_found(key: VerifyingKey, sent: bytes, came: bytes, reason: str) -> None:
    """The usual changes are tried the other way round; the request is still not genuine."""
    signature = Signer([KEY, PAIR]).header("msg_1", AT, sent)
    (problem,) = verify([key], headers(signature), came, now=AT).problems
    assert reason in problem


@pytest.mark.parametrize(
    ("age", "problem"),
    [
        (300, ""), (-300, ""), (301, "webhook-timestamp is 5 min old, and 5 min are allowed"),
        (-90_000, "webhook-timestamp is 1 d ahead, and 5 min are allowed: compare the clocks"),
    ],
)  # fmt: skip
def test_the_age_is_bounded_where_that_is_asked(age: int, problem: str) -> None:
    """Either way, to the second; without a tolerance any age is as good, and a genuine signature is told anyway."""
    signature = headers(V1)
    assert verify([KEY], signature, BODY, now=AT + age).ok
    verdict = verify([KEY], signature, BODY, now=AT + age, tolerance=300)
    assert verdict.fits
    assert verdict.ok is not bool(problem)
    assert verdict.ok or verdict.problems[0].startswith(problem)


@pytest.mark.parametrize("at", ["", "now", "-1", "1.5", "1" * 13, "\u0661", "0x10"])
def test_the_timestamp_is_whole_seconds(at: str) -> None:
    """Anything else is a problem, however it is signed."""
    assert not verify([KEY], headers(V1, at=at), BODY, now=AT).ok


def test_a_dot_in_the_id_is_refused() -> None:
    """What was signed as one id and timestamp can't be passed off as another."""
    signature = Signer([KEY]).header("msg_1", AT, b"7.{}")
    assert verify([KEY], headers(signature), b"7.{}", now=AT).ok
    shifted = verify([KEY], headers(signature, id_=f"msg_1.{AT}", at=7), b"{}", now=AT)
    assert shifted.fits
    assert not shifted.ok


@given(
    st.dictionaries(st.sampled_from(("webhook-id", "webhook-timestamp", "webhook-signature")), st.text(st.characters()))
)
@example({"webhook-id": "\ud800", "webhook-timestamp": "\ud800", "webhook-signature": "v1,\ud800"})
def test_no_header_breaks_it(given: dict[str, str]) -> None:
    """Whatever stands there, surrogates that no bytes are decoded to among it, is a verdict and no error."""
    assert not verify([KEY, PAIR.public], given, b"", now=AT).ok


def test_a_span_is_short() -> None:
    """One unit, one digit behind the point at most."""
    assert [span(seconds) for seconds in (0, 59.4, 60, 9000, 86400 * 3.25)] == [
        "0 s",
        "59 s",
        "1 min",
        "2.5 h",
        "3.2 d",
    ]
