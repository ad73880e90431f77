"""Polyclinic: a multi-tenant clinic platform on PostgreSQL."""

__version__ = "0.1.0"
