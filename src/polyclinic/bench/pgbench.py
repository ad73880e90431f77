"""PostgreSQL alone: pgbench calling the same function as the same role, prepared, in autocommit."""

import re
import subprocess
from dataclasses import dataclass
from uuid import UUID

from polyclinic.bench.client import SLOW_MS
from polyclinic.bench.errors import BenchFailed
from polyclinic.db.postgres_user import ServerUser, programs


@dataclass(frozen=True, slots=True)
class PgbenchRun:
    """Transactions a second without the time to connect; the mean latency; the part over 20 ms."""

    tps: float
    mean_ms: float
    slow_share: float


@dataclass(frozen=True, slots=True)
class Pgbench:
    """pgbench against one database, signed in as the DSN's role."""

    dsn: str
    threads: int

    def run(self, script: str, *, clients: int, seconds: float) -> PgbenchRun:
        """Run `script` in each client for whole seconds, at least one. Raises `BenchFailed`."""
        user = ServerUser.current()
        options = user.process_options()
        del options["stdin"]
        done = subprocess.run(  # noqa: S603 -- the server package's own program
            [
                *(programs(user) / "pgbench", "--no-vacuum", "--protocol=prepared"),
                *(f"--client={clients}", f"--jobs={min(clients, self.threads)}"),
                f"--latency-limit={SLOW_MS}",
                *(f"--time={max(1, round(seconds))}", "--file=-", self.dsn),
            ],
            check=False,
            input=script,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            **options,
        )
        if done.returncode:
            raise BenchFailed(f"pgbench failed: {done.stderr.strip()[-500:]}")
        return _parsed(done.stdout)


def _parsed(said: str) -> PgbenchRun:
    tps = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    mean = re.search(r"^latency average = ([0-9.]+) ms", said, re.MULTILINE)
    if tps is None or mean is None or not float(tps[1]):
        raise BenchFailed(f"pgbench said nothing of use: {said.strip()[-500:]}")
    slow = re.search(r"latency limit: (\d+)/(\d+)", said)
    share = int(slow[1]) / int(slow[2]) if slow is not None else 0.0
    return PgbenchRun(float(tps[1]), float(mean[1]), share)


def one_of(ids: list[UUID], variable: str = "n") -> str:
    """SQL for the id at the place of a pgbench variable.

    A constant array costs the server nothing to look into, where a table of ids would cost a
    second index scan and make the limit too low.
    """
    return "('{" + ",".join(map(str, ids)) + "}'::uuid[])[:" + variable + "]"


def context_arguments(organization: str, user_id: UUID) -> str:
    """The first five arguments of every hot function, as a doctor; `organization` is SQL."""
    return f"{organization}, '{user_id}', 'doctor', '', 'bench'"
