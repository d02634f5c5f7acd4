"""`--module PACKAGE.MODULE:FACTORY`: the user's own code, imported and called."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from deploy.cli.errors import WrongUse

WANT = "want PACKAGE.MODULE:FACTORY"


def make_module(name: str) -> Any:
    """What the factory returns; WrongUse with the error of the user's code if that fails."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise WrongUse(f"--module {name!r}: {WANT}")
    factory = _attribute(_import(module), attribute, f"--module {name!r}")
    if not callable(factory):
        kind = type(factory).__name__
        raise WrongUse(
            f"--module {name!r}: it is a {kind}, want a function that returns the module"
        )
    try:
        return factory()
    except Exception as error:  # the user's code may raise anything
        raise WrongUse(f"--module {name!r}: {attribute}() raised {_summary(error)}") from error


def _import(module: str) -> Any:
    """Found from the current folder, as `python -m` would."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise WrongUse(
                f"--module {module!r}: no module named {error.name!r}; {WANT}"
            ) from error
        raise WrongUse(f"--module {module!r}: importing it raised {_summary(error)}") from error
    except Exception as error:  # the user's code may raise anything
        raise WrongUse(f"--module {module!r}: importing it raised {_summary(error)}") from error


def _attribute(module: Any, attribute: str, what: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise WrongUse(f"{what}: {module.__name__} has no {attribute!r}; {WANT}")
        found = getattr(found, part)
    return found


def _summary(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
