"""The model of `lua/lib/live.lua`: which versions have been loaded, and when trials rest."""

from __future__ import annotations

from tests.model.model import Model
from tests.model.nearest import KNOWN_TTL

LIVE_MOST = 8
REST_MS, LONGEST_REST_MS, TRIAL_CRASHES = 10_000, 600_000, 1


def note_live(m: Model, ref: str) -> None:
    """A worker holds this version: what older ones ask for ends."""
    name, version, digest = ref.split(":")
    live = m.state.live.setdefault(name, {})
    before = live.get(version, digest)
    if before != digest:
        _wish_nothing(m, f"{name}:{version}:{before}")
    live[version] = digest
    m.lives(f"live:{name}", KNOWN_TTL)
    for other, of in live.items():
        if int(other) < int(version):
            _wish_nothing(m, f"{name}:{other}:{of}")
    if_replaced_wish_nothing(m, ref)
    if len(live) > LIVE_MOST:
        del live[min(live, key=int)]


def if_replaced_wish_nothing(m: Model, ref: str) -> None:
    """What a manifest asks to keep holds for the newest that is live."""
    name, version, _ = ref.split(":")
    if any(int(other) > int(version) for other in m.state.live.get(name, {})):
        m.note("live: a newer one is")
        _wish_nothing(m, ref)


def not_live(m: Model, ref: str) -> None:
    """It could not be loaded any more."""
    name, version, digest = ref.split(":")
    live = m.state.live.get(name, {})
    if live.get(version) == digest:
        m.note("live: no longer")
        del live[version]
    if not live:
        m.forget(f"live:{name}")


def rests(m: Model, ref: str) -> bool:
    """Whether a trial is not due, or has crashed workers."""
    known, breaker = m.state.known.get(ref, {}), m.state.breakers.get(ref, {})
    resting = int(known.get("rests", 0)) > m.now
    return resting or int(breaker.get("crashes", 0)) > TRIAL_CRASHES


def note_trial(m: Model, ref: str) -> None:
    """One more; the next one later."""
    known = m.state.known.setdefault(ref, {})
    known["tried"] = str(int(known.get("tried", 0)) + 1)
    rest = min(REST_MS * 2 ** (int(known["tried"]) - 1), LONGEST_REST_MS)
    known["rests"] = str(m.now + rest)
    m.lives(f"known:{ref}", KNOWN_TTL)


def _wish_nothing(m: Model, ref: str) -> None:
    if ref in m.state.known:
        m.state.known[ref] |= {"min_copies": "0", "pin": "0"}
