"""WARMROUTE_CELLS: the cells of a fleet as a gateway reads them, `name=redis-url[;weight],...`."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import blake2b
from typing import NamedTuple

from shared import redis_url
from shared.names import RESERVED_NAMES

CELL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_RULE = "want 1 to 64 of A-Z a-z 0-9 _ - after a letter or digit"
MAX_WEIGHT = 1e6
TAG = 4  # hex digits


class CellAddress(NamedTuple):
    """A cell: its name (the prefix of its keys), its Redis, and its share of the models. One of
    weight 0 gets no new models; what it has accepted is served."""

    name: str
    redis_url: str
    weight: float = 1.0


def tag_of(cell: str) -> str:
    """What the id of each request of a cell begins with. Two cells may have the same one."""
    return blake2b(cell.encode(), digest_size=TAG // 2).hexdigest()


def parse(text: str) -> list[CellAddress]:
    """The cells of a text without faults, in its order."""
    return [_address(item) for item in _items(text)]


def faults(text: str) -> list[str]:
    """What is wrong with the text, one sentence each, without the secrets of its URLs."""
    found = [
        fault for number, item in enumerate(_items(text), 1) for fault in _faults(item, number)
    ]
    if found:
        return found
    cells = parse(text)
    if not cells:
        return ["want name=redis-url[;weight], one or more in a comma list"]
    twice = [name for name, times in Counter(cell.name for cell in cells).items() if times > 1]
    found = [f"cell {name!r} is given twice" for name in twice]
    if not any(cell.weight for cell in cells):
        found.append("every weight is 0: no cell is left for new requests")
    return found


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _split(item: str) -> tuple[str, str, str]:
    name, _, rest = item.partition("=")
    url, _, weight = rest.partition(";")
    return name.strip(), url.strip(), weight.strip() if ";" in rest else "1"


def _address(item: str) -> CellAddress:
    name, url, weight = _split(item)
    return CellAddress(name, url, float(weight))


def _faults(item: str, number: int) -> list[str]:
    """What is wrong with one of them. What stands for its name is not shown: it may be a piece of a
    URL, behind a comma in its password."""
    name, url, weight = _split(item)
    if not CELL.fullmatch(name) or name in RESERVED_NAMES:
        return [f"the name of cell number {number}: {NAME_RULE}, then = and the URL of its Redis"]
    found = [f"cell number {number}: its URL {fault}" for fault in redis_url.faults(url)]
    if not _is_weight(weight):
        found.append(f"cell number {number}: its weight: want a number from 0 to {MAX_WEIGHT:g}")
    return found


def _is_weight(text: str) -> bool:
    try:
        return 0 <= float(text) <= MAX_WEIGHT
    except ValueError:
        return False
