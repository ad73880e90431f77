INSERT INTO practitioner_branches (organization_id, practitioner_id, branch_id)
SELECT $1, $2, branch_id FROM unnest($3::uuid[]) AS branch_id
