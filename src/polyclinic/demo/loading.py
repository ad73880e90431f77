"""Loading invented people by the thousand, through the organization transaction like everybody.

Invariants:
- A batch commits whole or not at all, with its marker and its one audit record, so a load that was
  cut off goes on where it stopped and loads nobody twice.
- Nobody is looked for among the people who are there: invented people are distinct by construction
  (`people.py`).
- Vocabulary rows, which batches share, are written last and in one order: batches cannot wait for
  each other in a ring, and one waits for another's COMMIT only.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from itertools import islice
from uuid import UUID

from polyclinic.db.sql_files import statement
from polyclinic.demo.batch import Batch, marker, prepare
from polyclinic.demo.people import RECORD_NUMBERS, Person
from polyclinic.demo.steps import claim, done_steps
from polyclinic.identity.discovery import KeyRingStale, require_current_ring
from polyclinic.identity.key_store import KeyStore
from polyclinic.tenancy.context import OrganizationContext
from polyclinic.tenancy.door import Door, Intent, OrganizationTransaction

BATCH_SIZE = 2000
_WRITERS = 3  # one batch is made ready while PostgreSQL works on two
_PACKAGE = "polyclinic.demo"


async def load_people(
    door: Door,
    keys: KeyStore,
    context: OrganizationContext,
    people: Iterable[Person],
    *,
    consent_share: float,
    on_progress: Callable[[int], None],
) -> int:
    """Add those of `people` who are missing; how many these were. Repeating it adds nobody.

    `consent_share`, from 0 to 1, of them share their profile. `on_progress` hears how many
    people each batch held, also where the batch was there already.
    """
    load = _Load(door, keys, context, people, consent_share, on_progress)
    return await load.run()


class _Load:
    """Several writers that draw batches from one iterator, which is read by one at a time."""

    def __init__(
        self,
        door: Door,
        keys: KeyStore,
        context: OrganizationContext,
        people: Iterable[Person],
        consent_share: float,
        on_progress: Callable[[int], None],
    ) -> None:
        self._door = door
        self._keys = keys
        self._context = context
        self._people = iter(people)
        self._reading = asyncio.Lock()
        self._consent_share = consent_share
        self._on_progress = on_progress
        self._added = 0

    async def run(self) -> int:
        done = await done_steps(self._door, self._context)
        try:
            async with asyncio.TaskGroup() as writers:
                for _ in range(_WRITERS):
                    writers.create_task(self._write_all(done))
        except ExceptionGroup as failures:
            # What stopped one writer stopped the load; callers know the errors, not the group.
            raise failures.exceptions[0] from None
        return self._added

    async def _write_all(self, done: frozenset[str]) -> None:
        while people := await self._next():
            step = marker(people)
            if step not in done and await self._write(step, people):
                self._added += len(people)
            self._on_progress(len(people))

    async def _next(self) -> list[Person]:
        async with self._reading:
            return await asyncio.to_thread(lambda: list(islice(self._people, BATCH_SIZE)))

    async def _write(self, step: str, people: list[Person]) -> bool:
        """Whether the batch was added now. A rotation of the keys meanwhile seals it anew."""
        try:
            return await self._write_once(step, people)
        except KeyRingStale as stale:
            self._keys.follow(stale.active_id)
            return await self._write_once(step, people)

    async def _write_once(self, step: str, people: list[Person]) -> bool:
        ring = self._keys.ring
        batch = await asyncio.to_thread(prepare, people, ring)
        async with self._door.transaction(self._context, Intent.WRITE) as transaction:
            await require_current_ring(transaction, ring)
            is_new = await claim(transaction, step)
            if is_new:
                await insert(transaction, batch, consent_share=self._consent_share)
            return is_new


async def insert(
    transaction: OrganizationTransaction, batch: Batch, *, consent_share: float
) -> None:
    """Write the batch in the caller's transaction, with its audit record."""
    organization_id = transaction.context.organization_id
    await transaction.execute(
        statement(_PACKAGE, "insert_people"),
        batch.key_id, batch.person_ids, batch.names, batch.births, batch.sexes,
        batch.phones, batch.phone_prints, batch.emails, batch.email_prints,
        batch.blood_types, batch.allergies, batch.conditions, batch.emergency_contacts,
        batch.insurances,
    )  # fmt: skip
    await transaction.execute(
        statement(_PACKAGE, "insert_links"),
        organization_id, batch.patient_ids, batch.person_ids, batch.names,
    )  # fmt: skip
    await transaction.execute(
        statement(_PACKAGE, "insert_record_numbers"),
        organization_id, RECORD_NUMBERS, batch.key_id,
        batch.patient_ids, batch.numbers, batch.number_prints,
    )  # fmt: skip
    await transaction.execute(
        statement(_PACKAGE, "insert_name_tokens"),
        organization_id, batch.patient_ids, batch.all_tokens,
    )  # fmt: skip
    consenting = spread(batch.patient_ids, consent_share)
    await transaction.execute(statement(_PACKAGE, "give_consents"), consenting)
    await transaction.audit(
        "patient.seed",
        "patient",
        entity_ids=batch.patient_ids,
        details={"consents": len(consenting)},
    )
    await transaction.execute(
        statement(_PACKAGE, "insert_vocabulary"), organization_id, batch.words, batch.sounds
    )


def spread(ids: list[UUID], share: float) -> list[UUID]:
    """`share` of the ids, evenly spread over them."""
    return [
        id_
        for place, id_ in enumerate(ids)
        if math.floor((place + 1) * share) > math.floor(place * share)
    ]
