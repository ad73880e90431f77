"""What a caller may learn of the database's troubles: ids and times, never a statement's values."""

import asyncpg

from polyclinic.core.errors import Busy, Conflict, Fault, Refusal


class DatabaseUnavailable(Busy):
    """The server cannot be reached, or went away during the request; try again."""

    code = "database-unavailable"


class PoolFull(Busy):
    """No connection became free within the time allowed."""

    code = "busy"


class StatementTimedOut(Fault):
    """A statement took longer than allowed and was cancelled; nothing of it remains."""

    code = "statement-timeout"


class ConcurrentChange(Conflict):
    """Two transactions got in each other's way; the same request again will do."""

    code = "concurrent-change"


class UnstorableValue(Refusal):
    """A value fits no column: a NUL character in a text, a number out of range."""

    code = "invalid"


OUT_OF_STEP = (
    OSError,  # and TimeoutError, which is one
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the connection broke while it was being used
)
"""After one of these a connection's next answer may be another question's: discard it."""

_GONE = (
    *OUT_OF_STEP,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)


_UNSTORABLE = "a value cannot be stored: a NUL character in a text, or a number out of range"


def translated(error: BaseException) -> Exception | None:
    """The error to raise for a driver's error, or None where the driver's own should go on."""
    match error:
        case asyncpg.QueryCanceledError() | TimeoutError():
            return StatementTimedOut("the database took too long and the work was undone")
        case asyncpg.SerializationError() | asyncpg.DeadlockDetectedError():
            return ConcurrentChange("another change came between; send the request again")
        case asyncpg.DataError():
            return UnstorableValue(_UNSTORABLE)
        case asyncpg.InterfaceError() if isinstance(error, ValueError):  # refused by the driver
            return UnstorableValue(_UNSTORABLE)
        case _ if isinstance(error, _GONE):
            return DatabaseUnavailable("the database cannot be reached just now")
        case _:
            return None
