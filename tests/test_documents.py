"""Every example of README.md and docs/ is run, loaded or compiled; what can't be here is listed with its reason."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import get_args, get_type_hints

import pytest
import yaml
from daemon import package
from shown import DOCUMENTS, ROOT, Block, blocks, steps, unlike
from staged import Staged, staged, with_files
from typer.main import get_group

from bridge.cli import app
from bridge.errors import Declined
from bridge.reload import FIXED
from bridge.settings import load

ALL = [block for document in DOCUMENTS for block in blocks(document)]
CONSOLES = sorted({block.document for block in ALL if block.language == "console"})
ELSEWHERE = {
    "docs/commands.md": "tests/test_log_commands.py",
    "docs/control-api.md": "tests/test_control_api_doc.py",
    "docs/filters.md": "tests/test_filter.py",
    "docs/receiving.md": "tests/test_samples.py",
    "docs/security.md": "tests/test_acl.py",
    "docs/systemd.md": "tests/test_systemd.py",
    "docs/tracing.md": "tests/test_telemetry.py",
}
"""Documents whose other blocks have a test of their own."""
NOT_HERE = {
    "pip install": "asks a registry; .ci/run installs the package",
    "docker ": "needs a daemon of its own; tests/test_container.py builds and runs the image without it",
    'curl -H "Authorization: Bearer $(cat config': "asks what `docker compose` started; tests/test_container_files.py",
    "runbridge run ": "runs already, or nothing else here would",
    "runbridge verify --request captured.http": "wants a captured request; tests/test_cli_verify.py has many",
}
"""What a command begins with that is not run, and why."""
if not which("redis-cli"):
    NOT_HERE["redis-cli "] = "is not on this machine; .ci/run installs it"
ACCOUNTS = """
[accounts.bctrl]
provider = "bctrl"
api_key = "sk_shown"
[accounts.anchor]
provider = "anchor"
api_key = "sk_shown"
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Staged]:
    """One bridge for all documents: none of them takes away what another one needs."""
    with TemporaryDirectory(prefix="shown-") as directory, staged(Path(directory)) as found:
        yield found


@pytest.mark.parametrize("document", CONSOLES)
def test_what_is_typed_in_works_and_prints_what_is_shown(document: str, stage: Staged) -> None:
    """From top to bottom, each line ends well and prints what is below it."""
    for block in blocks(ROOT / document):
        for step in steps(block.text) if block.language == "console" else ():
            if not any(step.command.startswith(beginning) for beginning in NOT_HERE):
                done = stage.run(stage.known(step.command))
                assert done.returncode == 0, f"{block}: {step.command}\n{done.stdout}"
                line = unlike(done.stdout, step.printed) if step.printed else None
                assert line is None, f"{block}: {step.command}\nshows: {line}\n{done.stdout}"


def test_what_is_not_run_is_still_shown() -> None:
    """Each exception is needed."""
    typed = [step.command for block in ALL if block.language == "console" for step in steps(block.text)]
    assert [beginning for beginning in NOT_HERE if not any(map(str.startswith, typed, [beginning] * len(typed)))] == []


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "toml"], ids=str)
def test_what_is_configuration_loads(block: Block, tmp_path: Path) -> None:
    """Each piece is accepted, with the accounts, secrets and files that it needs."""
    given = block.text if "[accounts.bctrl]" in block.text else block.text + ACCOUNTS
    (tmp_path / "bridge.toml").write_text(with_files(given, tmp_path))
    secrets = {
        f"BRIDGE_DESTINATIONS__{name.upper()}__SECRETS": '["whsec_' + "MDEy" * 8 + '"]'
        for name, body in re.findall(r"^\[destinations\.(\w+)\]\n((?:[^\[].*\n|\n)*)", block.text, re.MULTILINE)
        if "secret" not in body and "redis" not in body
    }

    load(tmp_path / "bridge.toml", secrets)


@pytest.mark.parametrize("block", [block for block in ALL if block.language in {"json", "python"}], ids=str)
def test_what_is_data_or_code_can_be_read(block: Block) -> None:
    """JSON parses, line by line or as a whole; Python compiles."""
    if block.language == "python":
        ast.parse(block.text)
    elif all(line.startswith("{") for line in block.text.splitlines()):
        assert [json.loads(line) for line in block.text.splitlines()]
    else:
        json.loads(block.text)


def test_every_block_is_held_to_something() -> None:
    """What is none of the above is in a document with a test of its own, or is a drawing."""
    left = {
        block for block in ALL if block.language not in {"console", "toml", "json", "python", "text"}
        and block.document not in ELSEWHERE
    }  # fmt: skip
    assert {str(block) for block in left if not _made(block)} == set()
    for document, test in ELSEWHERE.items():
        assert Path(document).name in (ROOT / test).read_text(), test


def _made(block: Block) -> bool:
    """Whether it is lines of `make`, each a target, or those that the container's tests run."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [line.split()[1] for line in block.text.splitlines() if line.startswith("make ")]
    secrets = block.document == "docs/containers.md" and "config/secrets" in block.text
    return secrets or (len(made) == block.text.count("\n") and set(made) <= set(targets))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    """A path in this repository that a document has in code leads to something."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`((?:bridge|config|systemd|tests|docs|benchmarks|\.ci)/[\w./@-]+)`", text)
    assert [name for name in named if not _there(name) and not name.startswith("config/secrets")] == []


def _there(name: str) -> bool:
    return (package() if name.startswith("bridge/") else ROOT).joinpath(name).exists()


OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RUNBOOK = OPERATIONS.split("\n## Runbook\n")[1].split("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the operations page."""
    text = re.split(rf"^#+ {heading}$", OPERATIONS, flags=re.MULTILINE)[1].split("\n#")[0]
    return [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.splitlines() if line.startswith("| ")][1:]


def test_every_alert_leads_to_what_to_do() -> None:
    """Each rule has a row, and its row a link to an entry of the runbook."""
    rules = yaml.safe_load((ROOT / "config" / "prometheus" / "alerts.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    table = {row[0].strip("`"): row[2] for row in rows("Alerts")}

    assert table.keys() == alerts
    assert all(_in_runbook(cell) for cell in table.values())


def test_every_log_line_says_what_to_do() -> None:
    """No row is without a word; a warning or an error leads into the runbook."""
    table = rows("Log lines")

    assert len(table) > 30
    for names, level, cell in table:
        assert cell.strip(), names
        assert level not in {"warning", "error"} or _in_runbook(cell), names


def _in_runbook(cell: str) -> bool:
    headings = {_anchor(heading) for heading in re.findall(r"^### (.+)$", RUNBOOK, re.MULTILINE)}
    return any(anchor in headings for anchor in re.findall(r"\(#([\w-]+)\)", cell))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_exit_code_is_explained() -> None:
    """Each that a command's help names is in the table, and no other."""
    said: set[int] = set()
    for _, text in _helps(get_group(app), ""):
        sentence = re.search(r"Exit codes?:(.*)", " ".join(text.split()))
        said |= {int(code) for code in re.findall(r"(?<![\w.])(\d+)(?![\w.]| s\b)", sentence[1])} if sentence else set()

    assert {int(row[0]) for row in rows("Exit codes") if row[0].isdigit()} == said


def _helps(group: object, name: str) -> Iterator[tuple[str, str]]:
    below: dict[str, object] = getattr(group, "commands", {})
    if not below:
        yield name, getattr(group, "help", "") or ""
    for each, command in below.items():
        yield from _helps(command, f"{name} {each}")


def test_the_keys_that_need_a_restart_are_named() -> None:
    """They are those that a reload refuses to change."""
    named = re.search(r"<!-- fixed: .*? -->(.*?)\. A change", OPERATIONS)

    assert named is not None
    assert tuple(re.findall(r"`([\w.]+)`", named[1])) == FIXED


def test_every_word_of_redis_is_explained() -> None:
    """What the bridge itself calls a failure of Redis is in the table, beside the server's own words."""
    ours = set(re.findall(r'(?:LogUnavailable\(|code = )"([A-Z]+)"|error_reply\(\'([A-Z]+)', _source()))
    table = {word for row in rows("Redis takes no writes") for word in re.findall(r"`([A-Z]+)`", row[0])}

    assert {word for words in ours for word in words if word} <= table
    assert {"OOM", "READONLY", "MISCONF", "LOADING", "NOPERM", "CLUSTERDOWN", "NOAUTH", "WRONGPASS"} <= table


def test_every_status_and_refusal_is_explained() -> None:
    """What the control API answers, and the kinds of refusals, are in the tables of the operations page."""
    made = {int(status) for status in re.findall(r"Refused\((\d{3})", _source())}
    kinds = set(get_args(get_type_hints(Declined.__init__)["kind"]))
    table = rows("What the control API answers")
    assert {row[0].split("`")[1] for row in rows("A command was refused")} == kinds

    assert made | {404, 409, 422, 503} <= {int(code) for row in table for code in re.findall(r"\d{3}", row[0])}
    assert {kind for row in table for kind in re.findall(r"^`(\w+)`$", row[1])} == kinds


def _source() -> str:
    return "".join(path.read_text() for kind in ("py", "lua") for path in (package() / "bridge").rglob(f"*.{kind}"))
