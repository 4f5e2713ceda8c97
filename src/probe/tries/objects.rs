//! Views, functions, large objects, new objects, files of the server and connections to others.

use super::{ProbedRelation, ProbedTenancy, Targets, Try, arguments, shown};
use crate::model::TenantId;
use crate::probe::attempt::{Breach, ProbeAttempt};
use crate::probe::kind::ProbeKind;
use crate::probe::targets::ProbedFunction;
use crate::sql::quote::{Identifier, Literal};

/// Why the answers of a view or function show nothing.
pub(super) const NO_MARKERS: &str =
    "no row of another tenant has a value that is not elsewhere, by which to recognize it";

/// At most this many values of other tenants are looked for in an answer.
const MARKERS: usize = 20;

/// Attempts that do not concern a table.
pub(super) fn tries(targets: &Targets, tries: &mut Vec<Try>) {
    for function in &targets.functions {
        of_function(targets, function, tries);
    }
    large_objects(targets, tries);
    new_objects(targets, tries);
    files(tries);
    connections(targets, tries);
}

/// The tenant that attempts work for, the values of others, and the condition that a row `v` contains one of them.
struct Search {
    own: Option<TenantId>,
    markers: Vec<Option<String>>,
    condition: String,
}

impl Search {
    fn new(targets: &Targets) -> Self {
        let own = match &targets.tenancy {
            ProbedTenancy::Rows { own, .. } => *own,
            ProbedTenancy::Schemas { .. } => None,
        };
        let markers = targets.markers.iter().filter(|it| own.is_none() || it.tenant != own).take(MARKERS);
        Self::of(own, markers.map(|it| Some(it.text.clone())).collect())
    }

    fn of(own: Option<TenantId>, markers: Vec<Option<String>>) -> Self {
        let contains = |at: usize| format!("pg_catalog.strpos(pg_catalog.concat(v), ${at}) > 0");
        let condition = (1..=markers.len()).map(contains).collect::<Vec<_>>().join(" OR ");
        Self { own, markers, condition }
    }

    /// The same without the values that are arguments of a function, which may return them.
    fn besides(&self, arguments: &[String]) -> Self {
        let is_given = |marker: &&Option<String>| {
            marker.as_deref().is_some_and(|marker| arguments.iter().any(|argument| argument.contains(marker)))
        };
        Self::of(self.own, self.markers.iter().filter(|marker| !is_given(marker)).cloned().collect())
    }

    fn attempt(&self, probe: ProbeKind, object: &str, source: &str) -> ProbeAttempt {
        let sql = format!("SELECT FROM {source} AS v WHERE {} LIMIT 1", self.condition);
        let attempt =
            ProbeAttempt::new(probe, object, sql).parameters(self.markers.clone()).read_only().breach(Breach::Rows);
        match self.own {
            Some(own) => attempt.within(own),
            None => attempt,
        }
    }
}

/// Looks for rows of other tenants in a view.
pub(super) fn view(targets: &Targets, relation: &ProbedRelation, tries: &mut Vec<Try>) {
    let (name, search) = (shown(relation), Search::new(targets));
    if let ProbedTenancy::Rows { layout, own: Some(own), .. } = &targets.tenancy
        && relation.has_column(layout.column.as_str())
    {
        let sql = format!(
            "SELECT FROM {} WHERE {} IS DISTINCT FROM {} LIMIT 1",
            relation.qualified(),
            Identifier::from(&layout.column),
            Literal(&own.to_string())
        );
        let attempt = ProbeAttempt::new(ProbeKind::ReadView, &name, sql).read_only().within(*own).breach(Breach::Rows);
        return tries.push(attempt.into());
    }
    tries.push(if search.markers.is_empty() {
        Try::impossible(ProbeKind::ReadView, name, NO_MARKERS)
    } else {
        search.attempt(ProbeKind::ReadView, &name, &relation.qualified()).into()
    });
}

/// Changes the comment of a relation, as its owner may. This locks it against changes of its structure only.
pub(super) fn comment(relation: &ProbedRelation) -> Try {
    let kind = match relation.kind.as_str() {
        "v" => "VIEW",
        "m" => "MATERIALIZED VIEW",
        "f" => "FOREIGN TABLE",
        "S" => "SEQUENCE",
        _ => "TABLE",
    };
    let sql = format!("COMMENT ON {kind} {} IS ''", relation.qualified());
    ProbeAttempt::new(ProbeKind::OwnerAlter, shown(relation), sql).into()
}

fn of_function(targets: &Targets, function: &ProbedFunction, tries: &mut Vec<Try>) {
    let ProbedFunction { signature, .. } = function;
    let may_call = |probe| {
        let sql = format!("SELECT pg_catalog.has_function_privilege({}, 'EXECUTE')", Literal(signature));
        ProbeAttempt::new(probe, signature, sql).read_only().breach(Breach::True)
    };
    if function.is_dblink {
        return tries.push(may_call(ProbeKind::ServerConnections).into());
    }
    if function.is_leakproof {
        tries.push(may_call(ProbeKind::GuessLeakproof).into());
    }
    let is_own = match &targets.tenancy {
        ProbedTenancy::Rows { .. } => false,
        ProbedTenancy::Schemas { own, others } => {
            if others.contains(&function.schema) {
                tries.push(may_call(ProbeKind::FunctionCall).into());
            }
            function.schema == *own
        }
    };
    if !is_own {
        tries.push(
            ProbeAttempt::new(ProbeKind::OwnerAlter, signature, format!("COMMENT ON ROUTINE {signature} IS ''")).into(),
        );
    }
    if function.is_trigger || !function.runs_as_other {
        return;
    }
    if function.has_open_path {
        tries.push(may_call(ProbeKind::FunctionPath).into());
    }
    let search = Search::new(targets);
    if search.markers.is_empty() {
        return tries.push(Try::impossible(ProbeKind::FunctionDefiner, signature, NO_MARKERS));
    }
    if function.kind != "f" {
        let reason = "it is a procedure, which returns no rows; check it by hand";
        return tries.push(Try::impossible(ProbeKind::FunctionDefiner, signature, reason));
    }
    let attempt = |search: &Search, arguments: &[String]| {
        let source = format!("{}({})", function.name, arguments.join(", "));
        search.attempt(ProbeKind::FunctionDefiner, signature, &source)
    };
    tries.push(if function.parameters.is_empty() {
        attempt(&search, &[]).into()
    } else {
        let mut attempts = Vec::new();
        for arguments in arguments::samples(targets, &function.parameters) {
            let search = search.besides(&arguments);
            if !search.markers.is_empty() {
                attempts.push(attempt(&search, &arguments).proving_breach_only());
            }
        }
        Try { probe: ProbeKind::FunctionDefiner, object: signature.clone(), attempts: Ok(attempts) }
    });
}

fn large_objects(targets: &Targets, tries: &mut Vec<Try>) {
    let is_own = |oid: &&String| {
        matches!(targets.tenancy, ProbedTenancy::Schemas { .. }) && targets.others.own_large_objects.contains(*oid)
    };
    for oid in targets.others.large_objects.iter().filter(|oid| !is_own(oid)) {
        let object = format!("large object {oid}");
        let read = format!("SELECT pg_catalog.lo_get({oid}, 0, 1)");
        tries.push(ProbeAttempt::new(ProbeKind::LargeObject, &object, read).read_only().into());
        let write = format!("SELECT pg_catalog.lo_put({oid}, 0, '')");
        tries.push(ProbeAttempt::new(ProbeKind::LargeObject, object, write).into());
    }
}

/// A name that nothing has.
pub(super) fn unused_name() -> String {
    format!("tenantry_probe_{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

fn new_objects(targets: &Targets, tries: &mut Vec<Try>) {
    let name = unused_name();
    for schema in &targets.others.schemas {
        let quoted = Identifier::of_object(schema);
        let create = format!("CREATE TABLE {quoted}.{name} ()");
        tries.push(ProbeAttempt::new(ProbeKind::CreateObject, schema, create).into());
        let comment = format!("COMMENT ON SCHEMA {quoted} IS ''");
        tries.push(ProbeAttempt::new(ProbeKind::OwnerAlter, schema, comment).into());
    }
    let database = &targets.database;
    tries.push(ProbeAttempt::new(ProbeKind::CreateSchema, database, format!("CREATE SCHEMA {name}")).into());
    let comment = format!("COMMENT ON DATABASE {} IS ''", Identifier::of_object(database));
    tries.push(ProbeAttempt::new(ProbeKind::OwnerAlter, database, comment).into());
    // Roles of tenants have sessions of their own, in which temporary tables hide nothing of others.
    if let ProbedTenancy::Rows { .. } = targets.tenancy {
        let create = format!("CREATE TEMPORARY TABLE {name} () ON COMMIT DROP");
        tries.push(ProbeAttempt::new(ProbeKind::CreateTemporary, database, create).into());
    }
}

fn files(tries: &mut Vec<Try>) {
    for (function, sql) in [
        ("pg_read_file", "SELECT pg_catalog.pg_read_file('PG_VERSION')"),
        ("pg_read_binary_file", "SELECT pg_catalog.pg_read_binary_file('PG_VERSION')"),
        ("pg_ls_dir", "SELECT pg_catalog.pg_ls_dir('.')"),
        ("pg_stat_file", "SELECT pg_catalog.pg_stat_file('PG_VERSION')"),
        ("lo_import", "SELECT pg_catalog.lo_import('PG_VERSION')"),
        ("COPY TO PROGRAM", "COPY (SELECT 1) TO PROGRAM 'true'"),
    ] {
        tries.push(ProbeAttempt::new(ProbeKind::ServerFiles, function, sql).into());
    }
    let write = "SELECT pg_catalog.pg_has_role('pg_write_server_files', 'MEMBER')";
    tries
        .push(ProbeAttempt::new(ProbeKind::ServerFiles, "COPY TO FILE", write).read_only().breach(Breach::True).into());
}

fn connections(targets: &Targets, tries: &mut Vec<Try>) {
    for wrapper in &targets.others.wrappers {
        let sql = format!("SELECT pg_catalog.has_foreign_data_wrapper_privilege({}, 'USAGE')", Literal(wrapper));
        tries.push(
            ProbeAttempt::new(ProbeKind::ServerConnections, wrapper, sql).read_only().breach(Breach::True).into(),
        );
    }
    for server in &targets.others.servers {
        let name = Literal(server);
        let usage = format!("SELECT pg_catalog.has_server_privilege({name}, 'USAGE')");
        tries.push(
            ProbeAttempt::new(ProbeKind::ServerConnections, server, usage).read_only().breach(Breach::True).into(),
        );
        let mapping = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_user_mappings WHERE srvname = {name} \
             AND CASE umuser WHEN 0 THEN true ELSE pg_catalog.pg_has_role(umuser, 'USAGE') END)"
        );
        tries.push(
            ProbeAttempt::new(ProbeKind::ServerConnections, server, mapping).read_only().breach(Breach::True).into(),
        );
    }
}
