INSERT INTO users (id, issuer, subject) VALUES ($1, $2, $3)
ON CONFLICT (issuer, subject) DO NOTHING
