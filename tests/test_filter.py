"""Holds filters to docs/filters.md: which events an expression wants, and what is said of a wrong one."""

import json
import re
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.delivery.filter import Filter, FilterError
from bridge.event import Entry

DATA = {
    "status": 503,
    "ok": True,
    "off": False,
    "ratio": 0.5,
    "whole": 2.0,
    "big": 10**30,
    "text": "503",
    "empty": "",
    "nothing": None,
    "url": "https://shop.example/api/cart",
    "error": {"code": "E1", "class": "net", "": 7},
    "list": [1, "two", None, [3], True],
    "tags": ["urgent", "vip"],
    "odd name": "x",
    'quo"te': 1,
    "grüße": "ja",
}
DOCUMENT = (Path(__file__).parents[1] / "docs" / "filters.md").read_text()


def entry(data: Any = None, **attributes: Any) -> Entry:
    """An entry of the log with a network event; an attribute that is None is left out."""
    told = {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "https://api.bctrl.ai/runs/0b0c",
        "type": "ai.bctrl.network.response",
        "subject": "0b0c",
        "time": "2026-11-21T12:00:00.123Z",
        "category": "network",
        "sequence": "0000000042",
        **attributes,
        "data": DATA if data is None else data,
    }
    event = {name: value for name, value in told.items() if value is not None}
    return Entry("1-0", event["id"], event["type"], event["subject"], json.dumps(event).encode())


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("", True),
        ("  \n ", True),
        ("true", True),
        ("false", False),
        ("not false", True),
        # attributes
        ('category == "network"', True),
        ("category == 'network'", True),
        ('category == "Network"', False),
        ('category != "browser"', True),
        ('"network" == category', True),
        ('type == "ai.bctrl.network.response"', True),
        ('subject == "0b0c"', True),
        ('id == "evt_1"', True),
        ('source == "https://api.bctrl.ai/runs/0b0c"', True),
        ('time >= "2026-11-21"', True),
        ('time < "2026-11-21"', False),
        ('sequence > "0000000041"', True),
        # numbers
        ("data.status == 503", True),
        ("data.status == 503.0", True),
        ("data.whole == 2", True),
        ("data.status >= 503", True),
        ("data.status > 503", False),
        ("data.status <= 503", True),
        ("data.status < 503.5", True),
        ("500 <= data.status", True),
        ("500 > data.status", False),
        ("data.ratio > -1", True),
        ("data.ratio == -0.5", False),
        ("data.big == 1000000000000000000000000000000", True),
        ("data.big == 1000000000000000000000000000001", False),
        ("data.big > 1e29", True),
        (f"data.big < 1{'0' * 400} and data.big > -1{'0' * 400}", True),
        # kinds don't mix
        ('data.status == "503"', False),
        ('data.status != "503"', True),
        ("data.text >= 500", False),
        ("data.text < 500", False),
        ("not data.text >= 500", True),
        ("data.ok == 1", False),
        ("data.ok > 0", False),
        ("data.off == 0", False),
        ("data.list == 1", False),
        ("data.error > 1", False),
        ("data.list == data.list", False),
        ("data.list < data.list", False),
        ("data.status == data.status", True),
        ("data.whole < data.status", True),
        ("data.text < data.url", True),
        ("data.ok == data.ok", True),
        ("data.ok == data.whole", False),
        # booleans
        ("data.ok", True),
        ("data.off", False),
        ("not data.off", True),
        ("data.ok == true", True),
        ("data.ok != false", True),
        ("data.status", False),
        ("data.text", False),
        # absent is null
        ("data.absent == 1", False),
        ("data.absent != 1", True),
        ("data.absent < 1", False),
        ("data.absent >= 1", False),
        ('data.absent < "x"', False),
        ("data.absent == null", True),
        ("data.absent != null", False),
        ("data.nothing == null", True),
        ("data.nothing == data.absent", True),
        ("data.error != null", True),
        ("data.empty != null", True),
        ("data.off != null", True),
        ("data.absent.deeper == null", True),
        ("data.status.deeper == null", True),
        ("data.absent", False),
        ("not data.absent", True),
        ("category", False),
        ("not category", True),
        ("runid == null", True),
        ('runid != "r"', True),
        ("data.absent <= data.absent", False),
        # members
        ('data["odd name"] == "x"', True),
        ("data['quo\"te'] == 1", True),
        (r'data["\ud800\n"] == null', True),
        (r'data["\u0000"] == null and data.status == 503', True),
        ('data["grüße"] == "ja"', True),
        ('data.error.code == "E1"', True),
        ('data["error"]["code"] == "E1"', True),
        ('data.error["class"] == "net"', True),
        ('data.error[""] == 7', True),
        ("data.list[0] == 1", True),
        ('data.list[1] == "two"', True),
        ("data.list[3][0] == 3", True),
        ("data.list[-1] == true", True),
        ("data.list[5] == null", True),
        ("data.list[-6] == null", True),
        ('data.list["0"] == null', True),
        ("data.error[0] == null", True),
        ("data.url[0] == null", True),
        ("data[0] == null", True),
        ("data != null", True),
        ("data == data", False),
        ("data != null and data.status == 503", True),
        # lists
        ('category in ["browser", "network"]', True),
        ('category not in ["browser", "network"]', False),
        ("category in []", False),
        ("data.status in [502, 503, 504]", True),
        ('data.status in ["503", true]', False),
        ("data.ok in [1]", False),
        ("data.ok in [true]", True),
        ("data.absent in [1, null]", True),
        ("data.absent in [1]", False),
        ("data.absent not in [1]", True),
        ("data.list in [1]", False),
        ("data.status in [-503, 5.03e2]", True),
        ('"urgent" in data.tags', True),
        ('"low" not in data.tags', True),
        ("1 in data.list", True),
        ("true in data.list", True),
        ('"urgent" in data.url', False),
        ("category in data.tags", False),
        # texts
        ('startswith(data.url, "https://shop.")', True),
        ('startswith(data.url, "")', True),
        ('endswith(data.url, "/cart")', True),
        ('contains(data.url, "/api/")', True),
        ('contains(data.url, "/API/")', False),
        ('glob(data.url, "https://*.example/*/cart")', True),
        ('glob(data.url, "shop.example")', False),
        ('glob(type, "ai.bctrl.*")', True),
        ('contains(data.status, "5")', False),
        ('contains(data.absent, "")', False),
        ('startswith(data.tags, "u")', False),
        # joined
        ('category == "network" and data.status >= 500', True),
        ('category == "browser" or data.status >= 500', True),
        ('category == "browser" and data.status >= 500 or data.ok', True),
        ('category == "browser" and (data.status >= 500 or data.ok)', False),
        ("not (data.ok and data.off)", True),
        ("not data.ok and data.off", False),
        ('(category == "network"\n  and data.status >= 500)\n\tor false', True),
        ('category == "network" and\r\ndata.ok', True),
        (r'data.url != "a\tb\"\\\u00e4"', True),
    ],
)
def test_verdict(expression: str, wanted: bool) -> None:
    """Each row of the language means what docs/filters.md says, whether it stands alone or within a condition."""
    assert Filter(expression=expression)(entry()) is wanted
    if expression.strip():
        assert Filter(expression=f"({expression}) and true")(entry()) is wanted
        assert Filter(expression=f"not ({expression})")(entry()) is not wanted


@pytest.mark.parametrize("data", ["text", 7, True, [1, 2], [], {}, "", 0])
def test_data_that_is_no_object(data: Any) -> None:
    """The members of anything but an object are absent, and the data as a whole can still be compared."""
    assert not Filter(expression="data.status >= 0")(entry(data))
    assert Filter(expression="data.status == null and data != null")(entry(data))
    assert Filter(expression="data[1] == 2")(entry(data)) is (data == [1, 2])


@pytest.mark.parametrize(
    ("expression", "column", "wrong", "remedy"),
    [
        ("data.a && data.b", 8, "&& is no operator", 'write "and"'),
        ("data.a || data.b", 8, "|| is no operator", 'write "or"'),
        ("!data.a", 1, "! is no operator", 'write "not"'),
        ('category = "x"', 10, "= is no operator", 'write "=="'),
        ('category === "x"', 10, "=== is no operator", 'write "=="'),
        ('category <> "x"', 10, "<> is no operator", 'write "!="'),
        ('category =~ "x"', 10, "=~ is no operator", "no regular expressions"),
        ("category is null", 1, '"is" is no operator', 'write "=="'),
        ("data.from == 1", 6, "from is a word of the language", 'write ["from"]'),
        ("data.a.0 == 1", 7, "a position stands in brackets", "data.list[0]"),
        ("data.a-b == 1", 1, "there is no arithmetic", 'data["odd-name"]'),
        ("data.grüße == 1", 1, "a name behind a dot is ASCII", 'data["odd name"]'),
        ("category ==", 12, "ends too early", "allowed are"),
        ('category == "x', 13, "unterminated", "allowed are"),
        ('(category == "x"', 1, "never closed", "allowed are"),
        ('category == "x")', 16, "unmatched", "allowed are"),
        ('category "x"', 10, "can't be read", "allowed are"),
        (r'category == "\d"', 13, "a backslash that means nothing", "for a backslash"),
        ('category == "x" # no', 16, "a comment", "take it out"),
        ('category == "x"\n# no\nand data.a', 16, "a comment", "take it out"),
        ("1 < data.a < 3", 14, "a second comparison", 'with "and"'),
        ('"x"', 1, "a value alone", "compare it"),
        ('category == "x" or "y"', 20, "a value alone", "compare it"),
        ("null", 1, "a value alone", "compare it"),
        ('Category == "x"', 1, "no attribute's name", "lower-case"),
        ("data_a == 1", 1, "no attribute's name", "behind data"),
        ("category.x == 1", 1, "only the data has members", "data.error.code"),
        ("data[1:2] == 1", 6, "a text or a whole number", "data.list[0]"),
        ("data[category] == 1", 6, "a text or a whole number", "data.list[0]"),
        ("data[true] == 1", 6, "a text or a whole number", "data.list[0]"),
        ("data[1.5] == 1", 6, "a text or a whole number", "data.list[0]"),
        ('category in ("x", "y")', 13, '"in" needs a list', '["one", "two"]'),
        ('category in "xy"', 13, '"in" needs a list', "contains()"),
        ('"x" in ["x"]', 1, "nothing of the event", "name an attribute"),
        ('category in ["x", data.a]', 19, "neither an attribute nor a value", "allowed are"),
        ("1 == 1", 1, "nothing of the event", "name an attribute"),
        ("data.a < true", 10, "have an order", 'write "=="'),
        ("null >= data.a", 1, "have an order", 'write "=="'),
        ("data.a == None", 11, "None is not known", "null"),
        ("data.a == True", 11, "True is not known", "true"),
        ("data.a == 1e999", 11, "too large", "1.8e308"),
        ("data.a == -1e999", 12, "too large", "1.8e308"),
        ("data.a == -True", 12, "True is not known", "true"),
        ("data.a == 1j", 11, "neither an attribute nor a value", "allowed are"),
        ('data.a == b"x"', 11, "neither an attribute nor a value", "allowed are"),
        ('data.a == f"x"', 11, "neither an attribute nor a value", "allowed are"),
        ("lambda: 1", 1, "neither an attribute nor a value", "allowed are"),
        ("[x for x in data]", 1, "neither an attribute nor a value", "allowed are"),
        ('__import__("os").system("true")', 1, "no such function", "startswith()"),
        ('data.url.startswith("x")', 1, "no such function", "startswith()"),
        ("has(data.error)", 1, "no such function", "data.error != null"),
        ("(data.a == 1) == true", 2, "a condition can't be compared", '"and"'),
        ("glob(type)", 1, "an attribute and a text", 'glob(type, "text")'),
        ("glob(type, subject)", 1, "an attribute and a text", 'glob(type, "text")'),
        ('glob("x", type)', 1, "an attribute and a text", 'glob(type, "text")'),
        ("not " * 40 + "data.a", 133, "nested too deeply", "at most 32"),
        ("(" * 300 + "data.a" + ")" * 300, 201, "nested too deeply", "at most 32"),
        ("-" * 4000 + "1 == data.a", 1, "", ""),  # too deep for some parsers, too much of it for all
        ("data" + ".a" * 33 + " == 1", 1, "nested too deeply", "at most 32"),
        ("x" * 4097, 1, "longer than 4096 bytes", "shorter"),
        ("category == '" + "ä" * 2048 + "'", 1, "longer than 4096 bytes", "shorter"),
        ("data.a in [" + "1," * 1500 + "]", 1, "over 1000 names", "shorter"),
        ("data.a\x00", 7, "U+0000", r"\u0000"),
        ('category == "\u200b"', 14, "U+200B", r"\u200b"),
        ("\udc80", 1, "U+DC80", "take it out"),
    ],
)
def test_mistake(expression: str, column: int, wrong: str, remedy: str) -> None:
    """A mistake is told with its place, what is wrong there and what to write instead."""
    with pytest.raises(FilterError) as caught:
        Filter(expression=expression)
    said, shown, caret = str(caught.value).split("\n")
    assert said.startswith(f"line 1, column {column}: ")
    assert wrong in said
    assert remedy in said
    assert len(shown) <= 2 + 2 * 60
    assert caret.index("^") - 2 == min(column - 1, 60)


@pytest.mark.parametrize(("end", "wrong"), [("status = 5", "= is no operator"), ("status < 5 < 6", "a second")])
def test_place_in_the_second_line(end: str, wrong: str) -> None:
    """The line that is shown is the one with the mistake, and the caret counts characters, not bytes."""
    line = f'  data["ü"].{end}'
    at = line.index("=") if "=" in end else line.index("6")
    with pytest.raises(FilterError, match=f"line 2, column {at + 1}: {wrong}") as caught:
        Filter(expression=f'category == "ü" and\n{line}')
    assert str(caught.value).endswith(f"\n  {line}\n  {' ' * at}^")


@pytest.mark.parametrize(
    "form", ["{}", "{} == 1", 'type == "{}', "data.{}(1)", "{}(type)", "{}.x == 1", "a {}", "a == [{}]"]
)
def test_first_line_repeats_nothing(form: str) -> None:
    """What may be a secret in the wrong place stands only in the lines that show the place."""
    with pytest.raises(FilterError) as caught:
        Filter(expression=form.format("whsec_SECRET"))
    first, shown, _ = str(caught.value).split("\n")
    assert "SECRET" not in first
    assert "SECRET" in shown


def test_no_warning_of_the_parser() -> None:
    """What Python would only warn of is either fine or an error, and nothing is printed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(FilterError):
            Filter(expression=r'data.a == "\q"')
    assert not caught


@pytest.mark.parametrize(
    ("asked", "a", "b"),
    [
        (Filter(), True, True),
        (Filter(types=["a"]), True, False),
        (Filter(subjects=["a"], sources=["a"]), True, True),
        (Filter(expression='type == "a" and data.status > 1'), True, False),
        (Filter(expression='data.status > 1 and not (type != "a" or startswith(type, "b"))'), True, False),
        (Filter(expression='type == "a" or data.status > 1'), True, True),
        (Filter(expression="false"), False, False),
        (Filter(expression='subject == "a"'), True, True),
    ],
)
def test_type_alone(asked: Filter, a: bool, b: bool) -> None:
    """`type` is False where the type alone refuses, also by the expression, and True where other things decide."""
    assert [asked.type(type_) for type_ in ("a", "b", "a", "b", "b" * 2000)] == [a, b, a, b, b]


def _examples() -> list[tuple[str, str]]:
    rows = re.findall(r"^\| `([^`]+)` \|[^|]*\| (yes|no) \|$", DOCUMENT, re.MULTILINE)
    return [(example.replace("\\|", "|"), verdict) for example, verdict in rows]


@pytest.mark.parametrize(("example", "verdict"), _examples())
def test_example_of_the_document(example: str, verdict: str) -> None:
    """Each example in docs/filters.md gives the verdict that stands beside it, for the event that it shows."""
    (shown,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    event = json.loads(shown)
    told = Entry("1-0", event["id"], event["type"], event["subject"], shown.encode())
    assert Filter(expression=example)(told) is (verdict == "yes")


def test_the_document_has_examples() -> None:
    """The examples are found, one beside the other, so that none goes unchecked."""
    assert len(_examples()) >= 20
    assert all(first != second for first, second in pairwise(_examples()))
