"""`python -m polyclinic`."""

from polyclinic.cli.main import run

run()
