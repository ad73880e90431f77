SELECT person_id, name, date_of_birth, by_phone, by_email FROM discover_people($1, $2, $3)
