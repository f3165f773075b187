"""Conditions on columns, ``rlnClassNumber == 1 and z1 > 0.5``: comparisons with and, or, not; nothing is executed."""

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.cli.registry import did_you_mean
from vitreous.errors import ConfigError

Columns = Mapping[str, NDArray[Any]]
Rows = NDArray[np.bool_]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def rows_where(condition: str, columns: Columns) -> Rows:
    """Return which rows satisfy a condition.

    Parameters
    ----------
    condition
        Column names, numbers and quoted text, compared with ``== != < <= > >=`` (also chained, ``0 < z1 <= 1``),
        joined by ``and``, ``or``, ``not`` and parentheses. A leading underscore of a name is ignored.
    columns
        Arrays of one length by name.

    Raises
    ------
    ConfigError
        For anything else, unknown columns, and comparisons of text with numbers.
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    except SyntaxError as error:
        raise _refusal(condition, f"it is incomplete or misspelt at character {error.offset}") from None
    return _rows(tree, condition, columns)


def _rows(node: ast.expr, condition: str, columns: Columns) -> Rows:
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return reduce(join, [_rows(part, condition, columns) for part in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_rows(node.operand, condition, columns)
    if isinstance(node, ast.Compare):
        return _compare(node, condition, columns)
    raise _refusal(condition, f"{ast.unparse(node)!r} is no comparison")


def _compare(node: ast.Compare, condition: str, columns: Columns) -> Rows:
    sides = [_operand(side, condition, columns) for side in (node.left, *node.comparators)]
    if all(np.ndim(side) == 0 for side in sides):
        raise _refusal(condition, f"{ast.unparse(node)!r} names no column")
    if len({_is_text(side) for side in sides}) > 1:
        raise _refusal(condition, f"{ast.unparse(node)!r} compares text with numbers")
    if not all(type(op) in _COMPARISONS for op in node.ops):
        raise _refusal(condition, f"{ast.unparse(node)!r} uses another comparison than == != < <= > >=")
    pairs = [_COMPARISONS[type(op)](a, b) for op, a, b in zip(node.ops, sides, sides[1:])]
    return np.asarray(reduce(np.logical_and, pairs), dtype=np.bool_)


def _operand(node: ast.expr, condition: str, columns: Columns) -> Any:
    if isinstance(node, ast.Name):
        name = node.id if node.id in columns else node.id.removeprefix("_")
        if name not in columns:
            remedy = did_you_mean(name, columns, f"Columns are {', '.join(columns)}")
            raise ConfigError(f"--where: there is no column {name}", remedy=remedy)
        return columns[name]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = _operand(node.operand, condition, columns)
        if not isinstance(value, str):
            return -value
    raise _refusal(condition, f"{ast.unparse(node)!r} is neither a column, a number nor quoted text")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or np.asarray(value).dtype.kind not in "biuf"


def _refusal(condition: str, what: str) -> ConfigError:
    return ConfigError(
        f"--where {condition!r} cannot be used: {what}", remedy="Write it like 'rlnClassNumber == 1 and z1 > 0.5'"
    )
