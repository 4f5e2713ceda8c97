//! No request sees another tenant's rows: concurrently, after panics, and after cancelled requests.

mod support;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use diesel_async::SimpleAsyncConnection;
use tokio::sync::Notify;
use tower::ServiceExt;
use web::{Failure, Tenant};

use support::{Application, NAMES};

/// A request that leaves its transaction open.
async fn panics(tenant: Tenant) -> Result<(), Failure> {
    tenant
        .run(async |conn| {
            conn.batch_execute("INSERT INTO notes (body) VALUES ('lost')").await?;
            panic!("a handler fails");
        })
        .await
}

/// A request that is cancelled in its transaction: it reports that it has started, and sleeps in the server.
async fn hangs(tenant: Tenant, Extension(started): Extension<Arc<Notify>>) -> Result<(), Failure> {
    tenant
        .run(async |conn| {
            conn.batch_execute("INSERT INTO notes (body) VALUES ('lost')").await?;
            started.notify_one();
            conn.batch_execute("SELECT pg_sleep(600)").await
        })
        .await
}

/// A request that ends its transaction.
async fn escapes(tenant: Tenant) -> Result<(), Failure> {
    tenant.run(async |conn| conn.batch_execute("ROLLBACK").await).await
}

fn router(application: &Application) -> Router {
    let hostile = Router::new()
        .route("/panics", get(panics))
        .route("/hangs", get(hangs))
        .route("/escapes", get(escapes))
        .with_state(application.tenants.clone());
    web::router(application.tenants.clone()).merge(hostile)
}

fn request(path: &str, tenant: &str) -> Request<Body> {
    Request::get(path).header("x-tenant", tenant).body(Body::empty()).unwrap()
}

/// The tenant's notes, as the application sends them.
async fn notes(router: &Router, tenant: &str) -> String {
    let response = router.clone().oneshot(request("/notes", tenant)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Cancels a request in its transaction, as when its client disconnects.
async fn cancelled(router: &Router, tenant: &str) {
    let started = Arc::new(Notify::new());
    let mut request = request("/hangs", tenant);
    request.extensions_mut().insert(Arc::clone(&started));
    let request = tokio::spawn(router.clone().oneshot(request));
    started.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_see_only_the_rows_of_their_tenant() {
    let application = Application::start(4).await;
    let router = router(&application);
    let mut tasks = Vec::new();
    for turn in 0..200 {
        let router = router.clone();
        let tenant = NAMES[turn % NAMES.len()];
        tasks.push(tokio::spawn(async move {
            match turn % 5 {
                0 => drop(router.oneshot(request("/panics", tenant)).await),
                1 => cancelled(&router, tenant).await,
                2 => {
                    let response = router.oneshot(request("/escapes", tenant)).await.unwrap();
                    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
                }
                _ => assert_eq!(notes(&router, tenant).await, format!("[\"{tenant}\"]")),
            }
        }));
    }
    let mut panicked = 0;
    for (turn, task) in tasks.into_iter().enumerate() {
        match task.await {
            Ok(()) => assert_ne!(turn % 5, 0, "the handler panics"),
            Err(error) => {
                assert!(error.is_panic() && turn % 5 == 0, "turn {turn}: {error}");
                panicked += 1;
            }
        }
    }
    assert_eq!(panicked, 40);
    // Nothing of the cancelled requests remains, and the pool still works.
    for tenant in NAMES {
        assert_eq!(notes(&router, tenant).await, format!("[\"{tenant}\"]"));
    }
}

#[tokio::test]
async fn a_request_names_its_tenant_in_its_path_header_or_host() {
    let application = Application::start(2).await;
    let router = router(&application);
    let status = |request: Request<Body>| {
        let router = router.clone();
        async move { router.oneshot(request).await.unwrap().status() }
    };
    let get = |path: &str| Request::get(path);
    let empty = Body::empty;
    assert_eq!(status(get("/t/acme/notes").body(empty()).unwrap()).await, StatusCode::OK);
    assert_eq!(status(get("/notes").header("x-tenant", "acme").body(empty()).unwrap()).await, StatusCode::OK);
    assert_eq!(status(get("/notes").header("host", "acme.example.com").body(empty()).unwrap()).await, StatusCode::OK);
    assert_eq!(status(get("/notes").body(empty()).unwrap()).await, StatusCode::BAD_REQUEST);
    for name in ["nobody", "public", "pg_catalog", "a;b", "ACME"] {
        let request = get("/notes").header("x-tenant", name).body(empty()).unwrap();
        assert_eq!(status(request).await, StatusCode::NOT_FOUND, "{name}");
    }
    let sign_up = || Request::put("/tenants/initech").body(empty()).unwrap();
    assert_eq!(status(sign_up()).await, StatusCode::CREATED);
    assert_eq!(status(sign_up()).await, StatusCode::OK);
    assert_eq!(status(get("/t/initech/notes").body(empty()).unwrap()).await, StatusCode::OK);
    assert_eq!(status(get("/ready").body(empty()).unwrap()).await, StatusCode::OK);
}
