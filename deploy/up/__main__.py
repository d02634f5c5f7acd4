"""`python -m deploy.up`: what `make up` runs."""

from __future__ import annotations

import os
import sys

from deploy.up.settings import BadSetting, read_settings, told
from deploy.up.stack import CannotStart, run_stack
from shared import command_line

DOES = "Runs Redis, S3, gateway, workers and sample models on this machine until Ctrl-C."


def main() -> int:
    """Exit status 0: every answer was right, or it was stopped; 1: not so; 2: a wrong setting."""
    command_line.parse("deploy.up", DOES, told())
    try:
        return run_stack(read_settings(os.environ))
    except BadSetting as error:
        print(f"warmroute: {error}", file=sys.stderr)
        return 2
    except CannotStart as error:
        print(f"warmroute: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
