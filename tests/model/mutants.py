"""Faults that the explorer must find: at least two for each script, and some in what they share.

Each is one plausible slip of the hand. `favour` names the rules that a search should use more.
Left out because nothing visible changes: the epoch check of `complete` guards nothing that the
entry does not guard (only its answer), and that `wipe` looks at the answer of its `XDEL` (it
deletes what it has just read, in the same script).
"""

from __future__ import annotations

from tests.model import blame_mutants, copy_mutants, kept_mutants, shared_mutants
from tests.model.planting import EPOCH_CHECK, REGISTERED_CHECK, of

GATEWAY = [
    *of(
        "place", "write_ingress fill_memory announce",
        ("a_stream_entry_becomes_two_requests",
         "redis.call('XDEL', INGRESS, item.ingress)", ""),
        ("what_is_late_is_placed", "if item.deadline <= now then", "if false then"),
        ("a_full_memory_is_filled_more", "if not fits then", "if false then"),
    ),
    *of(
        "cancel", "cancel complete begin",
        ("who_lost_cancels_too", "not take_entry(stream, entry, ref)",
         "(take_entry(stream, entry, ref) and false)"),
        ("the_late_are_cancelled", "status = 'expired'", "local _ = 0"),
        ("the_order_stays", "if string.find(stream, parked, 1, true) == 1 then", "if false then"),
    ),
    *of(
        "subscribe", "subscribe complete announce",
        ("the_watcher_is_forgotten",
         "redis.call('HSET', key, 'watchers', watchers .. ' ' .. ARGV[3])", ""),
        ("an_ended_request_is_watched", "if r.stream and", "if"),
    ),
    *of(
        "record_outcomes", "record_outcomes fill_memory subscribe",
        ("a_full_memory_is_filled_more", "if not memory_fits(bytes) then", "if false then"),
        ("more_are_kept_than_wanted", "tonumber(ARGV[2])", "100"),
    ),
    *of(
        "publish_reply", "publish_reply write_ingress read_door",
        ("two_answers", "redis.call('XDEL', door, entry)", ""),
        ("a_refusal_is_silent", "local why = reply_to", "local why = false and reply_to"),
        ("still_pending", "redis.call('XACK', door, DOOR_GROUP, entry)", ""),
    ),
    *of(
        "gateway_beat", "gateway_beat write_ingress read_door tick",
        ("the_lease_is_not_renewed", "redis.call('ZADD', GATEWAYS, now",
         "redis.call('ZADD', GATEWAYS, 'NX', now"),
        ("its_replies_end_with_its_lease", "own + LEAP_SPARE_MS", "own"),
    ),
    *of(
        "lib/doors", "gateway_beat write_ingress read_door tick",
        ("taken_back_twice", "redis.call('XDEL', door, p[1])\n", "\n"),
    ),
    *of(
        "hand_over", "hand_over announce complete",
        ("the_outcome_is_not_kept", "redis.call('HSET', key, 'flags', flags .. POLL)", ""),
        ("it_still_gets_replies", "redis.call('RENAME', replies, unread)", "local _ = 0"),
        ("what_has_ended_goes_on", "is_there(stream, entry)", "true"),
    ),
    *of(
        "lib/publish", "hand_over announce complete",
        ("what_is_not_handed_over_is_forgotten",
         "if not sent and not polled then", "if false then"),
    ),
    *of(
        "replay", "replay publish_reply write_ingress buried_before",
        ("the_letter_stays", "redis.call('XDEL', DEAD_LETTERS, entry)\n  return", "return"),
        ("it_is_placed_beyond_the_limits",
         "place_item(item, now, limits)", "place_item(item, now)"),
        ("an_unknown_letter", "if not found then return {'unknown'",
         "if not found then return {'unkept'"),
    ),
    *of(
        "reap", "reap tick announce",
        ("the_living_are_reaped", "'-inf', now,", "'-inf', '+inf',"),
    ),
    *of(
        "reap", "reap tick announce keep_clock leave place",
        ("the_dying_are_reaped_after_a_stall", "if grace or", "if"),
    ),
    *of(
        "keep_clock", "reap gateway_beat reconcile sweep keep_clock tick begin announce",
        ("silence_is_death", "grace = seen + lease  --", "--"),
        ("anybody_explains_a_gap", "if said ~= mark then", "if said == '' then"),
        ("leases_end_in_the_grace", "if grace > seen then", "if false then"),
        ("the_released_live_on", "if not released then", "if true then"),
    ),
    *of(
        "lib/grace", "reap gateway_beat reconcile sweep keep_clock tick announce open_session",
        ("no_grace", "tonumber(ends or 0) > now and tonumber(ends) or nil", "nil"),
    ),
    *of(
        "lib/waiting_models", "sweep tick claim_load renew_load place",
        ("a_load_that_is_not_renewed_goes_on", "tonumber(lease[4] or now + 1) <= now", "false"),
    ),
    *of(
        "sweep", "sweep place announce reap tick",
        ("it_has_no_budget", "if left() <= 0 then break end", ""),
    ),
    *of(
        "lib/waiting_models", "sweep fail_load claim_load announce",
        ("a_failed_load_is_tried_at_once", "and not unloadable(ref)", ""),
    ),
    *of(
        "lib/parked", "sweep place crashed_before announce tick",
        ("what_waited_stays", "if item and take_entry(stream", "if false and (stream"),
    ),
    *of(
        "sweep", "sweep tick claim_load take_order announce",
        ("the_late_stay_where_they_are", "take_entry(r[1], r[2], r[5])", ""),
        ("what_was_taken_is_not_looked_at", "guarded(ref, look_at_taken, ref,", "tostring(ref,"),
        ("the_oldest_is_repeated_first", "'ZREVRANGEBYSCORE', WAITING_ORDERS, last, '-inf'",
         "'ZRANGEBYSCORE', WAITING_ORDERS, '-inf', last"),
    ),
    *of(
        "lib/waiting_models", "sweep tick claim_load take_order announce",
        ("a_lost_order_is_not_repeated", "order_load(ref, ref .. ' again', now)", ""),
        ("an_order_in_the_queue_ends", "redis.call('EXPIRE', load, JOB_TTL_S)", ""),
        ("a_taken_order_lives_on", "redis.call('PEXPIRE', load, CLAIM_TTL_MS)", "local _ = 0"),
    ),
]  # fmt: skip

WORKER = [
    *of(
        "register", "register heartbeat begin",
        ("the_old_ones_requests_stay", "release_worker(worker, how, tonumber(ARGV[7]), now)",
         "redis.call('DEL', k('work', worker)) * 0"),
        ("it_begins_before_all_is_released", "if left > 0 then return left end", ""),
        ("an_epoch_comes_twice", "redis.call('SET', EPOCH, epoch)", "epoch = '7'"),
        ("no_lease", "redis.call('ZADD', WORKERS, now + tonumber(ARGV[3]), worker)", ""),
    ),
    *of(
        "heartbeat", "heartbeat reap announce lose_stream",
        ("the_lease_is_not_renewed",
         "redis.call('ZADD', WORKERS, now + tonumber(ARGV[5]), worker)", ""),
        ("any_epoch_will_do", "if known[1] ~= ARGV[3] then", "if not known[1] then"),
        ("a_lost_stream_goes_unnoticed",
         "redis.call('EXISTS', stream) == 0 or #redis.call('XINFO', 'GROUPS', stream) == 0",
         "false"),
        ("a_lost_map_goes_unnoticed", "complete and 'ok' or 'resync'", "'ok'"),
    ),
    *of(
        "renew_lease", "renew_lease register reap announce lose_stream heartbeat",
        ("a_lease_is_not_renewed",
         "redis.call('ZADD', WORKERS, now + tonumber(ARGV[4]), worker)", ""),
        ("any_epoch_renews_it", "known[1] ~= ARGV[3] or known[2]", "not known[1]"),
        ("a_lost_stream_renews_it", "groups.err or #groups == 0", "false"),
        ("a_lost_map_renews_it",
         "redis.call('SCARD', k('holds', worker)) ~= tonumber(ARGV[5])", "false"),
        ("what_has_changed_is_not_said",
         "redis.call('EXISTS', k('changed', worker), k('crashed', worker)) > 0", "false"),
        ("the_unhealthy_stay_so", "redis.call('HEXISTS', UNHEALTHY, worker) == 1", "false"),
    ),
    *of(
        "heartbeat", "heartbeat announce",
        ("nothing_is_said_of_its_health", "note_health(worker, now)", ""),
    ),
    *of(
        "register", "crashed_before fence_worker begin claim_load",
        ("what_crashes_begins_as_healthy", "note_health(worker, now)", ""),
    ),
    *of(
        "begin", "begin announce",
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("what_is_late_starts", "tonumber(ARGV[i + 2]) <= now", "false"),
        ("the_start_is_not_noted", "if #started > 0 then", "if false then"),
        ("what_is_gone_starts", "if not pending[ARGV[i]] then", "if false then"),
    ),
    *of(
        "begin", "begin announce read cancel",
        ("what_is_withdrawn_starts", "elseif are_withdrawn and", "elseif false and"),
    ),
    *of(
        "complete", "complete begin announce cancel",
        ("who_lost_publishes_too", "if out[(i - 5) / 8 + 1] == 1 then", "if true then"),
        ("still_noted_as_begun", "redis.call('HDEL', k('started', worker), unpack(won))", ""),
        ("what_it_has_not_read_ends_too", "is_read and redis.call", "redis.call"),
    ),
    *of(
        "fence_worker", "fence_worker begin announce claim_load",
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("innocents_are_charged", "if number ~= batch then", "if false then"),
        ("a_model_is_charged_for_its_request", "if ARGV[7] ~= '' then", "if true then"),
        ("nobody_is_blamed", "charge_crash(ref, worker, cause, now, retried, sole)", ""),
    ),
    *of(
        "leave", "leave announce",
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("it_keeps_all_that_it_has", "release_worker(worker, how, tonumber(ARGV[5]), clock())", ""),
    ),
    *of(
        "release", "leave fence_worker announce claim_load",
        ("nothing_more_is_released", "if not is_released(worker) then", "if true then"),
    ),
]  # fmt: skip

ALL = [
    *GATEWAY, *WORKER, *shared_mutants.SHARED, *copy_mutants.ALL, *blame_mutants.ALL,
    *kept_mutants.KEPT,
]  # fmt: skip
