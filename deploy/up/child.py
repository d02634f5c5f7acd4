"""`python -m deploy.up.child PARENT COMMAND...`: become COMMAND, and end when PARENT ends.

Linux tells a process when its parent dies, however it dies (PR_SET_PDEATHSIG); so a supervisor that
is killed leaves nothing running. Elsewhere the command just runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Never returns: the command takes this process's place."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked to be told
            sys.exit(1)
    os.execvp(command[0], command)


def command_under(parent: int, command: list[str]) -> list[str]:
    """The command line that runs `command` tied to the life of `parent`."""
    return [sys.executable, "-m", "deploy.up.child", str(parent), *command]


if __name__ == "__main__":
    main()
