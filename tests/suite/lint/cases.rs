//! For each rule, SQL in which it must be found and SQL in which it must not be found.

use tenantry::lint::Rule;

pub struct Case {
    pub rule: Rule,
    pub found: &'static [&'static str],
    pub missed: &'static [&'static str],
}

/// The earlier migration, whose objects exist and have rows.
pub const BASE: &str = "
    CREATE TABLE users (id bigint PRIMARY KEY, email varchar(50), name text, age int NOT NULL, born timestamp,
                        rate numeric(6, 2), note text COLLATE \"C\");
    CREATE INDEX users_email_idx ON users (email);
    CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint, total int, CONSTRAINT orders_total_check CHECK (total > 0));
    CREATE INDEX orders_user_id_idx ON orders (user_id);
    CREATE UNIQUE INDEX orders_total_idx ON orders (total);
    CREATE TABLE events (day date NOT NULL) PARTITION BY RANGE (day);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE archive (day date NOT NULL);
    CREATE TABLE bounded (day date NOT NULL, CONSTRAINT bounds CHECK (day >= '2022-01-01' AND day < '2023-01-01'));
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM orders;
    CREATE UNIQUE INDEX totals_idx ON totals (n);
    CREATE VIEW big_orders AS SELECT id, total FROM orders WHERE total > 100;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN plain AS int;
    CREATE SEQUENCE numbers;
    CREATE FUNCTION made() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN ''x''; END';
    ALTER TABLE users ADD CONSTRAINT users_email_check CHECK (email IS NOT NULL) NOT VALID;
    ALTER TABLE users ADD CONSTRAINT users_name_check CHECK (name IS NOT NULL AND length(name) > 0);
";

/// The objects outside the tenant.
pub const OUTSIDE: &str = "
    CREATE SCHEMA other;
    CREATE TABLE other.plans (id int PRIMARY KEY, code text);
    CREATE TYPE other.kind AS ENUM ('a');
    CREATE SEQUENCE other.numbers;
    CREATE FUNCTION other.made(int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE OPERATOR other.- (RIGHTARG = int, FUNCTION = other.made);
    CREATE COLLATION other.folded (provider = libc, locale = 'C');
";

pub const CASES: &[Case] = &[
    Case {
        rule: Rule::IndexNotConcurrently,
        found: &[
            "CREATE INDEX ON users (name)",
            "create unique index if not exists i on only \"users\" using btree (name) where age > 1",
            "CREATE INDEX ON events (day)",
            "CREATE TABLE IF NOT EXISTS users (id int); CREATE INDEX ON users (name)",
            "DO $$ BEGIN IF true THEN CREATE INDEX i ON users (name); END IF; END $$",
            "DO $$ BEGIN EXECUTE 'CREATE INDEX i ON users (name)'; END $$",
            "CREATE INDEX ON totals (n)",
        ],
        missed: &[
            "CREATE INDEX CONCURRENTLY i ON users (name)",
            "CREATE TABLE fresh (id int); CREATE INDEX ON fresh (id)",
            "CREATE TABLE IF NOT EXISTS fresh (id int); CREATE INDEX ON fresh (id)",
            "CREATE TABLE fresh AS SELECT 1 AS id; CREATE INDEX ON fresh (id)",
            "SELECT 1 AS id INTO fresh; CREATE INDEX ON fresh (id)",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh RENAME TO cool; CREATE INDEX ON cool (id)",
            "CREATE MATERIALIZED VIEW fresh AS SELECT 1 AS id; CREATE UNIQUE INDEX ON fresh (id)",
            "CREATE INDEX ON ONLY events (day)",
            "CREATE TEMPORARY TABLE fresh (id int); CREATE INDEX ON fresh (id)",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE INDEX ON users (name); END $$",
            "COMMENT ON TABLE users IS 'CREATE INDEX ON users (name)'",
        ],
    },
    Case {
        rule: Rule::DropIndexNotConcurrently,
        found: &["DROP INDEX users_email_idx", "DROP INDEX IF EXISTS users_email_idx, orders_user_id_idx RESTRICT"],
        missed: &[
            "DROP INDEX CONCURRENTLY users_email_idx",
            "CREATE INDEX i ON users (name); DROP INDEX i",
            "CREATE TABLE fresh (id int); CREATE INDEX i ON fresh (id); DROP INDEX i",
        ],
    },
    Case {
        rule: Rule::ReindexNotConcurrently,
        found: &["REINDEX TABLE users", "REINDEX (VERBOSE) INDEX users_email_idx"],
        missed: &[
            "REINDEX TABLE CONCURRENTLY users",
            "REINDEX (CONCURRENTLY) INDEX users_email_idx",
            "CREATE TABLE fresh (id int PRIMARY KEY); REINDEX TABLE fresh",
        ],
    },
    Case {
        rule: Rule::SetNotNull,
        found: &[
            "ALTER TABLE users ALTER COLUMN note SET NOT NULL",
            "ALTER TABLE users ALTER born SET NOT NULL, ALTER rate DROP NOT NULL",
            // Not validated.
            "ALTER TABLE users ALTER COLUMN email SET NOT NULL",
            "ALTER TABLE users DROP CONSTRAINT users_name_check; ALTER TABLE users ALTER COLUMN name SET NOT NULL",
            "ALTER TABLE users ALTER COLUMN age DROP NOT NULL; ALTER TABLE users ALTER COLUMN age SET NOT NULL",
            "ALTER TABLE users ADD CONSTRAINT c NOT NULL note",
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ADD PRIMARY KEY USING INDEX orders_total_idx",
        ],
        missed: &[
            "ALTER TABLE users VALIDATE CONSTRAINT users_email_check; ALTER TABLE users ALTER COLUMN email SET NOT NULL",
            "ALTER TABLE users ALTER COLUMN name SET NOT NULL",
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ADD CHECK (total IS NOT NULL);
             ALTER TABLE orders ADD PRIMARY KEY USING INDEX orders_total_idx",
            // The column has the constraint already.
            "ALTER TABLE users ALTER COLUMN age SET NOT NULL",
            "ALTER TABLE orders ALTER COLUMN id SET NOT NULL",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh ALTER COLUMN id SET NOT NULL",
            "ALTER TABLE users ADD CONSTRAINT c NOT NULL note NOT VALID",
        ],
    },
    Case {
        rule: Rule::AddColumnNotNull,
        found: &[
            "ALTER TABLE users ADD COLUMN x int NOT NULL",
            "ALTER TABLE archive ADD x int DEFAULT NULL NOT NULL",
            "ALTER TABLE archive ADD COLUMN id int PRIMARY KEY",
        ],
        missed: &[
            "ALTER TABLE users ADD COLUMN x int NOT NULL DEFAULT 1",
            "ALTER TABLE users ADD COLUMN x int",
            "ALTER TABLE users ADD COLUMN x bigserial NOT NULL",
            "ALTER TABLE users ADD COLUMN x int NOT NULL GENERATED ALWAYS AS (age * 2) STORED",
            "CREATE TABLE fresh (); ALTER TABLE fresh ADD COLUMN x int NOT NULL",
        ],
    },
    Case {
        rule: Rule::ConstraintBuildsIndex,
        found: &[
            "ALTER TABLE archive ADD PRIMARY KEY (day)",
            "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email)",
            "ALTER TABLE users ADD COLUMN x int UNIQUE",
            "ALTER TABLE archive ADD COLUMN x serial PRIMARY KEY",
        ],
        missed: &[
            "ALTER TABLE orders ADD CONSTRAINT orders_total_key UNIQUE USING INDEX orders_total_idx",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh ADD PRIMARY KEY (id)",
            "CREATE TABLE fresh (id int PRIMARY KEY, x int UNIQUE)",
        ],
    },
    Case {
        rule: Rule::ExclusionConstraint,
        found: &[
            "ALTER TABLE users ADD CONSTRAINT e EXCLUDE (age WITH =)",
            "ALTER TABLE users ADD EXCLUDE USING gist (box(point(age, age), point(age, age)) WITH &&)",
        ],
        missed: &[
            "CREATE TABLE fresh (id int, EXCLUDE (id WITH =))",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh ADD EXCLUDE (id WITH =)",
        ],
    },
    Case {
        rule: Rule::CheckValidatedAtOnce,
        found: &[
            "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0)",
            "ALTER TABLE users ADD CHECK (age < 200)",
            "ALTER TABLE users ADD COLUMN x int DEFAULT 1 CHECK (x > 0)",
            "ALTER TABLE users ADD COLUMN x int CHECK (x > 0)",
        ],
        missed: &[
            "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID",
            "CREATE TABLE fresh (id int CHECK (id > 0)); ALTER TABLE fresh ADD CHECK (id < 9)",
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE users ADD CHECK (x > 0) NOT VALID",
        ],
    },
    Case {
        rule: Rule::ForeignKeyValidatedAtOnce,
        found: &[
            "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id)",
            "ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES users",
            "ALTER TABLE orders ADD COLUMN by_id bigint DEFAULT 1 REFERENCES users",
        ],
        missed: &[
            "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
            // There are only nulls, which are not looked up.
            "ALTER TABLE orders ADD COLUMN by_id bigint REFERENCES users",
            "CREATE TABLE fresh (user_id bigint REFERENCES users)",
            "CREATE TABLE fresh (user_id bigint); ALTER TABLE fresh ADD FOREIGN KEY (user_id) REFERENCES users",
        ],
    },
    Case {
        rule: Rule::DomainValidatedAtOnce,
        found: &["ALTER DOMAIN plain ADD CONSTRAINT c CHECK (VALUE < 9)", "ALTER DOMAIN plain SET NOT NULL"],
        missed: &[
            "ALTER DOMAIN plain ADD CONSTRAINT c CHECK (VALUE < 9) NOT VALID",
            "ALTER DOMAIN plain SET DEFAULT 1",
            "CREATE DOMAIN fresh AS int CHECK (VALUE > 0)",
        ],
    },
    Case {
        rule: Rule::ValidatedInSameTransaction,
        found: &[
            "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT c",
            "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users NOT VALID;
             ALTER TABLE orders VALIDATE CONSTRAINT orders_user_id_fkey",
            // A tenant without both has them in one transaction.
            "ALTER TABLE users VALIDATE CONSTRAINT users_email_check",
        ],
        missed: &[
            "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID",
            "ALTER TABLE users VALIDATE CONSTRAINT users_name_check",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh ADD CONSTRAINT c CHECK (id > 0) NOT VALID;
             ALTER TABLE fresh VALIDATE CONSTRAINT c",
            "ALTER TYPE mood ADD VALUE 'new'; ALTER TABLE users RENAME CONSTRAINT users_email_check TO c",
        ],
    },
    Case {
        rule: Rule::VolatileDefault,
        found: &[
            "ALTER TABLE users ADD COLUMN x uuid DEFAULT gen_random_uuid()",
            "ALTER TABLE users ADD COLUMN x text NOT NULL DEFAULT upper(random()::text)",
            "ALTER TABLE users ADD COLUMN x bigint DEFAULT nextval('numbers')",
            // The object is unknown.
            "ALTER TABLE users ADD COLUMN x text DEFAULT made()",
        ],
        missed: &[
            "ALTER TABLE users ADD COLUMN x timestamptz NOT NULL DEFAULT now()",
            "ALTER TABLE users ADD COLUMN x timestamptz DEFAULT CURRENT_TIMESTAMP - interval '1 day'",
            "ALTER TABLE users ADD COLUMN x jsonb DEFAULT '{}', ADD COLUMN y text[] DEFAULT ARRAY[]::text[]",
            "ALTER TABLE users ADD COLUMN x int DEFAULT extract(year FROM now())",
            "ALTER TABLE users ADD COLUMN x text DEFAULT coalesce(upper(current_setting('a.b', true)), CURRENT_USER)",
            "ALTER TABLE users ADD COLUMN x uuid; ALTER TABLE users ALTER COLUMN x SET DEFAULT gen_random_uuid()",
            "CREATE TABLE fresh (id uuid DEFAULT gen_random_uuid()); ALTER TABLE fresh ADD x int DEFAULT random()",
        ],
    },
    Case {
        rule: Rule::GeneratedColumn,
        found: &[
            "ALTER TABLE users ADD COLUMN x int GENERATED ALWAYS AS (age * 2) STORED",
            "ALTER TABLE users ADD x text GENERATED ALWAYS AS (lower(name)) STORED, ADD y int",
        ],
        missed: &[
            "ALTER TABLE users ADD COLUMN x int GENERATED ALWAYS AS (age * 2) VIRTUAL",
            "CREATE TABLE fresh (id int, x int GENERATED ALWAYS AS (id * 2) STORED)",
        ],
    },
    Case {
        rule: Rule::SerialColumn,
        found: &[
            "ALTER TABLE users ADD COLUMN x bigserial",
            "ALTER TABLE users ADD COLUMN x int GENERATED BY DEFAULT AS IDENTITY",
        ],
        missed: &["ALTER TABLE users ADD COLUMN x bigint", "CREATE TABLE fresh (id bigserial, x int)"],
    },
    Case {
        rule: Rule::ColumnType,
        found: &[
            "ALTER TABLE users ALTER COLUMN age TYPE bigint",
            "ALTER TABLE users ALTER email SET DATA TYPE varchar(20)",
            "ALTER TABLE users ALTER COLUMN name TYPE text USING lower(name)",
            "ALTER TABLE users ALTER COLUMN rate TYPE numeric(8, 4)",
            "ALTER TABLE users ALTER COLUMN born TYPE timestamptz",
            "ALTER TABLE users ALTER COLUMN name TYPE varchar(20)",
            "ALTER TABLE users ALTER COLUMN name TYPE char(90)",
            // Its constraint is created again.
            "ALTER TABLE users ALTER COLUMN name TYPE varchar",
            "ALTER TABLE users RENAME name TO full_name; ALTER TABLE users ALTER full_name TYPE varchar",
            "CREATE INDEX ON users (lower(email)); ALTER TABLE users ALTER email TYPE text",
            "ALTER TABLE users ALTER COLUMN email TYPE text COLLATE \"C\"",
            // Only a rename, and the old type is known.
            "ALTER TABLE users RENAME COLUMN age TO years; ALTER TABLE users ALTER years TYPE bigint",
        ],
        missed: &[
            "ALTER TABLE users ALTER COLUMN email TYPE varchar(80)",
            "ALTER TABLE users ALTER COLUMN email TYPE text",
            "ALTER TABLE users ALTER COLUMN email TYPE character varying USING email::varchar",
            "ALTER TABLE users DROP CONSTRAINT users_name_check; ALTER TABLE users ALTER COLUMN name TYPE varchar",
            "CREATE INDEX ON users (id, email DESC); ALTER TABLE users ALTER email TYPE text",
            "ALTER TABLE users ALTER COLUMN rate TYPE numeric(9, 2), ALTER COLUMN age TYPE integer",
            "ALTER TABLE users ALTER COLUMN rate TYPE numeric",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh ALTER id TYPE bigint",
        ],
    },
    Case {
        rule: Rule::TableRewritten,
        found: &[
            "CLUSTER users USING users_pkey",
            "CLUSTER users_pkey ON users",
            "VACUUM FULL users",
            "VACUUM (ANALYZE, FULL) users, orders",
            "ALTER TABLE orders SET UNLOGGED",
            "ALTER TABLE users SET LOGGED",
            "ALTER TABLE users SET TABLESPACE pg_default",
            "ALTER INDEX users_email_idx SET TABLESPACE pg_default",
            "ALTER TABLE users SET ACCESS METHOD heap",
            "ALTER TABLE users ADD COLUMN x positive",
        ],
        missed: &[
            "VACUUM users",
            "VACUUM (FULL false) users",
            "ALTER TABLE users CLUSTER ON users_pkey",
            "ALTER TABLE users SET (fillfactor = 90)",
            "ALTER TABLE users ADD COLUMN x plain",
            "CREATE TABLE fresh (id int PRIMARY KEY); CLUSTER fresh USING fresh_pkey; ALTER TABLE fresh SET UNLOGGED",
        ],
    },
    Case {
        rule: Rule::RefreshNotConcurrently,
        found: &["REFRESH MATERIALIZED VIEW totals", "REFRESH MATERIALIZED VIEW totals WITH NO DATA"],
        missed: &[
            "REFRESH MATERIALIZED VIEW CONCURRENTLY totals",
            "CREATE MATERIALIZED VIEW fresh AS SELECT 1 WITH NO DATA; REFRESH MATERIALIZED VIEW fresh",
        ],
    },
    Case {
        rule: Rule::AttachReadsPartition,
        found: &[
            "ALTER TABLE events ATTACH PARTITION archive FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
            "ALTER TABLE events ATTACH PARTITION archive DEFAULT",
        ],
        missed: &[
            "ALTER TABLE events ATTACH PARTITION bounded FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
            "CREATE TABLE fresh (day date NOT NULL);
             ALTER TABLE events ATTACH PARTITION fresh FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        ],
    },
    Case {
        rule: Rule::PartitionOfLiveTable,
        found: &[
            "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
            "CREATE TABLE IF NOT EXISTS events_default PARTITION OF events DEFAULT",
        ],
        missed: &[
            "CREATE TABLE events_2 (LIKE events INCLUDING ALL);
             ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
            "CREATE TABLE fresh (id int) PARTITION BY LIST (id); CREATE TABLE fresh_1 PARTITION OF fresh FOR VALUES IN (1)",
        ],
    },
    Case {
        rule: Rule::DetachNotConcurrently,
        found: &[
            "ALTER TABLE events DETACH PARTITION events_1",
            "ALTER TABLE IF EXISTS events DETACH PARTITION events_1",
        ],
        missed: &[
            "ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY",
            "CREATE TABLE fresh (id int) PARTITION BY LIST (id); CREATE TABLE fresh_1 PARTITION OF fresh DEFAULT;
             ALTER TABLE fresh DETACH PARTITION fresh_1",
        ],
    },
    Case {
        rule: Rule::LockTable,
        found: &["LOCK TABLE users", "LOCK users, orders IN SHARE MODE NOWAIT"],
        missed: &[
            "LOCK TABLE users IN ROW EXCLUSIVE MODE",
            "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE",
            "CREATE TABLE fresh (); LOCK TABLE fresh",
        ],
    },
    Case {
        rule: Rule::LocksSeveralTables,
        found: &[
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE orders ADD COLUMN x int",
            "LOCK TABLE users, orders",
            "DROP TABLE archive; TRUNCATE orders",
        ],
        missed: &[
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE users ADD COLUMN y int",
            "ALTER TABLE users ADD COLUMN x int; CREATE TABLE fresh (); ALTER TABLE fresh ADD COLUMN x int",
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE orders SET (fillfactor = 90)",
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE orders VALIDATE CONSTRAINT orders_total_check",
        ],
    },
    Case {
        rule: Rule::UpdateWithoutWhere,
        found: &[
            "UPDATE users SET name = 'x'",
            "WITH changed AS (UPDATE ONLY users SET age = 1 RETURNING id) SELECT FROM changed",
            "DO $$ BEGIN UPDATE users SET name = 'x'; END $$",
        ],
        missed: &[
            "UPDATE users SET name = 'x' WHERE name IS NULL",
            "CREATE TABLE fresh (id int); UPDATE fresh SET id = 1",
            "CREATE RULE r AS ON INSERT TO orders DO ALSO UPDATE users SET age = 1",
            "INSERT INTO users (id, age, email, name) VALUES (1, 1, 'x', 'x') ON CONFLICT (id) DO UPDATE SET age = 2",
        ],
    },
    Case {
        rule: Rule::DeleteWithoutWhere,
        found: &["DELETE FROM users", "DELETE FROM ONLY users u USING orders"],
        missed: &[
            "DELETE FROM users WHERE id = 1",
            "CREATE TABLE fresh (id int); DELETE FROM fresh",
            "CREATE TEMP TABLE fresh (id int); DELETE FROM pg_temp.fresh",
        ],
    },
    Case {
        rule: Rule::DropTable,
        found: &["DROP TABLE archive", "DROP TABLE IF EXISTS nothing, archive", "DROP MATERIALIZED VIEW totals"],
        missed: &[
            "CREATE TABLE fresh (id int); DROP TABLE fresh",
            "DROP VIEW big_orders",
            "DROP INDEX users_email_idx",
        ],
    },
    Case {
        rule: Rule::DropColumn,
        found: &["ALTER TABLE users DROP COLUMN note", "ALTER TABLE users DROP IF EXISTS note, ADD COLUMN x int"],
        missed: &[
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE users DROP COLUMN x",
            "ALTER TABLE users DROP CONSTRAINT users_name_check",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh DROP COLUMN id",
        ],
    },
    Case {
        rule: Rule::DropSchema,
        found: &["DROP SCHEMA other CASCADE", "DROP SCHEMA IF EXISTS nothing, nowhere"],
        missed: &["DROP TABLE archive", "DROP TYPE mood"],
    },
    Case {
        rule: Rule::Truncate,
        found: &["TRUNCATE users", "TRUNCATE TABLE ONLY orders RESTART IDENTITY"],
        missed: &["CREATE TABLE fresh (id int); TRUNCATE fresh", "COMMENT ON TABLE users IS 'TRUNCATE users'"],
    },
    Case {
        rule: Rule::RowSecurityRemoved,
        found: &[
            "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY IF EXISTS tenantry_tenant ON users",
        ],
        missed: &[
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "CREATE TABLE fresh (id int); CREATE POLICY p ON fresh; ALTER TABLE fresh DISABLE ROW LEVEL SECURITY; DROP POLICY p ON fresh",
        ],
    },
    Case {
        rule: Rule::DropCascade,
        found: &[
            "DROP TABLE users CASCADE",
            "ALTER TABLE users DROP COLUMN age CASCADE",
            "ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE",
            "TRUNCATE users CASCADE",
            "DROP TYPE mood CASCADE",
            "DROP VIEW big_orders CASCADE",
            "DROP FUNCTION made() CASCADE",
            "CREATE TYPE pair AS (a int, b int); ALTER TYPE pair DROP ATTRIBUTE a CASCADE",
        ],
        missed: &[
            "DROP TABLE archive RESTRICT",
            "CREATE TABLE fresh (id int); DROP TABLE fresh CASCADE",
            "CREATE TABLE fresh (user_id bigint REFERENCES users ON DELETE CASCADE)",
            "REVOKE ALL ON users FROM PUBLIC CASCADE",
        ],
    },
    Case {
        rule: Rule::RenameTable,
        found: &[
            "ALTER TABLE users RENAME TO people",
            "ALTER VIEW big_orders RENAME TO large_orders",
            "ALTER MATERIALIZED VIEW totals RENAME TO sums",
        ],
        missed: &[
            "CREATE TABLE fresh (id int); ALTER TABLE fresh RENAME TO cool",
            "ALTER INDEX users_email_idx RENAME TO users_email",
            "ALTER TABLE users RENAME CONSTRAINT users_name_check TO c",
        ],
    },
    Case {
        rule: Rule::RenameColumn,
        found: &["ALTER TABLE users RENAME COLUMN note TO remark", "ALTER VIEW big_orders RENAME total TO amount"],
        missed: &[
            "ALTER TABLE users ADD COLUMN x int; ALTER TABLE users RENAME x TO y",
            "CREATE TABLE fresh (id int); ALTER TABLE fresh RENAME COLUMN id TO number",
        ],
    },
    Case {
        rule: Rule::NamesOtherSchema,
        found: &[
            "INSERT INTO other.plans (id) VALUES (1)",
            "CREATE TABLE fresh (plan_id int REFERENCES other.plans)",
            "CREATE TABLE fresh (kind other.kind)",
            "CREATE TABLE fresh (x int DEFAULT other.made())",
            "CREATE TABLE fresh (x int DEFAULT nextval('other.numbers'))",
            "SELECT 'other.plans'::regclass",
            "CREATE VIEW v AS SELECT code FROM orders JOIN \"other\".plans USING (id)",
            "CREATE TABLE public.shared (id int)",
            "CREATE INDEX ON users (name COLLATE other.folded)",
            "ALTER TABLE archive SET SCHEMA other",
            "GRANT USAGE ON SCHEMA other TO CURRENT_USER",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA other GRANT SELECT ON TABLES TO PUBLIC",
            "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM other.plans'",
            "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM other.plans; END",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ DECLARE p other.plans; BEGIN PERFORM 1; END $$",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN NEW.id := other.made(NEW.id); RETURN NEW; END $$",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$
             DECLARE n int; BEGIN SELECT count(*) INTO STRICT n FROM other.plans; RETURN n; END $$",
            "CREATE FUNCTION f(p other.plans.code%TYPE) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DO $$ BEGIN EXECUTE 'DROP TABLE other.plans'; END $$",
            "COMMENT ON COLUMN other.plans.code IS 'x'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = pg_catalog, other AS 'SELECT 1'",
            "ALTER FUNCTION made() SET search_path TO 'public'",
            "SELECT pg_catalog.setval('other.numbers', 1)",
            "CREATE TABLE fresh (LIKE other.plans)",
            "CREATE TRIGGER t BEFORE UPDATE ON other.plans FOR EACH ROW EXECUTE FUNCTION \
             suppress_redundant_updates_trigger()",
            "CREATE POLICY p ON users USING (EXISTS (SELECT FROM other.plans))",
            "DO $$ DECLARE r record; BEGIN FOR r IN TABLE other.plans LOOP NULL; END LOOP; END $$",
            "SELECT OPERATOR(other.-) 1",
        ],
        missed: &[
            "CREATE VIEW v AS SELECT u.id, users.name FROM users u, users",
            "SELECT pg_catalog.now(), information_schema._pg_char_max_length(1, 2)",
            "CREATE TABLE fresh (t pg_catalog.text DEFAULT 'public.users')",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE r users%ROWTYPE; n users.name%TYPE;
             BEGIN SELECT u.* INTO r FROM users u; NEW.id := r.id; RETURN NEW; END $$",
            "COMMENT ON COLUMN users.name IS 'as in public.users'",
            "ALTER SEQUENCE numbers OWNED BY users.id",
            "CREATE EXTENSION IF NOT EXISTS plpgsql SCHEMA pg_catalog",
            "SELECT nextval('numbers'), 'users'::regclass",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = pg_catalog, \"$user\", pg_temp AS 'SELECT 1'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS 'SELECT 1'",
            // An extension's schema.
            "CREATE TABLE fresh (name extensions.citext DEFAULT extensions.made())",
            "SET LOCAL other.setting = 'x'",
        ],
    },
    Case {
        rule: Rule::UnknownName,
        found: &[
            "DROP TABLE IF EXISTS nothing",
            "DROP VIEW IF EXISTS nothing",
            "DROP SEQUENCE IF EXISTS nothing",
            "DROP INDEX IF EXISTS nothing",
            "DROP TYPE IF EXISTS nothing",
            "DROP DOMAIN IF EXISTS nothing",
            "DROP FUNCTION IF EXISTS nothing(int)",
            "ALTER TABLE IF EXISTS nothing ADD COLUMN x int",
            "DO $$ BEGIN IF false THEN UPDATE nothing SET x = 1; END IF; END $$",
            "DO $$ BEGIN IF false THEN INSERT INTO nothing VALUES (1); DELETE FROM nothing; END IF; END $$",
            "DO $$ BEGIN IF false THEN TRUNCATE nothing; LOCK TABLE nothing; END IF; END $$",
            "DO $$ BEGIN IF false THEN CREATE INDEX ON nothing (id); END IF; END $$",
            "DO $$ BEGIN IF false THEN CREATE TABLE fresh (id int REFERENCES nothing); END IF; END $$",
            "DO $$ BEGIN IF false THEN EXECUTE 'COMMENT ON TABLE nothing IS NULL'; END IF; END $$",
            "DO $$ BEGIN IF false THEN COMMENT ON COLUMN nothing.id IS 'x'; END IF; END $$",
            "DO $$ BEGIN IF false THEN GRANT SELECT ON nothing TO PUBLIC; END IF; END $$",
            "DO $$ BEGIN IF false THEN ALTER TYPE nothing ADD VALUE 'x'; END IF; END $$",
            "DO $$ BEGIN IF false THEN CREATE TRIGGER t BEFORE UPDATE ON nothing FOR EACH ROW EXECUTE FUNCTION \
             suppress_redundant_updates_trigger(); END IF; END $$",
            // The object no longer exists, or has another name.
            "DROP TABLE archive; DROP TABLE IF EXISTS archive",
            "DROP TABLE users; DROP INDEX IF EXISTS users_email_idx, users_pkey",
            "ALTER TABLE archive RENAME TO attic; ALTER TABLE IF EXISTS archive ADD COLUMN x int",
            "DROP FUNCTION made(); DROP FUNCTION IF EXISTS made()",
            // An object in another schema is not the tenant's.
            "CREATE TABLE other.nothing (id int); DROP TABLE IF EXISTS nothing",
            // A statement that creates nothing, whatever name it contains.
            "DO $$ BEGIN EXECUTE format('COMMENT ON TABLE %I IS NULL', 'users'); END $$; DROP TABLE IF EXISTS nothing",
        ],
        missed: &[
            "ALTER TABLE archive RENAME TO attic; DROP TABLE attic",
            "CREATE TABLE fresh (id serial PRIMARY KEY, parent int REFERENCES fresh, CONSTRAINT named UNIQUE (parent));
             ALTER TABLE fresh RENAME TO cool; ALTER SEQUENCE fresh_id_seq RESTART; ALTER INDEX named RENAME TO renamed;
             ALTER INDEX fresh_pkey RENAME TO cool_pkey; ALTER INDEX renamed SET (fillfactor = 90)",
            "CREATE TEMPORARY TABLE fresh (id int); INSERT INTO fresh VALUES (1); DROP TABLE fresh",
            "CREATE TABLE pg_temp.fresh (id int); INSERT INTO fresh VALUES (1)",
            "WITH fresh AS (SELECT 1 AS id) INSERT INTO orders (id) SELECT id FROM fresh",
            "UPDATE users AS u SET age = o.total FROM orders AS o WHERE o.user_id = u.id",
            "DO $$ BEGIN EXECUTE format('CREATE TABLE %I ()', 'fresh'); END $$; DROP TABLE fresh",
            "DO $$ BEGIN EXECUTE 'CREATE TABLE fresh ()'; END $$; DROP TABLE fresh",
            "DO $$ DECLARE command text := 'CREATE TABLE fresh ()'; BEGIN EXECUTE command; END $$; DROP TABLE fresh",
            "DO $$ BEGIN IF false THEN DROP TABLE archive; END IF; END $$; ALTER TABLE archive ADD COLUMN x int",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
             BEGIN EXECUTE format('CREATE TABLE %I ()', 'fresh'); END $$; SELECT f(); DROP TABLE fresh",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE fresh (); END $$;
             SELECT f(); DROP TABLE fresh",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM created_at_run_time; END $$",
            "CREATE FUNCTION made(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION made(int); DROP FUNCTION made()",
            "SELECT relname FROM pg_class",
            "ALTER TYPE mood RENAME TO feeling; ALTER TYPE feeling RENAME VALUE 'sad' TO 'blue'; DROP DOMAIN plain",
            "SELECT 1 AS id INTO fresh; ALTER TABLE fresh ADD PRIMARY KEY (id)",
            "COMMENT ON COLUMN users.name IS 'x'; ALTER SEQUENCE numbers OWNED BY users.id; DROP INDEX users_email_idx",
        ],
    },
    Case {
        rule: Rule::ObjectOutsideTenant,
        found: &[
            "CREATE EXTENSION IF NOT EXISTS plpgsql",
            "CREATE ROLE tenantry_lint",
            "CREATE SCHEMA fresh",
            "CREATE PUBLICATION lint FOR ALL TABLES",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "DROP DATABASE IF EXISTS nothing",
            "GRANT CONNECT ON DATABASE template1 TO PUBLIC",
            "DROP OWNED BY CURRENT_USER",
            "VACUUM",
            "ANALYZE",
        ],
        missed: &[
            "CREATE TYPE fresh AS (id int)",
            "GRANT SELECT ON users TO PUBLIC",
            "SET LOCAL work_mem = '64MB'",
            "ANALYZE users",
            "CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ],
    },
    Case {
        rule: Rule::NotUnderstood,
        found: &["ALTER TABLE users FROBNICATE", "DO $$ BEGIN NONSENSE NONSENSE NULL; END $$"],
        missed: &[
            "CREATE TABLE fresh (a int, b text[] DEFAULT '{}', EXCLUDE USING gist (box(point(a, a), point(a, a)) WITH &&))",
            "MERGE INTO users u USING orders o ON o.user_id = u.id WHEN MATCHED THEN UPDATE SET age = 1 WHEN NOT MATCHED \
             THEN DO NOTHING",
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$
             DECLARE r record; a int[]; n int;
             BEGIN
                 SELECT * INTO r FROM users;
                 SELECT id, age INTO STRICT n, a[1] FROM users LIMIT 1;
                 INSERT INTO orders (id) VALUES (1) RETURNING id, total INTO n, a[n + 1];
                 UPDATE users SET age = 1 WHERE id = 1 RETURNING * INTO r;
                 WITH one AS (SELECT 1 AS x) SELECT x INTO n FROM one;
             END $$",
            "DO $$ BEGIN RAISE NOTICE 'x %', 1; EXCEPTION WHEN OTHERS THEN NULL; END $$",
        ],
    },
];
