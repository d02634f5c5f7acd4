"""Faults in the scripts of sessions."""

from __future__ import annotations

from tests.model.planting import of

OPENED = "open_session keep_session close_session reconcile"
ALL = [
    *of(
        "open_session", OPENED,
        ("more_than_there_may_be", "if count >= tonumber(ARGV[4]) then", "if false then"),
        ("it_is_not_pinned", "redis.call('SADD', k('pinned', ref), id)", ""),
        ("nobody_looks_after_it", "redis.call('SADD', MIN_COPIES, ref)", ""),
        ("an_expired_one_is_there", "if known and tonumber(known) > now", "if known"),
        ("it_does_not_end", "redis.call('ZADD', SESSIONS, expiry, id)",
         "redis.call('ZADD', SESSIONS, 2 ^ 50, id)"),
    ),
    *of(
        "keep_session", OPENED,
        ("an_expired_one_lives_again", "if expiry <= now and", "if false and"),
        ("its_models_are_forgotten",
         "redis.call('PEXPIRE', k('session', id), ttl + STALL_SPARE_MS)", ""),
    ),
    *of(
        "close_session", OPENED,
        ("it_stays", "return end_session(ARGV[2])",
         "return redis.call('EXISTS', k('session', ARGV[2]))"),
        ("nothing_is_unpinned", "return end_session(ARGV[2])",
         "return redis.call('ZREM', SESSIONS, ARGV[2])"),
    ),
    *of(
        "reconcile", OPENED,
        ("no_session_ends", "was_open, models = end_session(id)", "was_open, models = 0, 0"),
    ),
    *of(
        "reconcile", "open_session reconcile tick",
        ("a_lost_session_pins_for_ever", "unpin_lost(ref)", ""),
    ),
    *of(
        "lib/session_room", "open_session close_session announce heartbeat register",
        ("what_is_held_is_to_move", "ipairs(live_holders(ref, now))", "ipairs({})"),
        ("the_fullest_first", "other.bytes > best.bytes", "other.bytes < best.bytes"),
        ("the_smallest_first", "return a.bytes > b.bytes", "return a.bytes < b.bytes"),
    ),
    *of(
        "lib/session_room", "open_session set_policy announce",
        ("what_a_policy_pins_is_counted_twice", "there and is_pinned(ref)", "false"),
    ),
    *of(
        "lib/session_room", "open_session reload claim_load",
        ("what_is_loading_is_to_move", "loader and stays(loader)", "nil"),
    ),
    *of(
        "lib/free_bytes", "open_session close_session announce heartbeat register",
        ("who_drains_has_room", "if not facts(worker).ready then return nil end", ""),
        ("room_is_given_twice", "chosen.bytes - model.bytes,", "chosen.bytes,"),
        ("what_others_reserved_is_free", "has.pinned - has.session", "has.pinned"),
        ("what_is_reported_is_free", "has.budget - has.pinned", "has.budget"),
    ),
    *of(
        "lib/free_bytes", "open_session register",
        ("one_model_too_many", "if chosen.left < 1 then", "if chosen.left < 0 then"),
        ("models_of_sessions_are_none", "has.pinned_models + has.session_models",
         "has.pinned_models"),
    ),
    *of(
        "lib/free_bytes", "open_session set_policy announce",
        ("what_a_policy_pins_takes_no_room", "bytes + bytes_of_copy(ref, worker)", "bytes"),
    ),
    *of(
        "lib/free_bytes", "open_session set_policy",
        ("as_many_as_there_may_be", "has.most > 0 and models >= has.most", "false"),
    ),
    *of(
        "lib/reserved", OPENED,
        ("room_is_never_given_back", "add_for_sessions(worker, -bytes, -1)", "local _ = 0"),
        ("room_of_a_dead_process_counts", "reported(worker, 'epoch') == epoch", "true"),
    ),
    *of(
        "reconcile", "open_session reconcile announce retire",
        ("room_stays_where_nobody_holds_it", "keep_reserved(ref)\n  local", "local"),
    ),
]  # fmt: skip
