"""What can stand in the way of managing an organization."""

from polyclinic.core.errors import Conflict, Fault, NotFound, Refusal


class BranchUnknown(Refusal):
    """A branch that is named is not one of this organization."""

    code = "branch-unknown"


class PractitionerNotFound(NotFound):
    code = "practitioner-not-found"


class MemberNotFound(NotFound):
    code = "member-not-found"


class MemberExists(Conflict):
    """The user is a member already; change the membership instead."""

    code = "member-exists"


class MemberChanged(Refusal):
    """Somebody changed the membership since it was read."""

    code = "changed-meanwhile"


class LastAdmin(Conflict):
    """An organization keeps at least one admin."""

    code = "last-admin"


class NoShard(Fault):
    """The directory lists no shard that can take an organization."""

    code = "no-shard"
