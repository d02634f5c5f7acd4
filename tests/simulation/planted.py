"""The bugs that the simulation must find, and the rules of the design that they break."""

from __future__ import annotations

from tests.simulation.crowds import CALM, CHURNED, FLOODED
from tests.simulation.plants import (
    Plant,
    blind_to_tokens,
    credulous_gateways,
    generous_ledger,
    hasty_evictor,
    impatient_parent,
    in_lua,
    late_waiters,
    newest_at_once,
    old_news,
)

# What is planted, and the rules of which at least one must be seen broken.
PLANTED: dict[str, tuple[Plant, str]] = {
    "complete publishes what it could not delete": (
        in_lua(
            "out[#out + 1] = is_read and redis.call('XDEL', stream, ARGV[i]) or 0",
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
        in_lua("    order_load(ref, ref .. ' again', now)\n    swept.", "    swept."),
        "I17",
    ),
    "cancel publishes without deleting": (
        in_lua("is_lost or not take_entry(stream, entry, ref)", "is_lost"),
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
        in_lua("grace = seen + lease  --", "grace = 0  --"), "S3",
    ),
    "a leap of Redis's clock is time that passed": (
        in_lua("offset = offset + leap", "offset = offset"), "T1",
    ),
    "what is not explained yet is time that passed": (
        in_lua("if now > seen + FAR_MS then return seen, now, offset, true end", ""), "T1",
    ),
    "a gateway believes Redis's clock": (credulous_gateways, "T1 T2"),
    "the budget is not kept": (generous_ledger, "I19"),
    "a silent worker is reaped before its lease is over": (
        in_lua("'-inf', now, 'LIMIT', 0, CAND", "'-inf', now + 1500, 'LIMIT', 0, CAND"),
        "S3 S6",
    ),
    "a parent takes a pause for a death": (impatient_parent, "S6"),
    "one model's queue counts for its neighbours": (
        in_lua("if own >= limit then return true end", "do return true end"), "S7",
    ),
    "the device takes up what was cancelled": (old_news, "S8"),
    "requests get the newest version at once": (newest_at_once, "S10"),
    "failures are recorded nowhere": (
        in_lua(
            "if status == 'succeeded' or status == 'cancelled' then return end", "do return end"
        ),
        "S9",
    ),
}  # fmt: skip

# The faults that lead to a bug which few schedules would meet (`simulate`).
LEADS: dict[str, tuple[str, ...]] = {
    "a move, a cancel or a sweep does not have to win": (FLOODED, "slow network"),
    "begin lets what is late run": (FLOODED, "process stopped"),
    "register leaves what the old epoch had": (FLOODED, "worker killed"),
    "place does not look at the limits": (FLOODED, CALM),
    "a waiter misses its answer": (CALM,),
    "a copy is freed under its requests": (CHURNED, "slow network"),
    "one worker that cannot load a model refuses it for all": ("store forbids",),
    "the crashes of one worker quarantine a model": ("calls crash",),
    "a stall of Redis, or a jump of its clock, is the death of workers": (
        "Redis stalled", "clock jumped",
    ),
    "a leap of Redis's clock is time that passed": ("clock jumped",),
    "what is not explained yet is time that passed": ("clock jumped",),
    "a gateway believes Redis's clock": ("clock jumped",),
    "a silent worker is reaped before its lease is over": ("process stopped", "cut from Redis"),
    "a parent takes a pause for a death": ("process stopped",),
    "one model's queue counts for its neighbours": (FLOODED, CALM),
    "requests get the newest version at once": ("bad version published",),
    "the device takes up what was cancelled": (FLOODED, CALM),
}  # fmt: skip

# Bugs that few schedules meet: each is planted in a cell that is made for it (`test_judges.py`).
MADE: dict[str, tuple[Plant, str]] = {
    "claim_load does not look at the token": (
        in_lua("if r[1] ~= token or r[2] ~= '' then return 'stale' end", ""), "I16",
    ),
    "a sick holder is as good as others": (
        in_lua("if not best or rank < least_rank or less then",
               "if not best or load_of[worker] < least then"), "S4",
    ),
    "what one worker cannot load is refused to all for a while": (
        in_lua("redis.call('PEXPIRE', key, 2 * LONGEST_BACKOFF)",
               "redis.call('PEXPIRE', key, 2 * LONGEST_BACKOFF) "
               "redis.call('SET', k('unloadable', ref), '~' .. what.cause, 'PX', 2000)"), "S5",
    ),
}  # fmt: skip

# The rules of the design that hold beyond the invariants of the protocol page, each with the
# planted bugs that show that it is judged here, or else with the test that shows it.
RULES: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("blame is local until proved global", (
        "one worker that cannot load a model refuses it for all",
        "the crashes of one worker quarantine a model",
        "a sick holder is as good as others",
        "what one worker cannot load is refused to all for a while",
    )),
    2: ("no script grows with the fleet", ("tests/lua/test_reap.py",)),
    3: ("a stall is not a death", (
        "a stall of Redis, or a jump of its clock, is the death of workers",
        "a leap of Redis's clock is time that passed",
        "a silent worker is reaped before its lease is over",
        "a parent takes a pause for a death",
    )),
    4: ("a new version cannot be an outage", ("requests get the newest version at once",)),
    5: ("budgets add up to the machine", (
        "the budget is not kept", "tests/worker/device/test_host_share.py",
    )),
    6: ("answers leave traces", ("failures are recorded nowhere",)),
    7: ("neighbours are safe", (
        "one model's queue counts for its neighbours", "the device takes up what was cancelled",
    )),
    8: ("cold is as fast as the bytes", ("tests/worker/trial/test_independence.py",)),
    9: ("two releases side by side", ("tests/lua/test_releases.py",)),
}  # fmt: skip
