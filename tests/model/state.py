"""All that a cell holds in Redis, as plain values: what the model predicts and what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

Pending = dict[str, str]  # entry -> consumer


class Item(NamedTuple):
    """A request in a stream."""

    id: str
    ref: str
    deadline: int
    reply: str
    flags: str
    attempts: int
    body: str


class Load(NamedTuple):
    """A load lease."""

    token: str
    phase: str
    worker: str
    since: int
    refused: tuple[str, ...]


@dataclass
class State:
    """One cell. Streams are dicts in their order. `expires` has the end of every key with a
    lifetime, by its name without the prefix, in ms of the tests' clock."""

    leases: dict[str, int] = field(default_factory=dict)
    workers: dict[str, dict[str, str]] = field(default_factory=dict)
    holders: dict[str, set[str]] = field(default_factory=dict)
    holds: dict[str, set[str]] = field(default_factory=dict)
    work: dict[str, dict[str, Item]] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    pending: dict[str, set[str]] = field(default_factory=dict)
    begun: dict[str, dict[str, str]] = field(default_factory=dict)
    parked: dict[str, dict[str, Item]] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    loads: dict[str, Load] = field(default_factory=dict)
    loading: dict[str, set[str]] = field(default_factory=dict)
    orders: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    unloadable: dict[str, str] = field(default_factory=dict)
    breakers: dict[str, dict[str, str]] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    replies: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    idempotency: dict[str, tuple[str, str]] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    ingress: dict[str, dict[str, str]] = field(default_factory=dict)
    ingress_pending: Pending = field(default_factory=dict)
    outbox: dict[str, dict[str, str]] = field(default_factory=dict)
    outbox_pending: Pending = field(default_factory=dict)
    dead: dict[str, dict[str, str]] = field(default_factory=dict)
    answers: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    expires: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def differences(self, actual: State) -> list[str]:
        """Where this, the prediction, and what is differ."""
        out = []
        for part in fields(State):
            expected, found = getattr(self, part.name), getattr(actual, part.name)
            if expected == found and _order(expected) == _order(found):
                continue
            keys = expected.keys() | found.keys() if isinstance(expected, dict) else ()
            for key in keys:
                if expected.get(key) != found.get(key) or part.name in ("work", "parked"):
                    out.append(f"{part.name}[{key}]: want {expected.get(key)}, is {found.get(key)}")
            if not keys:
                out.append(f"{part.name}: want {expected}, is {found}")
        return out


def _order(value: Any) -> Any:
    """Dicts compare without their order; that of entries in a stream matters."""
    if isinstance(value, dict) and value and isinstance(next(iter(value.values())), dict):
        return {key: list(inner) for key, inner in value.items()} if _is_streams(value) else None
    return None


def _is_streams(value: dict[str, Any]) -> bool:
    return any(isinstance(item, Item) for inner in value.values() for item in inner.values())


def parse(prefix: str, rows: list[Any]) -> State:
    """The state that `VirtualScripts.dump` saw."""
    state = State()
    for raw_key, _, content, groups in rows:
        name = _text(raw_key).removeprefix(prefix + ":")
        kind, _, key = name.partition(":")
        reader = _READERS.get(kind if name == kind or kind in _KEYED else name)
        if name.startswith("rq:job:"):
            state.jobs.add(name.removeprefix("rq:job:"))
        elif reader is None:
            state.unknown.add(name)
        else:
            reader(state, key, content, groups)
    return state


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _table(flat: list[bytes]) -> dict[str, str]:
    return {_text(flat[i]): _text(flat[i + 1]) for i in range(0, len(flat), 2)}


def _scores(flat: list[bytes]) -> dict[str, int]:
    return {_text(flat[i]): int(float(flat[i + 1])) for i in range(0, len(flat), 2)}


def _entries(rows: list[Any]) -> dict[str, dict[str, str]]:
    return {_text(entry): _table(flat) for entry, flat in rows}


def _items(rows: list[Any]) -> dict[str, Item]:
    out = {}
    for entry, f in _entries(rows).items():
        out[entry] = Item(
            f["id"], f["model"], int(f["deadline"]), f["reply"], f["flags"], int(f["attempts"]),
            f["body"],
        )  # fmt: skip
    return out


def _texts(rows: list[bytes]) -> list[str]:
    return [_text(row) for row in rows]


def _load(flat: list[bytes]) -> Load:
    f = _table(flat)
    return Load(
        f.get("token", ""), f.get("phase", ""), f.get("worker", ""), int(f.get("since", 0)),
        tuple(f.get("refused", "").split()),
    )  # fmt: skip


Reader = Callable[[State, str, Any, Any], None]


def _work(state: State, key: str, content: Any, groups: Any) -> None:
    state.work[key] = _items(content)
    state.pending[key] = {_text(entry) for entry, _ in groups[0]}
    state.groups[key] = set(_texts(groups[1]))


def _ingress(state: State, _: str, content: Any, groups: Any) -> None:
    state.ingress = _entries(content)
    state.ingress_pending = {_text(e): _text(consumer) for e, consumer in groups[0]}


def _outbox(state: State, _: str, content: Any, groups: Any) -> None:
    state.outbox = _entries(content)
    state.outbox_pending = {_text(e): _text(consumer) for e, consumer in groups[0]}


def _parked(state: State, key: str, content: Any, _: Any) -> None:
    if key:
        state.parked[key] = _items(content)
    else:
        state.waiting = set(_texts(content))


def _test(state: State, _: str, content: Any, __: Any) -> None:
    prefix_length = None
    for name, at in _scores(content).items():
        prefix_length = prefix_length or name.index("}") + 2
        state.expires[name[prefix_length:]] = at


def _record(flat: list[bytes]) -> dict[str, str]:
    record = _table(flat)
    if "stream" in record:
        record["stream"] = record["stream"].partition("}:")[2]
    return record


def _into(part: str, read: Callable[[Any], Any]) -> Reader:
    return lambda state, key, content, _: getattr(state, part).__setitem__(key, read(content))


def _whole(part: str, read: Callable[[Any], Any]) -> Reader:
    return lambda state, _, content, __: setattr(state, part, read(content))


def _idempotency(flat: list[bytes]) -> tuple[str, str]:
    f = _table(flat)
    return f["id"], f["fingerprint"]


_KEYED = {
    "worker", "holders", "holds", "work", "begun", "parked", "load", "loads", "unloadable",
    "breaker", "replies", "request", "gone", "idem", "answers",
}  # fmt: skip
_READERS: dict[str, Reader] = {
    "workers": _whole("leases", _scores),
    "worker": _into("workers", _table),
    "epoch": lambda *_: None,
    "holders": _into("holders", lambda flat: set(_table(flat))),
    "holds": _into("holds", lambda rows: set(_texts(rows))),
    "work": _work,
    "begun": _into("begun", _table),
    "parked": _parked,
    "load": _into("loads", _load),
    "loads": _into("loading", lambda rows: set(_texts(rows))),
    "unloadable": _into("unloadable", _text),
    "breaker": _into("breakers", _table),
    "gateways": _whole("gateways", _scores),
    "replies": _into("replies", lambda rows: list(_entries(rows).values())),
    "request": _into("records", _record),
    "gone": lambda state, key, *_: state.gone.add(key),
    "idem": _into("idempotency", _idempotency),
    "room": lambda *_: None,
    "deadlines": _whole("deadlines", _scores),
    "ingress": _ingress,
    "outbox": _outbox,
    "dead": _whole("dead", _entries),
    "answers": _into("answers", lambda rows: list(_entries(rows).values())),
    "rq:queue:cold": lambda state, _, rows, __: state.orders.update(_texts(rows)),
    "rq:queues": lambda *_: None,
    "test:expiry": _test,
}
