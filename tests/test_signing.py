"""Holds the signatures to the packages `standardwebhooks` and `svix`, to another library and to published vectors."""

import base64
import hashlib
import hmac
import json
import traceback
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as Svix

from bridge.signing import PrivateKey, Signer, SigningKey, message_id, signing_key, text_of, verifying_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAIR = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
"""The ed25519 pair of the reference server's test: seed and public key."""
PUBLIC = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
VECTOR = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
KEYS = st.binary(min_size=24, max_size=64)
PRIVATE_KEYS = st.binary(min_size=32, max_size=32).map(PrivateKey.of_seed)
URIS = st.text(st.characters(exclude_characters="\n"))


def secret(key: bytes) -> str:
    """A secret as people keep it."""
    return "whsec_" + base64.b64encode(key).decode()


def test_the_published_vectors() -> None:
    """The examples of the specification and of its reference server are signed as published, in the keys' order."""
    ed25519 = signing_key("whsk_" + PAIR)
    assert Signer([signing_key(SECRET)]).header(*VECTOR) == V1
    assert Signer([ed25519]).header(*VECTOR) == V1A
    assert Signer([signing_key(SECRET), ed25519]).header(*VECTOR) == f"{V1} {V1A}"
    assert Signer([ed25519, signing_key(SECRET)]).header(*VECTOR) == f"{V1A} {V1}"


@given(KEYS, st.text(), st.integers(0, 2**32), st.text())
def test_v1_is_the_packages_own(key: bytes, id_: str, at: int, body: str) -> None:
    """For any id, timestamp and text the header is, byte for byte, what the packages sign."""
    header = Signer([key]).header(id_, at, body.encode())
    assert header == Webhook(secret(key)).sign(id_, datetime.fromtimestamp(at, UTC), body)
    assert header == Svix(secret(key)).sign(id_, datetime.fromtimestamp(at, UTC), body)


@given(KEYS, st.binary())
def test_v1_is_an_hmac_of_the_bytes(key: bytes, body: bytes) -> None:
    """Any bytes can be signed, those that are no text among them."""
    digest = hmac.digest(key, b"msg_1.1." + body, hashlib.sha256)
    assert Signer([key]).header("msg_1", 1, body) == "v1," + base64.b64encode(digest).decode()


@given(PRIVATE_KEYS, st.text(), st.integers(0, 2**32), st.binary())
def test_v1a_is_ed25519(key: PrivateKey, id_: str, at: int, body: bytes) -> None:
    """Another library makes the same signature of the same seed, and verifies it with the public key."""
    header = Signer([key]).header(id_, at, body)
    signature, signed = base64.b64decode(header.removeprefix("v1a,")), f"{id_}.{at}.".encode() + body
    assert signature == Ed25519PrivateKey.from_private_bytes(key.pair[:32]).sign(signed)
    Ed25519PublicKey.from_public_bytes(key.public.raw).verify(signature, signed)


@given(st.lists(KEYS | PRIVATE_KEYS, min_size=1, max_size=4, unique=True), st.text(), st.text(max_size=8))
def test_the_packages_verify_every_key(keys: list[SigningKey], text: str, id_: str) -> None:
    """Each v1 key among several, of whatever kind the others are, is enough to verify; another one is not."""
    body = json.dumps(text, ensure_ascii=True)
    at = int(datetime.now(UTC).timestamp())
    id_ = message_id("https://api.bctrl.ai/runs/r", id_)
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": Signer(keys).header(id_, at, body.encode()),
    }
    for key in keys:
        if isinstance(key, bytes):
            assert Webhook(secret(key)).verify(body, headers) == text
            Svix(secret(key)).verify(body, headers)
    stranger = b"a key that nobody else has"
    if stranger not in keys:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret(stranger)).verify(body, headers)


def test_one_to_ten_keys_sign() -> None:
    """None, or more than ten, is refused; one that is given twice signs once."""
    many = [bytes([number]) * 24 for number in range(11)]
    assert len(Signer(many[:10]).header("msg_1", 1, b"").split(" ")) == 10
    for keys in ([], many):
        with pytest.raises(ValueError, match="1 to 10 keys"):
            Signer(keys)
    assert Signer([many[0]] * 11).header("msg_1", 1, b"") == Signer(many[:1]).header("msg_1", 1, b"")


@pytest.mark.parametrize("length", [0, 23, 65])
def test_a_key_of_another_length_signs_nothing(length: int) -> None:
    """HMAC would take it, but by another rule than the one that is built in."""
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        Signer([b"k" * length])


def test_nothing_shows_a_key() -> None:
    """Neither a signer nor a key pair tells its secret when it is printed; a public key does say who it is."""
    key = signing_key("whsk_" + PAIR)
    assert isinstance(key, PrivateKey)
    shown = f"{Signer([key, b'k' * 24])!r} {key!r} {key}"
    assert "kkk" not in shown
    assert not any(part in shown for part in (PAIR[:40], repr(key.pair)[2:20], key.pair.hex()))
    assert str(key.public) == "whpk_" + PUBLIC


@given(PRIVATE_KEYS)
def test_a_key_pair_is_its_text(key: PrivateKey) -> None:
    """`whsk_` and 64 bytes, which is what is written, or the seed alone; the public half verifies."""
    seed = "whsk_" + base64.b64encode(key.pair[:32]).decode()
    assert signing_key(text_of(key)) == signing_key(seed) == key
    assert verifying_key(text_of(key)) == verifying_key(str(key.public)) == key.public


@given(KEYS)
def test_a_secret_is_its_key(key: bytes) -> None:
    """24 to 64 bytes in base64 behind `whsec_`, which sign and verify."""
    assert signing_key(secret(key)) == verifying_key(secret(key)) == key
    assert text_of(key) == secret(key)


@pytest.mark.parametrize(
    "text",
    [
        "", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_MfKQ9r8GKYqrTwjUPD8I LPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa\u00df\u00df", secret(b"k" * 23), secret(b"k" * 65),
        "whsk_", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_" + PAIR[:-2], "whsk_" + PAIR[:42] + PAIR[44:],
        "whsk_" + base64.b64encode(base64.b64decode(PAIR)[:32] + b"k" * 32).decode(), "whpk_" + PUBLIC,
    ],
)  # fmt: skip
def test_another_form_is_refused_without_showing_it(text: str) -> None:
    """The error says what a secret looks like and repeats nothing of the one given, nor does its cause."""
    with pytest.raises(ValueError, match=r"whsec_|whsk_|24 to 64") as caught:
        signing_key(text)
    key = text.partition("_")[2] if "_" in text else text
    assert not key or key not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("text", ["whpk_", "whpk_" + PUBLIC[:-4], "whpk_" + PAIR, "whpk_no base64"])
def test_a_public_key_has_32_bytes(text: str) -> None:
    """Anything else behind `whpk_` is refused, a whole pair too."""
    with pytest.raises(ValueError, match="whpk_"):
        verifying_key(text)


@given(URIS, st.text(), URIS, st.text())
def test_the_message_id_is_the_identity_of_the_event(source: str, id_: str, other_source: str, other_id: str) -> None:
    """The same (`source`, `id`) has the same `webhook-id`, another has another; it holds no dot and is short."""
    made = message_id(source, id_)
    assert made == message_id(source, id_)
    assert made.startswith("msg_")
    assert made[4:].isalnum()
    assert len(made) == 36
    if (source, id_) != (other_source, other_id):
        assert made != message_id(other_source, other_id)


def test_the_message_id_stays_as_it_is() -> None:
    """Receivers keep it to leave out repetitions: no release may change it."""
    assert message_id("https://api.bctrl.ai/runs/r", "evt_1") == "msg_8ee7e4a6a7486db94fc1174621f09cb5"
