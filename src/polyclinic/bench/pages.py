"""A page of the list: at its beginning, and far down."""

from polyclinic.bench.contests import Contest, Outcome, Tools, compete
from polyclinic.bench.datasets import Clinic, Shard
from polyclinic.bench.figures import Figure, ratios
from polyclinic.bench.pgbench import context_arguments, one_of
from polyclinic.bench.requests import page_shot
from polyclinic.core.ids import new_id

PAGE = 50
DEPTH = 100_000
LEAST_RATE = 4000
LEAST_RATIO = 0.25
# The two differ by the drift of the machine, not by a scan: 100,000 rows take some 20 ms to skip.
AS_FAST = 0.9
_SPREAD = 1000


def measure_pages(tools: Tools, shard: Shard, hospital: Clinic, *, patients: int) -> list[Figure]:
    """In the organization that holds `patients`."""
    depth = min(DEPTH, patients // 2)
    before = shard.patients_at_depth(hospital.id, depth, min(_SPREAD, patients - depth - PAGE))
    context = context_arguments(f"'{hospital.id}'", new_id())
    first, deep = compete(
        tools,
        [
            Contest(
                f"first page of {PAGE}",
                [page_shot(hospital, limit=PAGE, before=None)],
                f"SELECT * FROM patient_page({context}, {PAGE}, NULL);\n",
            ),
            Contest(
                f"page {depth:,} rows down",
                [page_shot(hospital, limit=PAGE, before=id_) for id_ in before],
                f"\\set n random(1, {len(before)})\n"
                f"SELECT * FROM patient_page({context}, {PAGE}, {one_of(before)});\n",
            ),
        ],
    )
    return [*_figures(first), first.typical(), first.slowest(), *first.costs(),
            *_figures(deep), deep.typical(), deep.slowest(), _compared(first, deep)]  # fmt: skip


def _figures(outcome: Outcome) -> list[Figure]:
    rate = outcome.rate().value.median
    is_met = rate >= LEAST_RATE or outcome.ratio().median >= LEAST_RATIO
    return [outcome.rate(target=f"{LEAST_RATE:,}/s or ratio >= {LEAST_RATIO}", is_met=is_met)]


def _compared(first: Outcome, deep: Outcome) -> Figure:
    ratio = ratios(deep.rates, first.rates)
    return Figure(
        group=deep.contest.name,
        name="to the first",
        unit="requests/s",
        value=deep.rate().value,
        limit=first.rate().value,
        limit_of="the first page",
        ratio=ratio,
        target=f"ratio >= {AS_FAST}",
        is_met=ratio.median >= AS_FAST,
    )
