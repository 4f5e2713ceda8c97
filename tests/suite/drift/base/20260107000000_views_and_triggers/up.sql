CREATE VIEW active_users WITH (security_barrier = true) AS
    SELECT id, email, name, score FROM users WHERE mood <> 'sad';
CREATE VIEW low_scores AS SELECT id, score FROM users WHERE score < 10 WITH LOCAL CHECK OPTION;
CREATE VIEW team_sizes AS
    SELECT t.id, t.name, count(m.user_id) AS members FROM teams t LEFT JOIN memberships m ON m.team_id = t.id GROUP BY t.id;
CREATE VIEW big_teams AS SELECT s.name, s.members FROM team_sizes s WHERE s.members > 5;
CREATE VIEW sign_ups AS SELECT u.email, u.name FROM users u;
-- Aliases, columns and literals that are spelt as a tenant may be.
CREATE VIEW spellings AS
    SELECT s.id AS s, users.email AS users, 'acme.users' AS acme, 's.' AS dotted
    FROM users JOIN teams s ON s.owner_id = users.id AND s.name <> 'globex.';
CREATE RECURSIVE VIEW chain (id, parent_id, depth) AS
    SELECT id, parent_id, 1 FROM teams WHERE parent_id IS NULL
    UNION ALL SELECT t.id, t.parent_id, c.depth + 1 FROM teams t JOIN chain c ON t.parent_id = c.id;

CREATE MATERIALIZED VIEW score_board AS SELECT mood, max(score) AS best, count(*) AS people FROM users GROUP BY mood;
CREATE UNIQUE INDEX score_board_mood_idx ON score_board (mood);
CREATE MATERIALIZED VIEW recent_orders WITH (fillfactor = 60) AS SELECT number, price FROM orders WHERE price > 0 WITH NO DATA;

CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch_score BEFORE UPDATE OF score, karma ON users FOR EACH ROW
    WHEN (OLD.score IS DISTINCT FROM NEW.score) EXECUTE FUNCTION touch();
CREATE TRIGGER log_changes AFTER INSERT OR DELETE ON users FOR EACH STATEMENT EXECUTE FUNCTION noted('users', '2');
CREATE TRIGGER log_rows AFTER UPDATE ON teams REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION noted();
CREATE CONSTRAINT TRIGGER checked_team AFTER INSERT OR UPDATE ON teams DEFERRABLE INITIALLY IMMEDIATE
    FOR EACH ROW EXECUTE FUNCTION checked();
CREATE TRIGGER switched_off AFTER DELETE ON teams FOR EACH ROW EXECUTE FUNCTION noted();
ALTER TABLE teams DISABLE TRIGGER switched_off;
CREATE TRIGGER on_replica AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION noted();
ALTER TABLE orders ENABLE REPLICA TRIGGER on_replica;
CREATE TRIGGER instead INSTEAD OF INSERT ON team_sizes FOR EACH ROW EXECUTE FUNCTION checked();
CREATE TRIGGER checked_event BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION checked();

CREATE RULE sign_up AS ON INSERT TO sign_ups DO INSTEAD INSERT INTO users (email, name) VALUES (NEW.email, NEW.name);
CREATE RULE quiet_cache AS ON DELETE TO cache WHERE OLD.key LIKE '\_%' DO INSTEAD NOTHING;
CREATE RULE loud_cache AS ON UPDATE TO cache DO ALSO NOTIFY cache;

CREATE POLICY author_reads ON documents FOR SELECT TO drift_reader USING (author = CURRENT_USER);
CREATE POLICY author_writes ON documents FOR UPDATE USING (author = CURRENT_USER) WITH CHECK (NOT secret);
CREATE POLICY no_secrets ON documents AS RESTRICTIVE FOR SELECT USING (NOT secret);
CREATE POLICY anyone_adds ON documents FOR INSERT TO drift_writer, drift_reader WITH CHECK (title <> '');
CREATE POLICY own_notes ON notes USING (author = CURRENT_USER);
CREATE POLICY team_notes ON notes USING (author IN (SELECT name FROM teams));
