//! Relations on which the role should have no privilege, or only some. What would lock a table, or what a rollback does not
//! undo, is not executed: the role asks the server for the privilege.

use super::{ProbedRelation, Protection, Targets, Try, shown};
use crate::probe::attempt::{Breach, ProbeAttempt};
use crate::probe::kind::ProbeKind;
use crate::probe::targets::{ProbedColumn, ProbedTenancy};
use crate::sql::quote::{Identifier, Literal};

/// Attempts on a relation that the role should not access at all.
pub(super) fn private(targets: &Targets, relation: &ProbedRelation, tries: &mut Vec<Try>) {
    let (name, table) = (shown(relation), relation.qualified());
    match relation.kind.as_str() {
        // Its server may be elsewhere, and is not asked.
        "f" => {
            return tries.push(privilege(ProbeKind::ReadForeignTable, relation, "has_any_column_privilege", "SELECT"));
        }
        "S" => return sequence(relation, tries),
        _ => {}
    }
    let reads = match (relation.kind.as_str(), &targets.tenancy) {
        ("m", _) => ProbeKind::ReadMaterializedView,
        (_, ProbedTenancy::Rows { .. }) => ProbeKind::ReadElsewhere,
        ("v", ProbedTenancy::Schemas { .. }) => ProbeKind::ReadView,
        (_, ProbedTenancy::Schemas { .. }) => ProbeKind::ReadRows,
    };
    // Policies of a partition may refuse to read it without a context.
    let context = match &targets.tenancy {
        ProbedTenancy::Rows { own, .. } if relation.is_partition => *own,
        _ => None,
    };
    let mut read = |probe, sql: String| {
        let attempt = ProbeAttempt::new(probe, &name, sql).read_only();
        tries.extend(context.map(|own| attempt.clone().within(own).into()));
        tries.push(attempt.into());
    };
    read(reads, format!("SELECT FROM {table} LIMIT 1"));
    if !relation.is_table() {
        return;
    }
    let copy = readable(relation).map_or(String::new(), |column| Identifier::of_object(&column.name).to_string());
    read(ProbeKind::ReadCopy, format!("COPY (SELECT {copy} FROM {table} LIMIT 1) TO STDOUT"));
    read(ProbeKind::CountRows, format!("SELECT count(*) FROM (SELECT FROM {table} LIMIT 1) AS counted"));
    writes(relation, tries);
}

/// A column to name where one is needed.
fn readable(relation: &ProbedRelation) -> Option<&ProbedColumn> {
    relation.columns.first()
}

/// Attempts to change a table whose rows the role should not change. They change no row.
pub(super) fn writes(relation: &ProbedRelation, tries: &mut Vec<Try>) {
    let (name, table) = (shown(relation), relation.qualified());
    let columns = &relation.columns;
    if let Some(column) = columns.iter().find(|it| it.is_insertable).or(columns.first()) {
        let insert = format!(
            "INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE SELECT NULL::{} WHERE false",
            Identifier::of_object(&column.name),
            column.data_type
        );
        tries.push(ProbeAttempt::new(ProbeKind::WriteInsert, &name, insert).into());
    }
    if let Some(column) = updatable(relation) {
        let update = format!("UPDATE {table} SET {} = DEFAULT WHERE false", Identifier::of_object(&column.name));
        tries.push(ProbeAttempt::new(ProbeKind::WriteUpdate, &name, update).into());
    }
    tries.push(ProbeAttempt::new(ProbeKind::WriteDelete, &name, format!("DELETE FROM {table} WHERE false")).into());
    tries.push(copy_in(relation));
}

/// The column to update: one that the role may, if there is one.
pub(super) fn updatable(relation: &ProbedRelation) -> Option<&ProbedColumn> {
    relation.columns.iter().find(|it| it.is_updatable).or(relation.columns.first())
}

/// `COPY … FROM`, which the server refuses under row-level security.
pub(super) fn copy_in(relation: &ProbedRelation) -> Try {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .filter(|it| it.is_insertable)
        .map(|it| Identifier::of_object(&it.name).to_string())
        .collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    let copy = format!("COPY {}{columns} FROM STDIN", relation.qualified());
    ProbeAttempt::new(ProbeKind::WriteCopy, shown(relation), copy).refused_by(&["0A000"]).into()
}

/// The privileges that no role of an application or of a tenant has on tables of others.
pub(super) fn of_table(targets: &Targets, relation: &ProbedRelation, tries: &mut Vec<Try>) {
    if !relation.is_table() {
        return;
    }
    tries.push(privilege(ProbeKind::ReferencePrivilege, relation, "has_any_column_privilege", "REFERENCES"));
    tries.push(privilege(ProbeKind::TableTruncate, relation, "has_table_privilege", "TRUNCATE"));
    tries.push(privilege(ProbeKind::TableTrigger, relation, "has_table_privilege", "TRIGGER"));
    if targets.version >= 170_000 {
        tries.push(privilege(ProbeKind::TableMaintain, relation, "has_table_privilege", "MAINTAIN"));
    }
}

/// Attempts on a sequence. Its position is neither advanced nor set, as no rollback undoes that.
pub(super) fn sequence(relation: &ProbedRelation, tries: &mut Vec<Try>) {
    let read = format!("SELECT last_value FROM {}", relation.qualified());
    tries.push(ProbeAttempt::new(ProbeKind::SequenceRead, shown(relation), read).read_only().into());
    let privileges = match relation.protection {
        Protection::Usable => "UPDATE",
        _ => "UPDATE, USAGE",
    };
    tries.push(privilege(ProbeKind::SequenceSet, relation, "has_sequence_privilege", privileges));
}

/// Asks for a privilege. The name of the relation is resolved with the rights of the role.
fn privilege(probe: ProbeKind, relation: &ProbedRelation, function: &str, privilege: &str) -> Try {
    let sql = format!("SELECT pg_catalog.{function}({}, {})", Literal(&relation.qualified()), Literal(privilege));
    ProbeAttempt::new(probe, shown(relation), sql).read_only().breach(Breach::True).into()
}
