//! `AsyncTenants`: the guarantees of a transaction in a tenant's schema.

mod support;

use diesel::QueryDsl;
use diesel::result::Error as DieselError;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tenantry::application::{AsyncTenants, EachError};
use tenantry::{AccessError, TenantName, TransactionError};

use web::notes;

use support::{Application, NAMES};

fn name(name: &str) -> TenantName {
    name.parse().unwrap()
}

async fn bodies(conn: &mut AsyncPgConnection) -> Result<Vec<String>, DieselError> {
    notes::table.select(notes::body).order(notes::id).load(conn).await
}

async fn acme(tenants: &AsyncTenants) -> Vec<String> {
    tenants.with(&name("acme"), async |conn| bodies(conn).await).await.unwrap()
}

#[tokio::test]
async fn transaction_commits_or_rolls_back() {
    let application = Application::start(2).await;
    let tenants = &application.tenants;
    assert_eq!(tenants.names().await.unwrap(), NAMES.map(name));
    assert_eq!(acme(tenants).await, ["acme"]);

    let unknown = tenants.with(&name("nobody"), async |conn| bodies(conn).await).await;
    assert!(matches!(unknown, Err(TransactionError::Access(AccessError::UnknownTenant(_)))), "{unknown:?}");

    let add = "INSERT INTO notes (body) VALUES ('lost')";
    let failed: Result<(), TransactionError<&str>> = tenants
        .with(&name("acme"), async |conn| {
            conn.batch_execute(add).await.unwrap();
            Err("no")
        })
        .await;
    assert!(matches!(failed, Err(TransactionError::Closure("no"))));

    // COMMIT of an aborted transaction succeeds and rolls back.
    let aborted = tenants
        .with(&name("acme"), async |conn| {
            conn.batch_execute(add).await?;
            let _ = conn.batch_execute("SELECT nonsense").await;
            Ok::<_, DieselError>(())
        })
        .await;
    assert!(matches!(aborted, Err(TransactionError::Access(AccessError::Aborted))), "{aborted:?}");

    let ended = tenants.with(&name("acme"), async |conn| conn.batch_execute("ROLLBACK").await).await;
    assert!(matches!(ended, Err(TransactionError::Access(_))), "{ended:?}");

    // A savepoint of the closure.
    tenants
        .with(&name("acme"), async |conn| {
            let failed = conn.transaction(async |conn| conn.batch_execute("SELECT nonsense").await).await;
            assert!(failed.is_err());
            conn.batch_execute("INSERT INTO notes (body) VALUES ('kept')").await
        })
        .await
        .unwrap();
    assert_eq!(acme(tenants).await, ["acme", "kept"]);

    let deferred = "ALTER TABLE notes ADD UNIQUE (body) DEFERRABLE INITIALLY DEFERRED";
    tenants.with(&name("acme"), async |conn| conn.batch_execute(deferred).await).await.unwrap();
    let twice = "INSERT INTO notes (body) VALUES ('acme')";
    let failed = tenants.with(&name("acme"), async |conn| conn.batch_execute(twice).await).await;
    assert!(matches!(failed, Err(TransactionError::Access(AccessError::Commit(_)))), "{failed:?}");
    assert_eq!(acme(tenants).await, ["acme", "kept"]);
}

#[tokio::test]
async fn dropped_future_closes_its_connection() {
    let application = Application::start(1).await;
    let tenants = &application.tenants;
    let name = name("acme");
    let work = tenants.with(&name, async |conn| {
        conn.batch_execute("INSERT INTO notes (body) VALUES ('lost')").await?;
        std::future::pending::<()>().await;
        Ok::<_, DieselError>(())
    });
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), work).await.is_err());
    // The pool has one connection, and opens another.
    assert_eq!(acme(tenants).await, ["acme"]);
}

#[tokio::test]
async fn each_visits_every_tenant_on_one_connection() {
    let application = Application::start(1).await;
    let tenants = &application.tenants;
    let mut seen = Vec::new();
    let count = tenants
        .each(async |tenant, conn| {
            if tenant.as_str() == "acme" {
                // A tenant that is dropped in the meantime is skipped.
                conn.batch_execute("DELETE FROM public.schema_tracker WHERE name = 'globex'").await?;
            }
            seen.extend(bodies(conn).await?);
            Ok::<_, DieselError>(())
        })
        .await;
    assert_eq!((count.unwrap(), seen), (2, vec!["acme".to_owned(), "hooli".to_owned()]));
    let failed = tenants.each(async |_, conn| conn.batch_execute("SELECT nonsense").await).await;
    match failed {
        Err(EachError::Tenant { tenant, error: TransactionError::Closure(_) }) => assert_eq!(tenant, name("acme")),
        other => panic!("{other:?}"),
    }
    // The only connection serves the next request.
    assert_eq!(acme(tenants).await, ["acme"]);
}

#[tokio::test]
async fn in_a_transaction_of_the_callers_it_is_a_savepoint() {
    let application = Application::start(1).await;
    let tenants = &application.tenants;
    let mut conn = tenants.pool().get().await.unwrap();
    conn.begin_test_transaction().await.unwrap();
    let add = "INSERT INTO notes (body) VALUES ('test')";
    tenants.with_connection(&mut conn, &name("acme"), async |conn| conn.batch_execute(add).await).await.unwrap();
    let both = tenants
        .with_connection(&mut conn, &name("acme"), async |conn| {
            let other = tenants.with_connection(conn, &name("globex"), async |conn| bodies(conn).await).await.unwrap();
            bodies(conn).await.map(|own| (own, other))
        })
        .await;
    assert_eq!(both.unwrap(), (vec!["acme".to_owned(), "test".to_owned()], vec!["globex".to_owned()]));
    let unknown = tenants.with_connection(&mut conn, &name("nobody"), async |conn| bodies(conn).await).await;
    assert!(matches!(unknown, Err(TransactionError::Access(AccessError::UnknownTenant(_)))), "{unknown:?}");
    drop(conn);
    // A pool keeps a connection with a test transaction, as Diesel's does.
    assert_eq!(acme(tenants).await, ["acme", "test"]);
    drop(Object::take(tenants.pool().get().await.unwrap()));
    assert_eq!(acme(tenants).await, ["acme"], "the test transaction was rolled back");
}

#[tokio::test]
async fn readiness_reports_what_is_pending() {
    let application = Application::start(1).await;
    let tenants = &application.tenants;
    let ready = tenants.readiness().await.unwrap();
    assert!(ready.is_ready());
    assert_eq!((ready.pending_public, ready.up_to_date), (0, NAMES.len()));
    let forget = "DELETE FROM __diesel_schema_migrations";
    tenants.with(&name("globex"), async |conn| conn.batch_execute(forget).await).await.unwrap();
    let behind = tenants.readiness().await.unwrap();
    assert!(!behind.is_ready());
    assert_eq!((behind.up_to_date, behind.behind), (NAMES.len() - 1, vec![name("globex")]));
}
