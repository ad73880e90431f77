"""The requests that the load client sends, as bytes."""

from urllib.parse import quote, urlencode
from uuid import UUID

from polyclinic.bench.client import Shot
from polyclinic.bench.datasets import Clinic
from polyclinic.core.pages import write_cursor
from polyclinic.patients.reading import PagePosition

PATIENTS = "/v1/patients"


def read_shot(clinic: Clinic, patient_id: UUID) -> Shot:
    """One patient; the answer must be about that patient."""
    return Shot(_get(f"{PATIENTS}/{patient_id}", clinic), f'"id":"{patient_id}"'.encode())


def page_shot(clinic: Clinic, *, limit: int, before: UUID | None) -> Shot:
    """A page of the list, from its beginning or after a patient; the answer must have items."""
    query = {"limit": str(limit)}
    if before is not None:
        query["cursor"] = write_cursor(PagePosition(before))
    return Shot(_get(f"{PATIENTS}?{urlencode(query)}", clinic), b'"items":[{"id":')


def search_shot(clinic: Clinic, text: str, *, name: str) -> Shot:
    """The first page of a search; whether `name` is on it is counted."""
    return Shot(_get(f"{PATIENTS}?query={quote(text)}", clinic), f'"name":"{name}"'.encode())


def _get(target: str, clinic: Clinic) -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        f"authorization: Bearer {clinic.token}\r\n\r\n"
    ).encode()
