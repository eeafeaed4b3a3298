"""Where the configuration comes from: the shipped files, the environment, secrets' files; `check`; any input at all."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from configured import ACCOUNT, HOUSE, SECRET, SOURCE, app, mistakes, runner, written

from bridge.cli.check import examine
from bridge.settings import BctrlAccount, RunEventsStream, Settings, WebhookDestination, load, reference, shape

# ---- the shipped files


def test_the_shipped_file_loads(tmp_path: Path) -> None:
    """`config/bridge.toml` loads as it is, once the secrets' files that it names are there."""
    settings = load(written(tmp_path, (HOUSE / "config/bridge.toml").read_text()), {})
    assert settings.accounts["bctrl"].api_key.get_secret_value() == "key-one"
    assert settings.accounts["anchor"].api_key.get_secret_value() == "key-two"
    crm = settings.destinations["crm"]
    assert isinstance(crm, WebhookDestination)
    assert [secret.get_secret_value() for secret in crm.secrets] == [SECRET]


def test_the_shipped_file_shows_every_default_truly(tmp_path: Path) -> None:
    """Taking the # away from any `#key = value` of `config/bridge.toml` changes nothing."""
    lines = (HOUSE / "config/bridge.toml").read_text().splitlines()
    shown = [at for at, line in enumerate(lines) if re.match(r"#\w+ = ", line)]
    assert len(shown) >= 30, "the defaults are shown"
    settings = load(written(tmp_path, "\n".join(lines)), {"BRIDGE_INSTANCE": "i"})
    opened = "\n".join(line.removeprefix("#") if at in shown else line for at, line in enumerate(lines))
    assert load(written(tmp_path, opened), {"BRIDGE_INSTANCE": "i"}) == settings


def test_the_shipped_file_explains_every_key() -> None:
    """`config/bridge.toml` names every key of every table, in that table or where it says "as above"."""
    schemes = {"webhook": "https:", "redis": "redis:"}
    tables = re.split(r"^(?:# )?\[", (HOUSE / "config/bridge.toml").read_text(), flags=re.MULTILINE)
    for name, model in shape.TABLES.items():
        (text,) = [table for table in tables if table.startswith(f"{name}]")]
        assert not [key for key in shape.keys(model) if not re.search(rf"^#? ?{key} = ", text, re.MULTILINE)], name
    for name, entries in shape.ENTRIES.items():
        for tag, model in entries.models.items():
            kind = f'{entries.tag} = "{schemes.get(tag, tag)}'
            texts = [table for table in tables if table.startswith(f"{name}.") and kind in table]
            text = "".join([*texts, *(table for table in tables if table.startswith(f"{name}."))][:2])
            assert not [key for key in shape.keys(model) if not re.search(rf"^#? ?{key} = ", text, re.MULTILINE)], tag


def test_the_demo_file_loads() -> None:
    """`config/demo.toml` needs nothing but itself, and stays on this machine."""
    with TemporaryDirectory() as directory:  # short enough for a socket's path
        settings = load(written(Path(directory), (HOUSE / "config/demo.toml").read_text()), {})
    assert settings.redis.address.startswith("embedded:")
    assert {account.base_url for account in settings.accounts.values()} == {"http://127.0.0.1:8787"}
    assert settings.destinations["receiver"].url == "http://127.0.0.1:8788/hooks"


def test_the_reference_is_current() -> None:
    """`docs/configuration.md` is what `python -m bridge.settings` prints."""
    assert (HOUSE / "docs/configuration.md").read_text() == reference.markdown()


# ---- the environment


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Every kind of value can come from the environment, in any case, deep in the tables of the file."""
    environ = {
        "BRIDGE_GRACE": "30", "bridge_redis__url": "redis://h", "BRIDGE_LOG__MAX_ENTRIES": "2_000",
        "BRIDGE_SOURCES__S__TYPES": "a, b", "BRIDGE_SOURCES__S__CATEGORIES": '["c,d", "e"]',
        "BRIDGE_SOURCES__S__MAX_EVENT_BYTES": "2MiB", "BRIDGE_ACCOUNTS__A__API_KEY": "other",
        "BRIDGE_CONFIG": "x", "BRIDGE_SERVICE_HOST": "10.0.0.1", "BRIDGE_PORT_8380_TCP_ADDR": "10.0.0.1", "HOME": "/",
    }  # fmt: skip
    settings = load(written(tmp_path, f'grace = "25s"\n{ACCOUNT}{SOURCE}'), environ)
    source = settings.sources["s"]
    assert isinstance(source, RunEventsStream)
    assert (settings.grace, settings.log.max_entries, source.run) == (30.0, 2000, "r")
    assert (source.types, source.categories, source.max_event_bytes) == (("a", "b"), ("c,d", "e"), 2 << 20)
    assert settings.redis.url.get_secret_value() == "redis://h"
    assert settings.accounts["a"].api_key.get_secret_value() == "other"


def test_the_environment_alone_is_enough() -> None:
    """Without a file, entries get their names from the variables, in small letters."""
    environ = {
        "BRIDGE_ACCOUNTS__B__PROVIDER": "bctrl", "BRIDGE_ACCOUNTS__B__API_KEY": "k", "BRIDGE_SOURCES__R__ACCOUNT": "b",
        "BRIDGE_SOURCES__R__KIND": "bctrl.run-events.stream", "BRIDGE_SOURCES__R__RUN": "42",
    }  # fmt: skip
    settings = load(None, environ)
    assert isinstance(settings.accounts["b"], BctrlAccount)
    assert isinstance(settings.sources["r"], RunEventsStream)


@pytest.mark.parametrize("name", ["Bctrl-EU", "bctrl.eu", "BCTRL_EU", "bctrl:eu"])
def test_a_variable_finds_the_name_in_the_file(tmp_path: Path, name: str) -> None:
    """Case, `-`, `.` and `:` of a name in the file don't matter to a variable."""
    file = written(tmp_path, f'{ACCOUNT}{SOURCE}[accounts."{name}"]\nprovider = "bctrl"\n')
    settings = load(file, {"BRIDGE_ACCOUNTS__BCTRL_EU__API_KEY": "k2"})
    assert settings.accounts[name].api_key.get_secret_value() == "k2"


def test_a_secret_of_the_environment_displaces_the_files(tmp_path: Path) -> None:
    """A key in the environment wins over a key's file that the file names, so that nobody has to edit it."""
    file = written(tmp_path, f'[accounts.a]\nprovider = "bctrl"\napi_key_file = "nowhere"\n{SOURCE}')
    assert load(file, {"BRIDGE_ACCOUNTS__A__API_KEY": "k"}).accounts["a"].api_key.get_secret_value() == "k"
    file = written(tmp_path, f"{ACCOUNT}{SOURCE}")
    settings = load(file, {"BRIDGE_ACCOUNTS__A__API_KEY_FILE": "secrets/bctrl"})
    assert settings.accounts["a"].api_key.get_secret_value() == "key-one"


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("BRIDGE_X", "no such key"),
        ("BRIDGE_REDIS_URL", "BRIDGE_REDIS__URL"),
        ("BRIDGE_REDIS", "names a whole table; expected BRIDGE_REDIS__KEY"),
        ("BRIDGE_SOURCES__S", "expected BRIDGE_SOURCES__NAME__KEY"),
        ("BRIDGE_ACCOUNTS__A__API_KYE", 'did you mean "api_key"?'),
        ("BRIDGE_GRACE__X", "no such key"),
        ("bridge_log__nope", "The keys here are: prefix"),
        ("BRIDGE_ACCOUNTS__X_Y__API_KEY", "could mean any of x-y, x.y"),
    ],
)
def test_a_variable_that_names_no_key_is_named(tmp_path: Path, variable: str, words: str) -> None:
    """A misspelt variable is an error of its own, with its name."""
    twins = "".join(f'[accounts."{name}"]\nprovider = "bctrl"\napi_key = "k"\n' for name in ("x-y", "x.y"))
    file = written(tmp_path, f"{ACCOUNT}{SOURCE}{twins}")
    found = mistakes(file, {variable: "secret-value"})
    assert list(found) == [variable]
    assert words in found[variable]


def test_a_wrong_value_names_its_variable(tmp_path: Path) -> None:
    """A mistake in a value says which variable it came from; undecodable bytes and bad JSON are mistakes."""
    file = written(tmp_path, f"{ACCOUNT}{SOURCE}")
    environ = {"BRIDGE_GRACE": "soon", "BRIDGE_SPOOL": "\udcff", "BRIDGE_SOURCES__S__TYPES": "[1", "bridge_grace": "1"}
    found = mistakes(file, environ)
    assert set(found) == {"grace", "bridge_grace", "BRIDGE_SPOOL", "BRIDGE_SOURCES__S__TYPES"}
    assert found["grace"].endswith("(set by BRIDGE_GRACE)")
    assert "same key as BRIDGE_GRACE" in found["bridge_grace"]


# ---- secrets' files


def test_a_secrets_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The error names the key path, the file and the reason."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/big").write_bytes(b"x" * ((64 << 10) + 1))
    (tmp_path / "secrets/empty").write_bytes(b"\n")
    (tmp_path / "secrets/binary").write_bytes(b"\xff\xfe")
    reasons = {"big": "larger than 64 KiB", "empty": "is empty", "binary": "not UTF-8", "nix": "does not exist"}
    reasons |= {".": "not a regular file", "/dev/zero": "not a regular file", "x\\u0000": "that no file can have"}
    for name, reason in reasons.items():
        named = name if name.startswith("/") else f"secrets/{name}"
        file = written(tmp_path, f'{SOURCE}[accounts.a]\nprovider = "bctrl"\napi_key_file = "{named}"\n')
        message = mistakes(file, {})["accounts.a.api_key_file"]
        assert reason in message
        assert name.partition("\\")[0].strip(".") in message


@pytest.mark.parametrize("secret", [SECRET, "sk_live_123", "a1b2c3d4e5f6a7b8c9d0"])
def test_a_secret_in_the_place_of_its_file_is_not_shown(tmp_path: Path, secret: str) -> None:
    """Who pastes a secret where its file belongs is told so, without the secret."""
    file = written(tmp_path, f'{SOURCE}[accounts.a]\nprovider = "bctrl"\napi_key_file = "{secret}"\n')
    found = mistakes(file, {})
    assert "if this is the secret itself" in found["accounts.a.api_key_file"]
    assert secret not in str(found)


def test_files_join_the_inline_secrets(tmp_path: Path) -> None:
    """`secrets` come first, then `secret_files`; the token and the password have files too."""
    other = "whsec_" + "b3RoZXIh" * 4
    file = written(
        tmp_path,
        '[http]\nlisten = "0.0.0.0:1"\ntoken_file = "secrets/bctrl"\n[redis]\npassword_file = "secrets/anchor"\n'
        f'[destinations.d]\nurl = "https://h/"\nsecrets = ["{other}"]\nsecret_files = ["secrets/crm"]\n',
    )
    settings = load(file, {})
    hook = settings.destinations["d"]
    assert isinstance(hook, WebhookDestination)
    assert [secret.get_secret_value() for secret in hook.secrets] == [other, SECRET]
    assert settings.http.token is not None
    assert settings.redis.password is not None
    assert (settings.http.token.get_secret_value(), settings.redis.password.get_secret_value()) == (
        "key-one",
        "key-two",
    )


# ---- check


@dataclass(frozen=True)
class Tried:
    """What a probe found."""

    target: str
    ok: bool
    detail: str


def test_check_shows_what_is_configured(tmp_path: Path) -> None:
    """A good configuration gives a line for each account, source and destination, `ok`, and exit code 0."""
    file = written(tmp_path, (HOUSE / "config/bridge.toml").read_text())
    result = runner.invoke(app, ["--config", str(file)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-1] == "ok"
    assert [line.split()[:2] for line in lines[2:-1]] == [
        ["account", "bctrl"], ["account", "anchor"], ["source", "checkout"], ["source", "import"],
        ["source", "export"], ["source", "invoice"], ["source", "signup"], ["source", "everything"],
        ["source", "one-time-code"], ["source", "news"], ["destination", "crm"],
    ]  # fmt: skip
    assert "api_key: set" in result.stdout


def test_check_lists_problems_and_exits_78(tmp_path: Path) -> None:
    """Each problem is one line that starts with its key path, in JSON one object."""
    file = written(tmp_path, f"grace = 1\n{ACCOUNT}{SOURCE}x = 1\n")
    result = runner.invoke(app, ["-c", str(file)], env={"BRIDGE_GRACE": "nix"})
    assert result.exit_code == 78
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["grace", "sources.s.x"]
    result = runner.invoke(app, ["--json"], env={"BRIDGE_CONFIG": str(file)})
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"], [problem["path"] for problem in report["problems"]]) == (
        78, False, ["sources.s.x"],
    )  # fmt: skip


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 69)])
def test_connect_reports_what_was_tried(tmp_path: Path, ok: bool, code: int) -> None:
    """What can't be reached is no mistake of the configuration: exit code 69."""

    async def probe(settings: Settings) -> list[Tried]:
        return [Tried("redis", ok, settings.redis.address)]

    report = examine(written(tmp_path, f"{ACCOUNT}{SOURCE}"), probe)
    assert report.exit_code == code
    assert [one.detail for one in report.probes] == ["redis://127.0.0.1:6379/0"]
