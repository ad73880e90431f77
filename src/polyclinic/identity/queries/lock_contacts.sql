SELECT pg_advisory_xact_lock(('x' || left(encode(print, 'hex'), 16))::bit(64)::bigint)
FROM unnest($1::bytea[]) AS print
ORDER BY print
