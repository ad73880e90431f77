SELECT p.id, p.name, p.specialty, p.identifiers::text AS identifiers,
       ARRAY (SELECT b.branch_id FROM practitioner_branches b
              WHERE b.organization_id = p.organization_id AND b.practitioner_id = p.id
              ORDER BY b.branch_id) AS branch_ids,
       p.created_at
FROM practitioners p
WHERE p.organization_id = $1 AND p.id > $2 AND ($3::uuid IS NULL OR p.id = $3)
ORDER BY p.id
LIMIT $4
