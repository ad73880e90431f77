"""Who is already known under this phone or e-mail.

Invariants:
- Two registrations of one person wait for each other: the fingerprints' advisory locks are taken
  before the look and held until COMMIT, in one order, so the second sees what the first wrote.
- A process that has not heard of a key rotation cannot miss a person: the active key is read under
  a lock that a rotation takes exclusively, and a ring with another active key is refused
  (`KeyRingStale`; the caller follows and starts again).
"""

from datetime import date

from polyclinic.core.errors import Fault
from polyclinic.core.keys import KeyRing
from polyclinic.db.sql_files import statement
from polyclinic.identity.contacts import Contacts
from polyclinic.identity.matching import KnownPerson
from polyclinic.tenancy.door import OrganizationTransaction

_PACKAGE = "polyclinic.identity"


class KeyRingStale(Fault):
    """Another data key is active than this process seals with; follow it and begin again."""

    code = "key-ring-stale"

    def __init__(self, active_id: str) -> None:
        super().__init__(f"the active data key is {active_id}")
        self.active_id = active_id


async def require_current_ring(transaction: OrganizationTransaction, ring: KeyRing) -> None:
    """Hold off key rotations until COMMIT. Raises `KeyRingStale`."""
    await transaction.execute("SELECT pg_advisory_xact_lock_shared(hashtext('data_keys'))")
    active = await transaction.fetchval("SELECT key_id FROM data_keys WHERE is_active")
    if active != ring.active_id:
        raise KeyRingStale(active)


async def discover(
    transaction: OrganizationTransaction,
    contacts: Contacts,
    ring: KeyRing,
    *,
    date_of_birth: date | None,
) -> list[KnownPerson]:
    """The people of this shard who hold one of the contacts, whatever their organizations.

    At most 100, those of that date of birth first. From here to COMMIT no other registration with
    one of these contacts can go on.
    """
    phones, emails = contacts.phone_prints(ring), contacts.email_prints(ring)
    if not phones and not emails:
        return []
    await transaction.execute(statement(_PACKAGE, "lock_contacts"), sorted(phones[:1] + emails[:1]))
    rows = await transaction.fetch(statement(_PACKAGE, "discover"), phones, emails, date_of_birth)
    return [KnownPerson(*row) for row in rows]
