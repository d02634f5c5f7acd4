"""Faults that the explorer must find: at least two for each script, and some in what they share.

Each is one plausible slip of the hand. `favour` names the rules that a search should use more.
Left out because nothing visible changes: the epoch check of `complete` guards nothing that the
entry does not guard (only its answer), and that `wipe` looks at the answer of its `XDEL` (it
deletes what it has just read, in the same script).
"""

from __future__ import annotations

from tests.model import blame_mutants, copy_mutants, kept_mutants
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
        ("taken_back_twice", "      redis.call('XDEL', door, p[1])\n", ""),
        ("the_lease_is_not_renewed", "redis.call('ZADD', GATEWAYS, now",
         "redis.call('ZADD', GATEWAYS, 'NX', now"),
    ),
    *of(
        "hand_over", "hand_over announce complete",
        ("the_outcome_is_not_kept", "redis.call('HSET', key, 'flags', flags .. POLL)", ""),
        ("it_still_gets_replies", "redis.call('RENAME', replies, unread)", "local _ = 0"),
        ("what_has_ended_goes_on", "#redis.call('XRANGE', stream, entry, entry) == 1", "true"),
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
        ("a_part_is_forgotten", "if left == 0 then redis.call('ZREM', WORKERS, worker) end",
         "redis.call('ZREM', WORKERS, worker)"),
        ("the_living_are_reaped", "'-inf', now,", "'-inf', '+inf',"),
        ("the_dying_are_reaped_after_a_stall", "if grace or", "if"),
    ),
    *of(
        "keep_clock", "reap gateway_beat reconcile sweep keep_clock tick begin announce",
        ("silence_is_death", "or gap > longest", ""),
        ("anybody_explains_a_gap", "if said ~= mark then", "if said == '' then"),
        ("leases_end_in_the_grace", "if grace > seen then", "if false then"),
        ("the_released_live_on", "if not released then", "if true then"),
    ),
    *of(
        "lib/grace", "reap gateway_beat reconcile sweep keep_clock tick announce open_session",
        ("no_grace", "tonumber(ends or 0) > now and tonumber(ends) or nil", "nil"),
    ),
    *of(
        "sweep", "sweep tick claim_load renew_load place",
        ("a_load_that_is_not_renewed_goes_on", "tonumber(lease[4] or now + 1) <= now", "false"),
    ),
    *of(
        "sweep", "sweep fail_load claim_load announce",
        ("a_failed_load_is_tried_at_once", "and not unloadable(ref)", ""),
    ),
    *of(
        "lib/parked", "sweep place crashed_before announce tick",
        ("what_waited_stays", "if item and take_entry(stream", "if false and (stream"),
    ),
    *of(
        "sweep", "sweep tick claim_load take_order announce",
        ("the_late_stay_where_they_are", "take_entry(r[1], r[2], r[5])", ""),
        ("a_lost_order_is_not_repeated", "order_load(ref, first[1], now)", ""),
        ("an_order_in_the_queue_ends", "redis.call('PEXPIRE', load, ORDER_TTL_MS)", ""),
        ("a_taken_order_lives_on", "redis.call('PEXPIRE', load, CLAIM_TTL_MS)", "local _ = 0"),
    ),
]  # fmt: skip

WORKER = [
    *of(
        "register", "register heartbeat begin",
        ("the_old_ones_requests_stay", "repeat until release_worker(worker, how, 128, now) == 0",
         "redis.call('DEL', k('work', worker))"),
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
        ("a_lost_map_goes_unnoticed", "return 'resync'", "return 'ok'"),
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
        "complete", "complete begin announce cancel",
        ("who_lost_publishes_too", "if out[(i - 4) / 8 + 1] == 1 then", "if true then"),
        ("still_noted_as_begun", "redis.call('HDEL', k('started', worker), unpack(won))", ""),
    ),
    *of(
        "fence_worker", "fence_worker begin announce claim_load",
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("innocents_are_charged", ", batch = batch}", "}"),
        ("a_model_is_charged_for_its_request", "if ARGV[7] ~= '' then", "if true then"),
        ("nobody_is_blamed", "charge_crash(ref, worker, cause, now, retried, sole)", ""),
        ("the_lease_stays", "redis.call('ZREM', WORKERS, worker)", ""),
    ),
    *of(
        "leave", "leave announce",
        ("any_epoch_will_do", EPOCH_CHECK, REGISTERED_CHECK),
        ("the_lease_stays", "redis.call('ZREM', WORKERS, worker)", ""),
    ),
]  # fmt: skip

SHARED = [
    *of(
        "lib/placement", "announce reap",
        ("the_record_keeps_the_old_place", "'entry', entry,\n    'deadline'",
         "'entry', redis.call('HGET', key, 'entry') or entry,\n    'deadline'"),
        ("nobody_is_asked_to_load", "if not ordered then", "if false then"),
        ("no_deadline", "redis.call('ZADD', DEADLINES, item.deadline, item.id)", ""),
    ),
    *of(
        "lib/queued", "announce place complete cancel",
        ("one_too_many", "own >= limit then", "own > limit then"),
        ("any_model_fills_it", "if own >= limit then", "if queued >= limit then"),
        ("what_ends_stays_counted", "HINCRBY', key, ref, n)", "HINCRBY', key, ref, math.abs(n))"),
        ("none_of_a_model_is_a_count", "redis.call('HDEL', key, ref)", "local _ = 0"),
    ),
    *of(
        "lib/holders", "announce heartbeat",
        ("the_most_loaded", "rank == least_rank and queued < least",
         "rank == least_rank and load_of[worker] > least"),
        ("the_sick_are_as_good", "rank < least_rank or less", "load_of[worker] < least"),
        ("the_dead_are_sent_requests", "WORKERS, worker) or 0) > now",
         "WORKERS, worker) or 0) > 0"),
    ),
    *of(
        "lib/publish", "complete begin announce",
        ("no_line_for_who_waits",
         "return record_failure(item, status, worker, cold, outcome, now) end", "return end"),
        ("no_line_for_who_polls",
         "record_failure(item, status, worker, cold, outcome, now, polled)", ""),
    ),
    *of(
        "lib/publish", "subscribe complete announce begin crashed_before",
        ("a_probe_that_proved_nothing_blocks_the_next",
         "redis.call('HDEL', k('breaker', kept[4]), 'probe_until')", ""),
        ("the_deadline_stays", "redis.call('ZREM', DEADLINES, item.id)", ""),
        ("a_key_is_never_free_again", "redis.call('DEL', k('idempotency', kept[5]))", ""),
        ("no_tombstone",
         "redis.call('SET', k('tombstone', item.id), '1', 'PX', 2 * RESULT_TTL_MS)", ""),
    ),
    *of(
        "lib/entries", "announce read begin cancel",
        ("still_pending", "if epoch then redis.call('XACK', stream, epoch, entry) end", ""),
    ),
    *of(
        "lib/outcomes",
        "fail_load claim_load complete begin announce record_outcomes subscribe tick",
        ("the_oldest_stay", "redis.call('UNLINK'", "local _ = ('UNLINK'"),
        ("for_ever", "if new then redis.call('PEXPIRE', key, LIFE) end", ""),
        ("only_the_newest_is_asked", "n = number, math.max(1, number + 1 - GENERATIONS), -1",
         "n = number, number, -1"),
        ("what_was_taken_back_has_failed", "or status == 'cancelled'", ""),
        ("a_record_is_kept_twice", "if kept or item.id == ''", "if item.id == ''"),
        ("nobody_is_told_why", "item.cause or ''", "''"),
    ),
    *of(
        "lib/deadline", "cancel sweep claim_load fail_load announce",
        ("the_dead_are_alive", "'(' .. now, '+inf') == 0", "'-inf', '+inf') == 0"),
        ("of_no_worker", "worker, worker\n", "worker, ''\n"),
        ("not_why", "if failed then return", "if false then return"),
    ),
    *of(
        "lib/release_worker", "begin fence_worker register announce claim_load",
        ("a_start_is_not_counted", "item.attempts = item.attempts + 1", "local _ = 0"),
        ("one_start_too_many", "item.attempts >= how.attempts", "item.attempts > how.attempts"),
        ("the_map_keeps_the_dead", "redis.call('HDEL', k('holders', ref), worker)", ""),
        ("its_loads_stay", "redis.call('DEL', k('load', ref))", "local _ = 0"),
    ),
    *of(
        "lib/breaker", "crashed_before fence_worker claim_load reload begin",
        ("all_are_probes",
         "redis.call('HSET', k('breaker', item.model), 'probe_until', now + PROBE_MS)", ""),
    ),
    *of(
        "lib/idempotency", "write_ingress announce begin complete",
        ("another_payload_joins", "prior[2] ~= item.fingerprint", "false"),
        ("a_key_is_forgotten", "redis.call('PEXPIRE', key, KEY_TTL_MS)", "redis.call('DEL', key)"),
        ("what_has_ended_begins_anew", "if traces > 0 then", "if false then"),
        ("nobody_is_told", "redis.call('XADD', OUTBOX, '*', 'id', id, 'to', reply_to)", ""),
    ),
    *of(
        "lib/order", "cancel claim_load sweep",
        ("the_job_stays_in_the_queue", "redis.call('LREM', COLD_QUEUE, 1, id)", ""),
        ("nobody_is_invited", "redis.call('RPUSH', COLD_QUEUE, id)", ""),
    ),
]  # fmt: skip
ALL = [
    *GATEWAY, *WORKER, *SHARED, *copy_mutants.ALL, *blame_mutants.ALL, *kept_mutants.KEPT,
]  # fmt: skip
