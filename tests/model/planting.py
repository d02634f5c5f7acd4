"""A fault to be planted, with its name and the rules that lead to it."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.virtual import Mutant

EPOCH_CHECK = "if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then"
REGISTERED_CHECK = "if redis.call('EXISTS', k('worker', worker)) == 0 then"


class Planted(NamedTuple):
    """A fault with its name, and the rules that lead to it."""

    name: str
    favour: tuple[str, ...]
    mutant: Mutant


def of(file: str, favour: str, *faults: tuple[str, str, str]) -> list[Planted]:
    return [
        Planted(name, tuple(favour.split()), Mutant(file, old, new)) for name, old, new in faults
    ]
