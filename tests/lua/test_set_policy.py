"""set_policy.lua: the API overrides fields of a model version's residency policy."""

from __future__ import annotations

from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF
from tests.lua.fleet import loaded_once, members, worker


async def test_a_field_is_set_changed_and_removed(cell: Cell) -> None:
    """The answer is what is in force; each version has its own. It stays until it is taken back."""
    policy = cell.scripts.set_policy
    assert await policy(REF, {"min_copies": "2", "pin": "1"}) == {"min_copies": "2", "pin": "1"}
    assert await policy(REF, {"min_copies": "3"}) == {"min_copies": "3", "pin": "1"}
    assert await policy(OTHER_REF, {"pin": ""}) == {}
    assert await cell.client.ttl(cell.keys.policy(REF)) == -1
    assert await policy(REF, {"min_copies": "", "pin": ""}) == {}
    assert await cell.exists(cell.keys.policy(REF), cell.keys.policy(OTHER_REF)) == []


async def test_no_fields_only_ask(cell: Cell) -> None:
    """What is in force is told."""
    await cell.scripts.set_policy(REF, {"priority": "1"})
    assert await cell.scripts.set_policy(REF, {}) == {"priority": "1"}


async def test_a_least_number_is_kept_from_then_on(cell: Cell) -> None:
    """And no more when it is taken back, unless the manifest has one."""
    await worker(cell)
    await cell.scripts.set_policy(REF, {"min_copies": "1"})
    assert await members(cell, cell.keys.min_copies) == {REF}
    assert await cell.scripts.reconcile() == (0, 1)
    await cell.client.delete(cell.keys.load(REF))
    await cell.scripts.set_policy(REF, {"min_copies": ""})
    assert await cell.scripts.reconcile() == (0, 0)
    await loaded_once(cell, min_copies=1)
    await cell.scripts.set_policy(REF, {"pin": ""})
    assert await cell.scripts.reconcile() == (0, 1)


async def test_it_overrides_what_the_manifest_says_also_with_nothing(cell: Cell) -> None:
    """A zero is a value."""
    epoch = await worker(cell, holds=[REF])
    await loaded_once(cell, pin=1, min_copies=1)
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "pinned"
    await cell.scripts.set_policy(REF, {"pin": "0"})
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "needed"
    await cell.scripts.set_policy(REF, {"min_copies": "0"})
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "0-0"


async def test_a_model_to_be_loaded_ahead_is_kept_like_one_copy(cell: Cell) -> None:
    """It is ordered, and its only copy stays: or it would come and go."""
    epoch = await worker(cell)
    await cell.scripts.set_policy(REF, {"preload": "1"})
    assert await cell.scripts.reconcile() == (0, 1)
    token = await cell.claim("w1", epoch)
    await cell.scripts.announce("w1", epoch, REF, token, "device 1")
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "needed"


async def test_what_is_no_number_counts_as_none(cell: Cell) -> None:
    """Whoever wrote it into Redis."""
    epoch = await worker(cell, holds=[REF])
    odd = {"min_copies": "many", "pin": "yes", "max_copies": "\x00"}
    assert await cell.scripts.set_policy(REF, odd) == odd
    assert await cell.exists(cell.keys.min_copies) == []
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "0-0"


async def test_a_text_of_ten_thousand_characters_is_kept_whole(cell: Cell) -> None:
    """As name and as value."""
    assert await cell.scripts.set_policy(REF, {"f" * 10_000: "v" * 10_000}) == {
        "f" * 10_000: "v" * 10_000
    }
