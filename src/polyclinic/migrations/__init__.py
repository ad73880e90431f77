"""Numbered, forward-only migrations of the control and shard databases, as SQL."""
