INSERT INTO name_vocabulary (organization_id, token, sound)
SELECT $1, word.token, word.sound FROM unnest($2::text[], $3::text[]) AS word (token, sound)
ON CONFLICT DO NOTHING
