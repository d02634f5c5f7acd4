"""Faults in what holds outcomes and dead letters to their budgets."""

from __future__ import annotations

from tests.model.planting import of

KEPT = [
    *of(
        "drop_kept", "drop_kept complete begin place",
        ("what_is_within_goes_too", "if not over then return STAYS end", ""),
        ("the_newest_go_first", "'LINDEX', list, 0)", "'LINDEX', list, -1)"),
        ("the_sum_stays", "redis.call('DECRBY', total, bytes)", "local _ = 0"),
        ("the_outcome_stays", "redis.call('UNLINK', k('request', id))", "1"),
    ),
    *of(
        "drop_kept", "drop_kept complete begin write_ingress read_door announce",
        ("what_a_stream_waits_for_goes", "return awaited and LATER or DROPPED", "return DROPPED"),
    ),
    *of(
        "list_letters", "list_letters publish_reply write_ingress buried_before",
        ("the_oldest_first", "'XREVRANGE', DEAD_LETTERS, ARGV[2], '-'",
         "'XRANGE', DEAD_LETTERS, '-', ARGV[2]"),
        ("payloads_are_read", "if name == 'body' then", "if name == 'none' then"),
    ),
]  # fmt: skip
