"""`polyclinic seed`: invented patients, for trials of size."""


def seed() -> None:
    """to come"""
