"""Ties the life of a process to that of its parent, however the parent ends. Linux only.

Imported, it ties the importing process. Run as a program, it ties a command:

    python -I -S shared/parent_death.py PARENT COMMAND [ARGUMENT ...]

PARENT is the parent's process id. The command keeps this program's process id and open files. Only
the standard library is imported, so that the command starts within milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CANNOT_RUN = 127  # the status that a shell gives to a command that it cannot run


def end_with_parent(parent: int, number: int = signal.SIGTERM) -> bool:
    """Have Linux send signal `number` to this process when the thread that started it ends.

    Returns False if process `parent` had ended before: the caller should end too. On other systems
    nothing is sent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    return os.getppid() == parent


def tied(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` as a child which ends with the calling process."""
    program = str(Path(__file__).resolve())
    return [sys.executable, "-I", "-S", program, str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    """Become the command. Never returns; exits if the parent is gone or the command cannot run."""
    parent, command = int(arguments[0]), list(arguments[1:])
    if not end_with_parent(parent):
        sys.exit(1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, the command need not
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        sys.exit(_CANNOT_RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
