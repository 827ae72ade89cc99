"""What a check-up raises when the user's own code fails in the middle."""

from __future__ import annotations

from ..errors import RectifierError
from .records import Record

__all__ = ["ObservationError"]


class ObservationError(RectifierError, RuntimeError):
    """The user's model, loss or batches raised while they were observed; ``record`` keeps what was seen until then."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record
