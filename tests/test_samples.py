"""Runs the sample receivers of the documentation and sends them what we, and others, sign and what nobody signed."""

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix
from waiting import wait_blocking

from bridge.clock import unix
from bridge.signing import PrivateKey, Signer, SigningKey, text_of

DOCS = Path(__file__).parents[1] / "docs"
SAMPLES = {"python": DOCS / "samples" / "receiver.py", "node": DOCS / "samples" / "receiver.mjs"}
PROGRAMS = {"python": sys.executable, "node": "node"}
KEY, OTHER = b"k" * 24, b"o" * 24
PAIR = PrivateKey.of_seed(b"s" * 32)
STRANGER = PrivateKey.of_seed(b"x" * 32)
NUMBERS = count()


def event(id_: str) -> bytes:
    """A body with what JSON may hold outside ASCII, and line ends."""
    return json.dumps({"type": "a.b", "subject": "r\u00fcn", "id": id_}, ensure_ascii=False, indent=1).encode() + b"\n"


@dataclass
class Request:
    """A request that is about to be sent."""

    id: str
    at: int
    body: bytes
    signature: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        given = {"webhook-id": self.id, "webhook-timestamp": str(self.at), "webhook-signature": self.signature}
        return {
            "content-type": "application/cloudevents+json",
            **{name: value for name, value in given.items() if value},
        }


def request(*keys: SigningKey, age: int = 0, body: bytes | None = None) -> Request:
    """A new one, signed by us with these keys."""
    id_ = f"msg_{next(NUMBERS)}"
    made = Request(id_, int(unix()) - age, event(id_) if body is None else body)
    if keys:
        made.signature = Signer(keys).header(made.id, made.at, made.body)
    return made


class Receiver:
    """A running sample."""

    def __init__(self, port: int, output: Path) -> None:
        self._port = port
        self._output = output

    def send(self, *requests: Request) -> list[int]:
        """The answers to requests over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        statuses = []
        for each in requests:
            connection.request("POST", "/", each.body, each.headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        return statuses

    def status(self, method: str, headers: dict[str, str], body: bytes = b"") -> int:
        """The answer to anything."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.putrequest(method, "/")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        status = connection.getresponse().status
        connection.close()
        return status

    def handled(self) -> list[str]:
        """The `webhook-id` of each event that was handled, in order."""
        return [line.split(" ")[0] for line in self._output.read_text().splitlines() if line.startswith("msg_")]


@contextmanager
def running(sample: str, directory: Path) -> Iterator[Receiver]:
    """The sample as a process of its own, on a free port."""
    output = directory / f"{sample}.out"
    keys = f"{text_of(KEY)} {PAIR.public}"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [PROGRAMS[sample], SAMPLES[sample], "0"],
            stdout=out,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "WEBHOOK_KEYS": keys},
        )
    try:
        listening = wait_blocking(lambda: re.search(r"port (\d+)", output.read_text()), "the sample to listen")
        assert listening is not None
        yield Receiver(int(listening[1]), output)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=[*SAMPLES])
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Each sample in its turn."""
    with running(request.param, tmp_path_factory.mktemp("samples")) as receiver:
        yield receiver


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("keys", [None, " "])
def test_without_a_key_it_says_what_to_set(sample: str, keys: str | None) -> None:
    """One line instead of a stack trace, and exit code 1."""
    environment = {name: value for name, value in os.environ.items() if name != "WEBHOOK_KEYS"}
    ended = subprocess.run(
        [PROGRAMS[sample], SAMPLES[sample], "0"], capture_output=True, text=True, timeout=20, check=False,
        env=environment if keys is None else environment | {"WEBHOOK_KEYS": keys},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"set WEBHOOK_KEYS to .*\n", ended.stderr)


def test_what_we_sign_is_taken(receiver: Receiver) -> None:
    """By either kind of key, and by several of which it knows one; each is handled once, in order."""
    sent = [request(KEY), request(PAIR), request(OTHER, STRANGER, PAIR), request(OTHER, KEY), request(KEY, PAIR)]
    assert receiver.send(*sent) == [204] * len(sent)
    ids = [each.id for each in sent]
    wait_blocking(lambda: receiver.handled()[-len(ids) :] == ids, "all to be handled in order")


@pytest.mark.parametrize("package", [Webhook, Svix])
def test_what_the_packages_sign_is_taken(receiver: Receiver, package: type[Webhook | Svix]) -> None:
    """`standardwebhooks` and `svix` as the sender; beside versions that nobody knows yet."""
    made = request()
    made.signature = package(text_of(KEY)).sign(made.id, datetime.fromtimestamp(made.at, UTC), made.body.decode())
    assert receiver.send(made) == [204]
    made.signature = f"v9,AAAA v1a,AAAA v1,### v1 , {made.signature}"
    assert receiver.send(made) == [204]


@pytest.mark.parametrize("key", [KEY, PAIR])
def test_what_was_changed_is_refused(receiver: Receiver, key: SigningKey) -> None:
    """Another body, id, timestamp, key or signature, an old or a future one, a missing header: 401, and not handled."""
    changed = [request(key) for _ in range(5)]
    changed[0].body = changed[0].body.rstrip()
    changed[1].body += b" "
    changed[2].id += "x"
    changed[3].at += 1
    version, _, text = changed[4].signature.partition(",")
    changed[4].signature = f"{version},{'A' if text[0] != 'A' else 'B'}{text[1:]}"
    strange = request(OTHER if isinstance(key, bytes) else STRANGER)
    untimely = [request(key, age=age) for age in (302, -302)]
    cut = [request(key) for _ in range(6)]
    cut[0].id = cut[1].signature = ""
    cut[2].signature = cut[2].signature.replace(",", " ")
    cut[3].signature = cut[3].signature.split(",")[1]
    cut[4].signature = cut[4].signature.replace("v1a," if isinstance(key, PrivateKey) else "v1,", "v2,")
    cut[5].signature = "v1, v1a,"
    refused = [*changed, strange, *untimely, *cut]
    assert receiver.send(*refused) == [401] * len(refused)
    good = request(key)
    assert receiver.send(good) == [204]
    wait_blocking(lambda: receiver.handled()[-1:] == [good.id], "the good one to be handled")
    assert not {each.id for each in refused} & set(receiver.handled())


def test_what_comes_again_is_handled_once(receiver: Receiver) -> None:
    """A repetition is answered as the first time, with whatever new timestamp and signature it has."""
    first, last = request(KEY), request(KEY)
    again = Request(first.id, first.at - 1, first.body)
    again.signature = Signer([PAIR]).header(again.id, again.at, again.body)
    assert receiver.send(first, first, again, last) == [204] * 4
    wait_blocking(lambda: last.id in receiver.handled(), "the last one to be handled")
    assert receiver.handled().count(first.id) == 1


def test_a_batch_is_taken_apart(receiver: Receiver) -> None:
    """A JSON array is several events with one id; a body that is no JSON stops nothing."""
    batch = request(KEY, body=b'[{"id": "1"}, {"id": "2"}]')
    broken, last = request(KEY, body=b"\xff{"), request(KEY)
    assert receiver.send(batch, broken, last) == [204] * 3
    wait_blocking(lambda: last.id in receiver.handled(), "the last one to be handled")
    assert receiver.handled().count(batch.id) == 2


def test_what_is_no_webhook_is_refused(receiver: Receiver) -> None:
    """Another method, a body that nobody signed, and one that says it is too large, of which nothing is read."""
    assert receiver.status("GET", {}) in {405, 501}
    assert receiver.status("POST", {"content-length": "0"}) == 401
    assert receiver.status("POST", {"content-length": str(1 << 30)}) == 413


@pytest.fixture(scope="module")
def npm() -> Iterator[Path]:
    """A directory with the npm packages; they take one to two seconds."""
    with TemporaryDirectory() as directory:
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline",
             "--prefix", directory, "standardwebhooks@1.1.1", "svix@1.99.1"],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        yield Path(directory)


def test_the_npm_packages_agree(npm: Path) -> None:
    """Both verify what we sign with several keys, refuse what was changed, and sign the same to the byte."""
    sent = [request(KEY), request(PAIR, OTHER, KEY), request(KEY), request(KEY), request(OTHER)]
    sent[2].body += b" "
    sent[3].at -= 1
    asked = [
        {"secret": text_of(KEY), "id": each.id, "at": each.at, "body": each.body.decode(), "headers": each.headers}
        for each in sent
    ]
    judge = Path(__file__).with_name("judge.mjs")
    ended = subprocess.run(
        ["node", judge], cwd=npm, input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    for each, verified, packages in zip(sent, [True, True, False, False, False], json.loads(ended.stdout), strict=True):
        signed = Signer([KEY]).header(each.id, each.at, each.body)
        assert packages == {name: {"verified": verified, "signed": signed} for name in ("standardwebhooks", "svix")}


@pytest.mark.parametrize("sample", [*SAMPLES])
def test_the_page_shows_what_runs(sample: str) -> None:
    """The code on it is the sample's own, to the letter."""
    shown = re.search(r"<verify>\n(.*?)\n+(?:#|//) </verify>", SAMPLES[sample].read_text(), re.DOTALL)
    assert shown is not None
    assert f"\n{shown[1].strip()}\n```\n" in (DOCS / "receiving.md").read_text()


def test_the_headings_that_the_page_links_to_are_there() -> None:
    """A link into another page leads to one of its headings."""
    links = re.findall(r"\]\(([\w./-]+)#([\w-]+)\)", (DOCS / "receiving.md").read_text())
    assert links
    for path, heading in links:
        headings = re.findall(r"^#+ (.+)$", (DOCS / path).read_text(), re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, heading
