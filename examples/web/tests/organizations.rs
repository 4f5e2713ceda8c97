//! Organizations that share tables: neither has access to the other's users and stacks.

#[path = "support/shared.rs"]
mod shared;

use axum::http::{Method, StatusCode};
use web::organizations::{self, Trespass, add_users, compare, trespass};

use shared::{Application, send};

async fn start() -> Application {
    Application::start(2, &organizations::MIGRATIONS, organizations::layout().unwrap(), &["acme", "globex"]).await
}

#[tokio::test]
async fn neither_organization_reaches_the_other() {
    let application = start().await;
    let (tenancy, acme, globex) = (&application.tenancy, application.tenants[0], application.tenants[1]);
    let emails = ["info@example.org".to_owned(), "sales@example.org".to_owned()];
    let of_acme = add_users(tenancy, acme, &emails).await.unwrap();
    let of_globex = add_users(tenancy, globex, &emails).await.unwrap();
    assert_eq!(trespass(tenancy, acme, globex, &of_globex).await.unwrap(), Trespass::default());
    assert_eq!(trespass(tenancy, globex, acme, &of_acme).await.unwrap(), Trespass::default());
    // The same function succeeds with the organization's own user: the zeros above are refusals.
    let own = trespass(tenancy, acme, acme, &of_acme[..1]).await.unwrap();
    assert_eq!(own, Trespass { read: 1, changed: 1, deleted: 1, added: true, referred: false });
    // The administrator sees all.
    assert_eq!(application.count("SELECT count(*) FROM app.users").await, 4);
}

#[tokio::test]
async fn requests_see_only_their_organization() {
    let application = start().await;
    let router = organizations::router(application.tenancy.clone());
    let [acme, globex] = [0, 1].map(|index: usize| application.tenants[index].to_string());
    let (status, ann) = send(&router, Method::POST, "/users", &acme, "ann@acme.example").await;
    assert_eq!(status, StatusCode::CREATED);
    let stacks_of_ann = format!("/users/{ann}/stacks");
    assert_eq!(send(&router, Method::POST, &stacks_of_ann, &acme, "web").await.0, StatusCode::CREATED);
    assert_eq!(send(&router, Method::POST, &stacks_of_ann, &globex, "web").await.0, StatusCode::NOT_FOUND);
    for (tenant, users, stacks) in [(&acme, "[\"ann@acme.example\"]", "[\"web\"]"), (&globex, "[]", "[]")] {
        assert_eq!(send(&router, Method::GET, "/users", tenant, "").await.1, users);
        assert_eq!(send(&router, Method::GET, "/stacks", tenant, "").await.1, stacks);
    }
}

#[tokio::test]
async fn single_and_batch_insert_the_same() {
    let application = start().await;
    let (tenancy, acme) = (&application.tenancy, application.tenants[0]);
    let comparison = compare(tenancy, acme, 20).await.unwrap();
    assert!(comparison.single_insert.as_nanos() > 0, "{comparison:?}");
    for kind in ["single", "batch"] {
        let inserted =
            format!("SELECT count(*) FROM app.users WHERE organization_id = '{acme}' AND email LIKE '{kind}%'");
        assert_eq!(application.count(&inserted).await, 20, "{kind}");
    }
}
