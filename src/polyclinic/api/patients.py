"""`/v1/patients`: registration, reading, search, change, consent."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Response, delete, get, patch, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from polyclinic.api.pages import Page
from polyclinic.api.problems import PreconditionMissing, Problem
from polyclinic.api.requests import (
    AnyRequest,
    Cursor,
    IdempotencyKey,
    IfMatch,
    Limit,
    allow,
    change_once,
    enter,
    json_response,
    polyclinic,
)
from polyclinic.core.ids import PatientId
from polyclinic.core.pages import DEFAULT_LIMIT
from polyclinic.patients import consent, editing, reading
from polyclinic.patients.consent import GiveConsent
from polyclinic.patients.editing import ChangePatient, entity_tag
from polyclinic.patients.profile import PatientItem, PatientView, encoded_view
from polyclinic.patients.registration import Outcome, RegisterPatient, register
from polyclinic.tenancy.context import Role
from polyclinic.tenancy.door import Intent, OrganizationTransaction
from polyclinic.tenancy.idempotency import Answer

READERS = (Role.ADMIN, Role.DOCTOR, Role.RECEPTIONIST, Role.CASHIER)
EDITORS = (Role.ADMIN, Role.DOCTOR, Role.RECEPTIONIST)
PATH = "/v1/patients"


def _problem(description: str) -> ResponseSpec:
    return ResponseSpec(Problem, generate_examples=False, description=description)


@post(
    PATH,
    operation_id="registerPatient",
    summary="Register a patient",
    tags=["Patients"],
    opt=allow(*EDITORS, intent=Intent.WRITE),
    responses={
        200: ResponseSpec(PatientView, generate_examples=False, description="A patient already."),
        409: _problem("Possibly known: decide, and send it again with `decision`."),
    },
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

    return await change_once(request, context, idempotency_key, work)


@get(
    PATH,
    operation_id="listPatients",
    summary="List or search patients",
    tags=["Patients"],
    opt=allow(*READERS, intent=Intent.READ),
)
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
    operation_id="readPatient",
    summary="Read a patient",
    tags=["Patients"],
    opt=allow(*READERS, intent=Intent.READ),
    responses={304: ResponseSpec(None, description="Unchanged since `If-None-Match`.")},
)
async def read_patient(request: AnyRequest, patient_id: FromPath[UUID]) -> Response[PatientView]:
    """One patient; without consent `id`, `person_id`, `name` and `profile_shared` only."""
    context = await enter(request)
    parts = polyclinic(request)
    row = await reading.read(parts.door, context, patient_id)
    return tagged(request, encoded_view(row, parts.keys))


@patch(
    PATH + "/{patient_id:uuid}",
    operation_id="changePatient",
    summary="Change a patient",
    tags=["Patients"],
    opt=allow(*EDITORS, intent=Intent.WRITE),
    responses={
        412: _problem("Changed since it was read."),
        428: _problem("`If-Match` is missing."),
    },
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
    body = await editing.change(
        parts.door, parts.keys, context, PatientId(patient_id), data, if_match=if_match
    )
    return tagged(request, body)


@put(
    PATH + "/{patient_id:uuid}/consent",
    operation_id="giveConsent",
    summary="Give consent",
    tags=["Patients"],
    opt=allow(*EDITORS, intent=Intent.WRITE),
)
async def give_consent(
    request: AnyRequest,
    patient_id: FromPath[UUID],
    data: JSONBody[GiveConsent | None] = None,
) -> Response[PatientView]:
    """Record that the patient shares the portable profile with this organization."""
    context = await enter(request)
    parts = polyclinic(request)
    row = await consent.give(parts.door, context, PatientId(patient_id), data or GiveConsent())
    return tagged(request, encoded_view(row, parts.keys))


@delete(
    PATH + "/{patient_id:uuid}/consent",
    operation_id="withdrawConsent",
    summary="Withdraw consent",
    tags=["Patients"],
    opt=allow(*EDITORS, intent=Intent.WRITE),
)
async def withdraw_consent(request: AnyRequest, patient_id: FromPath[UUID]) -> None:
    """Record that the patient no longer shares it; every read shows the name alone at once."""
    context = await enter(request)
    await consent.withdraw(polyclinic(request).door, context, PatientId(patient_id))


def tagged(request: AnyRequest, body: bytes) -> Response[Any]:
    """The body with its ETag, or 304 where the caller has it."""
    tag = entity_tag(body)
    if request.headers.get("if-none-match") == tag:
        return Response(None, status_code=304, headers={"etag": tag})
    return json_response(body, headers={"etag": tag})


handlers = [
    register_patient,
    list_patients,
    read_patient,
    change_patient,
    give_consent,
    withdraw_consent,
]
