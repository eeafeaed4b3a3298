"""`runbridge sources` as its user sees it: with a real bridge that does what is asked, without one, and refused."""

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from daemon import Daemon, configuration, stream_source
from servers import RedisServer
from typer.testing import CliRunner, Result
from waiting import wait_blocking

from bridge.cli import app
from bridge.cli.shown import toml, worded
from bridge.cli.spec import Unreadable, spec_of
from bridge.redis_log import Keys
from bridge.roster import Added, field_of

KIND = "bctrl.run-events.stream"
SOURCE = '[sources.s]\nkind = "sse"\nurl = "https://news.example/"\n'
SSE = "https://news.example/?token=hush"


@pytest.fixture
def path(shared_servers: dict[str, RedisServer], prefix: str, tmp_path: Path) -> Path:
    """A configuration with one source, whose upstream nobody is."""
    found = tmp_path / "bridge.toml"
    server, upstream = shared_servers["valkey"], "http://127.0.0.1:1"
    found.write_text(configuration(server.url, stream_source("file"), prefix=prefix, bctrl=upstream))
    return found


@contextmanager
def running(path: Path) -> Iterator[None]:
    """A real bridge on this configuration."""
    daemon = Daemon(path.parent, path.read_text()).start()
    try:
        wait_blocking(lambda: daemon.lines("bridge.started"), "the bridge runs", 20.0)
        yield
    finally:
        daemon.kill()


def run(path: Path, *arguments: str, input_: str | None = None) -> Result:
    """`runbridge sources` in this process; an exception of ours would be a stack trace."""
    found = CliRunner().invoke(app, ["sources", *arguments, "--config", str(path)], input=input_)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def listed(path: Path) -> dict[str, dict[str, Any]]:
    """What `list --json` prints, by id."""
    return {one["id"]: one for one in map(json.loads, run(path, "list", "--json").stdout.splitlines())}


def test_a_source_is_added_changed_and_removed_while_the_bridge_runs(path: Path) -> None:
    """Each is done once, told in one sentence, and seen in `list` and `show`; what can't be done changes nothing."""
    added = ("add", "new", "--account", "bctrl", "--kind", KIND, "--run", "r1")
    with running(path):
        told = run(path, *added)
        assert (told.exit_code, told.stdout, told.stderr.startswith("new added")) == (0, "", True), told.output
        again = json.loads(run(path, *added, "--json").stdout)
        assert (again["ok"], again["id"], again["changed"]) == (True, "new", False)
        other = run(path, *added[:-1], "r2")
        assert (other.exit_code, "another source 'new'" in other.stderr) == (2, True), other.output
        assert {id_: one["defined"] for id_, one in listed(path).items()} == {"file": "file", "new": "added"}
        assert run(path, "change", "new", "--set", "idle_timeout=30s", "--set", "run=r3").exit_code == 0
        shown = json.loads(run(path, "show", "new", "--json").stdout)
        assert shown["definition"]["spec"] == {"account": "bctrl", "kind": KIND, "run": "r3", "idle_timeout": 30}
        assert run(path, "change", "file", "--set", "run=r3").exit_code == 2
        assert run(path, "pause", "file").stderr.startswith("file paused")
        assert run(path, "pause", "file").stderr == "file is paused already\n"
        assert listed(path)["file"]["state"] == "paused"
        assert run(path, "resume", "file").stderr.startswith("file resumed")
        assert listed(path)["file"]["state"] != "paused"
        assert "by source run-r9" in run(path, "watch", "r9", "--keep", "5m").stderr
        assert run(path, "remove", "new", "--yes").stderr.startswith("new removed")
        refused(path)
        assert set(listed(path)) == {"file", "run-r9"}
    assert set(listed(path)) == {"file", "run-r9"}, "as Redis has it"


def refused(path: Path) -> None:
    """Every mistake is told at once, with its key: exit 2; the same as an object."""
    wrong = ("add", "new", "--account", "bctr", "--kind", KIND, "--set", "wait=3")
    told = run(path, *wrong)
    assert told.exit_code == 2
    assert [line.split(":")[0].strip() for line in told.stderr.splitlines()[1:]] == ["account", "run", "wait"]
    found = json.loads(run(path, *wrong, "--json").stdout)
    assert (found["ok"], found["kind"]) == (False, "invalid")
    assert [each["path"] for each in found["errors"]] == ["account", "run", "wait"]
    missing = run(path, "pause", "fiel")
    assert (missing.exit_code, "no source 'fiel'" in missing.stderr) == (2, True)


def test_without_a_bridge(path: Path) -> None:
    """75, and the next bridge does it; the list says what Redis and the file have, and `show` no secret."""
    keys = ("--kind", "sse", "--url", SSE, "--set", "headers.Authorization=Bearer hush")
    told = run(path, "add", "news", *keys, "--wait", "0.1")
    assert (told.exit_code, "no bridge answered within 0.1 s" in told.stderr) == (75, True), told.output
    assert json.loads(run(path, "pause", "news", "--wait", "0.1", "--json").stdout)["kind"] == "unanswered"
    assert listed(path)["file"]["state"] == "new"
    with running(path):
        wait_blocking(lambda: listed(path).get("news", {}).get("state") == "paused", "it is added and paused")
    found = run(path, "show", "news")
    assert "hush" not in found.stdout
    assert "# headers.Authorization is set, and not shown" in found.stdout.splitlines()
    unknown = run(path, "show", "nwes")
    assert (unknown.exit_code, "those that are: file, news" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments", [("list",), ("show", "s"), ("add", "s"), ("pause", "s"), ("remove", "s", "-y"), ("watch", "r")]
)
def test_redis_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """69, one sentence, no secret."""
    path = tmp_path / "bridge.toml"
    path.write_text(f'[redis]\nurl = "redis://:hush@127.0.0.1:1"\n[http]\nlisten = ""\n{SOURCE}')
    found = run(path, *arguments)
    assert (found.exit_code, found.stderr.count("\n"), "hush" in found.output) == (69, 1, False), found.output


@pytest.mark.parametrize(
    ("id_", "said"),
    [("nosuch", "there is no source 'nosuch'"), ("file", "defined in the configuration file"), ("new", "say --yes")],
)
def test_removing_asks(
    path: Path, shared_servers: dict[str, RedisServer], prefix: str, id_: str, said: str
) -> None:  # fmt: skip
    """What can't be done is told before anybody is asked; without a terminal and without --yes nobody is: exit 2."""
    added = msgspec.json.encode(Added({"kind": "sse", "url": SSE}))
    shared_servers["valkey"].call("HSET", Keys(prefix, 0).definitions, field_of(("sources", "new")), added)
    found = run(path, "remove", id_)
    assert (found.exit_code, said in found.stderr, found.stderr.count("\n")) == (2, True, 1), found.output


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rate", 3.99981261841983, "4.0"), ("lag_seconds", 0.0401, "40ms"), ("oldest_seconds", 90.5, "1m"),
        ("events", 12345, "12,345"), ("id", "s", "s"),
    ],
)  # fmt: skip
def test_numbers_are_rounded(name: str, value: object, text: str) -> None:
    """`show` is for people: its --json has them whole."""
    assert worded(name, value) == text


@pytest.mark.parametrize(
    ("pairs", "spec"),
    [
        (["run=0b0c", "n=3", "t=30s"], {"run": "0b0c", "n": 3, "t": "30s"}),
        (['types=["a", "b"]', "on=true", "at=2026-11-22T12:00:00Z"],
         {"types": ["a", "b"], "on": True, "at": "2026-11-22T12:00:00Z"}),
        (["headers.Authorization=Bearer x=y", 'headers."X.Y"="1"'],
         {"headers": {"Authorization": "Bearer x=y", "X.Y": "1"}}),
        (["batch.max_events=5", "batch={max_bytes=1}"], {"batch": {"max_bytes": 1}}),
        (["a=1\nb = 2", "c="], {"a": "1\nb = 2", "c": ""}),
    ],
)  # fmt: skip
def test_keys_are_set_as_in_toml(pairs: list[str], spec: dict[str, Any]) -> None:
    """A value is TOML's, or a text where it is none; a pair never sets another key than its own."""
    assert spec_of(None, {}, pairs) == spec


@pytest.mark.parametrize("pair", ["run", "a b=1", "=1", 'types=["a"', "a=1 # \nb"[:1] + ".=1"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    """Saying how to write it."""
    with pytest.raises(Unreadable, match="--set"):
        spec_of(None, {}, [pair])


def test_a_file_has_all_keys(tmp_path: Path) -> None:
    """TOML or JSON; options stand over it; what is neither, too large or not there is told without what is in it."""
    one, other = tmp_path / "s.toml", tmp_path / "s.json"
    one.write_text('kind = "sse"\n[headers]\nA = "1"\n')
    other.write_text('{"kind": "sse", "headers": {"A": "1"}}')
    for path in (one, other):
        assert spec_of(str(path), {"url": "u"}, ["headers.B=2"], ["kind"]) == {
            "kind": None, "url": "u", "headers": {"A": "1", "B": 2},
        }  # fmt: skip
    one.write_text('secret = "hush')
    other.write_text("[]")
    large = tmp_path / "large.toml"
    large.write_text("#" * (1 << 20) + "#")
    large.chmod(stat.S_IRUSR)
    for path, said in ((one, "not valid TOML"), (other, "no JSON object"), (large, "larger"), (tmp_path, "directory")):
        with pytest.raises(Unreadable, match=said) as found:
            spec_of(str(path), {}, ())
        assert "hush" not in str(found.value)


def test_a_definition_is_shown_as_it_could_stand_in_the_file() -> None:
    """Read by TOML, it is the definition again."""
    import tomllib

    spec = {"url": "https://x.example/ä\n😀", "n": 1.5, "on": True, "batch": {"max_events": 5}, "headers": {"X.Y": "1"}}
    assert tomllib.loads("\n".join(toml({**spec, "types": ["a", 'b"']}))) == {**spec, "types": ["a", 'b"']}
