//! Triggers, rules and policies.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    [triggers(), trigger_states(), rules(), policies()].into_iter().flatten().collect()
}

fn triggers() -> Vec<Change> {
    vec![
        change("a trigger is missing", "DROP TRIGGER touch ON acme.users")
            .expects("trigger.missing", "users.touch")
            .level("structural"),
        change(
            "a trigger too many",
            "CREATE TRIGGER noted AFTER INSERT ON acme.orders FOR EACH ROW EXECUTE FUNCTION acme.noted()",
        )
        .expects("trigger.extra", "orders.noted"),
        // They fire in the order of their names.
        change("a trigger is renamed", "ALTER TRIGGER touch ON acme.users RENAME TO zouch")
            .expects("trigger.missing", "users.touch")
            .expects("trigger.extra", "users.zouch"),
        change(
            "a trigger's time",
            "CREATE OR REPLACE TRIGGER touch AFTER UPDATE ON acme.users FOR EACH ROW EXECUTE FUNCTION acme.touch()",
        )
        .expects("trigger.definition", "users.touch"),
        change(
            "a trigger's events",
            "CREATE OR REPLACE TRIGGER touch BEFORE INSERT OR UPDATE ON acme.users FOR EACH ROW EXECUTE FUNCTION \
             acme.touch()",
        )
        .expects("trigger.definition", "users.touch"),
        change(
            "a trigger for each statement",
            "CREATE OR REPLACE TRIGGER touch BEFORE UPDATE ON acme.users FOR EACH STATEMENT EXECUTE FUNCTION \
             acme.touch()",
        )
        .expects("trigger.definition", "users.touch"),
        change(
            "a trigger's columns",
            "CREATE OR REPLACE TRIGGER touch_score BEFORE UPDATE OF score, bonus ON acme.users FOR EACH ROW WHEN \
             (OLD.score IS DISTINCT FROM NEW.score) EXECUTE FUNCTION acme.touch()",
        )
        .expects("trigger.definition", "users.touch_score"),
        change(
            "a trigger's condition",
            "CREATE OR REPLACE TRIGGER touch_score BEFORE UPDATE OF score, karma ON acme.users FOR EACH ROW WHEN \
             (OLD.score < NEW.score) EXECUTE FUNCTION acme.touch()",
        )
        .expects("trigger.definition", "users.touch_score"),
        change(
            "a trigger without its condition",
            "CREATE OR REPLACE TRIGGER touch_score BEFORE UPDATE OF score, karma ON acme.users FOR EACH ROW \
             EXECUTE FUNCTION acme.touch()",
        )
        .expects("trigger.definition", "users.touch_score"),
        change(
            "a trigger's function",
            "CREATE OR REPLACE TRIGGER touch BEFORE UPDATE ON acme.users FOR EACH ROW EXECUTE FUNCTION \
             acme.checked()",
        )
        .expects("trigger.definition", "users.touch"),
        change(
            "two triggers' functions change places",
            "CREATE OR REPLACE TRIGGER touch BEFORE UPDATE ON acme.users FOR EACH ROW EXECUTE FUNCTION \
             acme.noted(); \
             CREATE OR REPLACE TRIGGER log_changes AFTER INSERT OR DELETE ON acme.users FOR EACH STATEMENT EXECUTE \
             FUNCTION acme.touch('users', '2')",
        )
        .expects("trigger.definition", "users.touch")
        .expects("trigger.definition", "users.log_changes"),
        change(
            "a trigger's arguments",
            "CREATE OR REPLACE TRIGGER log_changes AFTER INSERT OR DELETE ON acme.users FOR EACH STATEMENT EXECUTE \
             FUNCTION acme.noted('users', '3')",
        )
        .expects("trigger.definition", "users.log_changes"),
        change(
            "the names of a trigger's tables",
            "CREATE OR REPLACE TRIGGER log_rows AFTER UPDATE ON acme.teams REFERENCING OLD TABLE AS before NEW \
             TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION acme.noted()",
        )
        .expects("trigger.definition", "teams.log_rows"),
        change(
            "when a constraint trigger fires",
            "DROP TRIGGER checked_team ON acme.teams; \
             CREATE CONSTRAINT TRIGGER checked_team AFTER INSERT OR UPDATE ON acme.teams DEFERRABLE INITIALLY \
             DEFERRED FOR EACH ROW EXECUTE FUNCTION acme.checked()",
        )
        .expects("trigger.definition", "teams.checked_team"),
        change(
            "a plain trigger for a constraint trigger",
            "DROP TRIGGER checked_team ON acme.teams; \
             CREATE TRIGGER checked_team AFTER INSERT OR UPDATE ON acme.teams FOR EACH ROW EXECUTE FUNCTION \
             acme.checked()",
        )
        .expects("trigger.definition", "teams.checked_team"),
        change("a view's trigger is missing", "DROP TRIGGER instead ON acme.team_sizes")
            .expects("trigger.missing", "team_sizes.instead"),
        change(
            "a trigger of one partition",
            "CREATE TRIGGER noted AFTER INSERT ON acme.events_2025 FOR EACH ROW EXECUTE FUNCTION acme.noted()",
        )
        .expects("trigger.extra", "events_2025.noted"),
        change(
            "a trigger that goes with an extension",
            "ALTER TRIGGER touch ON acme.users DEPENDS ON EXTENSION plpgsql",
        )
        .expects("trigger.", "users.touch"),
        change("a trigger's comment", "COMMENT ON TRIGGER touch ON acme.users IS 'new'")
            .expects("trigger.comment", "users.touch")
            .level("cosmetic"),
        change(
            "a trigger that calls another tenant's function",
            "CREATE OR REPLACE TRIGGER touch BEFORE UPDATE ON acme.users FOR EACH ROW EXECUTE FUNCTION \
             globex.touch()",
        )
        .expects("trigger.definition", "users.touch")
        .references_globex(),
    ]
}

fn trigger_states() -> Vec<Change> {
    vec![
        change("a trigger is off", "ALTER TABLE acme.users DISABLE TRIGGER touch")
            .expects("trigger.enabled", "users.touch")
            .level("structural"),
        change("a trigger is on", "ALTER TABLE acme.teams ENABLE TRIGGER switched_off")
            .expects("trigger.enabled", "teams.switched_off"),
        change("a trigger always fires", "ALTER TABLE acme.users ENABLE ALWAYS TRIGGER touch")
            .expects("trigger.enabled", "users.touch"),
        change("a trigger fires on replicas only", "ALTER TABLE acme.users ENABLE REPLICA TRIGGER touch")
            .expects("trigger.enabled", "users.touch"),
        change("a trigger fires on replicas no more", "ALTER TABLE acme.orders ENABLE TRIGGER on_replica")
            .expects("trigger.enabled", "orders.on_replica"),
        change("every trigger of a table is off", "ALTER TABLE acme.users DISABLE TRIGGER USER")
            .expects("trigger.enabled", "users.touch")
            .expects("trigger.enabled", "users.touch_score")
            .expects("trigger.enabled", "users.log_changes"),
        change("a trigger is off in one partition", "ALTER TABLE acme.events_2025 DISABLE TRIGGER checked_event")
            .expects("trigger.enabled", "events_2025.checked_event"),
        change("a partitioned table's trigger is off", "ALTER TABLE acme.events DISABLE TRIGGER checked_event")
            .expects("trigger.enabled", "events.checked_event"),
        change(
            "two triggers change names",
            "ALTER TRIGGER log_rows ON acme.teams RENAME TO aside; \
             ALTER TRIGGER switched_off ON acme.teams RENAME TO log_rows; \
             ALTER TRIGGER aside ON acme.teams RENAME TO switched_off",
        )
        .expects("trigger.definition", "teams.log_rows")
        .expects("trigger.enabled", "teams.log_rows"),
    ]
}

fn rules() -> Vec<Change> {
    vec![
        change("a rule is missing", "DROP RULE quiet_cache ON acme.cache")
            .expects("rule.missing", "cache.quiet_cache")
            .level("structural"),
        change("a rule too many", "CREATE RULE no_cache AS ON INSERT TO acme.cache DO INSTEAD NOTHING")
            .expects("rule.extra", "cache.no_cache"),
        change("a rule is renamed", "ALTER RULE quiet_cache ON acme.cache RENAME TO still_cache")
            .expects("rule.missing", "cache.quiet_cache")
            .expects("rule.extra", "cache.still_cache"),
        change("a rule's action", "CREATE OR REPLACE RULE loud_cache AS ON UPDATE TO acme.cache DO ALSO NOTIFY caches")
            .expects("rule.definition", "cache.loud_cache"),
        change("a rule's event", "CREATE OR REPLACE RULE loud_cache AS ON INSERT TO acme.cache DO ALSO NOTIFY cache")
            .expects("rule.definition", "cache.loud_cache"),
        change(
            "a rule's condition",
            "CREATE OR REPLACE RULE quiet_cache AS ON DELETE TO acme.cache DO INSTEAD NOTHING",
        )
        .expects("rule.definition", "cache.quiet_cache"),
        change("a rule is off", "ALTER TABLE acme.cache DISABLE RULE quiet_cache")
            .expects("rule.enabled", "cache.quiet_cache")
            .level("structural"),
        change("a rule is on everywhere", "ALTER TABLE acme.cache ENABLE ALWAYS RULE quiet_cache")
            .expects("rule.enabled", "cache.quiet_cache"),
        change("a rule's comment", "COMMENT ON RULE sign_up ON acme.sign_ups IS 'new'")
            .expects("rule.comment", "sign_ups.sign_up"),
        change(
            "a rule that writes to another tenant",
            "CREATE OR REPLACE RULE sign_up AS ON INSERT TO acme.sign_ups DO INSTEAD INSERT INTO globex.users \
             (email, name) VALUES (NEW.email, NEW.name)",
        )
        .expects("rule.definition", "sign_ups.sign_up")
        .references_globex(),
    ]
}

fn policies() -> Vec<Change> {
    vec![
        change("a policy is missing", "DROP POLICY no_secrets ON acme.documents")
            .expects("policy.missing", "documents.no_secrets")
            .level("security"),
        change("a policy too many", "CREATE POLICY everyone ON acme.documents FOR SELECT USING (true)")
            .expects("policy.extra", "documents.everyone")
            .level("security"),
        change("a policy is renamed", "ALTER POLICY no_secrets ON acme.documents RENAME TO secrets")
            .expects("policy.missing", "documents.no_secrets")
            .expects("policy.extra", "documents.secrets"),
        change("what a policy lets one see", "ALTER POLICY author_reads ON acme.documents USING (true)")
            .expects("policy.using", "documents.author_reads")
            .level("security"),
        change("what a policy lets one write", "ALTER POLICY author_writes ON acme.documents WITH CHECK (true)")
            .expects("policy.check", "documents.author_writes")
            .level("security"),
        change("whom a policy is for", "ALTER POLICY author_reads ON acme.documents TO drift_reader, drift_writer")
            .expects("policy.roles", "documents.author_reads")
            .level("security"),
        change("a policy is for all", "ALTER POLICY author_reads ON acme.documents TO PUBLIC")
            .expects("policy.roles", "documents.author_reads"),
        change(
            "a policy's command",
            "DROP POLICY author_reads ON acme.documents; \
             CREATE POLICY author_reads ON acme.documents FOR DELETE TO drift_reader USING (author = CURRENT_USER)",
        )
        .expects("policy.command", "documents.author_reads"),
        change(
            "a policy that allows instead of forbidding",
            "DROP POLICY no_secrets ON acme.documents; \
             CREATE POLICY no_secrets ON acme.documents FOR SELECT USING (NOT secret)",
        )
        .expects("policy.permissive", "documents.no_secrets")
        .level("security"),
        change(
            "two policies' expressions change places",
            "ALTER POLICY own_notes ON acme.notes USING (author IN (SELECT name FROM acme.teams)); \
             ALTER POLICY team_notes ON acme.notes USING (author = CURRENT_USER)",
        )
        .expects("policy.using", "notes.own_notes")
        .expects("policy.using", "notes.team_notes"),
        change("a policy's comment", "COMMENT ON POLICY own_notes ON acme.notes IS 'new'")
            .expects("policy.comment", "notes.own_notes"),
        change(
            "a policy by another tenant's table",
            "ALTER POLICY team_notes ON acme.notes USING (author IN (SELECT name FROM globex.teams))",
        )
        .expects("policy.using", "notes.team_notes")
        .references_globex(),
    ]
}
