//! The command line `tenantry`.

fn main() {}
