"""Where an organization's data lives, and the way there."""

from polyclinic.shards.directory import Directory, OrganizationUnknown, Route

__all__ = ["Directory", "OrganizationUnknown", "Route"]
