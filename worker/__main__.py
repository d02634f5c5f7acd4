"""`python -m worker`: read the settings, own one device until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop

from shared import config as settings
from shared import process
from shared.config import WorkerConfig
from shared.errors import WarmrouteError
from shared.keys import Keys


async def _run(config: WorkerConfig) -> None:
    # RQ reads its key prefix from the environment when it is imported. And a wrong setting is told
    # without waiting for torch.
    os.environ["RQ_KEY_PREFIX"] = Keys(config.cell).rq_prefix
    from worker.app import Worker

    await Worker(config, asyncio.get_running_loop()).run()


def main() -> int:
    """Exit status: 0 drained and left, 2 the settings or the surroundings are wrong."""
    process.prepare()
    try:
        uvloop.run(_run(settings.read(WorkerConfig, os.environ)))
    except WarmrouteError as error:
        print(f"warmroute worker: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
