"""Faults in what the scripts share."""

from __future__ import annotations

from tests.model.planting import of

SHARED = [
    *of(
        "lib/placement", "announce reap",
        ("the_record_keeps_the_old_place", "'entry', entry,\n    'deadline'",
         "'entry', redis.call('HGET', key, 'entry') or entry,\n    'deadline'"),
        ("nobody_is_asked_to_load", "if not phase and state ~= 'open' then", "if false then"),
        ("the_order_for_which_it_waits_lapses", "if phase == 'ordered' then redis.call('EXPIRE'",
         "if false then redis.call('EXPIRE'"),
        ("no_deadline", "redis.call('ZADD', DEADLINES, item.deadline, item.id)", ""),
    ),
    *of(
        "lib/protocol_rows", "register heartbeat gateway_beat tick",
        ("who_lives_longer_is_not_noted", "or 0) >= now + lease", "or 0) > 0"),
        ("for_ever", "redis.call('PEXPIRE', PROTOCOLS, ROWS_TTL_MS)", ""),
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
         "record_failure(item, status, worker, cold, outcome, now) end", "end"),
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
        ("the_map_keeps_the_dead", "redis.call('HDEL', k('holders', ref), worker)", ""),
        ("a_part_is_forgotten", "if left == 0 then redis.call('ZREM', WORKERS, worker) end",
         "redis.call('ZREM', WORKERS, worker)"),
        ("the_lease_stays", "redis.call('ZADD', WORKERS, 0, worker)", ""),
        ("all_at_once", "if work_done(done) >= budget then return done end", ""),
        ("its_loads_stay", "redis.call('DEL', k('load', ref))", "local _ = 0"),
    ),
    *of(
        "lib/move", "begin fence_worker register announce claim_load",
        ("one_start_too_many", "item.attempts >= how.attempts", "item.attempts > how.attempts"),
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
        "lib/cold_queue", "cancel claim_load sweep",
        ("the_job_stays_in_the_queue", "redis.call('LREM', COLD_QUEUE, 1, id)", "local _ = 0"),
        ("the_index_keeps_it", "redis.call('ZREM', WAITING_ORDERS, ref)", ""),
        ("nobody_is_invited",
         "redis.call('RPUSH', queue_end, id)", ""),
    ),
    *of(
        "lib/order", "sweep place take_order tick refuse_load claim_load",
        ("a_copy_waits_as_a_request_does", "extra == '' and JOB_TTL_S * 1000 or ORDER_TTL_MS",
         "JOB_TTL_S * 1000"),
    ),
    *of(
        "lib/cold_queue", "sweep place take_order tick refuse_load claim_load",
        ("its_place_is_lost", "if head and (turn or since < head) then", "if false then"),
        ("what_is_dead_stays_the_head", "redis.call('LPOP', COLD_QUEUE)\n      drop(id)",
         "return nil"),
    ),
]  # fmt: skip
