"""Holds the webhook signatures to the `standardwebhooks` package and to the specification's own vector."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from bridge.signing import key_of, message_id, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = st.binary(min_size=24, max_size=64)
URIS = st.text(st.characters(exclude_characters="\n"))


def secret(key: bytes) -> str:
    """A secret as people keep it."""
    return "whsec_" + base64.b64encode(key).decode()


def test_the_vector_of_the_specification() -> None:
    """The published example has the published signature."""
    body = b'{"test": 2432232314}'
    signed = signature([key_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.lists(KEYS, min_size=1, max_size=4, unique=True), st.text(), st.text(max_size=8))
def test_the_reference_package_verifies_every_key(keys: list[bytes], text: str, id_: str) -> None:
    """Each of several secrets alone is enough to verify, whatever text the event holds; another one is not."""
    body = json.dumps(text, ensure_ascii=True)
    at = int(datetime.now(UTC).timestamp())
    id_ = message_id("https://api.bctrl.ai/runs/r", id_)
    signed = signature(keys, id_, at, body.encode())
    headers = {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signed}
    for key in keys:
        assert Webhook(secret(key)).verify(body, headers) == text
    assert signed.split(" ")[0] == Webhook(secret(keys[0])).sign(id_, datetime.fromtimestamp(at, UTC), body)
    stranger = keys[0][:-1] + bytes([keys[0][-1] ^ 1])
    if stranger not in keys:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret(stranger)).verify(body, headers)


@given(st.binary(), st.binary())
def test_a_signature_is_of_the_bytes(body: bytes, other: bytes) -> None:
    """Any bytes can be signed, and others have another signature."""
    same = signature([b"k" * 24], "msg_1", 1, body) == signature([b"k" * 24], "msg_1", 1, other)
    assert same == (body == other)


@given(KEYS)
def test_a_secret_is_its_key(key: bytes) -> None:
    """24 to 64 bytes in base64 behind `whsec_`."""
    assert key_of(secret(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8I LPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa\u00df\u00df",
        secret(b"k" * 23), secret(b"k" * 65),
    ],
)  # fmt: skip
def test_another_form_is_refused_without_showing_it(text: str) -> None:
    """The error says what a secret looks like and repeats nothing of the one given, nor does its cause."""
    with pytest.raises(ValueError, match=r"whsec_|24 to 64") as caught:
        key_of(text)
    key = text.removeprefix("whsec_")
    assert not key or key not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


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
