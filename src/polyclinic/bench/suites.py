"""The measurements. Each interleaves its load with its limit, round by round."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from random import Random
from time import perf_counter
from uuid import UUID

from polyclinic.app import Polyclinic
from polyclinic.bench import pgbench, requests, typing_errors
from polyclinic.bench.client import Shot
from polyclinic.bench.datasets import Clinic, Shard
from polyclinic.bench.figures import Figure, Spread, ratios
from polyclinic.bench.load import LoadGenerator, LoadRun
from polyclinic.bench.pgbench import Pgbench, PgbenchRun
from polyclinic.core.ids import OrganizationId, UserId, new_id
from polyclinic.patients import reading
from polyclinic.tenancy.context import OrganizationContext, Role

CONNECTIONS = 64
PAGE = 50
DEPTH = 100_000
_SAMPLE = 2000
_SEARCHES = 1000
_SEED = 1

Say = Callable[[str], None]
