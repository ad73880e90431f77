INSERT INTO imported_records (organization_id, source, reference, entity_type, entity_id)
SELECT $1, 'fhir', t.reference, t.entity_type, t.entity_id
FROM unnest($2::text[], $3::text[], $4::uuid[]) AS t (reference, entity_type, entity_id)
