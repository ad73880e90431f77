"""Invented people and clinics: the demo of `polyclinic up`, and load for measurements."""
