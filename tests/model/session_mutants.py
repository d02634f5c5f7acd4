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
        ("others_take_no_room", "do add(model) end", "do end"),
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
        ("who_drains_has_room", "if facts(worker).ready then", "if true then"),
        ("room_is_given_twice", "bin.bytes - model.bytes, bin.left - 1", "bin.bytes, bin.left - 1"),
        ("what_is_held_is_to_move", "(holds or loader ==", "(loader =="),
        ("the_fullest_first", "bin.bytes > best.bytes", "bin.bytes < best.bytes"),
        ("the_smallest_first", "return a.bytes > b.bytes", "return a.bytes < b.bytes"),
    ),
    *of(
        "lib/session_room", "open_session register",
        ("one_model_too_many", "if bin.left < 1 then", "if bin.left < 0 then"),
    ),
    *of(
        "lib/session_room", "open_session set_policy announce",
        ("what_a_policy_pins_takes_no_room", "sum, number = sum + (", "sum, number = 0 * ("),
    ),
    *of(
        "lib/session_room", "open_session set_policy",
        ("pinned_ones_are_none_of_them", "if most > 0 and number >= most then", "if false then"),
    ),
    *of(
        "lib/session_room", "open_session reload claim_load",
        ("what_is_loading_is_to_move", "holds or loader == bin.worker", "holds"),
    ),
]  # fmt: skip
