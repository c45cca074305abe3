"""A run that is to stop: after the step at hand, with a checkpoint of it."""

from __future__ import annotations

from eightfold.errors import EightfoldError

__all__ = ["StopRequest", "Stopped"]


class StopRequest:
    """What one process was asked for; another thread than the one that trains may ask.

    Attributes:
        signal: the number of the signal for which the run is to stop; 0: nobody has asked.
        heeded: whether a loop runs that looks here. Before that there is nothing to keep.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.heeded = False

    def make(self, number: int) -> None:
        """Asks for a stop; only the first time counts.

        Args:
            number: of the signal.
        """
        self.signal = self.signal or number


class Stopped(EightfoldError):
    """A run has stopped because one of its workers was asked to; the checkpoint holds all that was done.

    Attributes:
        signal: the number of the signal; the same on all workers.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number
