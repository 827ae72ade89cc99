"""What a check-up raises when it is cut short in the middle."""

from __future__ import annotations

from ..errors import RectifierError
from .records import Record

__all__ = ["IllError", "Interrupted", "ObservationError"]


class IllError(RectifierError, RuntimeError):
    """A training watched with ``when_ill="raise"`` is ill; ``record`` holds what was seen until then."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


class ObservationError(RectifierError, RuntimeError):
    """The user's model, loss or batches raised while they were observed; ``record`` keeps what was seen until then."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while the batches were observed; ``record`` keeps what was seen until then.

    It is a KeyboardInterrupt, so that a program which is told to stop does stop.
    """

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record
