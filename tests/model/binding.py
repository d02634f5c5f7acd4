"""The model's stand-ins for what Redis names, given the names that Redis chose."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.model.state import State

# Redis drops these when they are empty.
_DROPPED = ("holders", "holds", "loading", "started", "queued", "policies", "pinned")


def bind(expected: State, after: State) -> None:
    """Give the stand-ins for new entries the ids that Redis chose, by their position. The counts
    of a stream's entries by model are what the stream has, whatever script has run."""
    expected.queued = {}
    names: dict[tuple[str, str], str] = {}
    for kind in ("work", "parked"):
        streams, actual = getattr(expected, kind), getattr(after, kind)
        for name in streams:
            streams[name] = _bound(streams[name], actual.get(name, {}), names, f"{kind}:{name}")
    for record in expected.records.values():
        entry = record.get("entry", "")
        record |= {"entry": names.get((record["stream"], entry), entry)} if entry else {}
    for part in ("dead_letters", "outbox", "ingress", "failures"):
        setattr(expected, part, _bound(getattr(expected, part), getattr(after, part), names, part))
    letters = [line.split(" ") for line in expected.kept.get("letters", [])]
    if letters:
        expected.kept["letters"] = [
            " ".join([*head, names.get(("dead_letters", name), name)]) for *head, name in letters
        ]
    for name, entries in expected.work.items():
        counts = Counter(item.ref for item in entries.values())
        expected.queued[name] = {ref: str(count) for ref, count in counts.items()}
    for name in after.queued.keys() - {name for name, found in expected.work.items() if found}:
        expected.queued[name] = after.queued[name]  # of a lost stream; the next entry deletes them
    for part in _DROPPED:
        table = getattr(expected, part)
        for name in [name for name, members in table.items() if not members]:
            del table[name]


def _bound(
    entries: dict[str, Any], actual: dict[str, Any], names: dict[tuple[str, str], str], stream: str
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    ids = list(actual)
    for position, (entry, value) in enumerate(entries.items()):
        known = position < len(ids) and ids[position] not in out
        bound = ids[position] if entry.startswith("?") and known else entry
        if entry.startswith("?"):
            names[stream, entry] = bound
        out[bound] = value
    return out
