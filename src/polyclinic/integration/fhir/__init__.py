"""FHIR R4: records brought in from bundles and NDJSON."""

from polyclinic.integration.fhir.importing import (
    ImportOptions,
    Progress,
    import_fhir,
)
from polyclinic.integration.fhir.reading import PathUnknown
from polyclinic.integration.fhir.report import ImportReport, Problem, Row

__all__ = [
    "ImportOptions",
    "ImportReport",
    "PathUnknown",
    "Problem",
    "Progress",
    "Row",
    "import_fhir",
]
