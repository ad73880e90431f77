"""Ids, names, contacts, keys and the base errors: pure, no input or output."""
