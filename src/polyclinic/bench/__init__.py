"""`polyclinic bench`: what this machine gives, beside what PostgreSQL alone gives for the same SQL."""
