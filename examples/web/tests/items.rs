//! Tenants that share tables: no request sees another tenant's items, after panics and cancelled requests, too.

#[path = "support/shared.rs"]
mod shared;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tenantry::{AccessError, TransactionError};
use tokio::sync::Notify;
use tower::ServiceExt;
use web::items::{self, TENANTS};
use web::shared::{Refusal, SharedTenant};

use shared::{Application, send};

const PLANT: &str = "INSERT INTO app.items (title) VALUES ('lost ' || gen_random_uuid())";

async fn panics(tenant: SharedTenant) -> Result<(), Refusal> {
    tenant
        .run(async |conn| {
            conn.batch_execute(PLANT).await?;
            panic!("a handler fails");
        })
        .await
}

/// A request that is cancelled in its transaction: it reports that it has started, and sleeps in the server.
async fn hangs(tenant: SharedTenant, Extension(started): Extension<Arc<Notify>>) -> Result<(), Refusal> {
    tenant
        .run(async |conn| {
            conn.batch_execute(PLANT).await?;
            started.notify_one();
            conn.batch_execute("SELECT pg_sleep(600)").await
        })
        .await
}

/// A request that leaves a cursor and a setting in its session.
async fn leaves(tenant: SharedTenant) -> Result<(), Refusal> {
    let leave = "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM app.items; SET lock_timeout = 77; LISTEN news";
    tenant.run(async |conn| conn.batch_execute(leave).await).await
}

/// A request that ends its transaction.
async fn escapes(tenant: SharedTenant) -> Result<(), Refusal> {
    tenant.run(async |conn| conn.batch_execute("ROLLBACK").await).await
}

async fn start(size: usize) -> (Application, Router) {
    let application = Application::start(size, &items::MIGRATIONS, items::layout().unwrap(), &TENANTS).await;
    items::seed(&application.tenancy, &application.tenants).await.unwrap();
    items::seed(&application.tenancy, &application.tenants).await.unwrap();
    let hostile = Router::new()
        .route("/panics", get(panics))
        .route("/hangs", get(hangs))
        .route("/leaves", get(leaves))
        .route("/escapes", get(escapes))
        .with_state(application.tenancy.clone());
    let router = items::router(application.tenancy.clone()).merge(hostile);
    (application, router)
}

#[tokio::test]
async fn each_tenant_has_its_five_items() {
    let (application, router) = start(2).await;
    assert_eq!(application.count("SELECT count(*) FROM app.items").await, 15);
    for tenant in &application.tenants {
        let (status, body) = send(&router, Method::GET, "/items", &tenant.to_string(), "").await;
        assert_eq!((status, body.matches("item ").count()), (StatusCode::OK, 5), "{body}");
    }
    let [acme, globex] = [&application.tenants[0], &application.tenants[1]].map(ToString::to_string);
    let (status, id) = send(&router, Method::POST, "/items", &acme, "secret").await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, seen) = send(&router, Method::GET, "/items", &globex, "").await;
    assert!(!seen.contains("secret"), "{seen}");
    let item = format!("/items/{id}");
    assert_eq!(send(&router, Method::DELETE, &item, &globex, "").await.0, StatusCode::NOT_FOUND);
    // A title is unique within its tenant.
    assert_eq!(send(&router, Method::POST, "/items", &globex, "secret").await.0, StatusCode::CREATED);
    assert_eq!(send(&router, Method::POST, "/items", &acme, "secret").await.0, StatusCode::CONFLICT);
    assert_eq!(send(&router, Method::DELETE, &item, &acme, "").await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn header_must_be_one_uuid_of_a_tenant() {
    let (application, router) = start(1).await;
    let acme = application.tenants[0].to_string();
    for invalid in ["", "acme", "42", "'; DROP TABLE app.items; --", &format!("{acme} OR true")] {
        let (status, _) = send(&router, Method::GET, "/items", invalid, "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{invalid}");
    }
    let twice = Request::get("/items").header("x-tenant-id", &acme).header("x-tenant-id", &acme);
    let response = router.clone().oneshot(twice.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(send(&router, Method::GET, "/items", nobody, "").await, (StatusCode::OK, "[]".to_owned()));
    assert_eq!(send(&router, Method::POST, "/items", nobody, "x").await.0, StatusCode::NOT_FOUND);
}

/// Cancels a request in its transaction, as when its client disconnects.
async fn cancelled(router: &Router, tenant: &str) {
    let started = Arc::new(Notify::new());
    let mut request = Request::get("/hangs").header("x-tenant-id", tenant).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Arc::clone(&started));
    let request = tokio::spawn(router.clone().oneshot(request));
    started.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_see_only_the_items_of_their_tenant() {
    let (application, router) = start(4).await;
    let mut expected = Vec::new();
    for tenant in &application.tenants {
        expected.push(send(&router, Method::GET, "/items", &tenant.to_string(), "").await.1);
    }
    let mut tasks = Vec::new();
    for turn in 0..300 {
        let (router, index) = (router.clone(), turn % TENANTS.len());
        let (tenant, expected) = (application.tenants[index].to_string(), expected[index].clone());
        tasks.push(tokio::spawn(async move {
            match turn % 10 {
                0 => drop(send(&router, Method::GET, "/panics", &tenant, "").await),
                1 => cancelled(&router, &tenant).await,
                2 | 3 => assert_eq!(send(&router, Method::GET, "/leaves", &tenant, "").await.0, StatusCode::OK),
                4 => {
                    let (status, _) = send(&router, Method::GET, "/escapes", &tenant, "").await;
                    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
                }
                _ => assert_eq!(send(&router, Method::GET, "/items", &tenant, "").await.1, expected),
            }
        }));
    }
    for (turn, task) in tasks.into_iter().enumerate() {
        let result = task.await;
        assert_eq!(result.as_ref().is_err_and(tokio::task::JoinError::is_panic), turn % 10 == 0, "{turn}: {result:?}");
    }
    assert_eq!(application.count("SELECT count(*) FROM app.items").await, 15, "nothing of the failed requests remains");
}

async fn pid(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    diesel::dsl::sql::<diesel::sql_types::Integer>("SELECT pg_backend_pid()").get_result(conn).await
}

#[tokio::test]
async fn dropped_future_closes_its_connection() {
    let (application, _router) = start(1).await;
    let (tenancy, acme) = (&application.tenancy, application.tenants[0]);
    let first = tenancy.with_tenant(acme, pid).await.unwrap();
    assert_eq!(tenancy.with_tenant(acme, pid).await.unwrap(), first, "the pool has one connection");
    let started = Notify::new();
    let work = tenancy.with_tenant(acme, async |conn| {
        conn.batch_execute(PLANT).await?;
        started.notify_one();
        std::future::pending::<()>().await;
        Ok::<_, diesel::result::Error>(())
    });
    tokio::select! {
        _ = work => panic!("the work never ends"),
        () = started.notified() => {}
    }
    assert_ne!(tenancy.with_tenant(acme, pid).await.unwrap(), first, "the pool opened another connection");
    assert_eq!(application.count("SELECT count(*) FROM app.items WHERE title LIKE 'lost%'").await, 0);
}

/// A connection that is in a transaction is refused, also if SQL began it; so is a transaction in another.
#[tokio::test]
async fn open_transaction_is_refused() {
    let (application, _router) = start(1).await;
    let (tenancy, acme, globex) = (&application.tenancy, application.tenants[0], application.tenants[1]);
    let nested = tenancy
        .with_tenant(acme, async |conn| {
            let inner = tenancy.with_connection(conn, globex, pid).await;
            assert!(matches!(inner, Err(TransactionError::Access(AccessError::OpenTransaction))), "{inner:?}");
            pid(conn).await
        })
        .await;
    let first = nested.unwrap();
    let mut conn = tenancy.pool().get().await.unwrap();
    conn.batch_execute("BEGIN").await.unwrap();
    let refused = tenancy.with_connection(&mut conn, acme, pid).await;
    assert!(matches!(refused, Err(TransactionError::Access(AccessError::OpenTransaction))), "{refused:?}");
    drop(conn);
    assert_ne!(tenancy.with_tenant(acme, pid).await.unwrap(), first, "the pool closed the connection");
}

/// Settings, cursors, locks and temporary tables do not reach the next user of the connection.
#[tokio::test]
async fn session_is_reset() {
    let (application, _router) = start(1).await;
    let (tenancy, acme, globex) = (&application.tenancy, application.tenants[0], application.tenants[1]);
    let leave = "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM app.items; SET TIME ZONE 'Asia/Tokyo'; \
                 LISTEN news; SELECT pg_advisory_lock(4711)";
    let left = "SELECT (SELECT count(*) FROM pg_cursors WHERE name = 'held') + (SELECT count(*) FROM pg_listening_channels()) \
                + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
                + (current_setting('timezone') <> 'UTC')::int";
    for fails in [false, true] {
        let result = tenancy
            .with_tenant(acme, async |conn| {
                conn.batch_execute(leave).await?;
                if fails { conn.batch_execute("SELECT 1 / 0").await } else { Ok(()) }
            })
            .await;
        assert_eq!(result.is_err(), fails);
        let left = tenancy.with_tenant(globex, async |conn| {
            diesel::dsl::sql::<diesel::sql_types::BigInt>(left).get_result::<i64>(conn).await
        });
        assert_eq!(left.await.unwrap(), 0, "fails: {fails}");
    }
}
