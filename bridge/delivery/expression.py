"""Compiles the text of a filter to conditions. Pure; docs/filters.md says what it may hold, all else is refused."""

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from bridge.delivery.comparing import (
    Condition,
    Literal,
    Operand,
    Order,
    Path,
    among,
    equal,
    joined,
    of_text,
    opposite,
    ordered,
    true,
    walk,
    within,
)
from bridge.delivery.globs import glob
from bridge.delivery.reading import IN_ENTRY
from bridge.delivery.syntax import MAX_DEPTH, FilterError, mistake, place, too_deep, tree

_CONSTANTS = {"true": True, "false": False, "null": None}
_ATTRIBUTE = re.compile(r"[a-z0-9]+")  # CloudEvents 1.0.2, "Attribute Naming Convention"
_ODD = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
"""What the name of a msgspec field can't hold."""
_ORDERS: dict[type[ast.cmpop], Order] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[[str], Callable[[str], bool]]] = {
    "startswith": lambda part: lambda text: text.startswith(part),
    "endswith": lambda part: lambda text: text.endswith(part),
    "contains": lambda part: lambda text: part in text,
    "glob": glob,
}


def compiled(text: str, members: dict[str, str]) -> tuple[Condition, ...]:
    """The conditions that all have to hold for an expression to hold; none for an empty one.

    Adds to `members` the members of `data` that they look at, each with the name of its field (`Reader`).

    Raises:
        FilterError: it is no expression, or has a form that isn't allowed, or is over a bound.
    """
    text = text.strip()
    if not text:
        return ()
    compiler, body = _Compiler(text, members), tree(text)
    if isinstance(body, ast.BoolOp) and isinstance(body.op, ast.And):
        return tuple(compiler.condition(part, 1) for part in body.values)
    return (compiler.condition(body, 0),)


@dataclass(frozen=True, slots=True)
class _Compiler:
    text: str
    members: dict[str, str]

    def condition(self, node: ast.expr, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise too_deep(self.text, place(self.text, node))
        match node:
            case ast.BoolOp(op=op, values=values):
                return joined([self.condition(each, depth + 1) for each in values], by_and=isinstance(op, ast.And))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return opposite(self.condition(operand, depth + 1))
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                return self._comparison(node, left, sign, right)
            case ast.Compare(comparators=[_, second, *_]):
                raise self._wrong(second, "a second comparison in a row", 'join the two with "and"')
            case ast.Call():
                return self._call(node)
        alone = self._operand(node)
        if isinstance(alone, Literal) and not isinstance(alone.value, bool):
            raise self._wrong(node, "a value alone is no condition", 'compare it, as in category == "network"')
        return true(alone)

    def _comparison(self, node: ast.expr, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Condition:
        match sign:
            case ast.In():
                return self._membership(left, right)
            case ast.NotIn():
                return opposite(self._membership(left, right))
            case ast.Is() | ast.IsNot():
                raise self._wrong(node, '"is" is no operator here', 'write "==" or "!="')
        first, second = self._operand(left), self._operand(right)
        if isinstance(first, Literal) and isinstance(second, Literal):
            raise self._wrong(node, "nothing of the event is compared", "name an attribute on one side")
        match sign:
            case ast.Eq():
                return equal(first, second)
            case ast.NotEq():
                return opposite(equal(first, second))
        for side, operand in ((left, first), (right, second)):
            if isinstance(operand, Literal) and (operand.value is None or isinstance(operand.value, bool)):
                raise self._wrong(side, "only texts and numbers have an order", 'write "==" or "!="')
        return ordered(_ORDERS[type(sign)], first, second)

    def _membership(self, left: ast.expr, right: ast.expr) -> Condition:
        value = self._operand(left)
        if isinstance(right, ast.List) and isinstance(value, Path):
            return among(value, [self._literal(item) for item in right.elts])
        if isinstance(right, ast.List):
            raise self._wrong(left, "nothing of the event is compared", 'name an attribute before "in"')
        container = None if isinstance(right, ast.Tuple | ast.Set) else self._operand(right)
        if not isinstance(container, Path):
            remedy = 'write it as ["one", "two"], or name one in the data; for a part of a text use contains()'
            raise self._wrong(right, '"in" needs a list', remedy)
        return within(value, container)

    def _call(self, node: ast.Call) -> Condition:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[first, second], keywords=[]) if name in _FUNCTIONS:
                operand, part = self._operand(first), self._operand(second)
                if isinstance(operand, Path) and isinstance(part, Literal) and isinstance(part.value, str):
                    return of_text(operand, _FUNCTIONS[name](part.value))
            case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
                pass
            case _:
                known = ", ".join(f"{name}()" for name in _FUNCTIONS)
                remedy = f"there are {known}; to ask whether something is there, write data.error != null"
                raise self._wrong(node, "there is no such function", remedy)
        raise self._wrong(node, f"{name}() takes an attribute and a text", f'write it as {name}(type, "text")')

    def _operand(self, node: ast.expr) -> Operand:
        match node:
            case ast.Name(id=name) if name not in _CONSTANTS:
                return self._path(node)
            case ast.Attribute() | ast.Subscript():
                return self._path(node)
        return self._literal(node)

    def _literal(self, node: ast.expr) -> Literal:
        match node:
            case ast.Name(id=name) if name in _CONSTANTS:
                return Literal(_CONSTANTS[name])
            case ast.Constant(value=bool() | None as value):
                raise self._wrong(node, f"{value} is not known", "write true, false or null")
            case ast.Constant(value=str() as value):
                return Literal(value)
            case ast.Constant(value=int() | float() as value) if abs(value) != math.inf:
                return Literal(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value) as positive):
                self._literal(positive)  # refuses True and what is too large
                return Literal(-value)
            case ast.BinOp():
                raise self._wrong(node, "there is no arithmetic", 'an odd name is written as data["odd-name"]')
            case ast.Constant(value=float()):
                raise self._wrong(node, "this number is too large", "write one below 1.8e308")
            case ast.BoolOp() | ast.Compare() | ast.Call() | ast.UnaryOp(op=ast.Not()):
                raise self._wrong(node, "a condition can't be compared", 'join conditions with "and" and "or"')
        raise self._wrong(node, "this is neither an attribute nor a value")

    def _path(self, node: ast.expr) -> Path:
        steps: list[str | int] = []
        root = node
        while not isinstance(root, ast.Name):
            match root:
                case ast.Attribute(value=inner, attr=name) if name.isascii():
                    steps.insert(0, name)
                case ast.Subscript(value=inner, slice=index):
                    steps.insert(0, self._index(index))
                case ast.Attribute():
                    raise self._wrong(root, "a name behind a dot is ASCII", 'write data["odd name"]')
                case _:
                    raise self._wrong(root, "only the data has members", "write it as data.error.code")
            root = inner
            if len(steps) > MAX_DEPTH:
                raise too_deep(self.text, place(self.text, node))
        if root.id == "data":
            return self._in_data(steps)
        if steps:
            raise self._wrong(root, "only the data has members", "begin with data, as data.error.code")
        if not _ATTRIBUTE.fullmatch(root.id):
            wrong = "this is no attribute's name, which has lower-case letters and digits only"
            raise self._wrong(
                root, wrong, 'texts stand in quotes, and what is in the data behind data, as data["Name"]'
            )
        get = operator.attrgetter(root.id)
        if root.id in IN_ENTRY:
            return Path(lambda event: get(event.entry), root.id)
        return Path(lambda event: get(event.attributes()), root.id)

    def _index(self, node: ast.expr) -> str | int:
        value = self._literal(node).value if isinstance(node, ast.Constant | ast.UnaryOp) else None
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong(node, "a member has a text or a whole number", 'write data["odd name"] or data.list[0]')

    def _in_data(self, steps: list[str | int]) -> Path:
        if not steps or isinstance(steps[0], int) or _ODD.search(steps[0]):
            return Path(walk(lambda event: event.data(), steps), "data")
        get = operator.attrgetter(self.members.setdefault(steps[0], f"m{len(self.members)}"))
        return Path(walk(lambda event: get(event.members()), steps[1:]), "data")

    def _wrong(self, node: ast.expr, wrong: str, remedy: str = "") -> FilterError:
        return mistake(self.text, place(self.text, node), wrong, remedy)
