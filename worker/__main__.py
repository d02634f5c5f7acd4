"""`python -m worker`: read the settings, own one device until SIGTERM or Ctrl-C.

This process is the parent (`supervisor/parent.py`). Its child (`process.py`) runs on the device.
"""

from __future__ import annotations

import asyncio
import os
import sys

from shared import command_line, failpoints, process
from shared import config as settings
from shared.config import WorkerConfig
from shared.errors import ConfigError
from worker.supervisor.parent import Parent
from worker.supervisor.restart import MISCONFIGURED

DOES = "Runs one worker until SIGTERM or Ctrl-C: one device, which loads, batches, runs and evicts."


async def _run(config: WorkerConfig) -> int:
    return await Parent(config, os.environ).run()


def main() -> int:
    """Exit status: 0 drained and left, 1 ended before it was drained, 2 a wrong setting or a
    service or package that is missing, 3 another process took this worker's id, or its GPU,
    72 its device was lost again and again, 74 it was sick again and again."""
    command_line.parse("worker", DOES, command_line.settings_of(WorkerConfig))
    process.prepare()
    try:
        config = settings.read(WorkerConfig, os.environ)
        settings.check_names(os.environ, config)
        failpoints.arm(os.environ)
    except ConfigError as error:
        print(f"warmroute worker: {error.message}", file=sys.stderr)
        return MISCONFIGURED
    return asyncio.run(_run(config))


if __name__ == "__main__":
    sys.exit(main())
