CREATE TABLE plans (
    name text PRIMARY KEY,
    cents_a_month bigint NOT NULL
);
