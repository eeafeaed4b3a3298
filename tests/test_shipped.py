"""What lies beside the package says what the package does: documents, container file, pins."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from daemon import package
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_group

from bridge import facts
from bridge.cli import app
from bridge.facts import Fact
from bridge.observe import name_of
from bridge.settings import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_the_readme_examples_are_one_configuration(tmp_path: Path) -> None:
    """The README's configuration loads as it stands, given the key and the secrets."""
    secret = "whsec_" + "MDEy" * 8
    text = "".join(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)).replace("whsec_...", secret)
    for name, content in (("bctrl", "sk_readme"), ("audit", secret)):
        (tmp_path / name).write_text(content + "\n")
        assert f"/run/secrets/{name}" in text
        text = text.replace(f"/run/secrets/{name}", str(tmp_path / name))
    (tmp_path / "bridge.toml").write_text(text)

    settings = load(tmp_path / "bridge.toml", {})

    assert list(settings.sources) == ["checkout"]
    assert list(settings.destinations) == ["crm", "audit", "per_run"]


def test_the_readme_names_every_command() -> None:
    """The table of commands has each that there is, with its subcommands, and no other."""
    rows = re.findall(r"^\| (`runbridge .+?`) \| ", README.split("## Commands")[1], re.MULTILINE)
    named = set[str]()
    for words in re.findall(r"`runbridge ([a-z]+(?: [a-z]+(?: \\\| [a-z]+)*)?)", "\n".join(rows)):
        command, _, subcommands = words.partition(" ")
        named |= {f"{command} {each}" for each in subcommands.split(" \\| ")} if subcommands else {command}

    there = set[str]()
    for name, command in get_group(app).commands.items():
        below = getattr(command, "commands", {})
        there |= {f"{name} {each}" for each in below} or {name}
    assert named == there


def test_the_architecture_page_names_every_module() -> None:
    """The house has a place for each module and package of the bridge, and none that is gone."""
    house = (ROOT / "docs" / "architecture.md").read_text().split("## The house")[1]
    rows = "".join(line.split(" | ")[1] for line in house.splitlines() if re.match(r"\| \d", line))
    there = {
        path.stem for path in Path(facts.__file__).parent.iterdir() if not path.name.startswith(("__init__", "py"))
    }

    assert {name.removesuffix("/") for name in re.findall(r"`(\w+/?)`", rows)} == there - {"__pycache__", "emulator"}


@pytest.mark.parametrize(
    "document", ["README.md", "CHANGELOG.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """Every relative link names a file that is there, and a heading of it where it names one."""
    here = ROOT / document
    for target, _, heading in re.findall(r"\]\(((?!http)[^)#]*)(#([^)]*))?\)", here.read_text()):
        there = here.parent / target if target else here
        if there.resolve().is_relative_to(ROOT / "bridge"):  # wherever the package is installed
            there = package() / there.resolve().relative_to(ROOT)
        assert there.exists(), target
        assert not heading or heading in headings(there), f"{target}#{heading}"


def headings(document: Path) -> set[str]:
    """What links into a document may name, as GitHub makes it of its headings."""
    found = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_log_line_is_in_the_operations_page() -> None:
    """The table of log lines is the closed set of facts, no more and no less."""
    named = set(re.findall(r"`([a-z]+(?:\.[a-z]+)+)`", OPERATIONS.split("## Log lines")[1].split("## Runbook")[0]))

    there = {name_of(kind) for kind in Fact.__subclasses__() if kind.__module__ == facts.__name__}  # no test's own
    assert named - {"logging.format", "http.listen"} == there
    assert facts.BridgeStarted in Fact.__subclasses__()


def test_the_container_runs_as_nobody_and_names_the_real_port() -> None:
    """The image has a numeric user, the daemon's port and stop signal, no shell form, and just what it copies."""
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)
    context = (ROOT / ".dockerignore").read_text().split()

    assert {f"!{name}" for line in copied for name in line.split()} == {rule for rule in context if rule[0] == "!"}
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert "EXPOSE 8380" in text
    assert 'ENTRYPOINT ["runbridge"]' in text
    assert "STOPSIGNAL SIGTERM" in text
    assert ":latest" not in text


def brought_in_by(requirements: list[str]) -> set[str]:
    """The names of everything that pip installs for `requirements` on this machine, theirs included."""
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [Requirement(text) for text in requirements]
    while left:
        wanted = left.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key not in seen:
            seen.add(key)
            needed = [Requirement(text) for text in requires(wanted.name) or []]
            asked_by = ["", *wanted.extras]
            left += [r for r in needed if not r.marker or any(r.marker.evaluate({"extra": by}) for by in asked_by)]
    return {name for name, _ in seen}


def test_every_package_is_pinned() -> None:
    """`constraints.txt` pins all that the extras and the build bring, each once, and names no address."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition("==") for line in lines if not line.startswith("#")]
    names = [canonicalize_name(name) for name, _, _ in pins]
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = written["project"]
    asked = [*project["dependencies"], *written["build-system"]["requires"]]
    for extra in ("embedded", "test"):  # the extras without which no test runs; the names of the rest are enough
        asked += project["optional-dependencies"][extra]
    others = {Requirement(text).name for extra in ("lint", "bench") for text in project["optional-dependencies"][extra]}

    assert brought_in_by(asked) | {canonicalize_name(name) for name in others} <= set(names)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for _, _, version in pins)


def test_ci_runs_the_readme_command() -> None:
    """`.ci/run` is executable and ends in `make test`, which the README names."""
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")
    assert "make test" in README
    assert "make demo" in README


def test_make_says_what_it_can() -> None:
    """`make` alone lists the targets."""
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)

    for target in ("demo", "test", "test-wheel", "kill", "bench", "check", "fmt"):
        assert re.search(rf"make {target} ", done.stdout), target


def test_every_open_question_has_its_test() -> None:
    """Each of the 28 points that the upstream's documents leave open names a test that is there, or says why not."""
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", (ROOT / "docs" / "undefined.md").read_text(), flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 29))
    shown = {int(number): re.fullmatch(r"\[(test_\w+)\]\(\.\./(tests/\w+\.py)\)", cell) for number, cell in rows}
    assert [number for number, found in shown.items() if found is None] == [17, 25]
    missing = [
        found[1] for found in shown.values() if found and f"def {found[1]}(" not in (ROOT / found[2]).read_text()
    ]
    assert missing == []
