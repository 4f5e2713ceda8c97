//! A registry with tenants on several hosts, and regions that are servers of their own.

use crate::servers::{Fleet, texts};
use crate::support::migrations::Dir;

#[test]
fn registry_1_and_2_new_tenant_is_placed_on_a_host() {
    let fleet = Fleet::of(&["host1", "host2"]);
    fleet.run(&["create", "acme", "globex", "hooli"]);
    let servers = fleet.json(&["where", "--all"]);
    assert_eq!(texts(&servers["tenants"], "server"), ["main", "host1", "host2"]);
    // The registry knows the host of each tenant, and each host has only its own.
    assert_eq!(fleet.server("host1").strings("SELECT name FROM schema_tracker"), ["globex"]);
}

#[test]
fn registry_8_data_migrations_run_on_each_host_after_the_registry() {
    let fleet = Fleet::of(&["host1"]);
    let dir = Dir::copy_of_public().add("2031-01-01-000000_shared", "CREATE TABLE shared_of_all (id int);");
    let path = dir.path().to_str().unwrap();
    let exists = "SELECT (to_regclass('public.shared_of_all') IS NOT NULL)::int";
    // The registry is first: while it refuses the migration, no host has it.
    fleet.registry.execute("CREATE TABLE shared_of_all (id int)");
    fleet.ends(&["migrate-public", "--public-migrations", path], 1);
    assert_eq!(fleet.server("host1").count(exists), 0);
    fleet.registry.execute("DROP TABLE shared_of_all");
    fleet.run(&["migrate-public", "--public-migrations", path]);
    assert_eq!(fleet.registry.count(exists) + fleet.server("host1").count(exists), 2);
}

#[test]
fn regions_1_region_is_registered_once_and_with_a_database() {
    let fleet = Fleet::of(&["eu"]);
    let url = fleet.server("eu").url();
    fleet.says(&["server", "add", "eu2", "--url", &url], 3, &["registered already, as server eu"]);
    fleet.says(&["server", "add", "us", "--url", "postgresql://us.example.org"], 3, &["it names no database"]);
}

#[test]
fn regions_4_and_5_regions_are_migrated_together_and_again_without_effect() {
    let fleet = Fleet::of(&["eu", "us"]);
    fleet.run(&["create", "acme", "globex", "hooli"]);
    let dir = Dir::copy_of_tenant().add("2027-01-01-000000_a", "CREATE TABLE of_the_region (id int);");
    let path = dir.path().to_str().unwrap();
    let first = fleet.json(&["migrate-all", "--tenant-migrations", path]);
    assert_eq!(texts(&first["done"], "server"), ["main", "eu", "us"]);
    let again = fleet.json(&["migrate-all", "--tenant-migrations", path]);
    assert_eq!((again["done"].as_array().unwrap().len(), again["unchanged"].as_array().unwrap().len()), (0, 3));
}

#[test]
fn regions_8_tenant_is_found_in_its_region() {
    let fleet = Fleet::of(&["eu", "us"]);
    fleet.run(&["create", "acme", "--region", "us"]);
    let place = fleet.json(&["where", "acme"]);
    assert_eq!((texts(&place["tenants"], "region"), texts(&place["tenants"], "server")), (vec!["us"], vec!["us"]));
    // Any region answers, without a password in the answer.
    let url = fleet.server("eu").tenantry(["where", "acme", "--format", "url"]).run();
    assert_eq!(url.assert_code(0).stdout.trim_end(), fleet.server("us").url());
}
