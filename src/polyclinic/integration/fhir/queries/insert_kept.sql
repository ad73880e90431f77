INSERT INTO kept_resources (organization_id, reference, resource_type, body)
SELECT $1, t.reference, t.resource_type, t.body::jsonb
FROM unnest($2::text[], $3::text[], $4::text[]) AS t (reference, resource_type, body)
