"""What is added while running is held to the rules of the file, with every problem at once and no file read."""

from typing import Any

import pytest

from bridge.settings import EventsStream, RunEventsStream, WebhookDestination
from bridge.settings.added import Tables, Unfit, added, fit, shown

SECRET = "whsec_Zm9yIHRoZSB0ZXN0cyBvbmx5LCBub3Qgc2VjcmV0"
AROUND: Tables = {
    "accounts": {"bctrl": {"provider": "bctrl", "api_key": "key-key"}},
    "sources": {"first": {"account": "bctrl", "kind": "bctrl.run-events.stream", "run": "r1"}},
}


def run(name: str = "r2", **keys: Any) -> dict[str, Any]:
    """A source that reads a run."""
    return {"account": "bctrl", "kind": "bctrl.run-events.stream", "run": name, **keys}


def hook(**keys: Any) -> dict[str, Any]:
    """A webhook outside."""
    return {"url": "https://crm.example/hooks", "secrets": [SECRET], **keys}


def problems(section: Any, spec: dict[str, Any], name: str = "one") -> dict[str, str]:
    """Path and message of each problem."""
    with pytest.raises(Unfit) as caught:
        added(section, name, spec, AROUND)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_good_one_is_what_the_file_would_have_made_of_it() -> None:
    """The keys are those of the file, in JSON's values."""
    source = added("sources", "one", run(types=["navigation"], recheck="1m"), AROUND)
    assert isinstance(source, RunEventsStream)
    assert (source.types, source.recheck) == (("navigation",), 60.0)
    assert isinstance(added("destinations", "one", hook(), AROUND), WebhookDestination)


def test_every_problem_is_told_at_once_at_its_own_key() -> None:
    """Paths begin at the definition's keys; the name's problem is at `id`."""
    found = problems("sources", run(5, account="other", typo=1, **{"from": "yesterday"}), "a/b")  # type: ignore[arg-type]
    assert found.keys() == {"id", "account", "run", "typo", "from"}
    assert "The accounts are: bctrl" in found["account"]


def test_what_is_read_already_is_refused() -> None:
    """A second source of the same run would bring every event twice."""
    assert "sources.first reads the same run" in problems("sources", run("r1"))["run"]


@pytest.mark.parametrize(
    ("section", "spec", "path"),
    [
        (
            "sources",
            {"kind": "sse", "url": "https://n.example/", "header_files": {"A": "/x"}},
            "header_files",
        ),
        ("destinations", hook(secret_files=["/etc/hostname"]), "secret_files"),
        ("destinations", hook(tls={"ca_file": "/etc/hostname"}), "tls.ca_file"),
        ("destinations", {"url": "redis://h/0", "stream": "s:{subject}", "password_file": "/x"}, "password_file"),
    ],
)
def test_no_key_that_names_a_file_is_taken(section: Any, spec: dict[str, Any], path: str) -> None:
    """Who may add a webhook need not be able to read this machine's files."""
    assert "only the configuration file may do" in problems(section, spec)[path]


def test_no_problem_repeats_a_value() -> None:
    """Any value may be a secret."""
    found = problems("destinations", hook(secrets=["hunter2hunter2"], timeout="hunter2", headers={"X": "hunter2\n"}))
    assert len(found) == 3
    assert "hunter2" not in str(found)


def test_what_nests_too_deeply_is_refused() -> None:
    """No depth of a request can end the daemon."""
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert "nested deeper" in problems("sources", run(types=deep))[""]


def test_many_are_judged_together_and_one_mistake_spoils_no_other() -> None:
    """At a start, what was added is judged beside the file and beside each other."""
    found = fit(
        {"sources": {"a": run("r2"), "b": run("r2"), "c": run("r3", typo=1), "d": {"kind": "x"}}, "destinations": {}},
        AROUND,
    )
    assert isinstance(found["sources", "a"], RunEventsStream)
    refused = {name for (_, name), each in found.items() if isinstance(each, Unfit)}
    assert refused == {"b", "c", "d"}


def test_a_definition_is_shown_without_its_secrets() -> None:
    """Secrets are named by their paths, and nothing of them is shown; neither is a URL that may hold one."""
    spec, hidden = shown(added("destinations", "one", hook(headers={"Authorization": "Bearer abc"}), AROUND))
    assert (spec, hidden) == ({"url": "https://crm.example/hooks"}, ["secrets", "headers.Authorization"])
    spec, hidden = shown(added("destinations", "one", hook(url="https://crm.example/hooks?token=abc"), AROUND))
    assert (spec, hidden) == ({}, ["url", "secrets"])
    account = added("sources", "one", {"account": "bctrl", "kind": "bctrl.events.stream", "from": "start"}, AROUND)
    assert isinstance(account, EventsStream)
    assert shown(account)[0] == {"account": "bctrl", "kind": "bctrl.events.stream", "from": "start"}
