"""`python -m tests.simulation --seeds 1000`, or `--seed 7` to see one schedule again."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from deploy.local.redis_server import start_redis
from tests.simulation.server import SimRedis
from tests.simulation.simulate import Result, Totals, simulate, simulate_all

SHOWN = 3


def main() -> int:
    """Exit status 1 if any schedule broke a rule."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="one schedule, with its trace")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        redis = start_redis(path, appendonly=False, unixsocket=path / "redis.sock")
        try:
            server = SimRedis(redis.url)
            if given.seed is not None:
                return show(simulate(given.seed, server))
            return report(simulate_all(range(given.first, given.first + given.seeds), server))
        finally:
            redis.stop()


def show(result: Result) -> int:
    """One schedule in full."""
    print("\n".join(result.trace))
    print(f"seed {result.seed}: {result.virtual_s:.1f} virtual s, {result.steps} steps")
    print(f"trace {result.digest}")
    for violation in result.violations:
        print("VIOLATION", violation)
    return 1 if result.violations else 0


def report(totals: Totals) -> int:
    """All of them in numbers."""
    print(
        f"schedules run: {totals.schedules} in {totals.real_s:.1f} s "
        f"({totals.schedules / totals.real_s:.1f}/s), {totals.virtual_s:.0f} virtual s, "
        f"{totals.steps} steps"
    )
    _table("faults injected", totals.faults)
    _table("outcomes", totals.outcomes)
    for result in totals.bad[:SHOWN]:
        print(f"\nseed {result.seed} (make simulate SEED={result.seed}):")
        for violation in result.violations[:5]:
            print("  VIOLATION", violation)
    print(f"violations: {len(totals.bad)}")
    return 1 if totals.bad else 0


def _table(title: str, counts: Counter[str]) -> None:
    print(f"{title}:")
    for name, count in sorted(counts.items()):
        print(f"  {count:8d}  {name}")


if __name__ == "__main__":
    sys.exit(main())
