"""What stops a measurement."""

from polyclinic.core.errors import Fault, Refusal


class BenchFailed(Fault):
    """A part of the measurement did not work, so there is no figure to give."""

    code = "bench-failed"


class OtherData(Refusal):
    """The directory holds something other than this measurement's data."""

    code = "other-data"
