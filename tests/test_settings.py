"""The configuration: what it accepts, what it says about mistakes, and that no secret shows anywhere."""

import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.errors import ConfigurationError
from bridge.settings import EventWait, RunEventsStream, Settings, load, units

SECRET = "whsec_" + "c2VjcmV0" * 4
ACCOUNT = '[accounts.a]\nprovider = "bctrl"\napi_key = "k"\n[accounts.n]\nprovider = "anchor"\napi_key = "k"\n'
STREAM = 'account = "a"\nkind = "bctrl.run-events.stream"\nrun = "r"\n'
WAIT = 'account = "n"\nkind = "anchor.event.wait"\nevent = "e"\n'
HOOK = f'secrets = ["{SECRET}"]\nurl = "https://x.example/"\n'
GOOD = f"{ACCOUNT}[sources.s]\n{STREAM}[sources.w]\n{WAIT}[destinations.d]\n{HOOK}"


def read(directory: Path, toml: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Loads a configuration with this text."""
    file = directory / "bridge.toml"
    file.write_text(toml)
    return load(file, environ or {})


def mistakes(directory: Path, toml: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is wrong with a configuration: messages by key path."""
    with pytest.raises(ConfigurationError) as caught:
        read(directory, toml, environ)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "a chained exception could show a value in a traceback"
    return {problem.path: problem.message for problem in caught.value.problems}


def test_every_key_has_its_documented_default(tmp_path: Path) -> None:
    """A configuration that says only what it must has the defaults of the public contract."""
    settings = read(tmp_path, GOOD)
    assert (settings.grace, settings.spool) == (20.0, "")
    assert settings.instance, "the host's name"
    assert settings.redis.url.get_secret_value() == "redis://127.0.0.1:6379/0"
    log = settings.log
    assert (log.prefix, log.partitions, log.retention) == ("bridge", 1, 604800.0)
    assert (log.max_entries, log.dedup_window, log.min_replicas_acked) == (1_000_000, 10_000, 0)
    assert settings.http.address == ("127.0.0.1", 8380)
    assert (settings.logging.level, settings.logging.format) == ("info", "auto")
    assert [account.base_url for account in settings.accounts.values()] == [
        "https://api.bctrl.ai",
        "https://api.anchorbrowser.io",
    ]
    stream, wait = settings.sources["s"], settings.sources["w"]
    assert isinstance(stream, RunEventsStream)
    assert (stream.api, stream.idle_timeout, stream.max_event_bytes, stream.recheck) == ("v2", 60.0, 8388608, 300.0)
    assert isinstance(wait, EventWait)
    assert (wait.wait_timeout, wait.recheck) == (15.0, 300.0)


def test_values_take_their_form(tmp_path: Path) -> None:
    """Durations become seconds, sizes bytes; relative directories start at the file's."""
    source = f'{STREAM}max_event_bytes = "2MiB"\nidle_timeout = 1.5\ntypes = ["a", "b"]\n'
    rest = f"{ACCOUNT}[sources.s]\n{source}[destinations.d]\n{HOOK}"
    settings = read(tmp_path, f'grace = "2h"\nspool = "sp"\n[redis]\nurl = "embedded:data"\n{rest}')
    assert (settings.grace, settings.spool) == (7200.0, str(tmp_path / "sp"))
    assert settings.redis.url.get_secret_value() == f"embedded:{tmp_path}/data"
    stream = settings.sources["s"]
    assert isinstance(stream, RunEventsStream)
    assert (stream.max_event_bytes, stream.idle_timeout, stream.types) == (2 << 20, 1.5, ("a", "b"))


def test_settings_are_frozen(tmp_path: Path) -> None:
    """Nothing can be changed after start, the tables of tables neither."""
    settings = read(tmp_path, GOOD)
    with pytest.raises(ValidationError):
        settings.grace = 1.0
    with pytest.raises(ValidationError):
        settings.log.partitions = 2
    with pytest.raises(TypeError):
        settings.sources["x"] = settings.sources["s"]  # type: ignore[index]


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0, 90.0, 3600.0, 604800.0, 1.5])
def test_durations_are_written_as_they_are_read(seconds: float) -> None:
    """What an error says about a duration is what a person could have written."""
    assert units.duration(units.duration_text(seconds)) == seconds


@pytest.mark.parametrize("count", [1, 1000, 1024, 1 << 20, 8 << 20, 3 << 30])
def test_sizes_are_written_as_they_are_read(count: int) -> None:
    """A size in the reference is one that the configuration takes."""
    assert units.size(units.size_text(count)) == count


BAD = [
    ('redus = "x"', "redus", 'did you mean "redis"?'),
    ('_env_file = "x"', "_env_file", "there is no such key"),
    ("_cli_parse_args = true", "_cli_parse_args", "there is no such key"),
    ("grace = true", "grace", 'expected a duration such as "250ms"'),
    ('grace = "1 week"', "grace", "expected a duration"),
    ("grace = -1", "grace", "at least 0"),
    ("grace = inf", "grace", "at most 3650d"),
    ("grace = 0x" + "f" * 6000, "grace", "at most 3650d"),
    ('spool = "~/x"', "spool", "not expanded"),
    ('instance = "a b"', "instance", "1 to 128 letters"),
    ("instance = 0", "instance", "1 to 128 letters"),
    ("redis = 3", "redis", "expected a table: [redis]"),
    ("sources.x = 3", "sources.x", "expected a table: [sources.NAME]"),
    ('[redis]\nurl = "http://h"', "redis.url", "redis+sentinel://"),
    ('[redis]\nurl = "embedded:"', "redis.url", "embedded:/var/lib/runbridge"),
    (f'[redis]\nurl = "embedded:/{"p" * 95}"', "redis.url", "108 bytes and a unix socket's may have 107"),
    ('[redis]\nurl = "redis://h:70000"', "redis.url", "65535"),
    ('[redis]\nurl = "redis://h/x"', "redis.url", "database number"),
    ('[redis]\nurl = "redis://h?retry_on_timeout=1"', "redis.url", "none is allowed here"),
    ('[redis]\nurl = "unix://tmp/x"', "redis.url", "absolute path"),
    ('[redis]\nurl = "redis+sentinel://h:1"', "redis.url", "names no service"),
    ('[redis]\nurl = "redis+sentinel://h/x"', "redis.url", "needs a port"),
    ('[redis]\nurl = "redis+cluster://h:1/2"', "redis.url", "no database number"),
    ('[redis]\nurl = "redis://:p@h"\npassword = "q"', "redis.password", "given twice"),
    ('[redis]\npassword = "q"\npassword_file = "q"', "redis.password", "given twice"),
    ('[redis]\nurl = "embedded:d"\npassword = "q"', "redis.password", "embedded"),
    ('[redis]\npassword = ""', "redis.password", "is empty"),
    ('[log]\nprefix = "{x}"', "log.prefix", "1 to 128 letters"),
    ('[log]\npartitions = "4"', "log.partitions", "a whole number from 1 to 64"),
    ("[log]\npartitions = 65", "log.partitions", "a whole number from 1 to 64"),
    ("[log]\nmax_entries = 0", "log.max_entries", "a whole number from 1"),
    ("[log]\ndedup_window = 1.5", "log.dedup_window", "a whole number from 1"),
    ('[http]\nlisten = "0.0.0.0:8380"', "http.token_file", "listen on 127.0.0.1"),
    ('[http]\nlisten = "[::]:8380"', "http.token_file", "listen on 127.0.0.1"),
    ('[http]\nlisten = "127.0.0.1"', "http.listen", "has no port"),
    ('[http]\nlisten = ":80"', "http.listen", "has no host name"),
    ('[http]\ntoken = "a b"', "http.token", "visible ASCII"),
    ('[logging]\nlevel = "loud"', "logging.level", '"debug", "info", "warning" or "error"'),
    ("[accounts.b]", "accounts.b.provider", 'is missing; expected one of: "bctrl", "anchor"'),
    ("[accounts.b]", "accounts.b.api_key", "in a file named by api_key_file"),
    ('[accounts."a b"]', 'accounts."a b"', "can't be called this"),
    ('[accounts."a\\n"]', 'accounts."a\\n"', "can't be called this"),
    ('[accounts.b]\nprovider = "bctl"', "accounts.b.provider", "there is no such provider"),
    ('[accounts.b]\nprovider = "bctrl"\napi_key = ""', "accounts.b.api_key", "is empty"),
    ('[accounts.b]\nprovider = "bctrl"\napi_key = 3', "accounts.b.api_key", "a text of visible ASCII"),
    ('[accounts.b]\nprovider = "bctrl"\napi_key = "k"\napi_key_file = "f"', "accounts.b.api_key", "given twice"),
    (f"[sources.t]\n{STREAM}", "sources.t.run", "sources.s reads the same run"),
    (f"[sources.t]\n{STREAM}types = []", "sources.t.run", "sources.s reads the same run"),
    (f"[sources.t]\n{WAIT}wait_timeout = 3", "sources.t.event", "sources.w waits for the same event"),
    (f"[sources.t]\n{WAIT}wait_timeout = 20", "sources.t.wait_timeout", "20s is not below 20s"),
    (f'[sources.t]\n{WAIT}wait_timeout = "999ms"', "sources.t.wait_timeout", "at least 1s"),
    (f'[sources.t]\n{STREAM}run_id = "r"', "sources.t.run_id", 'did you mean "run"?'),
    (f'[sources.t]\n{STREAM}wait_timeout = "r"', "sources.t.wait_timeout", "idle_timeout"),
    (f'[sources.t]\n{STREAM}categories = ["a"]\napi = "v1"', "sources.t.categories", 'only for api = "v2"'),
    (f'[sources.t]\n{STREAM}page = "p"', "sources.t.page", 'only for api = "v1"'),
    (f"[sources.t]\n{STREAM}types = [1]", "sources.t.types[0]", "a text of 1 to 128 characters"),
    (f'[sources.t]\n{STREAM}types = "x"', "sources.t.types", "a list of texts"),
    (f"[sources.t]\n{STREAM}max_event_bytes = 3", "sources.t.max_event_bytes", "from 1MiB"),
    ('[sources.t]\nkind = "bctrl.run-events.stream"\naccount = "a"', "sources.t.run", "is missing; expected a text"),
    ('[sources.t]\nkind = ["sse"]', "sources.t.kind", "there is no such kind"),
    ("[sources.t]", "sources.t.kind", "is missing"),
    ('[sources.t]\nkind = "x"\naccount = "aa"', "sources.t.account", 'did you mean "a"? The accounts are: a, n.'),
    ('[sources.t]\naccount = "n"\nkind = "bctrl.run-events.stream"', "sources.t.account", 'accounts.n is "anchor"'),
    ('[sources.t]\naccount = "n"\nkind = "anchor.event.wait"\nevent = ".."', "sources.t.event", "a step in a path"),
    ('[sources.t]\naccount = "n"\nkind = "anchor.event.wait"\nevent = "\\u0007"', "sources.t.event", "control"),
]


@pytest.mark.parametrize(("toml", "path", "words"), BAD, ids=lambda value: str(value)[:60])
def test_a_mistake_is_named_with_its_key_path(tmp_path: Path, toml: str, path: str, words: str) -> None:
    """Each mistake is found at its key path, in people's words, whatever else is right."""
    whole = f"{GOOD}{toml}" if toml.startswith("[") else f"{toml}\n{GOOD}"
    found = mistakes(tmp_path, whole)
    assert words in found[path]
    assert not any(word in "".join(found.values()).lower() for word in ("pydantic", "input", "validation"))


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://api.example/v/", True),
        ("http://127.0.0.1:8787", True),
        ("http://[::1]:8787", True),
        ("http://localhost:8787", True),
        ("http://api.example", False),
        ("http://x.localhost", False),
        ("https://u@api.example", False),
        ("https://api.example?x", False),
        ("https://api.example#x", False),
        ("https://api.example/v1", False),
        ("https://api.example/v2/", False),
    ],
)
def test_an_account_goes_over_plain_http_to_this_machine_only(tmp_path: Path, url: str, good: bool) -> None:
    """An API key never crosses a network in the clear."""
    toml = f'{GOOD}[accounts.x]\nprovider = "bctrl"\napi_key = "k"\nbase_url = "{url}"\n'
    if good:
        assert read(tmp_path, toml).accounts["x"].base_url == url.rstrip("/")
    else:
        assert list(mistakes(tmp_path, toml)) == ["accounts.x.base_url"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://u:p@h:1/2", "rediss://h:1?ssl_ca_certs=/x", "unix:///run/r.sock?db=1", "embedded:/var/x",
        "redis+sentinel://:p@a:1,b:2/svc/3", "redis+cluster://a:1,b:2", "redis://[::1]:6379/0", "embedded:/" + "p" * 94,
    ],
)  # fmt: skip
def test_every_form_of_redis_url_is_taken_and_shown_without_its_password(tmp_path: Path, url: str) -> None:
    """The forms of the public contract load, and their address for people holds no user, password or query."""
    redis = read(tmp_path, f'{GOOD}[redis]\nurl = "{url}"').redis
    assert redis.url.get_secret_value() == url
    assert "p@" not in redis.address
    assert "?" not in redis.address


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Mistakes in one key, in one table or between tables hide no other."""
    sources = f"[sources.a]\n{WAIT}typo = 1\n[sources.b]\n{WAIT}recheck = 0\n"
    toml = f'grace = "x"\nnope = 1\n{ACCOUNT}{sources}[destinations.c]\nurl = 3'
    assert set(mistakes(tmp_path, toml, {"BRIDGE_X": "1"})) == {
        "BRIDGE_X", "grace", "nope", "sources.a.typo", "sources.b.event", "sources.b.recheck", "destinations.c.url",
        "destinations.c.secrets",
    }  # fmt: skip


def test_a_configuration_needs_a_source_or_a_destination(tmp_path: Path) -> None:
    """One side is enough; nothing at all is a mistake."""
    assert "nothing to do" in mistakes(tmp_path, "")[""]
    assert not read(tmp_path, f"{ACCOUNT}[sources.s]\n{STREAM}").destinations
    assert not read(tmp_path, f"[destinations.d]\n{HOOK}").sources


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a = 1\nb = = 2\n", "line 2, column 5"),
        (b"a = 1\nb = [1,\n", "line 2, column 8"),
        (b"a = '\xff'", "not UTF-8"),
        (b"a = " + b"[" * 100_000, "too deeply"),
        (b"#" * (1 << 20) + b"#", "larger than 1024 KiB"),
        (b"a = " + b"9" * 5000, "not valid TOML"),
    ],
    ids=["syntax", "end", "encoding", "depth", "size", "digits"],
)
def test_a_file_that_is_no_configuration_is_a_problem(tmp_path: Path, text: bytes, words: str) -> None:
    """An unreadable file is told in one line: the file, the reason, and for a syntax error the place."""
    file = tmp_path / "bridge.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(file, {})
    assert str(file) in str(caught.value)
    assert caught.value.__context__ is None


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A path that leads nowhere, or to a directory, is named."""
    with pytest.raises(ConfigurationError, match=r"nix\.toml does not exist"):
        load(tmp_path / "nix.toml", {})
    with pytest.raises(ConfigurationError, match="is a directory"):
        load(tmp_path, {})


def test_debug_output_of_the_library_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The settings library's own debug mode, which writes all values down, stays silent."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    with caplog.at_level(logging.DEBUG):
        read(tmp_path, GOOD)
    assert SECRET not in caplog.text
