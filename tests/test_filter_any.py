"""Holds filters to a slow second reading of docs/filters.md, for any event and any expression."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.delivery.filter import Filter, FilterError
from bridge.event import Entry

TEXTS = st.text("ab*. 🦊é", max_size=4)
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**80), 2**80), st.floats(-4, 4).map(lambda number: round(number, 1))
)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
KEYS = st.sampled_from(["a", "b", "odd name", 'q"'])
VALUES = st.recursive(
    SCALARS | st.text("a\ud800\udc00", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = ("category", "runid", "x9")
EVENTS = st.fixed_dictionaries({}, optional={**dict.fromkeys(ATTRIBUTES, VALUES), "data": VALUES, "other": VALUES})

STEPS = st.lists(KEYS | st.integers(-2, 2), max_size=3)
PATHS = st.one_of(
    st.sampled_from([("category",), ("runid",), ("x9",), ("type",), ("subject",), ("id",)]),
    STEPS.map(lambda steps: ("data", *steps)),
)
OPERANDS = PATHS.map(lambda path: ("path", path)) | SCALARS.map(lambda value: ("value", value))
COMPARED = st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), OPERANDS, OPERANDS)
LISTED = st.tuples(st.sampled_from(["in", "not in"]), OPERANDS, st.lists(SCALARS, max_size=3))
HELD = st.tuples(st.sampled_from(["in", "not in"]), OPERANDS, PATHS.map(lambda path: ("path", path)))
CALLED = st.tuples(st.sampled_from(["startswith", "endswith", "contains", "glob"]), PATHS, TEXTS)
ALONE = PATHS.map(lambda path: ("alone", path))
TREES = st.recursive(
    COMPARED | LISTED | HELD | CALLED | ALONE,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | inner.map(lambda one: ("not", one)),
    max_leaves=6,
)

PARTS = [
    "data.a",
    "==",
    "<",
    "in",
    "[",
    "]",
    "(",
    ")",
    "not",
    "and",
    "or",
    '"x"',
    "1",
    "#",
    ",",
    "\\",
    'glob(type,"*")',
]


def written(tree: Any) -> str:  # noqa: PLR0911  # a case a form, as in the document
    """The expression as an operator writes it."""
    match tree:
        case ("and" | "or" as word, left, right):
            return f"({written(left)} {word} {written(right)})"
        case ("not", inner):
            return f"not {written(inner)}"
        case ("alone" | "path", (root, *steps)):
            return str(root) + "".join(f".{step}" if step in {"a", "b"} else f"[{json.dumps(step)}]" for step in steps)
        case ("value", value):
            return json.dumps(value, ensure_ascii=False)
        case ("in" | "not in" as word, left, list() as items):
            return f"{written(left)} {word} {json.dumps(items, ensure_ascii=False)}"
        case ("startswith" | "endswith" | "contains" | "glob" as name, path, text):
            return f"{name}({written(('path', path))}, {json.dumps(text, ensure_ascii=False)})"
        case (sign, left, right):
            return f"{written(left)} {sign} {written(right)}"
    raise AssertionError(tree)


def found(tree: Any, entry: Entry) -> Any:
    """What an operand is in this event; half a surrogate pair reads as U+FFFD."""
    if tree[0] == "value":
        return tree[1]
    root, *steps = tree[1]
    value = getattr(entry, root) if root in {"type", "subject", "id"} else json.loads(entry.event).get(root)
    for step in steps:
        try:
            value = (
                value[step] if isinstance(value, dict) is isinstance(step, str) and not isinstance(value, str) else None
            )
        except (TypeError, LookupError):
            value = None
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


def kind(value: Any) -> str:
    """Values of two kinds are neither equal nor ordered."""
    kinds = {bool: "boolean", int: "number", float: "number", str: "text", type(None): "null"}
    return kinds.get(type(value), "none")


def same(left: Any, right: Any) -> bool:
    """Equal, by the document."""
    return kind(left) == kind(right) != "none" and left == right


def holds(tree: Any, entry: Entry) -> bool:  # noqa: PLR0911  # a case a rule
    """The verdict, by the document, one rule after the other."""
    match tree:
        case ("and", left, right):
            return holds(left, entry) and holds(right, entry)
        case ("or", left, right):
            return holds(left, entry) or holds(right, entry)
        case ("not", inner):
            return not holds(inner, entry)
        case ("alone", path):
            return found(("path", path), entry) is True
        case ("==", left, right):
            return same(found(left, entry), found(right, entry))
        case ("in", left, list() as items):
            return any(same(found(left, entry), item) for item in items)
        case ("in", left, right):
            items = found(right, entry)
            clean = json.loads(re.sub(r"\\ud[89a-f]..", r"\\ufffd", json.dumps(items)))
            return isinstance(items, list) and any(same(found(left, entry), item) for item in clean)
        case ("!=" | "not in" as word, left, right):
            return not holds(({"!=": "==", "not in": "in"}[word], left, right), entry)
        case ("startswith" | "endswith" | "contains" | "glob" as name, path, text):
            pieces = ".*".join(map(re.escape, text.split("*"))) if name == "glob" else re.escape(text)
            before = ".*" if name in {"endswith", "contains"} else ""
            after = ".*" if name in {"startswith", "contains"} else ""
            value = found(("path", path), entry)
            return isinstance(value, str) and re.fullmatch(before + pieces + after, value, re.DOTALL) is not None
        case (sign, left, right):
            one, two = found(left, entry), found(right, entry)
            if kind(one) != kind(two) or kind(one) not in {"text", "number"}:
                return False
            return bool({"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[sign])
    raise AssertionError(tree)


@given(TREES, EVENTS, TEXTS, TEXTS)
def test_any_expression_and_event(tree: Any, event: dict[str, Any], type_: str, subject: str) -> None:
    """An expression means for any JSON event what the document says, and is refused only where it says so."""
    entry = Entry("1-0", "b", type_, subject, json.dumps(event).encode())
    try:
        asked = Filter(expression=written(tree))
    except FilterError as error:
        assert re.search("nothing of the event|have an order", str(error))  # noqa: PT017  # and no other reason
        return
    wanted = holds(tree, entry)
    assert asked(entry) is wanted
    assert asked.type(type_) or not wanted


@given(st.text(max_size=60) | st.lists(st.sampled_from(PARTS)).map(" ".join))
def test_any_text(text: str) -> None:
    """Any text either is a filter that decides, or is refused with a place."""
    try:
        asked = Filter(expression=text)
    except FilterError as error:
        assert re.match(r"line \d+, column \d+: ", str(error))  # noqa: PT017  # raised or not, both are right
    else:
        assert asked(Entry("1-0", "i", "t", "s", b'{"data":{"a":1}}')) in {True, False}


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(event: bytes) -> None:
    """Whatever the bytes of an event are, the filter decides, and what the log tells is there."""
    entry = Entry("1-0", "i", "t", "s", event)
    assert Filter(expression='id == "i" and type == "t" and subject == "s"')(entry)
    assert Filter(expression="data.a != null or data == null or category == 1 or not category")(entry)
    assert Filter(["t"], ["s"], ["*"])(entry) in {True, False}


@given(st.text("a*", max_size=6) | st.text("ab*", max_size=6), st.text("a", max_size=4) | st.text("ab\n", max_size=6))
def test_any_glob(pattern: str, text: str) -> None:
    """A glob is the regular expression with .* for *, alone or among others."""
    wanted = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None
    entry = Entry("1-0", "i", "t", text, b"{}")
    assert Filter(expression=f'glob(subject, "{pattern}")')(entry) is wanted
    if pattern:
        assert Filter(subjects=[pattern])(entry) is wanted
        assert Filter(subjects=["c*c", pattern, "c"])(entry) is wanted
