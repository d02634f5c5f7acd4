"""A made-up /proc and /sys: the control groups that a process sees."""

from __future__ import annotations

from pathlib import Path

V2_MOUNT = "31 23 0:28 {subtree} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"
V1_MOUNT = "35 31 0:32 {subtree} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
CPU_MOUNT = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"

MACHINE = 64 << 30


class FakeHost:
    """Files below `root`, as the kernel shows them to one process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True, exist_ok=True)
        (root / "proc/meminfo").write_text(f"MemFree: 7 kB\nMemTotal:  {MACHINE >> 10} kB\n")
        self.member("")

    def member(self, line: str, mount: str = "", subtree: str = "/") -> None:
        """The line of /proc/self/cgroup, and the mount of its hierarchy."""
        mounts = [CPU_MOUNT, mount.format(subtree=subtree)]
        (self.root / "proc/self/cgroup").write_text(f"8:pids:/\n{line}\n" if line else "")
        (self.root / "proc/self/mountinfo").write_text("\n".join(mounts) + "\n")

    def limit(self, folder: str, **limits: int | str) -> None:
        """Limits of a group, by the names of their files with _ for a dot."""
        group = self.root / "sys/fs/cgroup" / folder
        group.mkdir(parents=True, exist_ok=True)
        for name, value in limits.items():
            (group / name.replace("memory_", "memory.", 1)).write_text(f"{value}\n")


def v2_host(root: Path, limit: int) -> FakeHost:
    """A host with one control group of version 2, in which this process is."""
    host = FakeHost(root)
    host.member("0::/pod", V2_MOUNT)
    host.limit("pod", memory_max=limit, memory_high="max")
    return host
