//! Shards of a fleet.

use std::fmt;

use sha2::{Digest, Sha256};

/// One shard of a fleet, by a hash of the tenants' names, so that several machines share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    pub(super) of: u32,
}

/// A text that is not a [`Shard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected I/N with I from 1 to N, such as 2/8")]
pub struct ParseShardError;

impl ParseShardError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        "invalid-shard"
    }
}

impl Shard {
    /// Whether a tenant is in this shard. Every release uses the same hash: the first 8 bytes of the name's SHA-256.
    pub fn has(self, tenant: &str) -> bool {
        let digest = Sha256::digest(tenant.as_bytes());
        let head = digest.iter().take(8).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
        head % u64::from(self.of) == u64::from(self.number - 1)
    }
}

impl std::str::FromStr for Shard {
    type Err = ParseShardError;

    fn from_str(text: &str) -> Result<Self, ParseShardError> {
        let (number, of) = text.split_once('/').ok_or(ParseShardError)?;
        let (number, of) = (number.parse().map_err(|_| ParseShardError)?, of.parse().map_err(|_| ParseShardError)?);
        // The number of shards is part of a lock's key, which is an int4.
        if (1..=of).contains(&number) && i32::try_from(of).is_ok() {
            Ok(Self { number, of })
        } else {
            Err(ParseShardError)
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantName;

    #[test]
    fn each_tenant_is_in_exactly_one_shard() {
        let shards: Vec<Shard> = (1..=8).map(|number| format!("{number}/8").parse().unwrap()).collect();
        for n in 0..1_000 {
            let name: TenantName = format!("t{n}").parse().unwrap();
            assert_eq!(shards.iter().filter(|shard| shard.has(name.as_str())).count(), 1, "{name}");
        }
        let first = (0..1_000).filter(|n| shards[0].has(&format!("t{n}"))).count();
        assert!((90..160).contains(&first), "{first} of 1,000 are in one of 8");
    }

    /// A rollout over shards may use several releases.
    #[test]
    fn shard_of_a_tenant_is_stable_across_releases() {
        for (name, of_3, of_8) in [("acme", 1, 1), ("globex", 2, 8), ("initech", 2, 4)] {
            for (of, number) in [(3, of_3), (8, of_8)] {
                assert!(Shard { number, of }.has(name), "{name} is not in {number}/{of}");
            }
        }
    }

    #[test]
    fn shard_is_parsed_as_number_and_total() {
        assert!(
            ["0/8", "9/8", "1", "1/", "/2", "a/b", "1/0", "1/2147483648"]
                .iter()
                .all(|text| text.parse::<Shard>().is_err())
        );
        assert_eq!("2/8".parse::<Shard>().unwrap().to_string(), "2/8");
    }
}
