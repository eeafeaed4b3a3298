"""Turns the text of a filter into a syntax tree, and mistakes into errors that show the place. Evaluates nothing.

Python's own parser reads the text, as one expression; `bridge.delivery.expression` says which of its forms are
allowed.
"""

import ast
import keyword
import re
import warnings

MAX_BYTES = 4096
MAX_NODES = 1000
MAX_DEPTH = 32

ALLOWED = (
    "comparisons (== != < <= > >=), in [...], and, or, not, parentheses, "
    "startswith(), endswith(), contains(), glob(), attributes such as type and data.status, "
    '"texts", numbers, true, false, null'
)
_REMEDIES = {
    "&&": 'write "and"',
    "||": 'write "or"',
    "!": 'write "not", or "!=" between two values',
    "=": 'write "==" to compare',
    "===": 'write "=="',
    "<>": 'write "!="',
    "=~": "write glob(), startswith(), endswith() or contains(); there are no regular expressions",
}
_SIGNS = re.compile(r"[&|!=<>~]+")
_WORD = re.compile(r"[A-Za-z_]+")
_SHOWN = 60
"""Characters of the line that are shown on each side of the place."""


class FilterError(ValueError):
    """A filter can't be used. The text says where (line, column and a caret), what is wrong and what is allowed.

    The first line of one about an expression repeats nothing of it: it may be a secret in the wrong place.
    """


def mistake(text: str, at: int, wrong: str, remedy: str = "") -> FilterError:
    """The error for what stands at character `at` of `text`; without a `remedy` it lists what is allowed."""
    begin = text.rfind("\n", 0, at) + 1
    line, column = text.count("\n", 0, at) + 1, at - begin
    whole = text[begin:].partition("\n")[0]
    cut = max(0, column - _SHOWN)
    shown = "".join(each if each.isprintable() else " " for each in whole[cut : column + _SHOWN])
    place = f"line {line}, column {column + 1}"
    return FilterError(f"{place}: {wrong}; {remedy or f'allowed are {ALLOWED}'}\n  {shown}\n  {' ' * (column - cut)}^")


def place(text: str, node: ast.expr) -> int:
    """The character of `text` where the node begins; Python counts in bytes of UTF-8, on one line."""
    return len(text.encode()[: node.col_offset].decode())


def tree(text: str) -> ast.expr:
    """The syntax tree of an expression, which has no spaces around it.

    Raises:
        FilterError: it is too long or too deep, has control characters or a comment, or is no expression.
    """
    _measure(text)
    flat = re.sub(r"\s", " ", text)  # a line break is a space, and no character moves
    body = _parse(text, flat)
    rest = flat.encode()[body.end_col_offset :].decode()
    if rest.strip(" )"):
        raise mistake(text, len(flat) - len(rest), "a comment can't stand in an expression", "take it out")
    if sum(isinstance(node, ast.expr) for node in ast.walk(body)) > MAX_NODES:
        raise mistake(text, 0, f"has over {MAX_NODES} names, values and operators", "make it shorter, or use globs")
    return body


def _measure(text: str) -> None:
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise mistake(text, 0, f"is longer than {MAX_BYTES} bytes", "make it shorter, or use globs")
    for at, character in enumerate(text):
        if not character.isprintable() and character not in "\t\r\n":
            wrong = f"has the character U+{ord(character):04X}, which can't be seen"
            raise mistake(text, at, wrong, f'in a text write it as "\\u{ord(character):04x}", elsewhere take it out')


def _parse(text: str, flat: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # escapes that Python doesn't know, and the like, are mistakes here
            return ast.parse(flat, mode="eval").body
    except SyntaxError as error:
        raise _unreadable(text, (error.offset or len(text) + 1) - 1, error.msg) from None
    except (ValueError, RecursionError, MemoryError):
        raise too_deep(text, 0) from None


def too_deep(text: str, at: int) -> FilterError:
    """The error for more than `MAX_DEPTH` levels of conditions or members."""
    return mistake(text, at, "is nested too deeply", f"at most {MAX_DEPTH} levels are allowed")


def _unreadable(text: str, at: int, said: str) -> FilterError:
    """Says in the words of this language what Python's parser said of it."""
    sign = next((each for each in _SIGNS.finditer(text) if each.start() <= at <= each.end()), None)
    word = _WORD.match(text, at)
    if "nested" in said:
        return too_deep(text, at)
    if sign and sign[0] in _REMEDIES:
        return mistake(text, sign.start(), f"{sign[0]} is no operator here", _REMEDIES[sign[0]])
    wrong, remedy = "this can't be read" if at < len(text) else "this ends too early", ""
    if "escape" in said:
        wrong, remedy = "has a backslash that means nothing", r'write "\\" for a backslash in a text'
    elif any(known in said for known in ("unterminated", "never closed", "unmatched", "does not match")):
        wrong = said
    elif re.match(r"\.\d", text[at:]):
        wrong, remedy = "a position stands in brackets", "write data.list[0]"
    elif word and keyword.iskeyword(word[0]) and text[:at].endswith("."):
        wrong, remedy = f"{word[0]} is a word of the language", f'write ["{word[0]}"] instead of .{word[0]}'
    return mistake(text, at, wrong, remedy)
