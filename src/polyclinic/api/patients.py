"""`/v1/patients`: registration, reading, search, change, consent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, delete, get, patch, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from polyclinic.api.answers import JsonAnswer
from polyclinic.api.operations import operation, problem
from polyclinic.api.problems import PreconditionMissing
from polyclinic.api.requests import (
    AnyRequest,
    Cursor,
    IdempotencyKey,
    IfMatch,
    Limit,
    change_once,
    enter,
    json_response,
    polyclinic,
)
from polyclinic.core.ids import PatientId
from polyclinic.core.pages import DEFAULT_LIMIT, Page
from polyclinic.patients import consent, editing, reading
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.editing import ChangePatient, entity_tag
from polyclinic.patients.errors import (
    ConsentRequired,
    NotACandidate,
    PatientNotFound,
    PossibleMatch,
)
from polyclinic.patients.profile import PatientItem, PatientView, encoded_view
from polyclinic.patients.registration import Outcome, RegisterPatient, register
from polyclinic.tenancy.access import Access
from polyclinic.tenancy.context import OrganizationContext, Role
from polyclinic.tenancy.door import Intent, OrganizationTransaction
from polyclinic.tenancy.idempotency import Answer

READERS = (Role.ADMIN, Role.DOCTOR, Role.RECEPTIONIST, Role.CASHIER)
EDITORS = (Role.ADMIN, Role.DOCTOR, Role.RECEPTIONIST)
PATH = "/v1/patients"


@post(
    PATH,
    **operation(
        "registerPatient",
        "Register a patient",
        "Patients",
        roles=EDITORS,
        intent=Intent.WRITE,
        responses={
            200: ResponseSpec(
                PatientView, generate_examples=False, description="A patient already."
            ),
            409: problem("Possibly known: decide, and send it again with `decision`."),
        },
    ),
)
async def register_patient(
    request: AnyRequest, data: JSONBody[RegisterPatient], idempotency_key: IdempotencyKey = None
) -> Response[PatientView]:
    """Register a patient: links the person who is known already, else creates one.

    Known is who has the same phone or e-mail, the same date of birth and a like name. Anything in
    between is 409 `possible-match` with masked candidates.
    """
    context = await enter(request)
    keys = polyclinic(request).keys

    async def work(transaction: OrganizationTransaction) -> Answer:
        registered = await register(transaction, keys.ring, data)
        status = 200 if registered.outcome is Outcome.EXISTING else 201
        location = f"{PATH}/{registered.patient_id}"
        return Answer(status, encoded_view(registered.row, keys), location)

    async def replay(transaction: OrganizationTransaction, kept: Answer) -> Answer:
        patient_id = UUID((kept.location or "").rpartition("/")[2])
        row = await reading.read_in(transaction, PatientId(patient_id))
        return replace(kept, body=encoded_view(row, keys))

    async with unclear_recorded(request, context):
        return await change_once(request, context, idempotency_key, work, replay=replay)


@get(PATH, **operation("listPatients", "List or search patients", "Patients", roles=READERS))
async def list_patients(
    request: AnyRequest,
    text: Annotated[
        str | None,
        QueryParameter(
            name="query",
            min_length=1,
            max_length=200,
            description="A name in any script or spelling, its beginning, a phone, an e-mail or a "
            "record number. Without it: all patients, newest first.",
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[PatientItem]]:
    """Patients, newest first, or the best matches for `query`."""
    context = await enter(request)
    parts = polyclinic(request)
    if text is None:
        found = await reading.page(parts.door, context, limit=limit, cursor=cursor)
    else:
        found = await reading.search(
            parts.door,
            parts.keys.ring,
            context,
            text,
            country=await parts.country(context),
            limit=limit,
            cursor=cursor,
        )
    return json_response(found.encoded())


@get(
    PATH + "/{patient_id:uuid}",
    **operation(
        "readPatient",
        "Read a patient",
        "Patients",
        roles=READERS,
        responses={304: ResponseSpec(None, description="Unchanged since `If-None-Match`.")},
    ),
)
async def read_patient(request: AnyRequest, patient_id: FromPath[UUID]) -> Response[PatientView]:
    """One patient; without consent `id`, `person_id`, `name` and `profile_shared` only."""
    context = await enter(request)
    parts = polyclinic(request)
    row = await reading.read(parts.door, context, patient_id)
    return tagged(request, encoded_view(row, parts.keys))


@patch(
    PATH + "/{patient_id:uuid}",
    **operation(
        "changePatient",
        "Change a patient",
        "Patients",
        roles=EDITORS,
        intent=Intent.WRITE,
        responses={
            412: problem("Changed since it was read."),
            428: problem("`If-Match` is missing."),
        },
    ),
)
async def change_patient(
    request: AnyRequest,
    patient_id: FromPath[UUID],
    data: JSONBody[ChangePatient],
    if_match: IfMatch = None,
) -> Response[PatientView]:
    """Change the portable profile. Needs the patient's consent and the ETag of the last read."""
    context = await enter(request)
    parts = polyclinic(request)
    if if_match is None:
        raise PreconditionMissing
    async with attempt_recorded(request, context, "patient.change", patient_id):
        body = await editing.change(
            parts.door, parts.keys, context, PatientId(patient_id), data, if_match=if_match
        )
    return with_tag(body)


@put(
    PATH + "/{patient_id:uuid}/consent",
    **operation("giveConsent", "Give consent", "Patients", roles=EDITORS, intent=Intent.WRITE),
)
async def give_consent(
    request: AnyRequest,
    patient_id: FromPath[UUID],
    data: JSONBody[GiveConsent | None] = None,
) -> Response[PatientView]:
    """Record that the patient shares the portable profile with this organization."""
    context = await enter(request)
    parts = polyclinic(request)
    async with attempt_recorded(request, context, "consent.given", patient_id):
        row = await consent.give(parts.door, context, PatientId(patient_id), data or GiveConsent())
    return with_tag(encoded_view(row, parts.keys))


@delete(
    PATH + "/{patient_id:uuid}/consent",
    **operation(
        "withdrawConsent", "Withdraw consent", "Patients", roles=EDITORS, intent=Intent.WRITE
    ),
)
async def withdraw_consent(request: AnyRequest, patient_id: FromPath[UUID]) -> None:
    """Record that the patient no longer shares it; every read shows the name alone at once."""
    context = await enter(request)
    async with attempt_recorded(request, context, "consent.withdrawn", patient_id):
        await consent.withdraw(polyclinic(request).door, context, PatientId(patient_id))


@asynccontextmanager
async def unclear_recorded(
    request: AnyRequest, context: OrganizationContext
) -> AsyncIterator[None]:
    """Record whom a refused registration showed, masked as they are: its own record was undone."""
    try:
        yield
    except (PossibleMatch, NotACandidate) as refusal:
        access = Access(
            "patient.match", "person", entity_ids=tuple(refusal.person_ids), outcome="refused"
        )
        await polyclinic(request).accesses.record(context, access)
        raise


@asynccontextmanager
async def attempt_recorded(
    request: AnyRequest, context: OrganizationContext, action: str, patient_id: UUID
) -> AsyncIterator[None]:
    """Record an attempt on a patient who is not here, or shares nothing: its own was undone."""
    try:
        yield
    except (PatientNotFound, ConsentRequired) as refusal:
        outcome = "not-found" if isinstance(refusal, PatientNotFound) else "refused"
        access = Access(action, "patient", patient_id, outcome=outcome)
        await polyclinic(request).accesses.record(context, access)
        raise


def with_tag(body: bytes) -> Response[Any]:
    """The body and its ETag."""
    return json_response(body, headers={"etag": entity_tag(body)})


def tagged(request: AnyRequest, body: bytes) -> Response[Any]:
    """The body with its ETag, or 304 where the caller has it: for reads."""
    tag = entity_tag(body)
    if is_known(tag, request.headers.get("if-none-match")):
        return JsonAnswer(None, status=304, headers={"etag": tag})
    return json_response(body, headers={"etag": tag})


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether a caller's If-None-Match names the tag; weak comparison (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    named = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return tag in named or named == ["*"]


handlers = [
    register_patient,
    list_patients,
    read_patient,
    change_patient,
    give_consent,
    withdraw_consent,
]
