SELECT person.id FROM patient_persons person
JOIN patients link ON link.person_id = person.id AND link.profile_shared
WHERE link.organization_id = $1 AND link.id = $2
FOR UPDATE OF person
