"""The blocks that people see add up to what the ledger has in use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.footprint import Footprint
from shared.worker_report import CopyBytes
from tests.helpers.evicting import Model
from tests.helpers.factories import manifest
from worker.residency.account import Bookkeeper, account
from worker.residency.copies import Copies, Copy
from worker.residency.ledger import Ledger

BLOBS = {"program": 5, "base": 100, "mine": 10}


def of(own: int, *blobs: str) -> Footprint:
    return Footprint(frozenset((name, BLOBS[name]) for name in blobs), own)


FOOTPRINTS = st.builds(
    Footprint,
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 50), max_size=4).map(
        lambda sizes: frozenset(sizes.items())
    ),
    st.integers(0, 100),
)  # fmt: skip


def test_fine_tunes_share_their_base_and_each_has_its_own() -> None:
    """A blob that only one copy holds is its own."""
    entries = {"a": of(1, "program", "base", "mine"), "b": of(2, "program", "base"), "c": of(7)}
    found = account(entries, list(entries))
    assert found.parts == {
        "a": CopyBytes(11, 105, 1),
        "b": CopyBytes(2, 105, 1),
        "c": CopyBytes(7, 0, 0),
    }
    assert (found.used, found.shared, found.reserved) == (125, 105, 0)


def test_what_loads_or_leaves_is_reserved() -> None:
    """With what it shares, as far as nobody who serves holds it."""
    entries = {"a": of(1, "base"), "b": of(2, "base", "mine")}
    found = account(entries, ["a"])
    assert (found.parts, found.shared, found.reserved) == ({"a": CopyBytes(101, 0, 0)}, 0, 12)


@given(st.dictionaries(st.text(max_size=3), FOOTPRINTS, max_size=8), st.data())
def test_own_and_shared_once_and_reserved_are_what_is_used(
    entries: dict[str, Footprint], data: st.DataObject
) -> None:
    """Whatever is shared, in whatever sizes it is said to be, and whoever serves."""
    held = data.draw(st.sets(st.sampled_from(sorted(entries)))) if entries else set()
    ledger = Ledger(1 << 40)
    for ref, footprint in entries.items():
        ledger.reserve(ref, footprint)
    found = account(ledger.entries, held)
    assert found.used == ledger.used
    assert (
        sum(p.own_bytes for p in found.parts.values()) + found.shared + found.reserved
        == ledger.used
    )
    assert found.parts.keys() == held
    for part in found.parts.values():
        assert part.own_bytes >= 0 <= part.shared_bytes
        assert (part.others > 0) or part.shared_bytes == 0


def test_the_account_follows_what_comes_and_goes() -> None:
    """A correction too; and a copy that retires is no longer shown, but still there."""
    ledger, copies = Ledger(1000), Copies()
    keeper = Bookkeeper(ledger, copies)
    assert keeper.account().used == 0
    ledger.reserve("a", of(1, "base"))
    assert (keeper.account().reserved, keeper.account().parts) == (101, {})
    copies.add(Copy("a", manifest(), Model(), of(1, "base")))
    assert keeper.account().parts == {"a": CopyBytes(101, 0, 0)}
    assert keeper.account() is keeper.account()
    ledger.correct("a", of(50, "base"))
    assert keeper.account().parts["a"].own_bytes == 150
    copies.retire_all()
    assert (keeper.account().reserved, keeper.account().parts) == (150, {})
