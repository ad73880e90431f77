"""Clients that register and read patients while something is killed, and what each was told."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

CLIENTS = 16
GIVE_UP_S = 15.0


@dataclass(frozen=True, slots=True)
class Told:
    """One request's answer; `status` 0: the connection broke before one came."""

    status: int
    seconds: float
    retry_after: str | None
    code: str
    began: float


@dataclass(slots=True)
class Registration:
    """One patient to be, known by a name that no other has, and every answer to its POSTs."""

    name: str
    told: list[Told] = field(default_factory=list)
    patient_id: str = ""

    @property
    def is_acknowledged(self) -> bool:
        return any(told.status == 201 for told in self.told)


class Load:
    """Registers over `clients` connections; after each acknowledged one reads it back."""

    def __init__(self, base_url: str, headers: dict[str, str], *, prefix: str) -> None:
        self.registrations: list[Registration] = []
        self.reads: list[Told] = []
        self._url = base_url + "/v1/patients"
        self._headers = headers
        self._prefix = prefix
        self._numbers = itertools.count()
        self._is_over = asyncio.Event()

    @asynccontextmanager
    async def running(self, clients: int = CLIENTS) -> AsyncIterator["Load"]:
        """The load, for as long as the block runs."""
        tasks = [asyncio.create_task(self._client()) for _ in range(clients)]
        try:
            yield self
        finally:
            self._is_over.set()
            await asyncio.gather(*tasks)

    def answers(self) -> list[Told]:
        """Every answer that came, to whatever request."""
        posts = [told for registration in self.registrations for told in registration.told]
        return [told for told in (*posts, *self.reads) if told.status]

    def statuses(self) -> Counter[int]:
        return Counter(told.status for told in self.answers())

    def acknowledged(self) -> list[Registration]:
        return [r for r in self.registrations if r.is_acknowledged]

    async def more(self, count: int, *, within_s: float = 30) -> None:
        """Wait until `count` more registrations are acknowledged and as many reads answered."""
        goal = len(self.acknowledged()) + count
        async with asyncio.timeout(within_s):
            while len(self.acknowledged()) < goal:
                await asyncio.sleep(0.02)

    async def told(self, status: int, *, within_s: float = 30) -> None:
        """Wait until somebody is answered with this status (0: a broken connection)."""
        began = time.monotonic()
        async with asyncio.timeout(within_s):
            while not any(
                told.status == status and told.began > began
                for registration in self.registrations[-200:]
                for told in registration.told
            ):
                await asyncio.sleep(0.02)

    async def retry_unacknowledged(self) -> None:
        """Send every POST again that was not acknowledged, with its key; all must succeed."""
        async with self._http() as client:
            for registration in self.registrations:
                if not registration.is_acknowledged:
                    await self._register(client, registration)
                    assert registration.is_acknowledged, registration.told

    async def _client(self) -> None:
        async with self._http() as client:
            while not self._is_over.is_set():
                registration = Registration(f"{self._prefix} {next(self._numbers)}")
                self.registrations.append(registration)
                await self._register(client, registration)
                if registration.is_acknowledged:
                    self.reads.append(await _ask(client, "GET", registration.patient_id))
                elif registration.told[-1].status == 0:
                    await asyncio.sleep(0.2)  # refused connections come back at once

    async def _register(self, client: httpx.AsyncClient, registration: Registration) -> None:
        body = {"name": registration.name, "date_of_birth": "1990-01-02"}
        key = {"Idempotency-Key": registration.name.replace(" ", "-")}
        answer = await _ask(client, "POST", "", json=body, headers=key, about=registration)
        registration.told.append(answer)

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=GIVE_UP_S)


async def _ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    json: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    about: Registration | None = None,
) -> Told:
    began = time.monotonic()
    try:
        answer = await client.request(method, path, json=json, headers=headers)
    except httpx.TimeoutException:
        raise AssertionError(f"no answer within {GIVE_UP_S} s: it hangs") from None
    except httpx.TransportError:
        return Told(0, time.monotonic() - began, None, "", began)
    if about is not None and answer.status_code == 201:
        about.patient_id = answer.json()["id"]
    code = answer.json()["code"] if answer.status_code >= 400 else ""
    seconds = time.monotonic() - began
    return Told(answer.status_code, seconds, answer.headers.get("retry-after"), code, began)
