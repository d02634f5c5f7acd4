"""What a fault is: it is injected, it is shown to have happened, and it is healed.

A fault has a `target`, which is what its verification looks at, and an `aim`, which is what it
really hits. They are the same, but in a control run: there the aim is something else of the same
kind, and a verification that passes all the same is worth nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from tests.chaos.ground import Ground


class NotVerified(AssertionError):
    """The fault did not happen to its target."""


class Fault(ABC):
    """One fault, once. `kind` names its class in the report; `kills` if a process dies of it."""

    kind: ClassVar[str]
    kills: ClassVar[bool] = False
    patience_s: float = 40.0  # for what has to follow from the fault

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    @abstractmethod
    def inject(self) -> None:
        """Do it, and hold it as long as it is to last."""

    @abstractmethod
    def verify(self) -> None:
        """NotVerified unless the target shows that it happened. Called before `heal`."""

    @abstractmethod
    def heal(self) -> None:
        """Put everything back that should be there, and wait until it is ready."""

    def verify_healed(self) -> None:
        """NotVerified unless what is there now shows that it happened. Called after `heal`."""
        return


def require(true: object, otherwise: str) -> None:
    """NotVerified with `otherwise` as its reason, if not."""
    if not true:
        raise NotVerified(otherwise)
