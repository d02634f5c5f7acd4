"""Errors of a command: each ends it with one sentence and an exit status."""

from __future__ import annotations


class CannotDo(Exception):
    """Exit status 1: the command is right, but failed."""


class WrongUse(Exception):
    """Exit status 2: the command line, or a file it names, is wrong."""
