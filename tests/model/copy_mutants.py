"""Faults in the scripts of model copies: loading, announcing, retiring, wanting."""

from __future__ import annotations

from tests.model import session_mutants
from tests.model.planting import EPOCH_CHECK, REGISTERED_CHECK, of

LOADS = [
    *of(
        "claim_load", "claim_load announce retire",
        ("a_taken_load_is_taken_again", "or r[2] ~= ''", ""),
        ("any_token_will_do", "if r[1] ~= token or", "if not r[1] or"),
        ("its_worker_does_not_own_it", "redis.call('SADD', k('loads', worker), ref)", ""),
    ),
    *of(
        "claim_load", "claim_load open_session close_session",
        ("what_nobody_wants_is_loaded", "if (extra == '' or over) and", "if false and"),
    ),
    *of(
        "claim_load", "claim_load order_copy open_session route_by_affinity",
        ("a_further_copy_is_unwanted", "if (extra == '' or over) and", "if"),
        ("nobody_has_a_head_start", "if chosen ~= ''", "if false"),
        ("the_head_start_never_ends", "tonumber(r[6]) + HEAD_START_MS", "2 ^ 50"),
        ("its_job_stays_in_the_queue", "forget_order(ref, token)", ""),
    ),
    *of(
        "lib/blame", "claim_load order_copy announce refuse_load reload",
        ("a_holder_takes_another_copy", "return held and holds(worker)", "return false"),
        ("as_small_a_budget_is_asked", "own.budget <= larger", "false"),
    ),
    *of(
        "claim_load", "claim_load open_session close_session",
        ("a_session_that_is_over_is_served", "extra == '' or over", "extra == ''"),
    ),
    *of(
        "reload", "reload announce claim_load",
        ("two_loads_of_one_model", "redis.call('EXISTS', k('load', ref), k('unloadable', ref)) > 0",
         "redis.call('EXISTS', k('unloadable', ref)) > 0"),
        ("what_it_holds_is_loaded",
         "redis.call('HEXISTS', k('holders', ref), worker) == 1", "false"),
    ),
    *of(
        "reload", "reload set_policy announce register",
        ("one_copy_too_many", "if most > 0 and live_copies(ref, now) >= most", "if false"),
    ),
    *of(
        "renew_load", "renew_load claim_load reload",
        ("any_token_will_do", "r[1] ~= ARGV[4] or", ""),
        ("any_worker_will_do", "or r[2] ~= ARGV[2]", ""),
        ("it_does_not_say_why", "redis.call('HSET', load, 'why', ARGV[6])", ""),
    ),
    *of(
        "refuse_load", "refuse_load claim_load",
        ("it_is_asked_again", "refused = refused .. ' ' .. worker", "refused = refused"),
        ("any_token_will_do", "if r[1] ~= ARGV[4] or", "if not r[1] or"),
    ),
    *of(
        "refuse_load", "refuse_load reload announce",
        ("who_waits_is_failed_beside_a_holder", "or #live_holders(ref, now) > 0", ""),
        ("what_has_no_capacity_is_ordered_at_once", "redis.call('SET', k('no_capacity', ref)",
         "redis.call('SET', k('none', ref)"),
    ),
    *of(
        "refuse_load", "refuse_load order_copy",
        ("it_goes_round_for_ever", "if extra == 'scale_out' and is_one", "if is_one"),
    ),
    *of(
        "announce", "announce claim_load",
        ("any_token_will_do", "(lease[1] ~= token or lease[2] ~= worker)", "false"),
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("the_reverse_is_forgotten", "redis.call('SADD', k('holds', worker), ref)", ""),
    ),
    *of(
        "announce", "announce retire order_copy",
        ("it_is_still_warm", "note_warm(ref, worker, '', '')", ""),
        ("what_it_learned_stays_for_ever", "redis.call('PEXPIRE', k('stats', ref), STATS_TTL)", ""),
        ("nobody_looks_after_what_is_wanted", "redis.call('SADD', MIN_COPIES, ref)", ""),
    ),
    *of(
        "record_stats", "record_stats announce register",
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("what_it_found_stays_for_ever", "redis.call('PEXPIRE', k('stats', ref), STATS_TTL)", ""),
        ("only_the_first_field_is_noted", "for i = 5, #ARGV, 2 do", "for i = 5, 5 do"),
    ),
    *of(
        "fail_load", "fail_load claim_load reload",
        ("any_token_will_do", "if r[1] ~= ARGV[4] or", "if not r[1] or"),
        ("a_passing_cause_ends_requests", "  if temporary then\n", "  if false then\n"),
        ("the_cause_is_forgotten",
         "redis.call('SET', k('unloadable', ref)", "redis.call('SET', k('none', ref)"),
        ("no_other_worker_is_asked", "is_one_left(ref, now, refused, extra, r[6])", "false"),
        ("what_is_proved_is_tried_elsewhere", "if scope ~= 'model' and #names", "if #names"),
        ("a_class_is_out_for_ever", "redis.call('PEXPIRE', k('incompatible', ref), ARGV[6])", ""),
    ),
    *of(
        "fail_load", "fail_load claim_load crashed_before place",
        ("who_waits_is_failed_beside_a_holder", "if #live > 0 then", "if false then"),
    ),
    *of(
        "fail_load", "fail_load refuse_load order_copy",
        ("a_further_copy_was_asked_of_all", "extra, refused = '', ''", ""),
    ),
    *of(
        "route_by_affinity", "kin_before route_by_affinity claim_load",
        ("it_is_handed_on_for_ever", "(mode == 'prefer' and r[5])", "false"),
    ),
    *of(
        "route_by_affinity", "kin_before route_by_affinity claim_load heartbeat",
        ("it_goes_to_a_worker_that_drains",
         "facts(other).ready and (other == worker", "(other == worker"),
    ),
    *of(
        "route_by_affinity", "kin_before route_by_affinity claim_load refuse_load reload",
        ("any_token_will_do", "if r[1] ~= ARGV[4] or", "if not r[1] or"),
        ("who_refused_gets_it", "if excluding(", "if false and excluding("),
        ("its_worker_keeps_it", "redis.call('SREM', k('loads', worker), ref)", ""),
        ("a_full_worker_gets_more", "most > 0 and (count[other] or 0) >= most", "false"),
        ("no_other_family_begins", "if not best and is_full(worker) then", "if false then"),
        ("who_is_nowhere_is_kin", "redis.call('SREM', family, siblings[i])", "local _ = 0"),
        ("what_is_loading_is_no_kin", "add(loader) end", "end"),
    ),
]  # fmt: skip

COPIES = [
    *of(
        "retire", "retire announce",
        ("it_is_still_sent_requests", "redis.call('HDEL', k('holders', ref), worker)", ""),
        ("the_reverse_stays", "redis.call('SREM', k('holds', worker), ref)", ""),
        ("it_need_not_drain", "last[1] and last[1][1] or '0-0'", "'0-0'"),
        ("what_is_gone_drains", "if mode ~= 'gone' then", "if true then"),
    ),
    *of(
        "retire", "retire announce open_session order_copy set_policy",
        ("whatever_must_stay_goes", "if why then return why end", ""),
        ("nobody_knows_where_it_went", "note_warm(ref, worker, epoch, ARGV[5])", ""),
    ),
    *of(
        "order_copy", "order_copy announce fail_load claim_load",
        ("the_least_is_not_kept", "redis.call('HSET', k('stats', ref), 'min_copies', least)", ""),
        ("a_failed_load_is_tried_at_once", "if why then return", "if false then return"),
        ("none_is_ordered_all_the_same", "if least == '0' then", "if false then"),
    ),
    *of(
        "order_copy", "order_copy crashed_before announce begin",
        ("a_quarantined_model_is_loaded", "if state == 'open' then return", "if false then return"),
    ),
    *of(
        "order_copy", "order_copy announce refuse_load claim_load tick",
        ("a_trial_never_rests", "if trial then note_trial(ref, now) end", ""),
        ("what_is_replaced_is_kept", "if is_replaced(ref) then clear_min_copies(ref) end", ""),
        ("whoever_asks_rests", "if trial and (rests", "if (rests"),
    ),
    *of(
        "lib/loaded_versions", "order_copy set_policy announce retire",
        ("what_has_left_stays_pinned", "'pin', 'min_copies', 'preload')", "'min_copies')"),
    ),
    *of(
        "lib/loaded_versions", "announce fail_load claim_load order_copy",
        ("what_an_older_one_asks_stays", "if other < version then clear_min_copies",
         "if false then clear_min_copies"),
        ("what_is_replaced_asks_again", "if is_replaced(ref) then clear_min_copies(ref) end", ""),
        ("what_has_failed_is_live", "redis.call('HDEL', live, version)", "local _ = 0"),
        ("it_is_live_for_ever", "redis.call('PEXPIRE', live, STATS_TTL)", ""),
    ),
    *of(
        "order_unload", "order_unload announce order_copy set_policy open_session",
        ("what_is_pinned_goes", "or redis.call('EXISTS', k('pinned', ref)) == 1", ""),
        ("it_comes_back_by_itself", "if least_copies(ref) > 0", "if false"),
        ("the_order_stays_for_ever", "redis.call('PEXPIRE', orders, DIRECT_TTL_MS)", ""),
        ("a_copy_is_still_on_its_way", "cancel_order(ref, true)", ""),
    ),
    *of(
        "set_policy", "set_policy",
        ("it_is_not_taken_back", "redis.call('HDEL', key, ARGV[i])", ""),
        ("nobody_looks_after_it", "redis.call('SADD', MIN_COPIES, ref)", ""),
    ),
    *of(
        "reconcile", "reconcile order_copy set_policy announce open_session",
        ("a_missing_copy_is_not_ordered", "lasting_copies(ref, now) < least", "false"),
        ("one_copy_too_many", "lasting_copies(ref, now) < least",
         "lasting_copies(ref, now) < least + 1"),
        ("it_is_looked_at_for_ever", "redis.call('SREM', MIN_COPIES, ref)", "local _ = 0"),
        ("it_lapses_with_its_last_load", "redis.call('PEXPIRE', k('stats', ref), STATS_TTL)", ""),
    ),
    *of(
        "reconcile", "reconcile set_policy tick",
        ("it_orders_without_end", "> most then", "> 2 ^ 50 then"),
    ),
    *of(
        "lib/copies", "announce heartbeat order_copy set_policy retire",
        ("two_orders_of_one_model", "redis.call('EXISTS', k('load', ref), ",
         "redis.call('EXISTS', k('none', ref), "),
        ("the_least_does_not_count", "if others < least_copies(ref)", "if false"),
        ("others_have_time_without_end", "share > free", "false"),
        ("more_than_there_may_be_stay", "if most > 0 and others >= most then return nil end", ""),
    ),
    *of(
        "lib/report", "announce heartbeat order_copy set_policy retire",
        ("who_is_busy_has_time", "math.max(0, SPARE - busy_share)", "SPARE"),
    ),
    *of(
        "lib/copies", "reconcile order_copy set_policy announce",
        ("one_copy_too_many", "live_copies(ref, now) >= most", "live_copies(ref, now) > most"),
    ),
    *of(
        "lib/copies", "place heartbeat",
        ("any_queue_is_too_long", "and wait > first_answer then", "then"),
        ("no_queue_is_too_long", "and wait > first_answer then", "and false then"),
        ("a_holder_has_time", "return facts(holder).spare > 0 and", "return false and"),
        ("it_looks_again_at_once",
         "redis.call('SET', k('no_capacity', ref), worker, 'PX', LOOK_AGAIN_MS)", ""),
    ),
    *of(
        "lib/report", "place heartbeat",
        ("who_is_busy_is_asked", "busy_share < SPARE and r[6] ~= '1'", "r[6] ~= '1'"),
        ("who_has_no_room_is_asked", "busy_share < SPARE and r[6] ~= '1'", "busy_share < SPARE"),
    ),
    *of(
        "lib/sample", "register heartbeat leave",
        ("one_that_drains_is_listed", "if not own.ready then return", "if false then return"),
        ("a_class_of_nobody_is_listed", "redis.call('SREM', DEVICE_CLASSES, class)", "return"),
    ),
    *of(
        "lib/load_target", "announce retire order_copy register",
        ("host_memory_outlives_its_process", "(tier == 'host' and of == epoch)", "tier == 'host'"),
    ),
    *of(
        "lib/load_target", "retire order_copy heartbeat",
        ("a_draining_worker_is_warm", "if own.ready and not", "if not"),
    ),
    *of(
        "lib/model_facts", "announce retire leave",
        ("hints_of_the_dead_stay", "if not redis.call('ZSCORE', WORKERS, other) then",
         "if false then"),
    ),
    *of(
        "lib/load_target", "place retire",
        ("a_queue_does_not_count", "+ wait_on(worker, queue_of(worker))", ""),
    ),
    *of(
        "lib/order", "order_copy sweep cancel retire announce",
        ("the_warm_worker_gets_no_order", "if chosen == '' then", "if true then"),
        ("a_further_copy_is_taken_back", "(lease[3] or '') == '' or extra", "true"),
        ("told_for_ever", "redis.call('PEXPIRE', k('orders', chosen), DIRECT_TTL_MS)", ""),
    ),
]  # fmt: skip
ALL = [*LOADS, *COPIES, *session_mutants.ALL]
