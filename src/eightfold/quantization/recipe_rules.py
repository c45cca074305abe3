"""What each key of a recipe may hold: one table, used for Python values and for TOML alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eightfold.calibration.observers import OBSERVERS, did_you_mean
from eightfold.errors import RecipeError

__all__ = ["RULES", "Rule", "check"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The values that a key accepts: in words, and as a function that says what is wrong with others.

    `fault` gives `None` for a good value and else what to add to the message, often nothing.
    """

    expected: str
    fault: Callable[[Any], str | None]


def check(key: str, value: object) -> None:
    """Refuses a value that a key cannot hold.

    Raises:
        RecipeError: names the key, what it expects and what was received.
    """
    rule = RULES[key]
    fault = rule.fault(value)
    if fault is not None:
        raise RecipeError(f"recipe key {key!r}: expected {rule.expected}, received {value!r}{fault}")


def _holds(condition: Callable[[Any], bool]) -> Callable[[Any], str | None]:
    return lambda value: None if condition(value) else ""


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _two_names(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_name(item) for item in value)


def _one_of(*words: str) -> Rule:
    return Rule(" or ".join(f'"{word}"' for word in words), _holds(lambda value: value in words))


def _observer_fault(value: object) -> str | None:
    if not isinstance(value, str):
        return ""
    return None if value in OBSERVERS else did_you_mean(value, OBSERVERS)


def _pattern_fault(value: object) -> str | None:
    if not isinstance(value, str):
        return ""
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        return f", which is not one: {error}"
    return None


def _patterns_fault(value: object) -> str | None:
    if not isinstance(value, tuple):
        return ""
    for pattern in value:
        fault = _pattern_fault(pattern)
        if fault is not None:
            return f"; the fault is in {pattern!r}{fault}"
    return None


def _is_release(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", value):
        return False
    major, minor = value.split(".")
    return (int(major), int(minor)) >= (2, 16)


_BOOL = Rule("true or false", _holds(lambda v: isinstance(v, bool)))

RULES: Mapping[str, Rule] = {
    "observer": Rule(f"one of {', '.join(OBSERVERS)}", _observer_fault),
    "percentile": Rule("a number above 50 and at most 100", _holds(lambda v: _number(v) and 50 < v <= 100)),
    "per_channel": _BOOL,
    "bias_correction": _BOOL,
    "rounding": _one_of("nearest", "learned"),
    "equalize": _BOOL,
    "smooth": _BOOL,
    "weight_bits": Rule("7 or 8", _holds(lambda v: _integer(v) and v in (7, 8))),
    "exclude": Rule("a list of regular expressions", _patterns_fault),
    "exclude_ops": Rule(
        "a list of op types", _holds(lambda v: isinstance(v, tuple) and all(_name(item) for item in v))
    ),
    "offsets": _BOOL,
    "min_tensorflow": Rule('a release of TensorFlow such as "2.16", at least that', _holds(_is_release)),
    "min_sqnr_db": Rule("a finite number", _holds(_number)),
    "fallback": _BOOL,
    "bands": Rule("a whole number from 1 to 64", _holds(lambda v: _integer(v) and 1 <= v <= 64)),
    "match": Rule("a regular expression", _pattern_fault),
    "op": Rule("an op type", _holds(_name)),
    "region": Rule("the names of two nodes", _holds(_two_names)),
    "keep": _one_of("fp32", "bf16"),
}
