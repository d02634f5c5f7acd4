"""Runs that reach together what few others do: a search begins with what reached it last time.

Each is a seed, and the rules that are used more. Redis draws the order in which it lists members,
so where that decides there are several for the same.
"""

from __future__ import annotations

KNOWN: tuple[tuple[int, str], ...] = (
    (18, "announce read begin cancel"),
    (47, "ill_before fence_worker claim_load begin announce"),
    (55, "open_session keep_session close_session reconcile"),
    (66, "claim_load order_copy open_session route_by_affinity"),
    (78, "crashed_before announce begin place tick"),
    (88, "refuse_load sweep"),
    (90, "drop_kept complete begin place"),
    (94, "crashed_before fence_worker claim_load reload begin"),
    (127, "order_copy crashed_before announce begin"),
    (170, "kin_before route_by_affinity claim_load heartbeat"),
    (20025, "open_session reload claim_load"),
    (20036, "order_copy crashed_before announce begin"),
    (20038, "drop_kept complete begin place"),
    (20050, "fail_load register claim_load place"),
    (20055, "place heartbeat announce"),
    (20069, "refuse_load sweep"),
    (20087, "claim_load announce retire"),
    (20104, "claim_load open_session close_session"),
    (20110, "kin_before route_by_affinity claim_load refuse_load reload"),
    (20115, "reload fail_load claim_load place"),
    (20130, "replay publish_reply write_ingress buried_before"),
    (20142, "retried_before place announce sweep"),
    (20168, "claim_load fail_load sweep"),
    (20179, "kin_before route_by_affinity claim_load"),
    (30000, "kin_before route_by_affinity claim_load refuse_load"),
    (30001, "kin_before route_by_affinity claim_load fail_load"),
    (30004, "kin_before route_by_affinity claim_load refuse_load reload"),
    (30004, "retried_before place sweep"),
    (30009, "kin_before route_by_affinity claim_load refuse_load"),
    (30019, "retried_before place announce sweep"),
    (30020, "retried_before place announce sweep"),
    (30020, "retried_before place sweep"),
)
