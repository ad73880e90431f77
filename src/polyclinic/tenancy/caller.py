"""From a verified token to an actor: which user, which organization, which role.

What a user may do is the membership's word, not the token's, so that it can be taken back at once:
memberships are cached for 15 minutes and dropped in every process when one changes. Where a
`role_claim` is configured, the identity provider manages the organizations instead, and its claim
is the role.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from polyclinic.core.errors import Forbidden, Invalid
from polyclinic.core.ids import BranchId, OrganizationId, UserId, new_id
from polyclinic.db.node import Node
from polyclinic.db.sql_files import statement
from polyclinic.shards.directory import Directory, OrganizationUnknown
from polyclinic.tenancy.context import OrganizationContext, Role
from polyclinic.tenancy.signin import InvalidToken, SignedIn, TokenVerifier

MEMBERSHIP_LIFETIME_S = 900
ORGANIZATION_HEADER = "X-Organization-Id"


class OrganizationNotChosen(Invalid):
    """The caller is a member of several organizations and named none."""

    code = "organization-not-chosen"

    def __init__(self) -> None:
        super().__init__(
            f"you are a member of several organizations: name one in {ORGANIZATION_HEADER}",
            field=ORGANIZATION_HEADER,
        )


class NoOrganization(Forbidden):
    """The caller is signed in and a member of nothing."""

    code = "no-organization"


@dataclass(frozen=True, slots=True)
class Membership:
    organization_id: OrganizationId
    role: Role
    branch_ids: tuple[BranchId, ...] | None


@dataclass(frozen=True, slots=True)
class User:
    """A signed-in user and what the control database knows of them."""

    id: UserId
    is_superadmin: bool
    memberships: tuple[Membership, ...]


class Callers:
    """Resolves callers for one process."""

    def __init__(
        self,
        verifier: TokenVerifier,
        control: Node,
        directory: Directory,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verifier = verifier
        self._control = control
        self._directory = directory
        self._clock = clock
        self._users: dict[tuple[str, str], tuple[float, User]] = {}

    async def sign_in(self, token: str) -> SignedIn:
        """Who the token proves. Raises `InvalidToken`, `SignInUnavailable`."""
        return self._verifier.cached(token) or await self._verifier.verify(token)

    async def user(self, signed_in: SignedIn) -> User:
        """The user behind a sign-in, made known at the first one."""
        key = (signed_in.issuer, signed_in.subject)
        known = self._users.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        user = await self._load(signed_in)
        self._users[key] = (self._clock() + MEMBERSHIP_LIFETIME_S, user)
        return user

    def forget(self, user_id: str | None = None) -> None:
        """Drop one user's memberships, or everybody's."""
        if not user_id:
            self._users.clear()
            return
        for key, (_, user) in list(self._users.items()):
            if str(user.id) == user_id:
                del self._users[key]

    async def context(
        self, signed_in: SignedIn, *, header: str | None, request_id: str
    ) -> OrganizationContext:
        """The actor in the organization that the header, the token or the only membership names.

        Raises `OrganizationUnknown` for an organization that is not the caller's: whether it exists
        is not told.
        """
        user = await self.user(signed_in)
        membership = await self._membership(user, signed_in, header)
        return OrganizationContext(
            organization_id=membership.organization_id,
            user_id=user.id,
            role=membership.role,
            request_id=request_id,
            branch_ids=membership.branch_ids,
        )

    @staticmethod
    def memberships(user: User, signed_in: SignedIn) -> tuple[Membership, ...]:
        """Where the user may act: what is granted here, and what the token's role claim says."""
        claimed = _claimed_membership(signed_in)
        if claimed is None:
            return user.memberships
        others = [m for m in user.memberships if m.organization_id != claimed.organization_id]
        return (claimed, *others)

    async def _membership(self, user: User, signed_in: SignedIn, header: str | None) -> Membership:
        named = header or signed_in.organization
        if named is None:
            return self._only_membership(user)
        organization_id = _organization_id(named, from_header=header is not None)
        for membership in self.memberships(user, signed_in):
            if membership.organization_id == organization_id:
                if membership not in user.memberships:  # the provider's word: is there such a one?
                    await self._directory.route(organization_id)
                return membership
        if user.is_superadmin:
            await self._directory.route(organization_id)
            return Membership(organization_id, Role.SUPERADMIN, None)
        raise OrganizationUnknown(f"no organization {organization_id}")

    @staticmethod
    def _only_membership(user: User) -> Membership:
        if len(user.memberships) > 1:
            raise OrganizationNotChosen
        if not user.memberships:
            if user.is_superadmin:
                raise OrganizationNotChosen
            raise NoOrganization("you are not a member of any organization")
        return user.memberships[0]

    async def _load(self, signed_in: SignedIn) -> User:
        rows = await self._memberships(signed_in)
        if not rows:
            async with self._control.connection() as connection:
                await connection.execute(
                    statement("polyclinic.tenancy", "ensure_user"),
                    new_id(), signed_in.issuer, signed_in.subject,
                )  # fmt: skip
            rows = await self._memberships(signed_in)
        memberships = tuple(
            Membership(
                OrganizationId(row["organization_id"]),
                Role(row["role"]),
                None if row["branch_ids"] is None else tuple(map(BranchId, row["branch_ids"])),
            )
            for row in rows
            if row["organization_id"] is not None
        )
        return User(UserId(rows[0]["user_id"]), rows[0]["is_superadmin"], memberships)

    async def _memberships(self, signed_in: SignedIn) -> list[asyncpg.Record]:
        async with self._control.connection() as connection:
            return await connection.fetch(  # type: ignore[no-any-return]
                statement("polyclinic.tenancy", "memberships_of"),
                signed_in.issuer, signed_in.subject,
            )  # fmt: skip


def _organization_id(text: str, *, from_header: bool) -> OrganizationId:
    try:
        return OrganizationId(UUID(text))
    except ValueError:
        if from_header:
            raise Invalid("not a UUID", field=ORGANIZATION_HEADER) from None
        raise InvalidToken("bad-claim", claim="organization") from None


def _claimed_membership(signed_in: SignedIn) -> Membership | None:
    """What the identity provider grants, where a role claim is configured; Clerk: 'org:doctor'."""
    if signed_in.role is None or signed_in.organization is None:
        return None
    try:
        role = Role(signed_in.role.removeprefix("org:"))
    except ValueError:
        raise Forbidden(f"the token's role is not one of {', '.join(Role)}") from None
    if role is Role.SUPERADMIN:
        raise Forbidden("superadmin is granted here, not by the identity provider")
    try:
        organization_id = OrganizationId(UUID(signed_in.organization))
    except ValueError:
        return None  # the provider's own id for an organization that is not here
    return Membership(organization_id, role, None)
