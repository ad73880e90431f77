"""The organization's patients: registration, reading, search, change and consent."""
