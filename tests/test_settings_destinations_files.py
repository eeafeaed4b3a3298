"""Destinations and what lies around them: certificates, secrets' and headers' files, the environment, `check`."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from destination_tables import HOOK, SECRET, STREAM, TELLTALE, mistakes, only, read

from bridge.cli.check import examine
from bridge.settings.addresses import short_url
from bridge.signing import PrivateKey, text_of

PRIVATE = text_of(PrivateKey.of_seed(bytes(32)))

# ---- certificates


@pytest.fixture(scope="module")
def pem() -> Iterator[Path]:
    """A directory with a certificate, its key, both in one file, another key, and files that are none of these."""
    with TemporaryDirectory(prefix="pem-") as name:
        made = Path(name)
        for key in ("a.key", "b.key"):
            openssl(made, "genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl(made, "req", "-x509", "-key", "a.key", "-out", "a.pem", "-days", "2", "-subj", "/CN=a")
        openssl(made, "pkey", "-in", "a.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
        certificate, key = (made / "a.pem").read_text(), (made / "a.key").read_text()
        (made / "both.pem").write_text(f"# a comment with an é\n{certificate}{key}")
        (made / "broken.pem").write_text(certificate.replace("\nMI", "\nAA"))
        (made / "broken.key").write_text(key.replace("\nM", "\nA"))
        (made / "text").write_text(TELLTALE)
        (made / "large.pem").write_text(certificate * 3000)
        (made / "binary").write_bytes(b"\xff\xfe")
        yield made


def openssl(directory: Path, *arguments: str) -> None:
    """Runs openssl there."""
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.mark.parametrize(
    "keys",
    [
        {"ca_file": "a.pem"},
        {"ca_file": "both.pem"},
        {"cert_file": "both.pem"},
        {"cert_file": "a.pem", "key_file": "a.key"},
        {"ca_file": "a.pem", "cert_file": "a.pem", "key_file": "both.pem"},
        {"ca_file": "", "cert_file": "", "key_file": ""},
    ],
)
def test_certificates_that_fit_are_taken(tmp_path: Path, pem: Path, keys: dict[str, str]) -> None:
    """A path starts at the configuration's directory; key and certificate may be in one file."""
    (tmp_path / "tls").symlink_to(pem)
    tls = only(tmp_path, "\n".join(f'tls.{key} = "{name and f"tls/{name}"}"' for key, name in keys.items())).tls
    assert tls.model_dump() == {
        key: str(tmp_path / "tls" / keys[key]) if keys.get(key) else "" for key in ("ca_file", "cert_file", "key_file")
    }


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ({"ca_file": "nowhere"}, "ca_file", "nowhere does not exist"),
        ({"ca_file": "."}, "ca_file", "is not a regular file"),
        ({"ca_file": "binary"}, "ca_file", "is not UTF-8 text"),
        ({"ca_file": "large.pem"}, "ca_file", "is larger than 1024 KiB"),
        ({"ca_file": "text"}, "ca_file", "has no certificate in PEM"),
        ({"ca_file": "a.key"}, "ca_file", "has no certificate in PEM"),
        ({"ca_file": "broken.pem"}, "ca_file", "a certificate in it that can't be read"),
        ({"cert_file": "nowhere"}, "cert_file", "nowhere does not exist"),
        ({"cert_file": "a.pem"}, "cert_file", "name its file in key_file"),
        ({"cert_file": "broken.pem", "key_file": "a.key"}, "cert_file", "a certificate in it that can't be read"),
        ({"cert_file": "a.pem", "key_file": "nowhere"}, "key_file", "nowhere does not exist"),
        ({"cert_file": "a.pem", "key_file": "text"}, "key_file", "has no private key in PEM"),
        ({"cert_file": "a.pem", "key_file": "b.key"}, "key_file", "belongs to another certificate"),
        ({"cert_file": "a.pem", "key_file": "broken.key"}, "key_file", "a key in it that can't be read"),
        ({"cert_file": "a.pem", "key_file": "locked.key"}, "key_file", "with a passphrase"),
        ({"key_file": "a.key"}, "key_file", "name that too, in cert_file"),
    ],
)
def test_certificates_that_do_not_fit_are_named(
    tmp_path: Path, pem: Path, keys: dict[str, str], key: str, words: str
) -> None:
    """What a connection would stumble over is told when the configuration is read, at the key that names the file."""
    (tmp_path / "tls").symlink_to(pem)
    found = mistakes(tmp_path, "\n".join(f'tls.{each} = "tls/{name}"' for each, name in keys.items()))
    assert list(found) == [f"destinations.d.tls.{key}"]
    assert words in found[f"destinations.d.tls.{key}"]


def test_certificates_are_for_https(tmp_path: Path, pem: Path) -> None:
    """Plain http has no use for them, and who names them expects that it has."""
    text = f'url = "http://127.0.0.1/"\nallow_networks = ["127.0.0.0/8"]\ntls.ca_file = "{pem}/a.pem"'
    assert "begin url with https://" in mistakes(tmp_path, text)["destinations.d.tls"]


# ---- secrets and headers in files


def test_secrets_and_headers_come_from_their_files(tmp_path: Path) -> None:
    """Files are read at start and stripped; their secrets come after those that stand in the configuration."""
    (tmp_path / "ed").write_text(f"{PRIVATE}\n")
    (tmp_path / "token").write_text(f" {TELLTALE}\n")
    text = 'secret_files = ["ed"]\nheaders = { X-A = "a" }\nheader_files.Authorization = "token"'
    hook = only(tmp_path, text)
    assert [secret.get_secret_value() for secret in hook.secrets] == [SECRET, PRIVATE]
    assert {name: value.get_secret_value() for name, value in hook.headers.items()} == {
        "X-A": "a",
        "Authorization": TELLTALE,
    }
    assert hook.secret_files == (str(tmp_path / "ed"),), "they are looked at again later, from wherever"
    assert TELLTALE not in f"{hook}{hook!r}"
    assert only(tmp_path, 'secrets = []\nsecret_files = ["ed"]').secrets


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('header_files.X = "nowhere"', ["header_files.X"]),
        ('header_files.Host = "token"', ["header_files.Host"]),
        ('headers.x = "a"\nheader_files.X = "token"', ["header_files.X"]),
        ('header_files.X = "large"', ["headers"]),
        ('header_files.X = "lines"', ["headers.X"]),
        (f'secret_files = ["{SECRET}"]', ["secret_files[0]"]),
        (f'secret_files = ["{PRIVATE}"]', ["secret_files[0]"]),
        (f'secret_files = ["whsk_{TELLTALE}/"]', ["secret_files[0]"]),
        ('secret_files = ["token"]', ["secret_files[0]"]),
        (f"secret_files = [{', '.join([chr(34) + 'good' + chr(34)] * 10)}]", ["secrets"]),
    ],
)
def test_files_of_secrets_and_headers_that_cannot_be_used(tmp_path: Path, text: str, paths: list[str]) -> None:
    """What is wrong with a file or with what is in it is told once, without the content."""
    (tmp_path / "token").write_text(TELLTALE)
    (tmp_path / "lines").write_text(f"{TELLTALE}\n{TELLTALE}")
    (tmp_path / "large").write_text("x" * 8192)
    (tmp_path / "good").write_text(SECRET)
    found = mistakes(tmp_path, text)
    assert list(found) == [f"destinations.d.{path}" for path in paths]
    assert PRIVATE not in str(found)


def test_a_password_comes_from_its_file(tmp_path: Path) -> None:
    """A stream's password is read as that of the log is, and shown nowhere."""
    (tmp_path / "password").write_text(f"{TELLTALE}\n")
    stream = only(tmp_path, 'password_file = "password"', STREAM)
    assert stream.password.get_secret_value() == TELLTALE
    assert TELLTALE not in f"{stream!r}"


# ---- the environment


def test_every_form_of_key_comes_from_the_environment(tmp_path: Path) -> None:
    """Lists, numbers, truths, words, keys of inner tables and headers arrive as from the file."""
    values = {
        "RETRY_SCHEDULE": "0s, 50ms", "BATCH__MAX_EVENTS": "7", "BATCH__MAX_BYTES": "1KiB", "FORMAT": "batched",
        "HEADERS__X_TEAM": TELLTALE, "HANDSHAKE": "true", "ALLOW_HTTP": "False", "RATE_LIMIT": "600/m",
        "TYPES": "a.*, b", "FILTER": 'type == "a"', "DISABLE_AFTER": "off", "MAX_ATTEMPTS": "3",
        "FROM": "2026-10-03T00:00:00Z", "PROXY": "http://p:1", "SECRETS": PRIVATE,
    }  # fmt: skip
    environ = {f"BRIDGE_DESTINATIONS__D__{key}": value for key, value in values.items()}
    hook = only(tmp_path, 'retry_schedule = "exponential"\nheaders.x-team = "old"', environ=environ)
    assert (hook.retry_schedule, hook.batch.max_events, hook.batch.max_bytes) == ((0.0, 0.05), 7, 1024)
    assert {name: value.get_secret_value() for name, value in hook.headers.items()} == {"x-team": TELLTALE}
    assert (hook.handshake, hook.allow_http, hook.rate_limit, hook.types) == (True, False, 10.0, ("a.*", "b"))
    assert (hook.filter, hook.disable_after, hook.max_attempts) == ('type == "a"', 0.0, 3)
    assert (hook.from_, hook.proxy, len(hook.secrets)) == ("2026-10-03T00:00:00Z", "http://p:1", 1)


@pytest.mark.parametrize("given", ["", 'retry_schedule = "standard"', 'retry_schedule = ["1s"]'])
def test_an_inner_key_of_the_environment_sets_another_form_aside(tmp_path: Path, given: str) -> None:
    """The environment wins over the file, also where the file has a word or a list in the place of a table."""
    environ = {"BRIDGE_DESTINATIONS__D__RETRY_SCHEDULE__FIRST": "1s"}
    assert only(tmp_path, given, environ=environ).retry_schedule.model_dump() == {
        "first": 1.0, "factor": 3.0, "longest": 86_400.0,
    }  # fmt: skip
    environ = {"BRIDGE_DESTINATIONS__D__RETRY_SCHEDULE": "exponential"}
    assert only(tmp_path, given, environ=environ).retry_schedule.first == 5.0


def test_certificates_and_streams_come_from_the_environment(tmp_path: Path, pem: Path) -> None:
    """Paths of the environment start where those of the file do; a URL alone makes a destination a stream."""
    (tmp_path / "tls").symlink_to(pem)
    environ = {"BRIDGE_DESTINATIONS__D__TLS__CA_FILE": "tls/a.pem"}
    assert only(tmp_path, "", environ=environ).tls.ca_file == str(tmp_path / "tls/a.pem")
    environ = {
        "BRIDGE_DESTINATIONS__E__URL": "redis://h", "BRIDGE_DESTINATIONS__E__STREAM": "runs:{subject}",
        "BRIDGE_DESTINATIONS__E__MAX_ENTRIES": "0", "BRIDGE_DESTINATIONS__E__PASSWORD": TELLTALE,
    }  # fmt: skip
    stream = read(tmp_path, "", environ=environ).destinations["e"]
    assert stream.address == "redis://h"


@pytest.mark.parametrize(
    ("variables", "path", "words"),
    [
        ({"BATCH": "x"}, "", "names a whole table; expected BRIDGE_DESTINATIONS__NAME__BATCH__KEY"),
        ({"TLS": "x"}, "", "names a whole table; expected BRIDGE_DESTINATIONS__NAME__TLS__KEY"),
        ({"HEADERS": "x"}, "", "names a whole table; expected BRIDGE_DESTINATIONS__NAME__HEADERS__HEADER"),
        ({"BATCH__MAX": "x"}, "", "The keys here are: max_events"),
        ({"RETRY_SCHEDULE": "1s", "RETRY_SCHEDULE__FIRST": "1s"}, "__FIRST", "sets the same key as"),
        ({"RETRY_SCHEDULE": "soon"}, "retry_schedule", '"exponential" (set by BRIDGE_DESTINATIONS__D__RETRY_SCHEDULE)'),
        ({"RETRY_SCHEDULE": "1s,soon"}, "retry_schedule[1]", "(set by BRIDGE_DESTINATIONS__D__RETRY_SCHEDULE)"),
        ({"HEADERS__HOST": "x"}, "headers.host", "(set by BRIDGE_DESTINATIONS__D__HEADERS__HOST)"),
        ({"HANDSHAKE": "yes"}, "handshake", "true or false (set by BRIDGE_DESTINATIONS__D__HANDSHAKE)"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    tmp_path: Path, variables: dict[str, str], path: str, words: str
) -> None:
    """A variable for a whole table, for a key twice or with a bad value is an error that names it."""
    environ = {f"BRIDGE_DESTINATIONS__D__{key}": value for key, value in variables.items()}
    ((found, message),) = mistakes(tmp_path, "", environ=environ).items()
    assert words in message
    if path and not path.startswith("_"):
        assert found == f"destinations.d.{path}"
    else:
        assert found == f"BRIDGE_DESTINATIONS__D__{next(iter(variables))}{path}"


# ---- check


def test_check_shows_what_every_destination_gets(tmp_path: Path) -> None:
    """One row a destination: where it is, without secrets, in which form, and which events; Redis' password too."""
    text = (
        f'url = "https://u:{TELLTALE}@h.example/x?token={TELLTALE}"\nheaders.X = "{TELLTALE}"\nformat = "binary"\n'
        f'types = ["a.*", "b"]\nsubjects = ["r"]\nfilter = \'type == "a"\'\n'
        f'[destinations.e]\nurl = "redis://:{TELLTALE}@h:1/2"\nstream = "runs:{{subject}}"\n'
        f'[destinations]\nf = {{ url = "https://h.example/services/{TELLTALE}/x", secrets = ["{SECRET}"] }}\n'
        f'[redis]\nurl = "redis://:{TELLTALE}@h:1/2"'
    )
    read(tmp_path, text, HOOK)
    report = examine(tmp_path / "bridge.toml", None)
    assert [(row.where, row.details) for row in report.rows if row.what == "destination"] == [
        (
            "https://h.example/x?...",
            'binary, secrets: 1 set, headers: 1 set, types: a.*, b, subjects: r, filter: type == "a"',
        ),
        ("redis://h:1/2", "stream: runs:{subject}, types: all"),
        ("https://h.example/services/...", "structured, secrets: 1 set, types: all"),
    ]
    assert report.rows[0] == ("redis", "", "redis://h:1/2", "password: set")
    assert TELLTALE not in str(report)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example", "https://h.example"), ("https://h.example/", "https://h.example/"),
        ("https://u:p@h.example:8443/hooks", "https://h.example:8443/hooks"), ("http://h/a?t=1", "http://h/a?..."),
        ("http://h/hooks/", "http://h/hooks/..."), ("http://h/services/T0/B0?t=1", "http://h/services/..."),
        ("http://h/0123456789abcdef", "http://h/..."), ("http://h//token", "http://h/..."),
    ],
)  # fmt: skip
def test_a_path_is_shown_only_where_it_can_hold_no_token(url: str, shown: str) -> None:
    """Its first segment, of at most twelve characters; user, password and query never."""
    assert short_url(url) == shown
