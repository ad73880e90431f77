SELECT pg_advisory_xact_lock(hashtextextended('polyclinic import ' || $1::uuid::text, 0))
