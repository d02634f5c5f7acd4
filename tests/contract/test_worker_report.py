"""The worker report: its struct, the table in PROTOCOL.md and the names in Lua are the same."""

from __future__ import annotations

import re

from shared.worker_report import CopyBytes, CopyUse, WorkerReport, decode, encode
from tests.contract.sources import ROOT, files

TEXT = (ROOT / "shared" / "PROTOCOL.md").read_text()
LUA = (ROOT / "shared" / "lua" / "lib" / "report.lua").read_text()
FULL = WorkerReport(
    state="ready", device_name="cuda:0", device_class="h100", gpu_uuid="GPU-1", host_id="h",
    budget_bytes=1, used_bytes=2, shared_bytes=3, reserved_bytes=4, unaccounted_bytes=-5,
    host_budget_bytes=6, host_used_bytes=7, max_models=8, pinned_bytes=10,
    pinned_models=11, loads_total=9, completed_per_s=1.5,
    service_ms=2.25, busy_share=0.5, contended=1,
    health="suspect", health_reason="its loads fail", error_share=0.25, failing=["m:1:a"],
    copies={"m:1:a": CopyUse("device", 1, 20.0, 3)}, copy_bytes={"m:1:a": CopyBytes(1, 2, 3)},
)  # fmt: skip


def test_the_table_has_the_fields_of_the_struct() -> None:
    """Each of them."""
    section = TEXT.partition("**Worker report**")[2].partition("\n**")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(
        WorkerReport.__struct_fields__
    )


def test_lua_reads_fields_that_are_reported() -> None:
    """Their names stand in one library."""
    named = set(re.findall(r"reported\(worker, '(\w+)'\)", LUA))
    named |= set(re.findall(r"'(\w+_bytes|max_models)'", LUA))
    assert named <= set(WorkerReport.__struct_fields__)
    others = [
        path.name
        for path in files(".lua", "shared")
        if path.stem not in ("report", "register", "protocol")
        and re.search(r"k\('worker', \w+\), '(?!epoch|trial)", path.read_text())
    ]
    assert others == []


def test_a_report_comes_back_whole() -> None:
    """Through the texts of a Redis hash."""
    record = {name: str(value) for name, value in encode(FULL).items()}
    assert decode(record) == FULL


def test_a_report_of_another_release_is_read() -> None:
    """Newer: more fields. Older: none of them. What cannot be read has its default."""
    record = {name: str(value) for name, value in encode(FULL).items()}
    assert decode({**record, "tenant": "a", "epoch": "7"}) == FULL
    assert decode({}) == WorkerReport()
    for name in WorkerReport.__struct_fields__:
        wrong = decode({name: "\x00" * 3 + "["})
        assert isinstance(getattr(wrong, name), str) or wrong == WorkerReport()
    assert decode({"service_ms": "nan", "max_models": "1e999", "budget_bytes": "-1"}) == (
        WorkerReport()
    )


def test_the_membership_adds_the_state() -> None:
    """A report without one does not take it away."""
    assert "state" not in encode(WorkerReport())
