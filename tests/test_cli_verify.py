"""Holds `runbridge verify` to what other programs sign, to its reasons and to its exit codes."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command import Command
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.clock import unix
from bridge.signing import PrivateKey, Signer, text_of

KEY = b"k" * 24
PAIR = PrivateKey.of_seed(b"s" * 32)
AT = 1_793_334_731
BODY = '{"data": "\u00e9",\n "more": 1}\n'.encode()


def verify(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    """The command's end."""
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], input=stdin)


def request(signature: str = "", *, body: bytes = BODY, at: int = AT, end: str = "\n", more: str = "") -> bytes:
    """A captured request."""
    signature = signature or Signer([KEY, PAIR]).header("msg_1", at, BODY)
    head = [
        "POST /hooks?a=b HTTP/1.1", "Host: crm.example:443", "Webhook-Id: msg_1", f"Webhook-Timestamp: {at}",
        f"Webhook-Signature: {signature}", *([more] if more else []), "", "",
    ]  # fmt: skip
    return end.join(head).encode() + body


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A captured request in a file."""
    file = tmp_path / "captured.http"
    file.write_bytes(request())
    return file


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The secret in a file."""
    file = tmp_path / "crm.secret"
    file.write_text(text_of(KEY) + "\n")
    return file


@pytest.mark.parametrize("package", [Webhook, Svix])
def test_what_the_packages_sign_is_verified(package: type[Webhook | Svix], tmp_path: Path, secret: Path) -> None:
    """What `standardwebhooks` or `svix` signs is; with another body it is not, and the exit code says so."""
    file = tmp_path / "captured.http"
    file.write_bytes(request(package(text_of(KEY)).sign("msg_1", datetime.fromtimestamp(AT, UTC), BODY.decode())))
    result = verify("--request", file, "--secret-file", secret)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"verified: signature 1 (v1) is by {secret}" in result.stdout
    file.write_bytes(file.read_bytes() + b"!")
    result = verify("--request", file, "--secret-file", secret)
    assert result.exit_code == 1
    assert "NOT verified: no signature fits" in result.stdout


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_capture_may_have_either_line_end(end: str, capture: Path, secret: Path) -> None:
    """In a file or on standard input; what follows the first empty line is the body, byte for byte."""
    capture.write_bytes(request(end=end))
    assert verify("-r", capture, "--secret-file", secret).exit_code == 0
    assert verify("-r", "-", "--secret-file", secret, stdin=b"\r\n" + request(end=end)).exit_code == 0
    assert verify("-r", capture, "--secret-file", secret, "--body", secret).exit_code == 1


def test_a_request_in_parts(tmp_path: Path, secret: Path) -> None:
    """Headers one by one, in any case; the body from a file or standard input."""
    signature = Signer([KEY]).header("msg_1", AT, BODY)
    headers = ["-H", "Webhook-ID: msg_1", "-H", f"webhook-timestamp:{AT}", "-H", f"webhook-signature: {signature} "]
    file = tmp_path / "body"
    file.write_bytes(BODY)
    assert verify(*headers, "--body", file, "--secret-file", secret).exit_code == 0
    assert verify(*headers, "--body", "-", "--secret-file", secret, stdin=BODY).exit_code == 0
    assert verify(*headers, "--body", "-", "--secret-file", secret, stdin=BODY + b" ").exit_code == 1


def test_every_kind_of_key_verifies(tmp_path: Path, capture: Path, secret: Path) -> None:
    """A secret, a key pair, a public key, in a file or as an option; each fit is told with where its key came from."""
    pair, public = tmp_path / "pair", tmp_path / "public"
    pair.write_text(text_of(PAIR))
    public.write_text(str(PAIR.public))
    for option in (
        ("--secret", text_of(KEY)), ("--secret", text_of(PAIR)), ("--public-key", str(PAIR.public)),
        ("--secret-file", pair), ("--secret-file", public),
    ):  # fmt: skip
        assert verify("-r", capture, *option).exit_code == 0, option
    both = verify("-r", capture, "--secret-file", secret, "--public-key", str(PAIR.public), "--json")
    assert json.loads(both.stdout)["fits"] == [
        {"signature": 2, "version": "v1a", "key": "--public-key"},
        {"signature": 1, "version": "v1", "key": str(secret)},
    ]
    wrong = verify("-r", capture, "--public-key", str(PrivateKey.of_seed(b"o" * 32).public))
    assert wrong.exit_code == 1


def test_the_keys_of_a_destination(tmp_path: Path, capture: Path) -> None:
    """Those of the configuration and of its secret files, by the destination's name, or of the only one."""
    config = tmp_path / "bridge.toml"
    (tmp_path / "crm").write_text(text_of(KEY))
    (tmp_path / "other").write_text(text_of(b"o" * 24))
    crm = '[destinations.crm]\nurl = "https://crm.example/"\nsecrets = ["{}"]\nsecret_files = ["crm"]\n'
    config.write_text(crm.format(text_of(b"x" * 24)))
    only = verify("-r", capture, "-c", config)
    assert (only.exit_code, only.stderr) == (0, "")
    assert "is by key 2 of destinations.crm" in only.stdout
    config.write_text(config.read_text() + '[destinations.b]\nurl = "https://b.example/"\nsecret_files = ["other"]\n')
    assert verify("-r", capture, "-c", config, "-d", "crm").exit_code == 0
    assert verify("-r", capture, "-c", config, "-d", "b").exit_code == 1
    for name in ("", "nobody"):
        result = verify("-r", capture, "-c", config, "-d", name)
        assert result.exit_code == 2
        assert "--destination is one of: crm, b" in result.stderr
    config.write_text(config.read_text() + "nonsense = 1\n")
    assert verify("-r", capture, "-c", config, "-d", "crm").exit_code == 78


def test_json_is_one_object(capture: Path, secret: Path) -> None:
    """All that was found, with the age in seconds; problems are a list."""
    shown = json.loads(verify("-r", capture, "--secret-file", secret, "--json").stdout)
    age = shown.pop("age")
    assert age == pytest.approx(unix() - AT, abs=60)
    assert shown == {
        "ok": True, "problems": [], "fits": [{"signature": 1, "version": "v1", "key": str(secret)}],
        "webhook_id": "msg_1", "timestamp": AT, "signatures": ["v1", "v1a"], "body_bytes": len(BODY),
    }  # fmt: skip
    result = verify("-r", "-", "--secret-file", secret, "--json", stdin=b"a: b\n\n")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert (shown["ok"], shown["age"], shown["timestamp"]) == (False, None, None)
    assert len(shown["problems"]) == 3


def test_the_age_is_told_and_bounded_on_request(capture: Path, secret: Path) -> None:
    """An old capture is genuine; with --tolerance it is refused, and a fresh one is not."""
    told = verify("-r", capture, "--secret-file", secret)
    assert "2026-10-30T04:32:11Z, " in told.stdout
    capture.write_bytes(request(at=int(unix()) - 7200))
    for tolerance, code in (("5m", 1), ("3h", 0)):
        result = verify("-r", capture, "--secret-file", secret, "--tolerance", tolerance)
        assert result.exit_code == code
        assert ("is 2 h old, and 5 min are allowed" in result.stdout) is bool(code)
    assert verify("-r", capture, "--secret-file", secret, "--tolerance", "soon").exit_code == 2


def test_an_odd_length_is_told(capture: Path, secret: Path) -> None:
    """Where nothing fits, a length that isn't the captured body's is a hint; where all fits it says nothing."""
    capture.write_bytes(request(more="Content-Length: 5", body=BODY[:7]))
    result = verify("-r", capture, "--secret-file", secret)
    assert "content-length is 5, but the captured body has 7 bytes" in result.stdout
    capture.write_bytes(request(more="Content-Length: 5"))
    assert verify("-r", capture, "--secret-file", secret).exit_code == 0


def test_a_terminal_is_not_acted_upon(secret: Path) -> None:
    """A captured id with control characters is shown without them."""
    result = verify("-r", "-", "--secret-file", secret, stdin=b"webhook-id: a\x1b[2J\xff\xc2\x9b\n\n")
    assert "webhook-id         a?[2J??\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("-r", "-"), b"", "give a key"),
        (("--secret", "whsec_" + base64.b64encode(KEY).decode()), b"", "give the whole request with --request FILE"),
        (("--secret", "hush-hush", "-r", "-"), b"", "--secret: a secret starts with whsec_ or whsk_"),
        (("--public-key", "whpk_aHVzaA==", "-r", "-"), b"", "--public-key: a whpk_ key holds 32 bytes"),
        (("--secret-file", "absent", "-r", "-"), b"", "absent can't be read: no such file"),
        (("--destination", "crm", "-r", "-"), b"", "--destination needs --config"),
        (("KEY", "-r", "-"), b"a: b\n", "no empty line"),
        (("KEY", "-r", "-"), b"nonsense\n\n", "header 1 is not of the form"),
        (("KEY", "-r", "-"), b"webhook-id: a\nwebhook-id: b\n\n", "webhook-id is there twice"),
        (("KEY", "-r", "-"), b"transfer-encoding: Chunked\n\n5\r\n", "is in chunks"),
        (("KEY", "-r", "-", "-b", "-"), b"", "not both"),
        (("KEY", "-r", "absent"), b"", "absent can't be read: no such file"),
        (("KEY", "-b", "-", "-H", "webhook-id"), b"", "header 1 is not of the form"),
    ],
)  # fmt: skip
def test_what_can_not_be_checked_ends_with_2(arguments: tuple[str, ...], stdin: bytes, said: str, secret: Path) -> None:
    """One line on standard error that says what to give instead, without the key."""
    given = [part for each in arguments for part in (("--secret-file", str(secret)) if each == "KEY" else (each,))]
    result = verify(*given, stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "hush" not in result.stderr


async def test_the_process_does_the_same(tmp_path: Path, capture: Path, secret: Path) -> None:
    """With arguments that are no UTF-8, as a real process."""
    arguments = ("verify", "-r", str(capture), "--secret-file", str(secret))
    async with Command(tmp_path, *arguments) as command:
        assert await command.end() == 0
    async with Command(tmp_path, *arguments, "-H", "webhook-id: \udcff") as command:
        assert await command.end() == 1
        assert command.err == ""
