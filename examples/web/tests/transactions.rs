//! `AsyncTenants`: the guarantees of a transaction in a tenant's schema.

mod support;

use diesel::QueryDsl;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tenantry::application::AsyncTenants;
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
