"""The HTTP application: every route, the conventions, and the edge around them."""

from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ASGIApp

from polyclinic.api import audit, docs, health, me, organizations, patients
from polyclinic.api.edge import Edge
from polyclinic.api.problems import handle

if TYPE_CHECKING:
    from polyclinic.app import Polyclinic


def create_http(parts: "Polyclinic") -> ASGIApp:
    """The ASGI application over the joined parts; starts and stops them with itself."""
    return Edge(create_litestar(parts), timeout_s=parts.settings.request_timeout_s)


def create_litestar(parts: "Polyclinic") -> Litestar:
    """The routes without the edge, for what reads their declarations."""
    return Litestar(
        route_handlers=[
            *patients.handlers,
            *organizations.handlers,
            *audit.handlers,
            *me.handlers,
            *health.handlers,
            *docs.handlers,
        ],
        state=State({"polyclinic": parts}, deep_copy=False),
        lifespan=[parts.running],
        exception_handlers={Exception: handle},
        openapi_config=docs.openapi_config,
        request_max_body_size=parts.settings.max_body_bytes,
        logging_config=None,
        debug=False,
    )
