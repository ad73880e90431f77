SELECT name FROM (
    SELECT name, row_number() OVER (ORDER BY name) AS place, count(*) OVER () AS size
    FROM patients WHERE organization_id = %(organization_id)s
) numbered
WHERE place %% greatest(1, size / %(count)s) = 0
ORDER BY place LIMIT %(count)s
