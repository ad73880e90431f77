"""Connections, statements, migrations and the embedded server. Knows no organization."""
