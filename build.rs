//! Rebuilds when a migration is added or taken away: the macro that embeds them notices only edits of known files.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=examples/shop/migrations");
}
