"""Who saw or changed what, when and why."""
