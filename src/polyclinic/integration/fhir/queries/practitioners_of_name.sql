SELECT id, name, identifiers::text AS identifiers FROM practitioners
WHERE organization_id = $1 AND name = ANY ($2)
ORDER BY id
