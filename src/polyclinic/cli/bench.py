"""`polyclinic bench`."""


def bench() -> None:
    """to come"""
