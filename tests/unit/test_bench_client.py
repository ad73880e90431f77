"""The load client's reading of answers; no server, the transport is a list."""

import asyncio
from typing import Any

import pytest

from polyclinic.bench.client import Job, Shot, _Connection, _Load

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\nx-more: 1\r\n\r\n{"id":1}'


class Written(list[bytes]):
    """A transport that keeps what is written."""

    def write(self, data: bytes) -> None:
        self.append(data)


@pytest.fixture
async def load() -> _Load:
    shots = [Shot(b"first", b'"id":1'), Shot(b"second", b'"id":2')]
    return _Load(Job(port=0, connections=1, warmup_s=0, seconds=9, is_repeated=False, shots=shots))


@pytest.fixture
async def connection(load: _Load) -> _Connection:
    made = _Connection(load)
    made.connection_made(Written())  # type: ignore[arg-type]
    return made


def written(connection: _Connection) -> Any:
    return connection._transport


async def test_an_answer_brings_the_next_request(load: _Load, connection: _Connection) -> None:
    connection.data_received(ANSWER)
    assert written(connection) == [b"first", b"second"]
    assert (load.tally.answered, load.tally.unexpected, len(load.latencies)) == (1, 0, 1)


@pytest.mark.parametrize("at", range(1, len(ANSWER)))
async def test_an_answer_in_pieces_is_one_answer(
    load: _Load, connection: _Connection, at: int
) -> None:
    connection.data_received(ANSWER[:at])
    assert load.tally.answered == 0
    connection.data_received(ANSWER[at:])
    assert load.tally.answered == 1
    assert not load.finished.done()


async def test_an_answer_about_something_else_is_counted(
    load: _Load, connection: _Connection
) -> None:
    connection.data_received(ANSWER)
    connection.data_received(ANSWER)
    assert load.tally.unexpected == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_any_other_answer_ends_the_load(
    load: _Load, connection: _Connection, answer: bytes
) -> None:
    connection.data_received(answer)
    assert load.finished.done()
    assert load.tally.failure
    assert load.tally.answered == 0


async def test_a_closed_connection_ends_the_load(load: _Load, connection: _Connection) -> None:
    connection.connection_lost(None)
    assert load.tally.failure == "the server closed a connection"


async def test_each_request_is_sent_once_where_nothing_is_repeated(
    load: _Load, connection: _Connection
) -> None:
    for _ in range(2):
        connection.data_received(ANSWER)
    await asyncio.wait_for(load.finished, 1)
    assert load.tally.failure == ""
    assert written(connection) == [b"first", b"second"]
