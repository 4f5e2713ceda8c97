//! Types in the tenants' schemas: each tenant has its own type with its own oid, and Diesel caches oids and statements
//! by name for each connection.

use std::io::Write as _;
use std::time::Duration;

use diesel::connection::CacheSize;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::query_builder::QueryId;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;
use tenantry::{Connector, MigrationSet, PgPool, Tenancy, TenantName, Tenants};

use crate::support::Database;
use crate::support::migrations::Dir;

/// The type by its name, which Diesel looks up once for each connection.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(name = "mood"))]
pub struct NamedMood;

/// The type without an oid, which the server infers.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 0, array_oid = 0))]
pub struct InferredMood;

#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = NamedMood)]
#[diesel(sql_type = InferredMood)]
enum Mood {
    Fine,
    Bad,
}

diesel::table! {
    use diesel::sql_types::*;
    use super::NamedMood;

    #[sql_name = "days"]
    named (id) { id -> Int4, mood -> NamedMood }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::InferredMood;

    #[sql_name = "days"]
    inferred (id) { id -> Int4, mood -> InferredMood }
}

macro_rules! mood {
    ($sql:ty) => {
        impl ToSql<$sql, Pg> for Mood {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(match self {
                    Self::Fine => b"fine",
                    Self::Bad => b"bad",
                })?;
                Ok(IsNull::No)
            }
        }

        impl FromSql<$sql, Pg> for Mood {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                match value.as_bytes() {
                    b"fine" => Ok(Self::Fine),
                    b"bad" => Ok(Self::Bad),
                    other => Err(format!("unknown mood: {other:?}").into()),
                }
            }
        }
    };
}

mood!(NamedMood);
mood!(InferredMood);

/// The setup that the documentation recommends for types in the tenants' schemas and for transaction poolers.
#[derive(Debug)]
struct WithoutStatementCache;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for WithoutStatementCache {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(())
    }
}

pub(super) fn pool_without_statement_cache(url: &str, size: u32) -> PgPool {
    let customizer = Box::new(WithoutStatementCache);
    Pool::builder().max_size(size).connection_customizer(customizer).build(ConnectionManager::new(url)).unwrap()
}

/// Two tenants with an enum.
fn set_up(db: &Database, pool: PgPool) -> (Tenants, [TenantName; 2]) {
    let migrations = Dir::new().add(
        "1_days",
        "CREATE TYPE mood AS ENUM ('fine', 'bad'); CREATE TABLE days (id int PRIMARY KEY, mood mood NOT NULL);",
    );
    let tenancy = Tenancy::new(MigrationSet::from_dir(migrations.path()).unwrap()).unwrap();
    let connector = Connector::new(db.url().parse().unwrap(), Duration::from_secs(5), |_| None);
    let tenants = Tenants::new(pool, connector, tenancy);
    tenants.migrate().unwrap();
    let names = ["acme", "globex"].map(|name| name.parse::<TenantName>().unwrap());
    names.iter().for_each(|name| tenants.create(name).unwrap());
    (tenants, names)
}

#[test]
fn enum_works_in_every_tenant_without_oid_and_statement_caches() {
    let db = Database::new();
    let (tenants, names) = set_up(&db, pool_without_statement_cache(&db.url(), 1));
    for turn in 0..2 {
        for (name, mood) in names.iter().zip([Mood::Fine, Mood::Bad]) {
            let days = tenants.with(name, |conn| {
                diesel::insert_into(inferred::table)
                    .values((inferred::id.eq(turn), inferred::mood.eq(mood)))
                    .execute(conn)?;
                inferred::table.filter(inferred::mood.eq(mood)).select(inferred::mood).load::<Mood>(conn)
            });
            assert_eq!(days.unwrap(), vec![mood; usize::try_from(turn).unwrap() + 1]);
        }
    }
}

/// Neither cache notices that the tenant is another one. The server does, so that nothing is read or written in the
/// wrong tenant.
#[test]
fn oid_and_statement_caches_fail_in_the_second_tenant() {
    let db = Database::new();
    let (tenants, [acme, globex]) = set_up(&db, pool_without_statement_cache(&db.url(), 1));
    let add = |conn: &mut PgConnection| {
        diesel::insert_into(named::table).values((named::id.eq(1), named::mood.eq(Mood::Fine))).execute(conn)
    };
    tenants.with(&acme, add).unwrap();
    let error = tenants.with(&globex, add).unwrap_err().to_string();
    assert!(error.contains("is of type mood but expression is of type acme.mood"), "{error}");

    let db = Database::new();
    let (tenants, [acme, globex]) = set_up(&db, super::pool(&db.url(), 1));
    let read = |conn: &mut PgConnection| inferred::table.select(inferred::mood).load::<Mood>(conn);
    tenants.with(&acme, read).unwrap();
    let error = tenants.with(&globex, read).unwrap_err().to_string();
    assert!(error.contains("cached plan must not change result type"), "{error}");
}
