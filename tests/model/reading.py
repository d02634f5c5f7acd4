"""What `VirtualScripts.look` saw of Redis, read as a `State`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.model.state import Item, Load, State


def parse(prefix: str, rows: list[Any]) -> State:
    """The state that `VirtualScripts.look` saw."""
    state = State()
    for full_key, content, *groups in rows:
        name = full_key.removeprefix(prefix + ":")
        kind, _, key = name.partition(":")
        reader = _READERS.get(kind if name == kind or kind in _KEYED else name)
        if name.startswith("rq:job:"):
            state.jobs.add(name.removeprefix("rq:job:"))
        elif reader is None:
            state.unknown.add(name)
        else:
            reader(state, key, content, groups)
    return state


def _table(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}


def _scores(flat: list[str]) -> dict[str, int]:
    return {name: int(float(score)) for name, score in _table(flat).items()}


def _entries(rows: list[Any]) -> dict[str, dict[str, str]]:
    return {entry: _table(flat) for entry, flat in rows}


def _items(rows: list[Any]) -> dict[str, Item]:
    out = {}
    for entry, f in _entries(rows).items():
        out[entry] = Item(
            f["id"], f["model"], int(f["deadline"]), f["reply"], f["flags"], int(f["attempts"]),
            f["body"],
        )  # fmt: skip
    return out


def _load(flat: list[str]) -> Load:
    f = _table(flat)
    return Load(
        f.get("token", ""), f.get("phase", ""), f.get("worker", ""), int(f.get("since", 0)),
        frozenset(f.get("refused", "").split()), f.get("extra", ""), f.get("for", ""),
        f.get("why", ""), f.get("handed_on", ""), f.get("cause", ""),
        int(float(f.get("until", 0))), int(f.get("larger") or 0),
        f.get("all_failed") == "1",
        int(f.get("queued", 0)),
    )  # fmt: skip


Reader = Callable[[State, str, Any, Any], None]


def _work(state: State, key: str, content: Any, groups: Any) -> None:
    state.work[key] = _items(content)
    state.pending[key] = {entry for entry, _ in groups[0]}
    state.groups[key] = set(groups[1])


def _ingress(state: State, _: str, content: Any, groups: Any) -> None:
    state.ingress = _entries(content)
    state.ingress_pending = dict(groups[0])


def _outbox(state: State, _: str, content: Any, groups: Any) -> None:
    state.outbox = _entries(content)
    state.outbox_pending = dict(groups[0])


def _failures(state: State, _: str, content: Any, groups: Any) -> None:
    state.failures = _entries(content)
    state.failures_pending = dict(groups[0])


def _parked(state: State, key: str, content: Any, _: Any) -> None:
    if key:
        state.parked[key] = _items(content)
    else:
        state.waiting = set(content)


def _test(state: State, _: str, content: Any, __: Any) -> None:
    prefix_length = None
    for name, at in _scores(content).items():
        prefix_length = prefix_length or name.index("}") + 2
        if not name.startswith(("changed:", "housekeepers"), prefix_length):
            state.expires[name[prefix_length:]] = at


def _record(flat: list[str]) -> dict[str, str]:
    record = _table(flat)
    if "stream" in record:
        record["stream"] = record["stream"].partition("}:")[2]
    return record


def _into(part: str, read: Callable[[Any], Any]) -> Reader:
    return lambda state, key, content, _: getattr(state, part).__setitem__(key, read(content))


def _whole(part: str, read: Callable[[Any], Any]) -> Reader:
    return lambda state, _, content, __: setattr(state, part, read(content))


def _idempotency(flat: list[str]) -> tuple[str, str]:
    f = _table(flat)
    return f["id"], f["fingerprint"]


_KEYED = {
    "worker", "holders", "holds", "work", "queued", "started", "parked", "load", "loads",
    "unloadable",
    "breaker", "gateway", "replies", "request",
    "tombstone", "idempotency", "answers", "reply_stream", "policy", "stats",
    "warm", "leaving", "orders", "session", "pinned", "no_capacity", "incompatible", "affinity",
    "failed_on", "crashed", "changed", "host", "ready",
    "loaded_versions", "outcomes", "kept", "kept_bytes",
}  # fmt: skip
_READERS: dict[str, Reader] = {
    "workers": _whole("leases", _scores),
    "worker": _into("workers", _table),
    "epoch": lambda *_: None,
    "holders": _into("holders", lambda flat: set(_table(flat))),
    "holds": _into("holds", set),
    "work": _work,
    "queued": _into("queued", _table),
    "started": _into("started", _table),
    "parked": _parked,
    "load": _into("loads", _load),
    "loads": _into("loading", set),
    "unloadable": _into("unloadable", str),
    "refused_models": _whole("refused_models", _scores),
    "breaker": _into("breakers", _table),
    "gateways": _whole("gateways", _scores),
    "gateway": _into("protocols", str),
    "protocols": _whole("rows", _table),
    "replies": _into("replies", lambda rows: list(_entries(rows).values())),
    "request": _into("records", _record),
    "tombstone": lambda state, key, *_: state.tombstone.add(key),
    "idempotency": _into("idempotency", _idempotency),
    "headroom": lambda *_: None,
    "clock": _whole("clock", str),
    "deadlines": _whole("deadlines", _scores),
    "withdrawn": _whole("withdrawn", _scores),
    "ingress": _ingress,
    "outbox": _outbox,
    "dead_letters": _whole("dead_letters", _entries),
    "failures": _failures,
    "kept": _into("kept", list),
    "kept_bytes": _into("kept_bytes", str),
    "outcomes": _into("outcomes", _table),
    "reply_stream": lambda state, key, *_: state.reply_streams.add(key),
    "answers": _into("answers", lambda rows: list(_entries(rows).values())),
    "policy": _into("policies", _table),
    "stats": _into("stats", _table),
    "warm": _into("warm", _table),
    "leaving": _into("leaving", _table),
    "loaded_versions": _into("loaded_versions", _table),
    "orders": _into("told", sorted),
    "min_copies": lambda state, _, rows, __: state.min_copies.update(rows),
    "sessions": _whole("sessions", _scores),
    "session": _into("pins", _table),
    "pinned": _into("pinned", set),
    "reserved": _whole("reserved", _table),
    "no_capacity": _into("no_capacity", str),
    "incompatible": _into("incompatible", set),
    "failed_on": _into("failed_on", _table),
    "crashed": _into("crashed", _table),
    "housekeepers": lambda *_: None,
    "host": lambda *_: None,
    "changed": lambda *_: None,  # hints for workers: no script reads them but a heartbeat
    "unhealthy": _whole("unhealthy", _table),
    "ready": _into("ready", lambda flat: {w: float(at) for w, at in _table(flat).items()}),
    "device_classes": _whole("device_classes", set),
    "affinity": _into("affinity", set),
    "rq:queue:cold": lambda state, _, rows, __: state.orders.extend(rows),
    "waiting_orders": _whole("waits", _scores),
    "rq:queues": lambda *_: None,
    "test:expiry": _test,
}
