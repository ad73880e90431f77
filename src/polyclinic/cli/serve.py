"""`polyclinic api`: the HTTP API, one process or several that share a port."""

import logging
import multiprocessing
import os
import signal
import threading
from typing import Annotated

import structlog
import typer
import uvicorn

from polyclinic.api.application import create_http
from polyclinic.api.logs import configure_logs
from polyclinic.app import Polyclinic
from polyclinic.cli.options import DataDir, settings_for

LIFELINE = "POLYCLINIC_LIFELINE_FD"
"""A pipe that `up` holds open: at its end the server stops, also after kill -9 of `up`."""


def api(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    data_dir: DataDir = None,
) -> None:
    """Serve the HTTP API of an instance that runs already."""
    settings = settings_for(data_dir)
    os.environ["POLYCLINIC_DATA_DIR"] = str(settings.data_dir)
    _hold_lifeline()
    uvicorn.run(
        "polyclinic.cli.serve:application",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        backlog=4096,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        log_level="warning",
    )


def application() -> object:
    """The ASGI application of one worker."""
    settings = settings_for(None)
    configure_logs(settings.log_level)
    _leave_with_parent()
    structlog.get_logger().info("api_starting", pid=os.getpid())
    return create_http(Polyclinic(settings))


def _hold_lifeline() -> None:
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is None:
        return

    def wait_for_the_end() -> None:
        os.read(int(descriptor), 1)
        logging.getLogger(__name__).warning("the supervisor is gone")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def _leave_with_parent() -> None:
    """A worker whose parent was killed would keep the port from the parent's successor."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_the_end() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
