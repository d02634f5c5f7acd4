"""What scripts answered, in words: counted, so that a run shows that it reached the bad states."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.simulation.server import Ran

# Scripts whose answer is a word, or a number that stands for one.
_NUMBERS = {
    "announce": {-1: "stale", -2: "fenced"},
    "fail_load": {-1: "stale"},
    "fence_worker": {-1: "late"},
    "renew_load": {0: "lost"},
    "renew_lease": {0: "left"},
    "leave": {0: "fenced"},
}
_WORDS = ("heartbeat", "claim_load", "refuse_load")
# Answers that say: nothing was done.
_REFUSED = {
    "announce": ("stale", "fenced"), "fail_load": ("stale",), "fence_worker": ("late",),
    "renew_load": ("lost",), "leave": ("fenced",), "publish_reply": ("late",),
    "heartbeat": ("fenced", "taken"), "renew_lease": ("left",), "refuse_load": ("stale",),
    "claim_load": ("stale", "refused", "fenced"),
    "cancel": ("unknown", "gone"), "complete": ("fenced",),
    "begin": ("fenced",),
}  # fmt: skip
CANCEL_FIELDS = 7  # of each item of `cancel`
_WRITES = ("XADD", "HSET", "ZADD", "SET", "XDEL")


def words(ran: Ran) -> list[str]:
    """One word per thing that was decided."""
    reply = ran.reply
    if ran.script == "place":
        return [row[0].decode() for row in reply]
    if ran.script in ("publish_reply", "heartbeat"):
        return [reply[0].decode()]
    if ran.script in _WORDS:
        return [reply.decode().partition(" ")[0]]
    if ran.script == "cancel":
        return [answer.decode().partition(" ")[0] for answer in reply]
    if ran.script == "complete":
        return ["fenced"] if reply == [-1] else ["won" if won else "not ours" for won in reply]
    if ran.script == "begin":
        return [verdict.decode() for verdict in reply[1:]]
    if ran.script in ("reap", "reload"):
        return ["done" if reply else "nothing"]
    if ran.script == "sweep":
        names = ("expired", "ordered", "placed", "errors")
        return [name for name, count in zip(names, reply, strict=True) if count]
    if isinstance(reply, int):
        return [_NUMBERS.get(ran.script, {}).get(reply, "done")]
    return ["done"]


def count(counts: Counter[str], ran: Ran) -> None:
    """Add what a script decided, and what else it did that is worth counting."""
    if not ran.script:
        return
    counts.update(f"{ran.script} {word}" for word in words(ran))
    for effect in ran.effects:
        if effect.command == "EXPIRED":
            counts[f"{effect.key.split(':')[1]} ran out"] += 1


def refused_but_changed(ran: Ran) -> list[Any]:
    """What a script changed although it answered that it refused."""
    refusals = _REFUSED.get(ran.script)
    if not refusals or not all(word in refusals for word in words(ran)):
        return []
    return [effect for effect in ran.effects if effect.command in _WRITES and _counts(effect)]


def _counts(effect: Any) -> bool:
    noted = effect.key.endswith(":withdrawn")  # of a request that is not found
    return not noted and not (effect.command == "XDEL" and effect.answer == 0)


def taken_back(ran: Ran, args: tuple[Any, ...]) -> dict[str, str]:
    """How the requests ended that this run of `cancel` took, by id (`args`: from its first
    item on): of one that is late it says
    `expired` and what it waited for, of one that had ended already the status alone."""
    found: dict[str, str] = {}
    if ran.script != "cancel":
        return found
    for request_id, answer in zip(args[::CANCEL_FIELDS], ran.reply, strict=True):
        status, _, outcome = str(answer.decode()).partition(" ")
        if status == "cancelled" or outcome:
            found[str(request_id)] = status
    return found
