"""Every decoder ends in a typed error, whatever it reads. `make fuzz` looks for longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

EXAMPLES = 300


def mangled(seed: bytes) -> st.SearchStrategy[bytes]:
    """A well-formed message with a piece of it cut out, doubled or replaced."""
    places = st.integers(0, len(seed))

    def cut(parts: tuple[int, int, bytes]) -> bytes:
        first, second, between = parts
        return seed[:first] + between + seed[second:]

    return st.tuples(places, places, st.binary(max_size=16)).map(cut)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_any_bytes_end_in_a_typed_error(name: str) -> None:
    """Random bytes, and well-formed messages that were damaged."""
    inputs = st.one_of(st.binary(max_size=512), *(mangled(seed) for seed in SEEDS[name]))

    @settings(max_examples=EXAMPLES)
    @given(inputs)
    def decode(data: bytes) -> None:
        TARGETS[name](data)

    decode()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_seeds_are_well_formed(name: str) -> None:
    """Else nothing behind the first check would ever be reached."""
    assert SEEDS[name]
    for seed in SEEDS[name]:
        TARGETS[name](seed)
