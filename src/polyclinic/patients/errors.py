"""What can stand in the way of a patient's request."""

from typing import Any
from uuid import UUID

import msgspec

from polyclinic.core.errors import Conflict, Forbidden, Invalid, NotFound, Refusal


class PatientNotFound(NotFound):
    """No such patient in this organization."""

    code = "patient-not-found"

    def __init__(self, patient_id: UUID) -> None:
        super().__init__(f"no patient {patient_id}")


class ConsentRequired(Forbidden):
    """The patient does not share the profile with this organization."""

    code = "consent-required"


class MaskedCandidate(msgspec.Struct, frozen=True):
    """Somebody it might be, masked: enough for a human to ask the right question."""

    person_id: UUID
    name: str
    date_of_birth: str | None
    matched_on: list[str]
    is_patient_here: bool


class PossibleMatch(Conflict):
    """It is unclear whether the person is already known; the caller decides."""

    code = "possible-match"

    def __init__(self, candidates: list[MaskedCandidate]) -> None:
        super().__init__(
            "this may be somebody already known: ask, then send the request again with "
            '"decision": "new" or "decision": {"link": person_id}'
        )
        self.candidates = candidates
        self.person_ids = [candidate.person_id for candidate in candidates]

    def facts(self) -> dict[str, Any]:
        return {"candidates": msgspec.to_builtins(self.candidates)}


class NotACandidate(Invalid):
    """Only somebody who was offered as a candidate can be linked."""

    code = "not-a-candidate"

    def __init__(self, person_id: UUID) -> None:
        super().__init__(f"{person_id} is not a possible match", field="decision.link")
        self.person_ids = [person_id]


class PatientChanged(Refusal):
    """Somebody changed the patient since it was read."""

    code = "changed-meanwhile"
