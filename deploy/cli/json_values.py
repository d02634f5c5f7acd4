"""JSON whose numbers arrive as they were written, or not at all."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from warmroute.datatypes import INTEGERS

LONGEST = 4000  # digits of one number
MOST_DIGITS = 40  # of a whole number written with a point or an exponent


class NoJson(ValueError):
    """Says why, so that it can follow the text."""


def parse(text: str, datatype: str) -> Any:
    """Nested lists of numbers, strings, true, false and null. NaN and Infinity are numbers here,
    for they can be sent; 1e400 is none. NoJson says what is wrong."""
    whole = datatype in INTEGERS
    try:
        return json.loads(text, parse_float=_whole if whole else _float, parse_int=_int)
    except NoJson:
        raise
    except json.JSONDecodeError as error:
        raise NoJson(f"is no JSON ({error.msg}, at character {error.pos})") from None
    except RecursionError:
        raise NoJson("is nested too deeply") from None


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NoJson(f"has {text:.40}, which no float can hold")
    return value


def _int(text: str) -> int:
    if len(text) > LONGEST:
        raise NoJson("has a number of thousands of digits")
    return int(text)


def _whole(text: str) -> int | float:
    """For an input of integers: `1e3` and `9007199254740993.0` are whole numbers, read exactly."""
    number = Decimal(text)
    if number.adjusted() < MOST_DIGITS and number == number.to_integral_value():
        return int(number)
    return _float(text)
