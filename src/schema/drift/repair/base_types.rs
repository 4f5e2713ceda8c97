//! Base types.

use super::Phase;
use super::builder::Builder;
use super::text::{field, fields, literal};
use crate::schema::structure::{Identity, Object, ObjectKind as Kind};
use crate::sql::quote::Literal;

/// The properties of a base type, in the order in which its definition lists them.
const BASE_KEYS: [&str; 18] = [
    "shell",
    "input",
    "output",
    "receive",
    "send",
    "typmod_in",
    "typmod_out",
    "analyze",
    "internallength",
    "passedbyvalue",
    "alignment",
    "storage",
    "category",
    "preferred",
    "delimiter",
    "subscript",
    "collatable",
    "element",
];

impl Builder<'_> {
    /// Creates a base type. Its functions need the shell type, and the complete type needs its functions.
    pub(super) fn create_base_type(&mut self, object: &Object) {
        let name = self.qualified(&object.identity.name);
        self.add(Phase::Schema, format!("CREATE TYPE {name}"));
        self.complete_base_type(object);
        self.add_owner_grants_comment(object);
    }

    /// Completes a shell type.
    fn complete_base_type(&mut self, object: &Object) {
        let name = self.qualified(&object.identity.name);
        let definition = fields(object.text("base").unwrap_or_default(), &BASE_KEYS);
        if field(&definition, "shell").is_none() {
            let options: Vec<String> = definition.iter().map(|(key, value)| base_option(key, value)).collect();
            self.add_creating(Phase::Operator, &name, format!("CREATE TYPE {name} ({})", options.join(", ")));
        }
    }

    /// Changes the optional functions and the storage of a base type. PostgreSQL can change nothing else: another difference
    /// requires to recreate the type, which loses the values that its functions cannot convert.
    pub(super) fn alter_base_type(&mut self, object: &Object) {
        const CHANGED: [&str; 7] = ["receive", "send", "typmod_in", "typmod_out", "analyze", "subscript", "storage"];
        let Some(actual) = self.actual_object(&object.identity).and_then(|actual| actual.text("base")) else { return };
        let (expected, actual) =
            (fields(object.text("base").unwrap_or_default(), &BASE_KEYS), fields(actual, &BASE_KEYS));
        if field(&actual, "shell").is_some() {
            return self.complete_base_type(object);
        }
        let changed: Vec<&str> =
            BASE_KEYS.into_iter().filter(|key| field(&expected, key) != field(&actual, key)).collect();
        if changed.iter().any(|key| !CHANGED.contains(key)) {
            return;
        }
        let options: Vec<String> = changed
            .into_iter()
            .map(|key| match field(&expected, key) {
                Some(value) => base_option(key, value),
                None => format!("{} = NONE", key.to_uppercase()),
            })
            .collect();
        let name = self.qualified(&object.identity.name);
        self.add(Phase::Operator, format!("ALTER TYPE {name} SET ({})", options.join(", ")));
    }

    /// Drops a type. A base type and its functions depend on each other, so that only `CASCADE` drops them. The statement
    /// before it fails if anything else depends on them.
    pub(super) fn drop_type(&mut self, phase: Phase, object: &Object) {
        let name = self.qualified(&object.identity.name);
        if !is_complete(object) {
            return self.add(phase, format!("DROP TYPE {name}"));
        }
        let group = self.new_group();
        self.in_group(Some(group), &object.identity, |builder| {
            builder.add(phase, format!("DO {}", Literal(&only_functions_depend(&name))));
            builder.add(phase, format!("DROP TYPE {name} CASCADE"));
        });
    }

    /// The base type of the tenant that is dropped with one of its functions.
    pub(super) fn base_type_of(&self, function: &Identity) -> Option<Identity> {
        if function.kind != Kind::Function {
            return None;
        }
        let own = &self.actual.own_name;
        let signature = format!(" {own}.{}", function.name);
        let result = self.actual_object(function)?.text("result").unwrap_or_default();
        let types = self.actual.objects.values().filter(|object| object.identity.kind == Kind::Type);
        let mut with_function = types.filter(|object| {
            let is_of_type =
                object.text("base").is_some_and(|base| format!("{base},").contains(&format!("{signature},")));
            let name = &object.identity.name;
            is_of_type && is_complete(object) && (self.mentioned(&signature, name) || self.mentioned(result, name))
        });
        with_function.next().map(|object| object.identity.clone())
    }
}

/// Whether a type is more than a name, a "shell type".
fn is_complete(object: &Object) -> bool {
    object.text("base").is_some_and(|base| field(&fields(base, &BASE_KEYS), "shell").is_none())
}

/// PL/pgSQL that fails if `DROP TYPE … CASCADE` drops more than the type and its functions. Both operands of each operator have
/// one type, so that no operator of the tenant can replace it.
fn only_functions_depend(name: &str) -> String {
    let kind = Literal(name);
    format!(
        "DECLARE others text; BEGIN
    WITH RECURSIVE dropped(class, object) AS (
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, {kind}::pg_catalog.regtype::pg_catalog.oid
        UNION SELECT d.classid, d.objid FROM dropped
            JOIN pg_catalog.pg_depend d ON d.refclassid = dropped.class AND d.refobjid = dropped.object
    )
    SELECT pg_catalog.string_agg(pg_catalog.pg_describe_object(class, object, 0), ', ') INTO others
    FROM dropped JOIN pg_catalog.pg_type t ON t.oid = {kind}::pg_catalog.regtype::pg_catalog.oid
    WHERE NOT (class = 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid AND object IN (t.oid, t.typarray)
        OR class = 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid AND object = ANY (ARRAY[t.typinput, t.typoutput,
            t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze, t.typsubscript]::pg_catalog.oid[]));
    IF others IS NOT NULL THEN RAISE EXCEPTION 'other objects depend on the type: %', others; END IF;
END"
    )
}

/// A property of a base type, as in `CREATE TYPE` and `ALTER TYPE`.
fn base_option(key: &str, value: &str) -> String {
    let category;
    let value = match (key, value) {
        ("internallength", "-1") => "VARIABLE",
        ("alignment", "c") => "char",
        ("alignment", "s") => "int2",
        ("alignment", "i") => "int4",
        ("alignment", _) => "double",
        ("storage", "p") => "plain",
        ("storage", "e") => "external",
        ("storage", "m") => "main",
        ("storage", _) => "extended",
        ("category", value) => {
            category = literal(value);
            &category
        }
        ("collatable", _) => "true",
        ("internallength" | "passedbyvalue" | "preferred" | "delimiter" | "element", value) => value,
        (_, function) => function_name(function),
    };
    format!("{} = {value}", key.to_uppercase())
}

/// The name in a function's signature.
fn function_name(signature: &str) -> &str {
    let mut quoted = false;
    let arguments = signature.find(|c| {
        quoted ^= c == '"';
        c == '(' && !quoted
    });
    arguments.map_or(signature, |at| &signature[..at])
}
