"""`python -m deploy.local`: what `make up` runs."""

from __future__ import annotations

import os
import sys

from deploy.local.settings import described, read_settings
from deploy.local.up import run_up
from shared import command_line
from shared.errors import InvalidInput, WarmrouteError

DOES = "Runs Redis, S3, gateways, workers and sample models on this machine until Ctrl-C."


def main() -> int:
    """Exit status 0: every answer was right, or it was stopped while it ran; 1: an answer was wrong
    or it did not start; 2: a setting is wrong; 130: it was stopped while it started."""
    command_line.parse("deploy.local", DOES, described())
    try:
        return run_up(read_settings(os.environ))
    except InvalidInput as error:
        print(f"warmroute: {error.message}", file=sys.stderr)
        return 2
    except WarmrouteError as error:
        print(f"warmroute: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
