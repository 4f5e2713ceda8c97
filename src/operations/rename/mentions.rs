//! Text that names a schema.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Nullable, Text};
use serde_json::Value;

use crate::database::Database;
use crate::error::Error;
use crate::model::TenantName;
use crate::schema::structure::{Object, Structure};

/// Facts that no statement is made of.
const HARMLESS: [&str; 1] = ["comment"];

/// The objects of a structure whose definitions name a schema as text: with a dot after it, in quotes, or on a search path. The
/// structure has been read after the schema was renamed, so that PostgreSQL itself no longer prints the name.
pub(crate) fn in_structure(structure: &Structure, name: &str) -> Vec<String> {
    // A name that differs in case only is printed as the schema's.
    let own_name = structure.own_name.as_str();
    let name = SchemaWord { name, except: own_name.trim_matches('"') };
    let mentions = |object: &&Object| {
        let facts = object.facts.iter().filter(|(fact, _)| !HARMLESS.contains(&fact.as_str()));
        let ddl = object.ddl.as_deref().is_some_and(|ddl| name.is_in(ddl));
        ddl || facts.into_iter().any(|(fact, value)| name.is_in_fact(fact, value))
    };
    let described = |object: &Object| format!("{} {}", object.identity.kind, object.identity);
    let mut found: Vec<String> = structure.objects.values().filter(mentions).map(described).collect();
    found.sort_unstable();
    found
}

/// The roles and databases with a setting that names a schema, other than the tenant's own role. A role that has the setting in
/// all databases counts only if it may use the schema: the setting may be for a schema of another database.
pub(super) fn in_settings(db: &mut Database, name: &TenantName, own_role: Option<&str>) -> Result<Vec<String>, Error> {
    #[derive(QueryableByName)]
    struct SettingRow {
        #[diesel(sql_type = Text)]
        owner: String,
        #[diesel(sql_type = Text)]
        setting: String,
    }
    let rows: Vec<SettingRow> = sql_query(
        "SELECT pg_catalog.concat_ws(' in ', 'role ' || r.rolname, 'database ' || d.datname) AS owner, \
         s.setting FROM pg_catalog.pg_db_role_setting AS x \
         CROSS JOIN LATERAL pg_catalog.unnest(x.setconfig) AS s (setting) \
         LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = x.setrole \
         LEFT JOIN pg_catalog.pg_database AS d ON d.oid = x.setdatabase \
         WHERE CASE WHEN d.oid IS NULL THEN pg_catalog.has_schema_privilege(r.oid, $2, 'USAGE') \
         ELSE d.datname = pg_catalog.current_database() END \
         AND pg_catalog.starts_with(s.setting, 'search_path=') AND r.rolname IS DISTINCT FROM $1 ORDER BY 1",
    )
    .bind::<Nullable<Text>, _>(own_role)
    .bind::<Text, _>(name.as_str())
    .load(db.connection())
    .map_err(Error::doing("read the settings of roles"))?;
    let names_it = |row: &SettingRow| words(&row.setting, name.as_str()).next().is_some();
    Ok(rows.iter().filter(|row| names_it(row)).map(|row| format!("search_path of {}", row.owner)).collect())
}

/// The name of a schema that is looked for.
struct SchemaWord<'a> {
    name: &'a str,
    /// The new name of the schema.
    except: &'a str,
}

impl SchemaWord<'_> {
    fn is_in_fact(&self, fact: &str, value: &Value) -> bool {
        match value {
            // A search path of a function has names without dots and quotes.
            Value::String(text) if fact == "settings" => self.places(text).next().is_some(),
            Value::String(text) => self.is_in(text),
            Value::Array(values) => values.iter().any(|value| self.is_in_fact(fact, value)),
            _ => false,
        }
    }

    /// Whether a text has the name before a dot or in quotes. What follows a dot is the name of an object.
    fn is_in(&self, text: &str) -> bool {
        self.places(text).any(|(before, after)| {
            let (before, after) = (before.trim_end(), after.trim_start());
            let after = after.strip_prefix('"').unwrap_or(after).trim_start();
            !before.trim_end_matches('"').ends_with('.') && (before.ends_with('\'') || after.starts_with('.'))
        })
    }

    fn places<'t>(&self, text: &'t str) -> impl Iterator<Item = (&'t str, &'t str)> {
        let (length, except) = (self.name.len(), self.except);
        words(text, self.name).filter(move |(before, _)| text[before.len()..before.len() + length] != *except)
    }
}

/// What is before and after each occurrence of a name as a word, in any case: the server folds the letters A to Z.
fn words<'a>(text: &'a str, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let places: Vec<usize> =
        text.to_ascii_lowercase().match_indices(&name.to_ascii_lowercase()).map(|(place, _)| place).collect();
    let length = name.len();
    places
        .into_iter()
        .map(move |place| (&text[..place], &text[place + length..]))
        .filter(move |(before, after)| !before.ends_with(is_part) && !after.starts_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_stands_for_a_schema() {
        let acme = SchemaWord { name: "acme", except: "initech" };
        for text in [
            "SELECT acme.f()",
            "SELECT * FROM ACME . users",
            "INSERT INTO \"acme\".t",
            "nextval('acme.s'::text)",
            "EXECUTE format('SELECT %I.f()', 'acme')",
            "set_config('search_path', 'acme, public', true)",
        ] {
            assert!(acme.is_in(text), "{text}");
        }
        for text in ["SELECT acme FROM t", "acme_old.t", "x.acme", "my_acme.t", "SELECT 1 AS acme", "t.acme.x"] {
            assert!(!acme.is_in(text), "{text}");
        }
        assert!(SchemaWord { name: "acme-corp", except: "acme" }.is_in("SELECT \"acme-corp\".f()"));
        let folded = SchemaWord { name: "acme", except: "Acme" };
        assert!(folded.is_in("SELECT acme.f()") && !folded.is_in("SELECT \"Acme\".f()"));
    }
}
