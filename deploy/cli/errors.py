"""What a subcommand raises to end with one sentence instead of a traceback."""

from __future__ import annotations


class CannotDo(Exception):
    """Exit status 1: the command is right, but it cannot be done now."""


class WrongUse(Exception):
    """Exit status 2: the command line, or a file it names, is wrong."""
