"""The view of the index: up to date without a listing, and healed by one."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from router.catalog import listings as listings_module
from router.catalog import view as module
from router.catalog.catalog import Catalog
from router.catalog.view import IndexView
from shared.errors import Forbidden, NotFound, StoreUnavailable
from shared.repository.index import BASE, CHANGES, DELETED, HEAD, WALKED, Change, note, pushed
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository


@pytest.fixture
def repository() -> FakeRepository:
    return FakeRepository()


def push(repository: FakeRepository, name: str, version: int = 1) -> None:
    """As `put_manifest` of a store does."""
    raw = repository.add(manifest(name=name, version=version))
    note(repository.notes, pushed(name, version, raw))


def delete(repository: FakeRepository, name: str, version: int = 1) -> None:
    """As `delete_manifest` of a store does."""
    del repository.manifests[name, version]
    note(repository.notes, Change(DELETED, name, version))


def names(view: IndexView) -> list[str]:
    assert view.listing is not None
    return list(view.listing)


def indexed(repository: FakeRepository) -> IndexView:
    """A view of a repository that has been listed once."""
    view = IndexView(repository)
    view.walk()
    view.look()
    return view


def test_an_old_repository_gets_an_index_by_its_listing(repository: FakeRepository) -> None:
    """Until then the view is none, and nothing is listed for it."""
    repository.add(manifest(name="a"))
    view = IndexView(repository)
    assert view.look() == set() and view.listing is None and view.is_due()
    assert repository.calls["list_all"] == 0
    view.walk()
    assert view.look() == {"a"} and names(view) == ["a"]


def test_a_push_before_there_is_an_index_is_found_too(repository: FakeRepository) -> None:
    """Its note alone is not all models; each second costs one read, and no LIST."""
    repository.add(manifest(name="old"))
    push(repository, "new")
    view = IndexView(repository)
    for _ in range(5):
        view.look()
    assert view.listing is None
    assert (repository.calls[f"list {CHANGES}"], repository.calls[f"read {BASE}"]) == (0, 1)
    view.walk()
    view.look()
    assert names(view) == ["new", "old"]


def test_pushes_and_deletes_are_seen_without_a_listing(repository: FakeRepository) -> None:
    """By each view; while nothing happens a look is one read."""
    repository.add(manifest(name="a"))
    views = [indexed(repository), IndexView(repository), IndexView(repository)]
    for view in views:
        view.look()
    push(repository, "b")
    push(repository, "a", 2)
    assert [view.look() for view in views] == [{"a", "b"}] * 3
    delete(repository, "a")
    assert [view.look() for view in views] == [{"a"}] * 3
    assert all(view.listing is not None and view.listing["a"].versions == (2,) for view in views)
    assert repository.calls["list_all"] == 1
    before = Counter(repository.calls)
    for _ in range(10):
        views[0].look()
    assert repository.calls - before == Counter({f"read {HEAD}": 10})


def test_what_was_done_by_hand_is_found_by_the_next_listing(repository: FakeRepository) -> None:
    """Added, or deleted although its push is still noted."""
    push(repository, "a")
    first, second = indexed(repository), IndexView(repository)
    push(repository, "b")
    first.look()
    del repository.manifests["b", 1]
    repository.add(manifest(name="c"))
    assert names(first) == ["a", "b"]
    first.walk()
    for view in (first, second):
        view.look()
        assert names(view) == ["a", "c"]


@pytest.mark.parametrize("bad", [b"", b"{", b'{"format":1}\n00', b"\xff" * 100])
def test_a_damaged_base_is_listed_and_written_anew(repository: FakeRepository, bad: bytes) -> None:
    """Meanwhile there is none, and it is not read each second."""
    push(repository, "a")
    view = indexed(repository)
    repository.notes.put(BASE, bad)
    push(repository, "b")
    before = Counter(repository.calls)
    for _ in range(5):
        view.look()
    assert view.listing is None and view.look() == set()
    assert (repository.calls - before)[f"read {BASE}"] == 1
    view.walk()
    assert view.look() == {"a", "b"} and names(view) == ["a", "b"]


def test_an_old_base_written_over_a_new_one_costs_a_listing_only(
    repository: FakeRepository,
) -> None:
    """As by a gateway that listed long ago and was stopped: changes are kept an hour, so they are
    applied to it."""
    push(repository, "a")
    view = indexed(repository)
    old = repository.notes.kept[BASE]
    push(repository, "b")
    view.look()
    repository.add(manifest(name="c"))
    view.walk()
    repository.notes.put(BASE, old)
    repository.notes.put(HEAD, b"again")
    view.look()
    assert names(view) == ["a", "b"]
    view.walk()
    view.look()
    assert names(view) == ["a", "b", "c"]


def test_old_changes_are_dropped_when_a_base_includes_them(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer ones stay: a base of a listing under way may not include them."""
    for number in range(3):
        push(repository, f"m{number}")
    hour = module.OLD_MS * 1_000_000
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + hour + 10**9)
    push(repository, "late")
    view = indexed(repository)
    assert len(repository.notes.list(CHANGES)) == 1
    assert names(view) == ["late", "m0", "m1", "m2"]


def test_gateways_list_the_repository_in_turn(repository: FakeRepository) -> None:
    """Who lists says so before; one whose clock is wrong lists it once more, not never."""
    views = [indexed(repository)]
    views += [IndexView(repository) for _ in range(3)]
    for view in views:
        view.look()
    assert [view.is_due() for view in views] == [False] * 4
    for said in (b"x", b"null", b"[]", str(2**60).encode()):
        repository.notes.put(WALKED, said)
        fresh = IndexView(repository)
        fresh.look()
        assert fresh.is_due()


def test_listings_are_rare_however_large_the_repository(repository: FakeRepository) -> None:
    """At most 80 LISTs of a thousand keys an hour."""
    for number in range(2500):
        repository.add(manifest(name=f"m{number}"))
    view = indexed(repository)
    assert 3600 / view.every_s() * 3 <= 80


def test_without_the_right_to_write_each_gateway_lists_for_itself(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pushes note is used all the same, on top of the base that another wrote."""
    push(repository, "a")
    indexed(repository)

    def refuse(name: str, raw: bytes) -> None:
        raise Forbidden("no right to write there")

    view = IndexView(repository)
    push(repository, "b")
    with monkeypatch.context() as patched:
        patched.setattr(repository.notes, "put", refuse)
        view.look()
        assert list(view.walk()) == ["a", "b"]
    push(repository, "c")
    view.look()
    assert names(view) == ["a", "b", "c"]


def test_a_store_that_is_away_changes_nothing(repository: FakeRepository) -> None:
    """What is known stays, and is looked at again."""
    push(repository, "a")
    view = indexed(repository)
    repository.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        view.look()
    assert names(view) == ["a"]
    repository.error = None
    push(repository, "b")
    view.look()
    assert names(view) == ["a", "b"]


async def test_a_large_index_is_listed_in_no_read(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a small one the repository itself is listed: one read too, of what is there now."""
    monkeypatch.setattr(listings_module, "LARGE", 3)
    for name in ("a", "b", "c"):
        push(repository, name)
    catalog = Catalog(repository, 0.0)
    await catalog.walk_once()
    await catalog.look_once()
    before = repository.calls["list_all"]
    assert [row.name for row in await catalog.index()] == ["a", "b", "c"]
    assert [row.name for row in (await catalog.listing()).page("a", "", 1).rows] == ["b"]
    assert repository.calls["list_all"] == before
    delete(repository, "c")
    assert await catalog.look_once() == 1
    repository.add(manifest(name="by-hand"))
    assert [row.name for row in await catalog.index()] == ["a", "b", "by-hand"]
    assert repository.calls["list_all"] == before + 1


async def test_a_name_that_was_unknown_is_found_once_it_is_pushed(
    repository: FakeRepository,
) -> None:
    """Not only when the 404 is forgotten."""
    catalog = Catalog(repository, 60.0)
    await catalog.walk_once()
    await catalog.look_once()
    for _ in range(2):
        with pytest.raises(NotFound):
            await catalog.resolve("new")
    push(repository, "new")
    await catalog.look_once()
    assert (await catalog.resolve("new")).ref.name == "new"
