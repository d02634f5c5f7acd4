"""The index of a repository: what its notes say, and that nothing in them can do harm."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from shared.errors import BlobMissing, Corrupt, Forbidden
from shared.policy import Policy
from shared.repository import Listed, Repository
from shared.repository.index import BASE, CHANGES, HEAD, Change, applied, decode, encode
from tests.helpers.factories import manifest

ROWS = [Listed(f"m{n:04}", (1, 2), "", {1: True, 2: False}) for n in range(1200)]
ROWS.append(Listed("z", (), "a link leads out"))


def put(repository: Repository, name: str, version: int = 1, **policy: object) -> None:
    """Publish a manifest."""
    made = manifest(name=name, version=version, residency=Policy(**policy))  # type: ignore[arg-type]
    repository.put_manifest(name, version, made.encode())


def rows_of(repository: Repository) -> dict[str, list[int]]:
    """The models as the changes alone have them."""
    found = applied({}, repository.notes.list(CHANGES))
    return {name: list(row.versions) for name, row in found.items()}


def test_pushes_and_deletes_are_noted(repository: Repository) -> None:
    """In any kind of store, and `head` is another one after each."""
    heads = []
    put(repository, "a", preload=True)
    for version in (1, 2):
        put(repository, "b", version)
        heads.append(repository.notes.read(HEAD).tag)
    repository.put_manifest("c", 1, b"no manifest")
    repository.delete_manifest("b", 1)
    heads.append(repository.notes.read(HEAD).tag)
    found = applied({}, repository.notes.list(CHANGES))
    assert {name: row.versions for name, row in found.items()} == {"a": (1,), "b": (2,), "c": (1,)}
    assert [row.required for row in found.values()] == [{1: True}, {2: False}, {}]
    assert len(set(heads)) == 3
    assert repository.notes.read(HEAD, heads[-1]).raw is None
    assert repository.list_models() == ["a", "b", "c"]
    assert [row.name for row in repository.list_all()] == ["a", "b", "c"]


def test_notes_are_replaced_and_deleted(repository: Repository) -> None:
    """A tag is of a content; what is not there is missing, and deleted without an error."""
    notes = repository.notes
    with pytest.raises(BlobMissing):
        notes.read(BASE)
    assert notes.list(CHANGES) == []
    notes.put(BASE, b"one")
    first = notes.read(BASE)
    notes.put(BASE, b"two")
    assert (first.raw, notes.read(BASE, first.tag).raw) == (b"one", b"two")
    notes.delete(BASE)
    notes.delete(BASE)
    with pytest.raises(BlobMissing):
        notes.read(BASE, first.tag)


def test_a_push_that_may_not_note_itself_is_a_push(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says who sees it when."""

    def refuse(name: str, raw: bytes) -> None:
        raise Forbidden("no right to write there")

    monkeypatch.setattr(repository.notes, "put", refuse)
    put(repository, "a")
    assert repository.list_versions("a") == [1] and rows_of(repository) == {}
    assert "next listing" in caplog.text


def test_the_base_is_read_as_it_was_written() -> None:
    """Rows, what their manifests want, errors, and the changes that it includes."""
    base = decode(encode(ROWS, ["x", "y"]))
    assert list(base.rows.values()) == ROWS and base.included == {"x", "y"}
    assert base.rows["m0000"].required == {1: True, 2: False}
    assert decode(encode([], [])).rows == {}


def test_a_damaged_base_is_recognised() -> None:
    """Wherever it is cut or changed; and one of a later format."""
    raw = encode(ROWS[:20], [])
    for at in range(0, len(raw), 7):
        for bad in (raw[:at], raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]):
            with pytest.raises(Corrupt):
                decode(bad)
    for text in (b'{"format":2}\n', b'{"format":1}\n[["a"]]\n', b"[]\n", b"\n", b"\xff\n"):
        with pytest.raises(Corrupt):
            decode(text + hashlib.sha256(text).hexdigest().encode())


def test_rows_that_cannot_be_are_passed_over() -> None:
    """Whoever signed them."""
    made_up = [
        ["../x", "1n", ""],
        ["a", "0n x 99999999999u 2n", ""],
        ["b", "", ""],
        ["c", "3q", ""],
    ]
    lines = b'{"format":1,"included":[]}\n' + msgspec.json.encode(made_up) + b"\n"
    base = decode(lines + hashlib.sha256(lines).hexdigest().encode())
    assert base.rows == {"a": Listed("a", (2,)), "c": Listed("c", (3,))}


START = f"{CHANGES}0000000000001-00000000!"


@pytest.mark.parametrize(
    "name", [CHANGES, "changes/x", "changes/0-0!put!1!n!a", HEAD, f"{START}put!0!n!a",
             f"{START}put!1!n!../a", f"{START}put!1!n!blobs", f"{START}mv!1!n!a",
             f"{START}put!1!n!a/b", f"{START}put!1!q!a"],
)  # fmt: skip
def test_a_made_up_change_changes_nothing(name: str) -> None:
    """A name of another form, of a later release or of a stranger."""
    assert Change.parse(name) is None and applied({}, [name]) == {}


def test_changes_are_applied_in_the_order_of_their_times() -> None:
    """Twice or in another order they are the same; models stay sorted."""

    def at(ms: int, what: str, name: str, version: int = 1) -> str:
        return f"{CHANGES}{ms:013}-00000000!{what}!{version}!n!{name}"

    changes = [at(1, "put", "b"), at(2, "put", "a"), at(3, "del", "b"), at(4, "put", "c", 2)]
    rows = {"b": Listed("b", (7,)), "c": Listed("c", (1,), "unreadable")}
    for order in (changes, changes[::-1], changes * 2):
        found = applied(rows, order)
        assert list(found) == ["a", "b", "c"]
        assert [row.versions for row in found.values()] == [(1,), (7,), (1, 2)]
    assert list(applied(rows, [*changes, at(5, "del", "b", 7)])) == ["a", "c"]
    assert rows["b"].versions == (7,)


def test_two_pushes_at_once_lose_nothing(repository: Repository) -> None:
    """Each has a note of its own, so neither can undo the other's."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: put(repository, f"m{n}"), range(24)))
    assert sorted(rows_of(repository)) == sorted(f"m{n}" for n in range(24))
