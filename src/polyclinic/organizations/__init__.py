"""Organizations, their branches, practitioners and members."""
