"""Records from other systems: what comes in, and what became of each."""
