"""The portable person: contacts under lock and key, discovery of who is already known."""
