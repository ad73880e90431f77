"""Who acts for which organization, and the one door to its data."""
