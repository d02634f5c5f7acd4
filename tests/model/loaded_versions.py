"""The model of `lua/lib/loaded_versions.lua`: the versions loaded so far, and pauses of trials."""

from __future__ import annotations

from tests.model.load_target import KNOWN_TTL
from tests.model.model import Model

LIVE_MOST = 8
REST_MS, LONGEST_REST_MS, TRIAL_CRASHES = 10_000, 600_000, 1


def note_live(m: Model, ref: str) -> None:
    """A worker holds this version: what older ones ask for ends."""
    name, version, digest = ref.split(":")
    live = m.state.loaded_versions.setdefault(name, {})
    before = live.get(version, digest)
    if before != digest:
        wish_nothing(m, f"{name}:{version}:{before}")
    live[version] = digest
    m.lives(f"loaded_versions:{name}", KNOWN_TTL)
    for other, of in live.items():
        if int(other) < int(version):
            wish_nothing(m, f"{name}:{other}:{of}")
    if_replaced_wish_nothing(m, ref)
    if len(live) > LIVE_MOST:
        del live[min(live, key=int)]


def if_replaced_wish_nothing(m: Model, ref: str) -> None:
    """What a manifest asks to keep holds for the newest that is live."""
    name, version, _ = ref.split(":")
    if any(int(other) > int(version) for other in m.state.loaded_versions.get(name, {})):
        m.note("loaded_versions: a newer one is")
        wish_nothing(m, ref)


def not_live(m: Model, ref: str) -> None:
    """It could not be loaded any more."""
    name, version, digest = ref.split(":")
    live = m.state.loaded_versions.get(name, {})
    if live.get(version) == digest:
        m.note("loaded_versions: no longer")
        del live[version]
    if not live:
        m.forget(f"loaded_versions:{name}")


def rests(m: Model, ref: str) -> bool:
    """Whether a trial is not due, or has crashed workers."""
    known, breaker = m.state.stats.get(ref, {}), m.state.breakers.get(ref, {})
    resting = int(known.get("rests", 0)) > m.now
    return resting or int(breaker.get("crashes", 0)) > TRIAL_CRASHES


def note_trial(m: Model, ref: str) -> None:
    """One more; the next one later."""
    known = m.state.stats.setdefault(ref, {})
    known["tried"] = str(int(known.get("tried", 0)) + 1)
    rest = min(REST_MS * 2 ** (int(known["tried"]) - 1), LONGEST_REST_MS)
    known["rests"] = str(m.now + rest)
    m.lives(f"stats:{ref}", KNOWN_TTL)


def wish_nothing(m: Model, ref: str) -> None:
    if ref in m.state.stats:
        m.state.stats[ref] |= {"min_copies": "0", "pin": "0"}
