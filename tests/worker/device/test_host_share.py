"""The parts of a host add up to less than the host, whoever shares it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.device.cgroup import Level
from worker.device.host_registry import Claims, Peer
from worker.device.host_share import MOST, POOL, Host

LIMIT = 1000
MACHINE = Level("machine", LIMIT)
CPU, GPU = Claims(levels=["machine"], wish=0.5), Claims(levels=["machine"], wish=0.125)


def parts(*workers: tuple[int, Claims], levels: tuple[Level, ...] = (MACHINE,)) -> list[int]:
    """What each worker (user, claims) gets."""
    return [
        Host(user, claims, [Peer(*w) for n, w in enumerate(workers) if n != i]).memory_part(
            [level for level in levels if level.identity in claims.levels]
        )
        for i, (user, claims) in enumerate(workers)
    ]


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([CPU], [500]),
        ([CPU, CPU], [250, 250]),
        ([GPU], [125]),
        ([GPU] * 4, [125] * 4),  # together half of it: nobody has to give way
        ([GPU] * 8, [62] * 8),
        ([CPU, GPU], [400, 100]),
        ([CPU, Claims(levels=["machine"], fixed=600)], [200, 0]),  # what explicit ones leave
        ([CPU, Claims(levels=["machine"], fixed=900)], [0, 0]),
        ([Claims(levels=["machine"], wish=0.5, overhead=100)], [450]),
        ([CPU, Claims(levels=["elsewhere"], wish=0.5)], [500, 0]),
    ],
)
def test_workers_share_half_of_the_memory(workers: list[Claims], expected: list[int]) -> None:
    """In proportion to what each would take alone."""
    assert parts(*((1, claims) for claims in workers)) == expected


def test_the_tightest_level_decides() -> None:
    """Two containers of one host: each has its own limit, and both share the host."""
    pod_a, pod_b = Level("a", 400), Level("b", 2000)
    a = Claims(levels=["machine", "a"], wish=0.5)
    b = Claims(levels=["machine", "b"], wish=0.5)
    assert parts((1, a), (1, b), levels=(MACHINE, pod_a, pod_b)) == [200, 250]


def test_another_user_takes_his_equal_part_however_many_workers_he_has() -> None:
    """What he writes cannot take more: neither many workers nor huge claims."""
    swarm = [(2, Claims(levels=["machine"], wish=9e9, fixed=1 << 60, overhead=1 << 60))] * 50
    assert parts((1, CPU), *swarm)[0] == 250


CLAIMS = st.builds(
    Claims,
    levels=st.just(["machine"]),
    wish=st.sampled_from([0.0, 0.125, 0.5]),
    fixed=st.integers(0, LIMIT // 4),
    overhead=st.integers(0, LIMIT // 20),
)


@given(st.lists(st.tuples(st.integers(1, 3), CLAIMS), min_size=1, max_size=12))
def test_parts_and_settings_never_exceed_what_is_there(workers: list[tuple[int, Claims]]) -> None:
    """For each user: his part of the pool, or what his explicit settings leave of it."""
    users = {user for user, _ in workers}
    given_out = parts(*workers)
    for user in users:
        automatic = sum(part for part, (u, _) in zip(given_out, workers, strict=True) if u == user)
        fixed = sum(claims.fixed for u, claims in workers if u == user)
        part = LIMIT // len(users)
        assert automatic <= part * POOL
        assert not automatic or automatic + fixed <= part * MOST


@pytest.mark.parametrize(
    ("folders", "used", "free", "expected"),
    [
        (1, 0, 10_000, 900),
        (1, 0, 100, 50),  # a nearly full disk: half of what is left
        (2, 0, 10_000, 450),
        (2, 300, 100, 325),  # what is free is divided, what a folder has is its own
    ],
)
def test_caches_on_one_disk_share_it(folders: int, used: int, free: int, expected: int) -> None:
    """And the workers of one folder share its budget."""
    mine = Claims(disk="d", root="1")
    others = [Peer(1, Claims(disk="d", root=str(n))) for n in range(1, folders + 1)]
    host = Host(1, mine, [*others, Peer(1, Claims(disk="other", root="9"))])
    assert host.disk_part(900, total=1000, free=free, used=used) == expected


def test_explicit_budgets_that_cannot_fit_are_named() -> None:
    """With the figures, and the settings to change; only to a worker that has such settings."""
    fixed = Claims(levels=["machine"], fixed=600, overhead=10)
    assert Host(1, fixed).misfit([MACHINE], 0) == ""
    said = Host(1, fixed, [Peer(1, fixed)]).misfit([MACHINE], 0)
    assert "2 workers" in said and "WARMROUTE_MEMORY_BYTES" in said
    assert Host(1, CPU, [Peer(1, fixed), Peer(1, fixed)]).misfit([MACHINE], 0) == ""
    disk = Claims(disk="d", root="1", disk_fixed=600)
    assert Host(1, disk, [Peer(1, disk)]).misfit([], 1000) == ""  # one folder, one budget
    other = Claims(disk="d", root="2", disk_fixed=600)
    assert "WARMROUTE_DISK_CACHE_BYTES" in Host(1, disk, [Peer(1, other)]).misfit([], 1000)
