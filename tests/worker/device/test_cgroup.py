"""The memory that a process may use: of the machine, and of its control groups, nested."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.fake_host import V1_MOUNT, V2_MOUNT, FakeHost
from worker.device.cgroup import MACHINE, Level, memory_levels, memory_total
from worker.device.cpu import CpuDevice

MIB = 1 << 20


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def limits(host: FakeHost) -> list[int]:
    """The limits below the machine's, in MiB."""
    machine, *groups = memory_levels(host.root)
    assert machine == Level(MACHINE, 64 << 30)
    return [level.limit // MIB for level in groups]


def test_without_control_groups_it_is_the_machine(host: FakeHost) -> None:
    """Also where /proc cannot be read."""
    assert limits(host) == []
    levels = memory_levels(host.root / "nothing")
    assert memory_total(levels) == levels[0].limit > 32 * MIB


def test_each_group_on_the_way_down_counts(host: FakeHost) -> None:
    """A pod in a slice: the least limit is what a process may use."""
    host.member("0::/slice/pod/app", V2_MOUNT)
    host.limit("slice", memory_max=64 * MIB)
    host.limit("slice/pod", memory_max="max", memory_high=32 * MIB)
    host.limit("slice/pod/app", memory_max=48 * MIB)
    assert limits(host) == [64, 32, 48]
    assert memory_total(memory_levels(host.root)) == 32 * MIB


def test_the_lower_of_maximum_and_throttle_counts(host: FakeHost) -> None:
    """Above `memory.high` a process is slowed down until it seems dead."""
    host.member("0::/pod", V2_MOUNT)
    host.limit("pod", memory_max=64 * MIB, memory_high=48 * MIB)
    assert limits(host) == [48]


def test_version_1(host: FakeHost) -> None:
    """Whose way to say `no limit` is a number larger than any machine."""
    host.member("4:memory:/docker/abc", V1_MOUNT)
    host.limit("memory", memory_limit_in_bytes=9223372036854771712)
    host.limit("memory/docker", memory_limit_in_bytes=64 * MIB)
    host.limit("memory/docker/abc", memory_limit_in_bytes=32 * MIB)
    assert limits(host) == [64, 32]


@pytest.mark.parametrize("subtree", ["/docker/abc", "/"])
def test_a_container_sees_its_own_group_at_the_mount_point(host: FakeHost, subtree: str) -> None:
    """While /proc names the path on the host, which does not exist here."""
    host.member("4:memory:/docker/abc", V1_MOUNT, subtree)
    host.limit("memory", memory_limit_in_bytes=32 * MIB)
    assert limits(host) == [32]


def test_a_path_cannot_lead_out_of_the_hierarchy(host: FakeHost) -> None:
    """Groups outside of a namespace are shown with dots."""
    host.member("0::/../other", V2_MOUNT)
    host.limit(".", memory_max=32 * MIB)
    host.limit("../other", memory_max=MIB)
    assert limits(host) == [32]


def test_a_shared_group_has_one_identity(host: FakeHost) -> None:
    """By which workers find that they share it, under whatever path they see it."""
    host.member("0::/pod/a", V2_MOUNT)
    host.limit("pod", memory_max=64 * MIB)
    host.limit("pod/a", memory_max=32 * MIB)
    host.limit("pod/b", memory_max=32 * MIB)
    a = [level.identity for level in memory_levels(host.root)]
    host.member("0::/pod/b", V2_MOUNT)
    b = [level.identity for level in memory_levels(host.root)]
    assert a[:2] == b[:2] and a[2] != b[2]


def test_the_cpu_device_has_what_this_process_may_use() -> None:
    """Here and now."""
    assert CpuDevice().memory_total() == memory_total(memory_levels())
