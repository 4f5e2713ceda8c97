//! The probes: what each tries, and the findings that explain a breach.

use std::fmt;
use std::str::FromStr;

use crate::rows::findings::IsolationKind;

macro_rules! probes {
    ($($kind:ident = $name:literal, $meaning:literal, [$($cause:ident),*];)*) => {
        /// A probe. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProbeKind {
            $(#[doc = $meaning] $kind,)*
        }

        impl ProbeKind {
            /// Every probe, in the order in which they run.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its name on the command line and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What it tries, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning,)* }
            }

            /// The findings of `health-check` that can explain a breach where tenants share tables.
            pub fn causes(self) -> &'static [IsolationKind] {
                match self { $(Self::$kind => &[$(IsolationKind::$cause),*],)* }
            }
        }
    };
}

/// A text that is not the name of a [`ProbeKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown probe: {0:?}")]
pub struct UnknownProbe(String);

impl UnknownProbe {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "unknown-probe"
    }
}

probes! {
    SessionSettings = "session.settings", "Looks for settings with which every session of the role begins.", [RoleSettings];
    SettingRowSecurity = "setting.row-security", "Reads tables with row_security = off.", [RoleBypassRls, RlsOff, TableOwner];
    SettingReplication = "setting.replication", "Turns off triggers and foreign keys with session_replication_role.",
        [RoleParameter, RoleSuperuser];
    SettingSuperuser = "setting.superuser", "Changes settings that only superusers may change.", [RoleParameter, RoleSuperuser];
    ReadRows = "read.rows", "Reads rows of other tenants.",
        [RlsOff, RlsNotForced, PolicyForeign, PolicyMissing, PolicyAdminOpen, RoleBypassRls, RoleReachesOwner];
    ReadWithoutContext = "read.without-context", "Reads rows in a transaction that works for no tenant.",
        [RlsOff, PolicyForeign, PolicyAdminOpen, RoleBypassRls, RoleReachesOwner];
    ReadCopy = "read.copy", "Copies rows of other tenants to the client.", [RlsOff, PolicyForeign, PolicyMissing];
    ReadElsewhere = "read.elsewhere", "Reads tables that no policy protects: partitions, children and other schemas.",
        [GrantPartition, InheritChild, TableElsewhere, VerifierKeyReadable, ColumnMissing, RolePredefined];
    ReadView = "read.view", "Reads rows of other tenants through views.", [ViewDefiner];
    ReadMaterializedView = "read.materialized-view", "Reads materialized views, which no policy protects.", [Matview];
    ReadForeignTable = "read.foreign-table", "Reads foreign tables, which no policy protects.", [ForeignTable];
    ReadStatistics = "read.statistics", "Reads sampled values of other tenants in the planner's statistics.", [RlsOff];
    CountRows = "count.rows", "Counts rows of other tenants.", [RlsOff, PolicyForeign, PolicyMissing];
    WriteInsert = "write.insert", "Inserts rows for other tenants.",
        [RlsOff, PolicyForeign, PolicyMissing, GrantExemptWrite, GrantRegistryWrite];
    WriteUpdate = "write.update", "Updates rows of other tenants, also without reading them.",
        [RlsOff, PolicyForeign, PolicyMissing, GrantExemptWrite, GrantRegistryWrite];
    WriteDelete = "write.delete", "Deletes rows of other tenants, also without reading them.",
        [RlsOff, PolicyForeign, PolicyMissing, GrantExemptWrite, GrantRegistryWrite];
    WriteMove = "write.move", "Gives a row to another tenant.", [RlsOff, PolicyForeign, PolicyMissing];
    WriteCopy = "write.copy", "Copies rows into tables, past row-level security.", [RlsOff, RoleBypassRls];
    WriteRule = "write.rule", "Looks for statements that a rule turns into others.", [Rule];
    ReferenceRow = "reference.row", "Lets a row refer to a row of another tenant.",
        [ForeignKeyWithoutTenant, TriggerDisabled, ForeignKeyNotValid];
    ReferencePrivilege = "reference.privilege", "Looks for the privilege to refer to tables.", [GrantReferences];
    TableTruncate = "table.truncate", "Looks for the privilege to truncate tables.", [GrantTruncate];
    TableTrigger = "table.trigger", "Looks for the privilege to create triggers on tables.", [GrantTrigger];
    TableMaintain = "table.maintain", "Looks for the privilege to maintain tables.", [];
    GuessUnique = "guess.unique", "Guesses values of other tenants by unique keys and exclusion constraints.",
        [UniqueWithoutTenant];
    GuessError = "guess.error", "Guesses values of other tenants by errors of expressions.", [RlsOff, PolicyForeign];
    GuessLeakproof = "guess.leakproof", "Looks for functions that see rows before the policies apply.", [FunctionLeakproof];
    SequenceRead = "sequence.read", "Reads sequences.", [SequenceWritable];
    SequenceSet = "sequence.set", "Looks for the privilege to set or advance sequences.", [SequenceWritable];
    FunctionDefiner = "function.definer", "Reads rows of other tenants through functions that run as their owner.",
        [FunctionDefinerBypasses, RlsNotForced];
    FunctionTrigger = "function.trigger", "Reads rows of other tenants through triggers that run as their owner.",
        [TriggerDefiner];
    FunctionCall = "function.call", "Calls functions in the schemas of other tenants.", [];
    FunctionPath = "function.path", "Looks for functions of other roles that use the caller's search path or temporary tables.",
        [FunctionDefinerPath];
    LargeObject = "large-object", "Reads and writes large objects.", [LargeObjects];
    ContextForged = "context.forged", "Uses contexts with invented signatures.", [VerifierChanged, PolicyMissing];
    ContextBare = "context.bare", "Chooses another tenant by the setting alone.", [VerifierChanged, PolicyMissing];
    ContextReplayed = "context.replayed", "Uses a context again, in another transaction and in another session.",
        [VerifierChanged, PolicyMissing];
    ContextOther = "context.other-tenant", "Uses the signature of one tenant for another.", [VerifierChanged, PolicyMissing];
    ContextOverride = "context.override", "Changes the tenant within a statement.", [VerifierChanged, PolicyMissing];
    ContextFunction = "context.function", "Changes the function that verifies contexts.", [VerifierChanged, RoleReachesOwner];
    RoleSet = "role.set", "Becomes a role with more rights: SET ROLE and SET SESSION AUTHORIZATION.",
        [RoleReachesOwner, RolePredefined, RoleSuperuser, RoleBypassRls];
    RoleReset = "role.reset", "Becomes another role by RESET ROLE.", [RoleSettings];
    RoleAlter = "role.alter", "Gives itself attributes and memberships.", [RoleCreateRole, RoleSuperuser];
    RoleCreate = "role.create", "Creates roles.", [RoleCreateRole];
    RoleReplication = "role.replication", "Looks for the right to read all changes by replication.", [RoleReplication];
    OwnerAlter = "owner.alter", "Changes objects that only their owner may change.",
        [TableOwner, SchemaOwner, DatabaseOwner, FunctionOwner, RoleReachesOwner];
    CreateObject = "create.object", "Creates tables in schemas.", [SchemaCreate, SchemaOwner, DatabaseOwner];
    CreateSchema = "create.schema", "Creates schemas.", [DatabaseTemp, DatabaseOwner];
    CreateTemporary = "create.temporary", "Creates temporary tables, which hide others and outlive transactions.",
        [DatabaseTemp];
    DefaultPrivileges = "default-privileges", "Changes default privileges, and looks for those that give too much.",
        [DefaultPrivileges];
    ServerFiles = "server.files", "Reads and writes files of the server, and runs programs.", [RolePredefined, RoleSuperuser];
    ServerConnections = "server.connections", "Connects to other databases: dblink, foreign servers and user mappings.",
        [Dblink, UserMapping];
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ProbeKind {
    type Err = UnknownProbe;

    fn from_str(text: &str) -> Result<Self, UnknownProbe> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownProbe(text.to_owned()))
    }
}
