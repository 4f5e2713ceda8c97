//! Sequences: independent ones, those that a column owns, and those of identity columns.

use super::{Change, change};

pub fn all() -> Vec<Change> {
    vec![
        change(
            "a sequence is missing",
            "ALTER TABLE acme.orders ALTER COLUMN ticket DROP DEFAULT; DROP SEQUENCE acme.ticket_numbers",
        )
        .expects("sequence.missing", "ticket_numbers")
        .level("structural"),
        change("a sequence too many", "CREATE SEQUENCE acme.numbers").expects("sequence.extra", "numbers"),
        change("a sequence is renamed", "ALTER SEQUENCE acme.ticket_numbers RENAME TO tickets")
            .expects("sequence.missing", "ticket_numbers")
            .expects("sequence.extra", "tickets"),
        change("a sequence's type", "ALTER SEQUENCE acme.ticket_numbers AS bigint")
            .expects("sequence.type", "ticket_numbers"),
        change("where a sequence starts", "ALTER SEQUENCE acme.order_numbers START 2000")
            .expects("sequence.start", "order_numbers"),
        change("by how much a sequence grows", "ALTER SEQUENCE acme.order_numbers INCREMENT 1")
            .expects("sequence.increment", "order_numbers")
            .level("structural"),
        change("a sequence's minimum", "ALTER SEQUENCE acme.order_numbers MINVALUE 1")
            .expects("sequence.minimum", "order_numbers"),
        change("a sequence's maximum", "ALTER SEQUENCE acme.order_numbers NO MAXVALUE")
            .expects("sequence.maximum", "order_numbers"),
        change("how many numbers a session takes", "ALTER SEQUENCE acme.order_numbers CACHE 1")
            .expects("sequence.cache", "order_numbers"),
        change("a sequence begins again", "ALTER SEQUENCE acme.order_numbers CYCLE")
            .expects("sequence.cycle", "order_numbers"),
        change("a sequence ends", "ALTER SEQUENCE acme.ticket_numbers NO CYCLE")
            .expects("sequence.cycle", "ticket_numbers"),
        change("a sequence that a column owns", "ALTER SEQUENCE acme.order_numbers OWNED BY acme.orders.number")
            .expects("sequence.owned-by", "order_numbers")
            .level("structural"),
        change("a sequence that no column owns", "ALTER SEQUENCE acme.orders_line_seq OWNED BY NONE")
            .expects("sequence.owned-by", "orders_line_seq"),
        change(
            "a sequence that another column owns",
            "ALTER SEQUENCE acme.orders_line_seq OWNED BY acme.orders.ticket",
        )
        .expects("sequence.owned-by", "orders_line_seq"),
        change(
            "a sequence that a column of another table owns",
            "ALTER SEQUENCE acme.orders_line_seq OWNED BY acme.readings.sensor",
        )
        .expects("sequence.owned-by", "orders_line_seq"),
        // The server requires both in one schema, so the catalog is changed directly.
        change(
            "a sequence that another tenant's column owns",
            "UPDATE pg_depend SET refobjid = 'globex.orders'::regclass WHERE classid = 'pg_class'::regclass AND \
             objid = 'acme.orders_line_seq'::regclass AND refobjid = 'acme.orders'::regclass",
        )
        .expects("sequence.owned-by", "orders_line_seq")
        .references_globex(),
        change("a sequence that is not logged", "ALTER SEQUENCE acme.order_numbers SET UNLOGGED")
            .expects("sequence.unlogged", "order_numbers")
            .since(15),
        change("by how much an identity grows", "ALTER TABLE acme.teams ALTER COLUMN id SET INCREMENT BY 1")
            .expects("sequence.increment", "teams_id_seq"),
        change("where an identity starts", "ALTER TABLE acme.teams ALTER COLUMN id SET START WITH 1")
            .expects("sequence.start", "teams_id_seq"),
        change("an identity begins again", "ALTER TABLE acme.users ALTER COLUMN id SET CYCLE")
            .expects("sequence.cycle", "users_id_seq"),
        change("an identity's sequence is renamed", "ALTER SEQUENCE acme.teams_id_seq RENAME TO team_numbers")
            .expects("sequence.missing", "teams_id_seq")
            .expects("sequence.extra", "team_numbers"),
        change("a sequence's comment", "COMMENT ON SEQUENCE acme.order_numbers IS 'without gaps'")
            .expects("sequence.comment", "order_numbers")
            .level("cosmetic"),
    ]
}
