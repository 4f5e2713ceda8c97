//! The kinds of findings.

use std::fmt;
use std::str::FromStr;

macro_rules! kinds {
    ($($kind:ident = $code:literal, $severity:ident, $meaning:literal $(, advice: $advice:literal)?;)*) => {
        /// The kind of a finding about tenants that share tables. The codes are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum IsolationKind {
            $(#[doc = $meaning] $kind,)*
        }

        impl IsolationKind {
            /// Every kind, in the order in which findings are listed and fixed.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its code on the command line and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity,)* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning,)* }
            }

            /// What to do where no statement fixes it.
            pub fn advice(self) -> &'static str {
                match self {
                    $($(Self::$kind => $advice,)?)*
                    _ => "fix it in a migration",
                }
            }
        }
    };
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A tenant could have access to rows of another, or data is inconsistent.
    Error,
    /// It is no attack by itself.
    Warning,
}

/// A text that is not the code of a [`IsolationKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown code of a finding: {0:?}")]
pub struct UnknownIsolationKind(String);

impl UnknownIsolationKind {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unknown-isolation-finding"
    }
}

// Roles and owners are first: the privileges of an owner cannot be revoked.
kinds! {
    RoleSuperuser = "role.superuser", Error, "The application may become a superuser.",
        advice: "revoke the role from the application";
    RoleBypassRls = "role.bypassrls", Error, "The application may become a role with BYPASSRLS.";
    RoleCreateRole = "role.createrole", Error, "The application may create and grant roles.";
    RoleReplication = "role.replication", Error, "The application may read all changes by replication.";
    RoleReachesOwner = "role.reaches-owner", Error,
        "The application may become the owner of tables, the owner of the keys, or the administrator.";
    RolePredefined = "role.predefined", Error, "The application is a member of a predefined role (pg_…).";
    RoleParameter = "role.parameter", Error, "The application may set a parameter that only superusers may set by default.";
    RoleSettings = "role.settings", Error,
        "Sessions of the application begin with a setting that weakens isolation: a search path on which the application's \
         own or temporary objects are found first, row_security, session_replication_role or a tenant.";
    DatabaseOwner = "database.owner", Error, "The application may become the owner of the database.";
    SchemaOwner = "schema.owner", Error, "The application may become the owner of a schema.";
    TableOwner = "table.owner", Error,
        "The application may become the owner of a table, view or sequence, or a shared table has an unexpected owner.";
    FunctionOwner = "function.owner", Error, "The application may become the owner of a function.";
    DatabaseTemp = "database.temp", Error,
        "The application may create temporary tables, which remain in pooled connections, or schemas.";
    SchemaCreate = "schema.create", Error, "The application may create objects in a schema.";
    DefaultPrivileges = "default-privileges", Error,
        "New objects get privileges that the application should not have, or any privileges of PUBLIC.";
    IsolationIncomplete = "isolation.incomplete", Error,
        "'isolate' would change something that no other finding names.",
        advice: "run 'isolate --dry-run', which shows it";
    ColumnMissing = "column.missing", Error, "A shared table has no tenant column and is not exempt.";
    ColumnType = "column.type", Error, "The type of a tenant column is not the type of the registry's ids.",
        advice: "change the type of the column in a migration";
    ColumnNullable = "column.nullable", Error, "A tenant column accepts NULL.";
    ColumnDefault = "column.default", Error, "The default of a tenant column is not the tenant of the transaction.";
    ColumnNoRegistryKey = "column.no-registry-key", Error,
        "A tenant column has no validated foreign key to the registry.";
    UniqueWithoutTenant = "unique.without-tenant", Error,
        "A unique key or exclusion constraint does not include the tenant: it reveals whether other tenants have a value.";
    ForeignKeyWithoutTenant = "fk.without-tenant", Error,
        "A foreign key does not include the tenant: rows can refer to rows of other tenants.";
    ForeignKeySetNullTenant = "fk.set-null-tenant", Error,
        "A foreign key changes the tenant column when the row that it refers to is deleted.",
        advice: "PostgreSQL 14 cannot exclude the column: change the foreign key to ON DELETE CASCADE or NO ACTION in a \
                 migration";
    ForeignKeyNotValid = "fk.not-valid", Error, "A foreign key has not been validated.";
    DataOrphans = "data.orphans", Error,
        "Rows refer to rows that do not exist, or that belong to another tenant.",
        advice: "correct or delete the rows; the script shows the query that finds them";
    RlsOff = "rls.off", Error, "A shared table has no row-level security.";
    RlsNotForced = "rls.not-forced", Error, "The owner of a shared table is exempt from its row-level security.";
    PolicyForeign = "policy.foreign", Error,
        "A permissive policy that isolation did not create applies to the application.";
    PolicyAdminOpen = "policy.admin-open", Error, "The administrator's policy applies to the application.";
    PolicyMissing = "policy.missing", Error, "A policy of isolation is missing or was changed.";
    TriggerDisabled = "trigger.disabled", Error, "A trigger is disabled, or runs only in replicas.";
    TriggerDefiner = "trigger.definer", Error,
        "A trigger runs a SECURITY DEFINER function of a role to which no policy applies.";
    Rule = "rule", Error, "A table or view has a rule, which runs with the privileges of the owner.";
    GrantPartition = "grant.partition", Error,
        "The application has privileges on a partition, whose rows it should access through the parent.";
    InheritChild = "inherit.child", Error,
        "A child of a shared table is outside of the shared schema, with privileges or without row-level security.";
    GrantTruncate = "grant.truncate", Error, "The application may truncate a shared table, with the rows of all tenants.";
    GrantReferences = "grant.references", Error,
        "The application may create foreign keys to a shared table, which reveal whether rows exist.";
    GrantTrigger = "grant.trigger", Error, "The application may create triggers on a shared table.";
    GrantPublic = "grant.public", Error, "PUBLIC has privileges on a shared table.";
    GrantOtherRole = "grant.other-role", Warning, "A role that the layout does not name has privileges on a shared table.";
    GrantExemptWrite = "grant.exempt-write", Error, "The application may change an exempt table, which all tenants read.";
    GrantRegistryWrite = "grant.registry-write", Error, "The application may change the registry.";
    TableElsewhere = "table.elsewhere", Error,
        "The application has privileges on a table that isolation does not cover, for example in another schema.";
    ViewDefiner = "view.definer", Error, "A view reads as a role to which no policy applies.";
    Matview = "matview", Error, "The application may read a materialized view, which has no policies.";
    ForeignTable = "foreign-table", Error, "The application has privileges on a foreign table, which has no policies.";
    Dblink = "dblink", Error, "The application may connect to other databases with dblink.";
    UserMapping = "user-mapping", Error, "The application may connect to a foreign server.";
    FunctionDefinerBypasses = "function.definer-bypasses", Error,
        "The application may call a SECURITY DEFINER function of a role to which no policy applies.";
    FunctionDefinerPath = "function.definer-path", Error,
        "A SECURITY DEFINER function has no search path of its own, or one that does not end in pg_temp.";
    FunctionLeakproof = "function.leakproof", Error,
        "A function is LEAKPROOF, so that it is called with rows of other tenants before the policies apply.";
    SequenceWritable = "sequence.writable", Error, "The application may read or set a sequence that all tenants use.";
    LargeObjects = "large-objects", Error, "The application has access to large objects, which have no tenant.",
        advice: "there are more than 1,000: change their owners, and revoke the privileges on them";
    VerifierKeyReadable = "verifier.key-readable", Error, "A role has privileges on the keys that verify contexts.";
    VerifierChanged = "verifier.changed", Error, "A function that the policies call was changed.";
    Publication = "publication", Error, "A publication contains the rows of all tenants, or the keys.",
        advice: "subscribers depend on it: give each table a row filter, or drop the publication";
    IndexNoneLedByTenant = "index.none-led-by-tenant", Warning, "A shared table has no index that begins with the tenant.";
    IndexDeadUnderRls = "index.dead-under-rls", Warning,
        "A column of an index is not used under row-level security, as its operators are not leakproof.",
        advice: "index a generated column of a type with leakproof operators, or accept it";
    ServerCve = "server.cve", Warning, "The server is older than the fixes of vulnerabilities that concern row-level security.",
        advice: "upgrade the server to the newest minor version";
}

impl fmt::Display for IsolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for IsolationKind {
    type Err = UnknownIsolationKind;

    fn from_str(text: &str) -> Result<Self, UnknownIsolationKind> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownIsolationKind(text.to_owned()))
    }
}
