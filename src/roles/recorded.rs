//! What the tracker records about the roles of tenants.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::limits::{RoleLimit, RoleLimits};
use crate::error::Error;

/// The role of a tenant, as recorded in the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantRole {
    pub(crate) tenant: String,
    pub(crate) role: String,
    pub(crate) group: String,
    pub(crate) limits: RoleLimits,
}

#[derive(QueryableByName)]
struct RecordedRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    role_name: String,
    #[diesel(sql_type = Text)]
    role_group: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    role_statement_timeout: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    role_connection_limit: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    role_temp_file_limit: Option<i64>,
}

const COLUMNS: &str = "SELECT name, role_name, role_group, role_statement_timeout, role_connection_limit, \
                       role_temp_file_limit FROM public.schema_tracker WHERE role_name IS NOT NULL AND name IS NOT NULL";

impl TenantRole {
    /// The roles of all tenants, by the names of the tenants.
    pub(crate) fn read_all(conn: &mut PgConnection) -> Result<Vec<Self>, Error> {
        let rows: Vec<RecordedRow> = sql_query(format!("{COLUMNS} ORDER BY name COLLATE \"C\""))
            .load(conn)
            .map_err(Error::doing("read the roles of the tenants"))?;
        Ok(rows.into_iter().map(Self::from).collect())
    }

    /// The roles of some tenants.
    pub(crate) fn read(conn: &mut PgConnection, tenants: &[&str]) -> Result<Vec<Self>, Error> {
        let rows: Vec<RecordedRow> = sql_query(format!("{COLUMNS} AND name = ANY ($1)"))
            .bind::<Array<Text>, _>(tenants)
            .load(conn)
            .map_err(Error::doing("read the roles of the tenants"))?;
        Ok(rows.into_iter().map(Self::from).collect())
    }
}

impl From<RecordedRow> for TenantRole {
    fn from(row: RecordedRow) -> Self {
        let limits = RoleLimits {
            statement_timeout: RoleLimit::recorded(row.role_statement_timeout),
            connections: RoleLimit::recorded(row.role_connection_limit),
            temp_files: RoleLimit::recorded(row.role_temp_file_limit),
        };
        Self { tenant: row.name, role: row.role_name, group: row.role_group, limits }
    }
}
