"""Faults in whom a failure is charged to, and in how far an unhealthy worker is passed over.

Left out because a random run hardly ever gets there (`tests/lua/test_crashes.py` and
`test_probes.py` do): that the crash of a retried probe doubles the quarantine, that a request that
crashed its worker is moved as the probe, and that a sole worker that crashed with several models
convicts one.
"""

from __future__ import annotations

from tests.model.planting import of

LOADS = [
    *of(
        "lib/blame", "fail_load claim_load place reload",
        ("it_is_asked_again_at_once", "if failure.ends > now then names", "if false then names"),
        ("it_is_never_asked_again", "now + pause, times", "now + 2 ^ 50, times"),
        ("each_time_is_the_first", "failures[worker].times + 1", "1"),
        ("for_ever", "redis.call('PEXPIRE', key, 2 * LONGEST_BACKOFF)", ""),
    ),
    *of(
        "lib/blame", "fail_load claim_load place sweep take_order",
        ("a_cause_of_its_own_convicts_a_class", "failure.scope == 'class' and", ""),
    ),
    *of(
        "lib/blame", "fail_load claim_load heartbeat",
        ("one_convicts_a_class", "AGREEING = 32, 600000, 2", "AGREEING = 32, 600000, 1"),
        ("whoever_is_sick_is_asked", "rank < RANKS.sick", "true"),
    ),
    *of(
        "lib/order", "fail_load claim_load place tick sweep reload",
        ("what_nobody_waits_for_is_ordered", "if not required then", "if false then"),
        ("what_has_failed_is_asked_first", "excluding(ref, now, refused, extra, larger))",
         "excluding(ref, now, refused, extra, larger, true))"),
        ("an_order_that_no_worker_may_take", "return chosen, '1'", "return chosen, ''"),
    ),
    *of(
        "claim_load", "fail_load claim_load place tick",
        ("if_all_have_failed_nobody_tries_again", "r[7] == '1'", "false"),
        ("it_tries_again_at_once", "r[7] == '1'", "true"),
    ),
    *of(
        "claim_load", "claim_load heartbeat place",
        ("a_sick_one_takes_what_a_healthy_one_could", "if soonest and least < rank", "if false"),
        ("it_may_claim_whenever_it_likes", "and not trial then", "and false then"),
        ("it_is_refused_though_it_is_alone", "if soonest and least < rank", "if true"),
    ),
    *of(
        "reload", "reload fail_load claim_load place",
        ("what_failed_here_is_loaded_again", "(failed and failed.ends > now)", "false"),
    ),
    *of(
        "announce", "announce fail_load claim_load",
        ("its_failures_are_not_forgiven", "redis.call('HDEL', k('failed_on', ref), worker)", ""),
    ),
    *of(
        "lib/blame", "fail_load register claim_load place",
        ("a_new_worker_pays_for_the_old_one", "parent and parent ~= before", "false"),
        ("whoever_registers_is_new", "parent and parent ~= before", "parent"),
    ),
    *of(
        "lib/crashes", "crashed_before fence_worker register claim_load",
        ("a_crash_is_mended_by_a_restart", "crash = true", "crash = false"),
    ),
    *of(
        "fail_load", "fail_load claim_load reload heartbeat",
        ("only_the_last_is_named", "if #names < 2 then", "if true then"),
        ("what_may_pass_for_one_is_final", "temporary or failures[name].temporary", "false"),
    ),
]  # fmt: skip

CRASHES = [
    *of(
        "lib/crashes", "crashed_before fence_worker claim_load reload begin",
        ("it_never_opens", "if opened or convicted then", "if false then"),
        ("each_crash_of_one_machine_counts", "math.min(count, PER_WORKER)", "count"),
        ("successes_do_not_count", "/ SUCCESSES", "* 0"),
        ("its_worker_may_load_it_again", "if own > 1 then", "if false then"),
    ),
    *of(
        "lib/crashes", "ill_before fence_worker claim_load begin announce",
        ("a_worker_is_never_suspect", "if crashes > 1 and against > 1 then", "if false then"),
        ("a_crash_makes_it_suspect", "if crashes > 1 and against > 1 then", "if true then"),
        ("suspect_for_ever", "redis.call('PEXPIRE', key, CALM_MS)", ""),
    ),
    *of(
        "lib/publish", "crashed_before announce begin complete",
        ("successes_do_not_count", "redis.call('HINCRBY', key, 'successes', 1)", "0"),
        ("the_account_is_never_closed", "if count >= SUCCESSES * tonumber(r[1]) then",
         "if false then"),
        ("a_crashed_worker_speaks_for_it", "if not crashed then", "if true then"),
    ),
    *of(
        "lib/placement", "crashed_before announce begin complete",
        ("its_successes_are_not_watched", "if watched[item.model] then", "if false then"),
        ("healthy_holders_stop", "avoided = crashed_holders(item.model, now)",
         "avoided = nil"),
    ),
    *of(
        "lib/breaker", "crashed_before announce begin complete",
        ("crashed_holders_go_on", "if not crashed[holder] then return crashed end",
         "return {}"),
    ),
    *of(
        "lib/parked", "retried_before place announce sweep",
        ("the_first_is_the_probe", "a.attempts < b.attempts or (a.attempts == b.attempts and",
         "(true and"),
    ),
    *of(
        "lib/parked", "crashed_before announce begin place tick",
        ("all_of_them_are_probes", "if breaker(ref, now) == 'open' and not", "if false and not"),
    ),
    *of(
        "lib/release_worker", "begin fence_worker register announce",
        ("what_crashed_it_goes_first", "rows[batch and 2 or 1]",
         "rows[batch and 1 or 2]"),
        ("its_illness_outlives_it", "redis.call('HDEL', UNHEALTHY, worker)", ""),
    ),
]  # fmt: skip

HEALTH = [
    *of(
        "lib/health", "heartbeat announce place",
        ("all_are_well", "if are_healthy() then return 0 end", "if true then return 0 end"),
        ("what_fails_there_is_sent_there", "if rank == 0 and string", "if false and string"),
        ("who_is_well_again_stays_listed",
         "if redis.call('HDEL', UNHEALTHY, worker) == 1 then", "if false then"),
    ),
    *of(
        "lib/load_target", "heartbeat claim_load retire order_copy",
        ("the_sick_are_chosen", "rank < least_rank or (rank == least_rank and ms < least)",
         "ms < least"),
    ),
    *of(
        "lib/healthy_copy", "heartbeat announce place",
        ("they_stay_with_the_sick", "return not (sick and ordered) and worker or nil",
         "return worker"),
        ("they_wait_for_what_is_not_ordered", "return not (sick and ordered) and worker or nil",
         "return not sick and worker or nil"),
        ("one_worker_after_the_other", "if not sick and (#holders > 1 or", "if not sick and ("),
        ("it_is_ordered_without_end", "redis.call('SET', k('no_capacity', ref)",
         "redis.call('SET', k('none', ref)"),
        ("the_sick_load_it", "if not soonest or rank > 0 then", "if not soonest then"),
    ),
    *of(
        "reconcile", "reconcile set_policy heartbeat announce",
        ("a_sick_copy_counts", "lasting_copies(ref, now)", "#live_holders(ref, now)"),
    ),
    *of(
        "lib/copies", "announce heartbeat order_copy set_policy retire",
        ("a_sick_copy_counts", "and rank_of(other, ref) < RANKS.sick", ""),
    ),
    *of(
        "lib/copies", "place heartbeat announce",
        ("a_suspect_worker_has_time", "first_answer and rank == 0 and", "first_answer and"),
    ),
    *of(
        "route_by_affinity", "kin_before route_by_affinity claim_load heartbeat",
        ("it_goes_to_a_sick_worker",
         "(other == worker or rank_of(other, ref) < too_ill)", "true"),
    ),
    *of(
        "lib/session_room", "open_session heartbeat",
        ("an_unhealthy_worker_gives_room",
         "and rank_of(other.worker, model.ref) == rank then", "then"),
        ("what_a_sick_worker_holds_stays",
         "(best == RANKS.sick or rank_of(worker, ref) < RANKS.sick) and found", "found"),
    ),
    *of(
        "reload", "reload heartbeat",
        ("a_suspect_worker_loads_all_again", "least < rank then", "false then"),
    ),
]  # fmt: skip
ALL = [*LOADS, *CRASHES, *HEALTH]
