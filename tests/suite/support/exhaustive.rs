//! How much of a list the long tests check.

use std::env;

/// 1 with `TENANTRY_EXHAUSTIVE=1`, so that every item of a list is checked, and `sampled` otherwise: every so many-th.
pub fn step(sampled: usize) -> usize {
    choose(1, sampled)
}

/// `all` with `TENANTRY_EXHAUSTIVE=1`, and `sampled` otherwise.
pub fn choose<T>(all: T, sampled: T) -> T {
    let exhaustive = env::var("TENANTRY_EXHAUSTIVE").is_ok_and(|value| value == "1");
    if exhaustive { all } else { sampled }
}
