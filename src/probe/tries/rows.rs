//! Tables with rows of several tenants, of which the role should reach those of one.

use super::context::set_tenant;
use super::privileges::{copy_in, updatable, writes};
use super::synthetic::{self, NewRow};
use super::{ProbedRelation, ProbedTenancy, Targets, Try, shown};
use crate::model::TenantId;
use crate::probe::attempt::{AttemptStatement, Breach, ProbeAttempt};
use crate::probe::kind::ProbeKind;
use crate::probe::targets::{Aim, CrossReference, OwnChanges, Protection, RowValues};
use crate::rows::ContextKind;
use crate::sql::quote::{Identifier, Literal};

const NO_ROWS: &str = "no other tenant has rows in the table";
const NO_TENANT: &str = "there are not two tenants";

/// A table, with the tenants of its attempts.
struct AimedTable<'a> {
    relation: &'a ProbedRelation,
    name: String,
    /// Qualified and quoted.
    table: String,
    /// Quoted.
    column: String,
    column_name: &'a str,
    aim: &'a Aim,
    context: ContextKind,
}

/// Attempts on a table.
pub(super) fn tries(
    targets: &Targets,
    relation: &ProbedRelation,
    column: &str,
    changes: OwnChanges,
    aim: &Aim,
    tries: &mut Vec<Try>,
) {
    let table = AimedTable::new(targets, relation, column, aim);
    let without = format!("SELECT FROM {} LIMIT 1", table.table);
    tries.push(if aim.rows.is_empty() {
        Try::impossible(ProbeKind::ReadWithoutContext, &table.name, NO_ROWS)
    } else {
        ProbeAttempt::new(ProbeKind::ReadWithoutContext, &table.name, &without).read_only().breach(Breach::Rows).into()
    });
    let (Some(own), Some(other)) = (aim.own, aim.other) else {
        for probe in [ProbeKind::ReadRows, ProbeKind::CountRows, ProbeKind::WriteInsert, ProbeKind::WriteUpdate] {
            tries.push(Try::impossible(probe, &table.name, NO_TENANT));
        }
        return;
    };
    let statistics = format!(
        "SELECT FROM pg_catalog.pg_stats WHERE schemaname = {} AND tablename = {} \
         AND (most_common_vals IS NOT NULL OR histogram_bounds IS NOT NULL) LIMIT 1",
        Literal(&relation.schema),
        Literal(&relation.name)
    );
    let statistics = ProbeAttempt::new(ProbeKind::ReadStatistics, &table.name, statistics).read_only();
    tries.push(statistics.breach(Breach::Rows).into());
    let off = ProbeAttempt::new(ProbeKind::SettingRowSecurity, &table.name, without).read_only().within(own);
    tries.push(off.before(AttemptStatement::new("SET LOCAL row_security = off")).into());
    table.reads(own, other, tries);
    if relation.has_rules {
        table.rules(own, tries);
    }
    match changes {
        OwnChanges::Refused => writes(relation, tries),
        OwnChanges::Allowed => {
            table.inserts(own, other, tries);
            tries.push(table.reaching(ProbeKind::WriteUpdate, own));
            tries.push(table.reaching(ProbeKind::WriteDelete, own));
            tries.push(table.moves(own, other));
            tries.push(copy_in(relation));
            table.triggers(targets, own, tries);
        }
    }
}

impl<'a> AimedTable<'a> {
    fn new(targets: &Targets, relation: &'a ProbedRelation, column: &'a str, aim: &'a Aim) -> Self {
        let context = match &targets.tenancy {
            ProbedTenancy::Rows { layout, .. } => layout.context,
            ProbedTenancy::Schemas { .. } => ContextKind::Setting,
        };
        Self {
            relation,
            name: shown(relation),
            table: relation.qualified(),
            column: Identifier::of_object(column).to_string(),
            column_name: column,
            aim,
            context,
        }
    }

    fn reads(&self, own: TenantId, other: TenantId, tries: &mut Vec<Try>) {
        let Self { table, column, name, .. } = self;
        let (own_id, other_id) = (own.to_string(), other.to_string());
        let (own_id, other_id) = (Literal(&own_id), Literal(&other_id));
        let reads = [
            (
                ProbeKind::ReadRows,
                format!("SELECT FROM {table} WHERE {column} IS DISTINCT FROM {own_id} LIMIT 1"),
                Breach::Rows,
            ),
            (
                ProbeKind::CountRows,
                format!("SELECT count(*) FROM {table} WHERE {column} = {other_id}"),
                Breach::MoreThan(0),
            ),
            (
                ProbeKind::ReadCopy,
                format!("COPY (SELECT {column} FROM {table} WHERE {column} = {other_id} LIMIT 1) TO STDOUT"),
                Breach::Rows,
            ),
            (
                ProbeKind::GuessError,
                format!("SELECT false FROM {table} WHERE 1 / CASE {column} WHEN {other_id} THEN 0 ELSE 1 END < 0"),
                Breach::TrueOrFails("22012"),
            ),
        ];
        for (probe, sql, breach) in reads {
            tries.push(if self.aim.rows.is_empty() {
                Try::impossible(probe, name, NO_ROWS)
            } else {
                ProbeAttempt::new(probe, name, sql).read_only().within(own).breach(breach).into()
            });
        }
    }

    fn rules(&self, own: TenantId, tries: &mut Vec<Try>) {
        let Self { table, name, relation, .. } = self;
        let column = updatable(relation).map_or(String::new(), |it| Identifier::of_object(&it.name).to_string());
        for sql in [
            format!("DELETE FROM {table} WHERE false"),
            format!("UPDATE {table} SET {column} = DEFAULT WHERE false"),
            format!("INSERT INTO {table} DEFAULT VALUES"),
        ] {
            let attempt = ProbeAttempt::new(ProbeKind::WriteRule, name, format!("EXPLAIN (FORMAT JSON) {sql}"));
            tries.push(attempt.within(own).breach(Breach::RewrittenFrom(relation.name.clone())).into());
        }
    }

    /// Inserts rows: for another tenant, and for its own with values of another.
    fn inserts(&self, own: TenantId, other: TenantId, tries: &mut Vec<Try>) {
        let Self { name, relation, aim, column_name, .. } = self;
        let guesses = relation.has_unique_keys;
        if let Some(obstacle) = synthetic::obstacle(relation) {
            tries.push(Try::impossible(ProbeKind::WriteInsert, name, &obstacle));
            if guesses {
                tries.push(Try::impossible(ProbeKind::GuessUnique, name, obstacle));
            }
            return;
        }
        let of_other = match aim.rows.first() {
            Some(row) => Ok(synthetic::of_tenant(relation, row, column_name, other)),
            None => synthetic::invented(relation, &[(column_name, other.to_string())], None),
        };
        match of_other {
            Ok(values) => {
                let attempt = self.insert(ProbeKind::WriteInsert, synthetic::insert(relation, values));
                let attempt = attempt.within(own).breach(Breach::PassesPolicies);
                tries.push(attempt.clone().into());
                // Also with the setting of the other tenant, where that is not what contexts are.
                if self.context == ContextKind::Signed {
                    tries.push(attempt.before(set_tenant(other)).into());
                }
            }
            Err(reason) => tries.push(Try::impossible(ProbeKind::WriteInsert, name, reason)),
        }
        if !guesses {
            return;
        }
        let guess = |values: RowValues| {
            let attempt = self.insert(ProbeKind::GuessUnique, synthetic::insert(relation, values));
            attempt.within(own).breach(Breach::Reveals(relation.keys_with_tenant.clone()))
        };
        let mut rows: Vec<RowValues> =
            aim.rows.iter().map(|row| synthetic::of_tenant(relation, row, column_name, own)).collect();
        // If the tenant has rows with the same keys, other values of one key reveal the other keys.
        if let Some(first) = rows.first().cloned() {
            rows.extend(relation.key_columns.iter().map(|key| synthetic::with_invented(relation, &first, key)));
        }
        tries.push(if rows.is_empty() {
            Try::impossible(ProbeKind::GuessUnique, name, NO_ROWS)
        } else {
            let attempts = Ok(rows.into_iter().map(guess).collect());
            Try { probe: ProbeKind::GuessUnique, object: name.clone(), attempts }
        });
    }

    fn insert(&self, probe: ProbeKind, row: NewRow) -> ProbeAttempt {
        ProbeAttempt::new(probe, &self.name, row.insert).parameters(row.parameters)
    }

    /// Counts the rows that an `UPDATE` or `DELETE` reaches which reads no column, so that only the policies for this command
    /// apply. The condition is false for each row, which is neither changed nor locked, and fails at the first row that is one
    /// too many.
    fn reaching(&self, probe: ProbeKind, own: TenantId) -> Try {
        let Self { table, column, relation, .. } = self;
        let condition = "1 / (pg_catalog.current_setting('tenantry.own_rows')::int8 + 1 - \
                         pg_catalog.set_config('tenantry.reached', \
                         (pg_catalog.current_setting('tenantry.reached')::int8 + 1)::text, true)::int8) < 0";
        let statement = match probe {
            ProbeKind::WriteDelete => format!("DELETE FROM {table} WHERE {condition}"),
            _ => match updatable(relation) {
                Some(updated) => {
                    format!("UPDATE {table} SET {} = DEFAULT WHERE {condition}", Identifier::of_object(&updated.name))
                }
                None => return Try::impossible(probe, &self.name, "the table has no columns"),
            },
        };
        if relation.has_rules {
            return Try::impossible(probe, &self.name, "a rule of the table changes the statement");
        }
        if self.aim.rows.is_empty() {
            return Try::impossible(probe, &self.name, NO_ROWS);
        }
        let own_rows = format!(
            "SELECT pg_catalog.set_config('tenantry.reached', '0', true), \
             pg_catalog.set_config('tenantry.own_rows', (SELECT count(*) FROM {table} WHERE {column} = {})::text, true)",
            Literal(&own.to_string())
        );
        ProbeAttempt::new(probe, &self.name, statement)
            .within(own)
            .before(AttemptStatement::new(own_rows))
            .breach(Breach::TrueOrFails("22012"))
            .into()
    }

    /// Gives one of the tenant's own rows to another.
    fn moves(&self, own: TenantId, other: TenantId) -> Try {
        let Self { table, column, aim, relation, .. } = self;
        if relation.has_lasting_effects {
            return Try::impossible(ProbeKind::WriteMove, &self.name, synthetic::LASTING);
        }
        if aim.own_row.is_none() {
            return Try::impossible(ProbeKind::WriteMove, &self.name, "the tenant has no row to give away");
        }
        let statement =
            format!("UPDATE {table} SET {column} = {} {}", Literal(&other.to_string()), self.one_own_row(own));
        ProbeAttempt::new(ProbeKind::WriteMove, &self.name, statement).within(own).breach(Breach::PassesPolicies).into()
    }

    /// A condition that selects one of the tenant's own rows that no other transaction has locked.
    fn one_own_row(&self, own: TenantId) -> String {
        let Self { table, column, .. } = self;
        format!(
            "WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM {table} WHERE {column} = {} LIMIT 1 FOR UPDATE SKIP LOCKED)",
            Literal(&own.to_string())
        )
    }

    /// Inserts a row, whose triggers may answer with values of other tenants.
    fn triggers(&self, targets: &Targets, own: TenantId, tries: &mut Vec<Try>) {
        let Self { relation, name, column_name, aim, .. } = self;
        if !relation.has_triggers {
            return;
        }
        let markers: Vec<String> =
            targets.markers.iter().filter(|it| it.tenant != Some(own)).map(|it| it.text.clone()).collect();
        let values = match synthetic::obstacle(relation) {
            Some(obstacle) => Err(obstacle),
            None if markers.is_empty() => Err(super::objects::NO_MARKERS.to_owned()),
            None => synthetic::invented(relation, &[(column_name, own.to_string())], aim.own_row.as_ref()),
        };
        tries.push(match values {
            Ok(values) => {
                let NewRow { insert, parameters } = synthetic::insert(relation, values);
                let attempt = ProbeAttempt::new(ProbeKind::FunctionTrigger, name, format!("{insert} RETURNING *"));
                attempt.parameters(parameters).within(own).breach(Breach::Shows(markers)).into()
            }
            Err(reason) => Try::impossible(ProbeKind::FunctionTrigger, name, reason),
        });
    }
}

/// Lets a row refer to a row of another tenant: an own row, or else a new one.
pub(super) fn reference(targets: &Targets, key: &CrossReference, tries: &mut Vec<Try>) {
    let ProbedTenancy::Rows { layout, .. } = &targets.tenancy else { return };
    let is_child = |it: &&ProbedRelation| it.schema == layout.schema.as_str() && it.name == key.table;
    let Some(relation) = targets.relations.iter().find(is_child) else { return };
    let Protection::OwnRows { column, aim, .. } = &relation.protection else { return };
    let object = format!("{}.{}", shown(relation), key.name);
    let (Some(own), Some(values)) = (key.own, &key.values) else {
        let reason = "no other tenant has a row to refer to";
        return tries.push(Try::impossible(ProbeKind::ReferenceRow, object, reason));
    };
    let table = AimedTable::new(targets, relation, column, aim);
    let mut attempts = Vec::new();
    if aim.own_row.is_some() && !relation.has_lasting_effects {
        let assignments: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(at, (name, _))| format!("{} = ${}", Identifier::of_object(name), at + 1))
            .collect();
        let update = format!("UPDATE {} SET {} {}", table.table, assignments.join(", "), table.one_own_row(own));
        let parameters = values.iter().map(|(_, value)| Some(value.clone())).collect();
        let attempt = ProbeAttempt::new(ProbeKind::ReferenceRow, &object, update).parameters(parameters).within(own);
        attempts.push(attempt.breach(Breach::Changes).refused_by(&["23503"]));
    }
    let mut given: Vec<(&str, String)> = values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    given.push((column, own.to_string()));
    let row = match synthetic::obstacle(relation) {
        Some(obstacle) => Err(obstacle),
        None => synthetic::invented(relation, &given, aim.own_row.as_ref()),
    };
    match row {
        Ok(row) => {
            let NewRow { insert, parameters } = synthetic::insert(relation, row);
            let attempt =
                ProbeAttempt::new(ProbeKind::ReferenceRow, &object, insert).parameters(parameters).within(own);
            attempts.push(attempt.breach(Breach::Changes).refused_by(&["23503"]));
        }
        Err(reason) if attempts.is_empty() => {
            return tries.push(Try::impossible(ProbeKind::ReferenceRow, object, reason));
        }
        Err(_) => {}
    }
    tries.push(Try { probe: ProbeKind::ReferenceRow, object, attempts: Ok(attempts) });
}
