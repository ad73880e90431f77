"""The two kinds of error: a refusal is an answer, a fault pages somebody.

Messages carry ids, never a person's data: they reach logs, problem documents and terminals.
Each edge maps a class to its own status in one place (`api/problems.py`, `cli/exit_codes.py`).
"""

from typing import Any, ClassVar


class PolyclinicError(Exception):
    """Base of every error that this package raises on purpose."""

    code: ClassVar[str] = "error"

    def facts(self) -> dict[str, Any]:
        """What a caller may read beside the message; keys become problem-document members."""
        return {}


class Refusal(PolyclinicError):
    """The request cannot be granted as it stands; trying again unchanged gives the same answer."""

    code = "refused"


class Fault(PolyclinicError):
    """A part is missing or broken; the same request may succeed later."""

    code = "fault"


class NotFound(Refusal):
    """No such thing in this organization: another organization's id looks exactly the same."""

    code = "not-found"


class Forbidden(Refusal):
    """The caller is known, the right is missing."""

    code = "forbidden"


class Conflict(Refusal):
    """The state of the thing forbids it."""

    code = "conflict"


class Invalid(Refusal):
    """A value is wrong in a way that only the use case can see.

    `field` is the path of the value in the request, as the caller wrote it.
    """

    code = "invalid"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field

    def facts(self) -> dict[str, Any]:
        return {"errors": [{"field": self.field, "message": str(self)}]}


class Busy(Fault):
    """No capacity within the time allowed; `retry_after_s` says when to come back."""

    code = "busy"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
