"""One patient: signed in, under row-level security, with a durable audit record."""

from random import Random
from uuid import UUID

from polyclinic.bench.contests import Contest, Tools, compete
from polyclinic.bench.datasets import Clinic, Shard
from polyclinic.bench.figures import Figure
from polyclinic.bench.pgbench import context_arguments, one_of
from polyclinic.bench.requests import read_shot
from polyclinic.core.ids import new_id

SAMPLE = 2000
LEAST_RATIO = 0.5
P99_MS = 20


def measure_reads(tools: Tools, shard: Shard, clinics: list[Clinic]) -> list[Figure]:
    """At 64 connections, and of a single caller."""
    each = -(-SAMPLE // len(clinics))
    found = [(clinic, id_) for clinic in clinics for id_ in shard.patients_of(clinic.id, each)]
    Random(1).shuffle(found)  # noqa: S311
    shots = [read_shot(clinic, patient_id) for clinic, patient_id in found]
    script = _script([clinic.id for clinic, _ in found], [id_ for _, id_ in found])
    many, one = compete(
        tools,
        [
            Contest("read a patient", shots, script),
            Contest("read, 1 connection", shots, script, connections=1),
        ],
    )
    is_met = many.ratio().median >= LEAST_RATIO
    return [
        many.rate(target=f"ratio >= {LEAST_RATIO}", is_met=is_met),
        many.typical(),
        many.slowest(below_ms=P99_MS),
        many.slow(),
        *many.costs(),
        one.rate(),
        one.typical(),
        one.slowest(),
    ]


def _script(organizations: list[UUID], patients: list[UUID]) -> str:
    context = context_arguments(one_of(organizations), new_id())
    return (
        f"\\set n random(1, {len(patients)})\n"
        f"SELECT * FROM patient_read({context}, {one_of(patients)});\n"
    )
