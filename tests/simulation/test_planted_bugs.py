"""The simulation can fail: with one of these bugs planted it finds a broken rule soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from router.fleet.clock_watch import ClockWatch
from router.requests.waiters import Waiters
from shared import script_runner
from tests.simulation.server import SimRedis
from tests.simulation.simulate import simulate
from worker.loading.load_lease import LoadLease
from worker.residency.evictor import Evictor
from worker.residency.ledger import Ledger
from worker.residency.projection import Projection

MOST_SEEDS = 300
FOUND_BEFORE = (
    2,
    5,
    20,
    0,
    87,
    131,
    70,
    21,
    20,
    18,
    17,
    14,
    8,
)  # what found them last time comes first
Plant = Callable[[pytest.MonkeyPatch], None]


def in_lua(before: str, after: str) -> Plant:
    """Replace a piece of script text wherever it stands; it must stand somewhere."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        load, found = script_runner.load_source, []

        def changed(name: str) -> str:
            text = load(name)
            found.append(before in text)
            return text.replace(before, after)

        patch.setattr(script_runner, "load_source", changed)
        for path in (script_runner.files("shared") / "lua").iterdir():
            if path.name.endswith(".lua"):
                changed(path.name.removesuffix(".lua"))
        assert any(found), "the text to be changed is no longer there"

    return plant


def credulous_gateways(patch: pytest.MonkeyPatch) -> None:
    """They take every leap for an outage."""
    patch.setattr(ClockWatch, "leap", lambda watch, mark, reading: 0)


def late_waiters(patch: pytest.MonkeyPatch) -> None:
    """The waiter is there only after its request may have been answered."""
    resolve = Waiters.resolve

    def forgetful(self: Waiters, fields: list[bytes]) -> None:
        if len(self) % 2:
            resolve(self, fields)

    patch.setattr(Waiters, "resolve", forgetful)


def hasty_evictor(patch: pytest.MonkeyPatch) -> None:
    """Frees a copy without waiting for what was placed on it."""
    patch.setattr(Evictor, "busy", lambda self, copy: False)
    make = Evictor.__init__

    def init(self: Evictor, parts: Any, caught_up: Any, *rest: Any) -> None:
        make(self, parts, lambda last, since: True, *rest)

    patch.setattr(Evictor, "__init__", init)


def generous_ledger(patch: pytest.MonkeyPatch) -> None:
    """Counts nothing as used when it plans."""
    patch.setattr(Projection, "fits", property(lambda self: True))
    patch.setattr(Ledger, "_would_fit", lambda self, ref, footprint: True)
    patch.setattr(Ledger, "used_with", lambda self, footprint, without=(): footprint.total)


def blind_to_tokens(patch: pytest.MonkeyPatch) -> None:
    """Neither the loader nor the script asks whose load it is."""
    in_lua("if token ~= '' and (lease[1] ~= token or lease[2] ~= worker) then", "if false then")(
        patch
    )

    async def renew(self: LoadLease, load: object) -> None:
        """Whatever Redis would say."""

    patch.setattr(LoadLease, "_renew", renew)


# What is planted, and the rules of which at least one must be seen broken.
PLANTED: dict[str, tuple[Plant, str]] = {
    "complete publishes what it could not delete": (
        in_lua(
            "out[#out + 1] = redis.call('XDEL', stream, ARGV[i])",
            "redis.call('XDEL', stream, ARGV[i]) out[#out + 1] = 1",
        ),
        "I1",
    ),
    "a move, a cancel or a sweep does not have to win": (
        in_lua(
            "if redis.call('XDEL', stream, entry) == 0 then return false end",
            "redis.call('XDEL', stream, entry)",
        ),
        "I1 I10",
    ),
    "a move does not say where the request is now": (
        in_lua("'stream', stream, 'entry', entry,", "'stream', stream, 'entry', '0-1',"),
        "I1",
    ),
    "a move puts the request down twice": (
        in_lua(
            "  local entry = add(stream, item)\n  if load_of",
            "  add(stream, item)\n  local entry = add(stream, item)\n  if load_of",
        ),
        "I12",
    ),
    "a load that lost its lease goes on and announces": (blind_to_tokens, "I16"),
    "claim_load does not look at the token": (
        in_lua("if r[1] ~= token or r[2] ~= '' then return 'stale' end", ""), "I16",
    ),
    "begin lets what is late run": (
        in_lua("elseif tonumber(ARGV[i + 2]) <= now then", "elseif false then"), "I14",
    ),
    "starts are not counted": (in_lua("item.attempts = item.attempts + 1", ""), "I7"),
    "register leaves what the old epoch had": (
        in_lua("release_worker(worker, how, tonumber(ARGV[7]), now)", "0"),
        "I1 I3 I5 I7 I12 I18 I20",
    ),
    "place does not look at the limits": (
        in_lua("has_enough(worker, item.model, queued, limits.work)", "false"), "I24",
    ),
    "the sweep orders nothing again": (
        in_lua("    order_load(ref, first[1], now)\n    swept.", "    swept."),
        "I17",
    ),
    "cancel publishes without deleting": (
        in_lua("stream == '' or not take_entry(stream, entry, ref)", "stream == ''"),
        "I1 I10",
    ),
    "a key is not remembered": (
        in_lua("if prior[1] then return join", "if false then return join"), "I13",
    ),
    "a waiter misses its answer": (late_waiters, "I11"),
    "a copy is freed under its requests": (hasty_evictor, "I18"),
    "one worker that cannot load a model refuses it for all": (
        in_lua(
            "if scope ~= 'model' and #names < MOST_ASKED and is_one_left",
            "if false and is_one_left",
        ),
        "S1",
    ),
    "the crashes of one worker quarantine a model": (
        in_lua("score + math.min(count, PER_WORKER)", "score + CRASHES"), "S2",
    ),
    "a stall of Redis, or a jump of its clock, is the death of workers": (
        in_lua("grace = seen + lease end", "grace = 0 end"), "S3",
    ),
    "a leap of Redis's clock is time that passed": (
        in_lua("offset = offset + leap", "offset = offset"), "T1",
    ),
    "what is not explained yet is time that passed": (
        in_lua("if now > seen + FAR_MS then return seen, now, offset, true end", ""), "T1",
    ),
    "a gateway believes Redis's clock": (credulous_gateways, "T1 T2"),
    "the budget is not kept": (generous_ledger, "I19"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """Schedules bring their own event loop."""
    yield
    asyncio.set_event_loop(None)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(
    server: SimRedis, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Within some seeds."""
    plant, rules = PLANTED[name]
    plant(monkeypatch)
    for seed in dict.fromkeys([*FOUND_BEFORE, *range(MOST_SEEDS)]):
        broken = [text.partition(":")[0] for text in simulate(seed, server).violations]
        if set(broken) & set(rules.split()):
            print(f"seed {seed}: {broken[0]}")
            return
    pytest.fail(f"{MOST_SEEDS} schedules did not find it")
