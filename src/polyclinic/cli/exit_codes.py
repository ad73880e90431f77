"""What the command's exit status says; the one place that maps errors to it.

0 done · 1 a fault: something is missing or broken, try again · 2 the command line is wrong
3 refused: the request cannot be granted as it stands · 4 done in part: some input was rejected
5 not up to date (`migrate --check`) · 130 interrupted
"""

from enum import IntEnum

from polyclinic.core.errors import PolyclinicError, Refusal


class ExitCode(IntEnum):
    DONE = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    PARTIAL = 4
    OUTDATED = 5
    INTERRUPTED = 130


def exit_code_of(error: PolyclinicError) -> ExitCode:
    return ExitCode.REFUSED if isinstance(error, Refusal) else ExitCode.FAULT
