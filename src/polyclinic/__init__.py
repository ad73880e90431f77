"""Polyclinic: a multi-tenant clinic platform on PostgreSQL."""
