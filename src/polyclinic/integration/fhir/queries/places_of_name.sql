SELECT b.id, b.name, b.address,
       array_remove(array_agg(split_part(r.reference, '/', 1)), NULL) AS described_by
FROM branches b
LEFT JOIN imported_records r
       ON r.organization_id = b.organization_id AND r.entity_id = b.id AND r.entity_type = 'branch'
WHERE b.organization_id = $1 AND b.name = ANY ($2)
GROUP BY b.organization_id, b.id
ORDER BY b.id
