"""Every script does what the model says, whatever many clients do in whatever order.

The seeds are the same each time; WARMROUTE_TEST_SEED=n tries others. A failure prints a short run
that repeats it: paste its Plan into a test, or into `Explorer.run`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from deploy.local.redis_server import RedisServer
from tests.contract.sources import ROOT
from tests.model import mutants
from tests.model.explorer import RULES, Explorer, plan
from tests.model.known_runs import KNOWN
from tests.model.run import Plan, Step
from tests.model.virtual import Mutant

STEPS, MOST_STEPS = 12_000, 400_000
FIRST_SEED = int(os.environ.get("WARMROUTE_TEST_SEED", "0"))
FAVOURED = sorted({planted.favour for planted in mutants.ALL})
FAVOURED_BY: dict[str, set[tuple[str, ...]]] = defaultdict(set)  # a script, or a part of several
for _planted in mutants.ALL:
    FAVOURED_BY[_planted.mutant.file.removeprefix("lib/")].add(_planted.favour)
FAVOURED_BY |= {"copies": {("place", "heartbeat")}, "take_told": {("take_told", "order_unload")}}
# Rules that lead to an outcome which those of its script seldom reach.
LEADING_TO = {
    "begin: cancelled": ("place", "read", "cancel", "begin"),
    "blame: all agree": ("claim_load", "fail_load"),
    "copies: spilled": ("announce", "place", "heartbeat"),
    "crashes: outweighed": ("crashed_before", "announce", "begin", "complete"),
    "order_copy: quarantined": ("order_copy", "crashed_before", "announce", "begin"),
    "order_copy: resting": ("order_copy", "claim_load", "fail_load"),
    "sweep: backing off": ("claim_load", "fail_load", "sweep"),
    "sweep: forgotten": ("refuse_load", "sweep"),
    "parked: the fewest starts first": ("retried_before", "place", "announce", "sweep"),
    "route_by_affinity: nowhere": ("kin_before", "route_by_affinity", "claim_load", "refuse_load"),
    "sweep: placed": ("refuse_load", "sweep"),
    "sweep: quarantined": ("place", "crashed_before", "claim_load", "reap", "sweep"),
    "take_told: unload": ("announce", "order_unload", "take_told"),
}

# What each script can answer, and some things that it can do. A search that misses one proves
# little.
OUTCOMES = {
    "route_by_affinity": "here elsewhere nowhere stale",
    "announce": "all part stale fenced",
    "publish_reply": "answered, too late, refused",
    "blame": "a class, all agree",
    "begin": "run, expired, gone, cancelled, fenced, no group",
    "cancel": "cancelled unknown expired failed succeeded late",
    "claim_load": "claimed suspect stale unwanted refused later fenced",
    "close_session": "closed none",
    "complete": "won lost fenced",
    "copies": "spilled, not sooner",
    "crashes": "convicted, outweighed, suspect",
    "drop_kept": "outcomes letters",
    "list_letters": "some none",
    "fence_worker": "blamed, nobody to blame, a request to blame, late, opened",
    "fail_load": "all, part, stale, waits on, elsewhere",
    "gateway_beat": "took back, nothing to take back, grace",
    "hand_over": "goes on, ended",
    "heartbeat": "ok resync fenced taken",
    "health": "outranked",
    "healthy_copy": "ordered, nobody is healthy, two agree",
    "holders": "outranked",
    "keep_clock": "followed, asked, was away",
    "keep_session": "kept ended",
    "leave": "left, not registered",
    "loaded_versions": "a newer one is, no longer",
    "lose_everything": "lost",
    "lose_stream": "lost",
    "load_target": "host, disk, none, all have failed",
    "open_session": "open, exists, full, too_many, outranked",
    "order_copy": "held loading ordered unloadable quarantined no_worker resting",
    "record_stats": "noted fenced",
    "order_unload": "told pinned nobody",
    "parked": "the fewest starts first, for a healthy copy",
    "place": "placed parked joined mismatch full memory unloadable quarantined duplicate late",
    "read": "read, nothing new, fenced",
    "reap": "all part nobody grace",
    "refuse_load": "ordered no_worker no_capacity stale",
    "register": "registered",
    "reload": "claimed refused outranked",
    "record_outcomes": "kept, no room",
    "renew_lease": "renewed, not plain",
    "renew_load": "kept lost",
    "replay": "ingress unknown placed parked unkept",
    "retire": "drains empty pinned needed fenced",
    "set_policy": "set, taken back",
    "sweep": "expired, ordered, placed, kept, taken, forgotten, quarantined, backing off",
    "take_told": "load unload",
    "reconcile": "ended, ordered, put off, forgotten",
    "subscribe": "known unknown ended",
    "release_worker": "dead_lettered",
}


@pytest.fixture
def explorer(redis_server: RedisServer) -> Iterator[Explorer]:
    opened = Explorer(redis_server.url)
    yield opened
    opened.close()


def missed(outcomes: Counter[str]) -> list[str]:
    """Outcomes that were never reached."""
    wanted = []
    for script, listed in OUTCOMES.items():
        names = listed.split(", ") if "," in listed else listed.split()
        wanted += [f"{script}: {name}" for name in names]
    return [name for name in wanted if not outcomes[name]]


def favour(seed: int, left: list[str]) -> tuple[str, ...]:
    """Rules to use more in a run: two times in three those that lead to what is `left` to reach."""
    wanted = left if seed % 3 else []
    found = {LEADING_TO[name] for name in wanted if name in LEADING_TO}
    scripts = {name.partition(":")[0] for name in wanted if name not in LEADING_TO}
    found |= {rules for script in scripts for rules in FAVOURED_BY[script]}
    leading = sorted(found) or FAVOURED
    return leading[seed // 3 % len(leading)]


def explore(explorer: Explorer, seed: int, favoured: tuple[str, ...]) -> None:
    """One run; a failure is told as short as it can be made."""
    failure = explorer.run(plan(seed, favoured), seed)
    if failure is not None:
        pytest.fail(str(explorer.shrunk(failure)))


@pytest.mark.timeout(1800)
def test_the_scripts_do_what_the_model_says(explorer: Explorer) -> None:
    """Thousands of random calls, each followed by a look at all that Redis holds; and every outcome
    is reached, if need be by some thousands more."""
    for known, rules in KNOWN:
        explore(explorer, known, tuple(rules.split()))
    seed, left = FIRST_SEED, missed(explorer.outcomes)
    while explorer.steps < STEPS or (left and explorer.steps < MOST_STEPS):
        explore(explorer, seed, favour(seed, left))
        seed += 1
        left = missed(explorer.outcomes)
    print(f"seeds {FIRST_SEED} to {seed - 1}, {explorer.steps} steps")
    print("\n".join(f"{n:>6} {what}" for what, n in sorted(explorer.outcomes.items())))
    assert missed(explorer.outcomes) == []


def test_a_failure_is_made_short_and_can_be_repeated(redis_server: RedisServer) -> None:
    """With a fault planted, dozens of steps become the few that it takes."""
    mutant = Mutant("retire", "redis.call('HDEL', k('holders', ref), worker)", "")
    explorer = Explorer(redis_server.url, mutant)
    try:
        usual = [Step("place"), Step("tick"), Step("sweep"), Step("subscribe"), Step("heartbeat")]
        long = [Step("register"), Step("announce"), *usual * 4, Step("retire"), *usual]
        failure = explorer.run(Plan(128, 1, 1, 3, tuple(long)), seed=7)
        assert failure is not None
        short = explorer.shrunk(failure)
        assert [step.rule for step in short.plan.steps] == ["register", "announce", "retire"]
        assert "holders" in short.message
        assert "seed 7" in str(short)
    finally:
        explorer.close()


def test_one_seed_is_one_run() -> None:
    """The plan of a seed is always the same, and differs from that of another one."""
    assert plan(3) == plan(3) != plan(4)


def test_no_script_was_forgotten() -> None:
    """Each has a rule and outcomes, and at least two planted faults; `release` is called by `leave`
    and `fence_worker`, whose rules it belongs to."""
    scripts = {path.stem for path in (ROOT / "shared" / "lua").glob("*.lua")} - {"release"}
    assert scripts - set(RULES) == set()
    assert scripts - set(OUTCOMES) == set()
    faults = Counter(planted.mutant.file for planted in mutants.ALL)
    assert [script for script in sorted(scripts) if faults[script] < 2] == []
