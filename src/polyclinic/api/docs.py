"""`/openapi.json` and a page at `/docs` that needs no other server."""

from importlib.resources import files
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.response import Redirect
from litestar.static_files import create_static_files_router

from polyclinic import __version__

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Polyclinic API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true,
  persistAuthorization: true, tryItOutEnabled: true, validatorUrl: null
});
"""

_TAGS = ("Patients", "Organizations", "Practitioners", "Members", "Audit", "Me", "Health")

openapi_config = OpenAPIConfig(
    title="Polyclinic",
    version=__version__,
    description="One clinic on a laptop, thousands in several regions. Errors are problem "
    "documents (RFC 9457); lists are `{items, next_cursor}`; a POST with an `Idempotency-Key` may "
    "be repeated; changes need `If-Match`.",
    path="/openapi",
    render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    components=[
        Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
            }
        )
    ],
    security=[{"bearer": []}],
    tags=[Tag(name) for name in _TAGS],
)


@get("/", include_in_schema=False, sync_to_thread=False)
def home() -> Redirect:
    return Redirect("/docs")


@get("/docs", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
def docs_page() -> str:
    return _PAGE


@get("/docs/start.js", include_in_schema=False, sync_to_thread=False)
def docs_start() -> Response[str]:
    return Response(_START, media_type="text/javascript")


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_json(request: Request[Any, Any, Any]) -> Response[Any]:
    return Response(request.app.openapi_schema.to_schema())


assets = create_static_files_router(
    path="/docs/assets", directories=[str(files("swagger_ui").joinpath("static"))]
)
handlers: list[HTTPRouteHandler | Router] = [home, docs_page, docs_start, openapi_json, assets]
