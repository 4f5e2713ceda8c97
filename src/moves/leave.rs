//! Brings the rows to the target, and ends the use of the source.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fence::{self, Fence};
use super::mover::Moving;
use super::prepare::{self, Blueprint, Extent};
use super::record::{MoveMethod, MoveState};
use super::site::SiteFacts;
use super::tables::{self, Digests, MovedTable, differing};
use super::writing::MoveColumn;
use super::{closed, copying, replication};
use crate::error::{Error, MoveError};
use crate::schema::structure::{ObjectKind, Structure};
use crate::sql::quote::Identifier;

/// How often a fence is tried if the target does not follow in time.
const FENCES: u32 = 5;

/// What is known about a source that was left.
pub(super) struct Leaving {
    /// When writes were blocked.
    pub(super) blocked_since: Option<Instant>,
    /// The rows of the source at that moment.
    pub(super) digests: Option<Digests>,
}

impl Leaving {
    /// Another process has left it.
    pub(super) fn unknown() -> Self {
        Self { blocked_since: None, digests: None }
    }
}

impl Moving<'_> {
    /// Brings the tenant to the target, and renames the schema of the source.
    pub(super) fn leave(&mut self, facts: &SiteFacts) -> Result<Leaving, Error> {
        let schema = facts.schema.ok_or_else(|| self.inconsistent("its schema does not exist".to_owned()))?;
        let tenant = self.moved.tenant.clone();
        let tracked =
            self.source.locked(&tenant, "read the tracker", self.stop, |conn| prepare::tracked_row(conn, &tenant))?;
        self.moved.set(self.registry.connection(), MoveColumn::Tracked, &tracked)?;
        match self.moved.method {
            MoveMethod::Back => self.leave_for_kept(schema),
            MoveMethod::Copy => self.leave_by_copy(schema),
            MoveMethod::Replicate => self.leave_by_replication(schema),
        }
    }

    fn tables(&mut self) -> Result<Vec<MovedTable>, Error> {
        let failed = self.source.failed(&self.moved.tenant, "read the tables");
        tables::tables(self.source.conn(), self.moved.tenant.schema()).map_err(failed)
    }

    /// Checks that nothing has changed the structure since the target was made.
    fn require_unchanged(&mut self, schema: u32, expected: &Structure) -> Result<(), Error> {
        let actual = self.source.structure(&self.moved.tenant, schema)?;
        let differences = prepare::changed_since(&self.moved, expected, &actual);
        if differences.is_empty() {
            return Ok(());
        }
        Err(MoveError::StructureChanged { tenant: self.moved.tenant.to_string(), differences }.into())
    }

    /// Makes the schema on the target. What an earlier attempt has made is discarded.
    fn build(&mut self, schema: u32, extent: Extent) -> Result<(Blueprint, prepare::Built), Error> {
        self.discard()?;
        let blueprint = Blueprint::read(&mut self.source, &self.moved.tenant, schema, self.stop)?;
        self.make_role(&blueprint)?;
        let built = prepare::build(&mut self.target, self.tenancy, &self.moved, &blueprint, extent)?;
        self.reach(MoveState::Prepared)?;
        Ok((blueprint, built))
    }

    fn leave_by_copy(&mut self, schema: u32) -> Result<Leaving, Error> {
        let (blueprint, built) = self.build(schema, Extent::BeforeRows)?;
        let tables = self.tables()?;
        self.reach(MoveState::Copying)?;
        let tenant = self.moved.tenant.clone();
        let mut fence = Fence::raise(&mut self.source, &tenant, tenant.schema(), &tables, self.stop)?;
        self.reach(MoveState::Fenced)?;
        self.require_unchanged(schema, &blueprint.marked)?;
        let write = self.target.raw_failed(&tenant, "copy the rows");
        let mut session = self.target.raw()?;
        session
            .run(&format!(
                "{} {} SET LOCAL ROLE {}",
                fence::begin("READ COMMITTED"),
                closed::open_for_move(&self.moved),
                Identifier::of_object(&blueprint.owner)
            ))
            .map_err(&write)?;
        let deadline = self.deadline(fence.began);
        let digests = copying::copy(
            (&self.source, &mut fence.session),
            (&self.target, &mut session),
            &tenant,
            &tables,
            deadline,
            self.stop,
        )?;
        session.run("COMMIT").map_err(&write)?;
        prepare::complete_build(&mut self.target, self.tenancy, &tenant, &built, &blueprint)?;
        if self.verifies_before() {
            self.compare_with_target(&digests, &tables)?;
        }
        self.end_fence(fence, Some(digests))
    }

    fn leave_by_replication(&mut self, schema: u32) -> Result<Leaving, Error> {
        let target = self.target.facts(&self.moved, self.stop)?;
        let follows = target.is_marked(&self.moved)
            && self.moved.state >= MoveState::Copying
            && replication::exists(&mut self.target, &self.moved)?;
        let expected = match target.schema {
            Some(oid) if follows => {
                let mut expected = self.target.structure(&self.moved.tenant, oid)?.with_name_marked();
                expected.objects.retain(|identity, _| identity.kind != ObjectKind::Publication);
                expected
            }
            _ => {
                let own = self.moved.tenant.schema().clone();
                replication::end(&mut self.source, &mut self.target, &self.moved, &own, self.stop)?;
                let (blueprint, _) = self.build(schema, Extent::Complete)?;
                let tables = self.tables()?;
                let begun = replication::begin(
                    self.registry,
                    &mut self.source,
                    &mut self.target,
                    &mut self.moved,
                    &tables,
                    self.stop,
                );
                if let Err(error) = begun {
                    return self.copy_instead(schema, error);
                }
                self.reach(MoveState::Copying)?;
                blueprint.marked
            }
        };
        self.require_unchanged(schema, &expected)?;
        replication::wait_for_copy(&mut self.target, &self.moved, self.stop, self.report)?;
        self.reach(MoveState::Following)?;
        for attempt in 1..=FENCES {
            // The fence is short only if the target is close.
            let close = Instant::now() + Duration::from_secs(600);
            replication::wait_for_target(&mut self.source, &self.moved, close, self.stop)?;
            if let Some(left) = self.leave_followed(schema, &expected)? {
                return Ok(left);
            }
            self.reach(MoveState::Following)?;
            (self.report)(&format!("{}: the target did not follow in time ({attempt} of {FENCES})", self.moved.tenant));
            self.stop.pause(Duration::from_millis(500));
        }
        let reason = format!("server {} did not follow within the longest pause", self.target.name());
        Err(MoveError::NoFence { tenant: self.moved.tenant.to_string(), reason }.into())
    }

    /// Blocks writes until the target has followed. `None` if it does not in time.
    fn leave_followed(&mut self, schema: u32, expected: &Structure) -> Result<Option<Leaving>, Error> {
        let tables = self.tables()?;
        let tenant = self.moved.tenant.clone();
        let fence = Fence::raise(&mut self.source, &tenant, tenant.schema(), &tables, self.stop)?;
        self.reach(MoveState::Fenced)?;
        let deadline = self.deadline(fence.began).unwrap_or(fence.began);
        let Some(lsn) = replication::wait_for_target(&mut self.source, &self.moved, deadline, self.stop)? else {
            return Ok(None);
        };
        self.moved.set(self.registry.connection(), MoveColumn::FenceLsn, &lsn)?;
        self.require_unchanged(schema, expected)?;
        let mut digests = None;
        if self.verifies_before() {
            let failed = self.source.raw_failed(&tenant, "read the rows");
            let mut session = self.source.raw()?;
            session.run(&fence::begin("READ COMMITTED")).map_err(&failed)?;
            let found = tables::digests(&mut session, tenant.schema(), &tables).map_err(&failed)?;
            self.compare_with_target(&found, &tables)?;
            digests = Some(found);
        }
        self.end_fence(fence, digests).map(Some)
    }

    /// Copies instead, if the replication cannot begin and the method was chosen by this program.
    fn copy_instead(&mut self, schema: u32, error: Error) -> Result<Leaving, Error> {
        if !self.is_auto {
            return Err(error);
        }
        let own = self.moved.tenant.schema().clone();
        replication::end(&mut self.source, &mut self.target, &self.moved, &own, self.stop)?;
        (self.report)(&format!("{}: copying, because the replication cannot begin: {error}", self.moved.tenant));
        self.moved.method = MoveMethod::Copy;
        self.moved.set(self.registry.connection(), MoveColumn::Method, MoveMethod::Copy.as_str())?;
        self.leave_by_copy(schema)
    }

    /// Ends the use of a source whose earlier schema on the target is put back, if they are equal.
    fn leave_for_kept(&mut self, schema: u32) -> Result<Leaving, Error> {
        let tenant = self.moved.tenant.clone();
        let kept = self.moved.kept_schema.clone();
        let facts = self.target.facts(&self.moved, self.stop)?;
        let (Some(kept), Some(kept_oid)) = (kept, facts.kept) else {
            return Err(self.inconsistent(format!("its old schema on server {} does not exist", self.target.name())));
        };
        let tables = self.tables()?;
        let fence = Fence::raise(&mut self.source, &tenant, tenant.schema(), &tables, self.stop)?;
        self.reach(MoveState::Fenced)?;
        let expected = self.target.structure(&tenant, kept_oid)?.with_name_marked();
        let actual = self.source.structure(&tenant, schema)?;
        let mut changed = prepare::changed_since(&self.moved, &expected, &actual);
        let (read, read_kept) =
            (self.source.raw_failed(&tenant, "read the rows"), self.target.raw_failed(&tenant, "read the rows"));
        let mut here = self.source.raw()?;
        here.run(&fence::begin("READ COMMITTED")).map_err(&read)?;
        let digests = tables::digests(&mut here, tenant.schema(), &tables).map_err(&read)?;
        let kept_tables =
            tables::tables(self.target.conn(), &kept).map_err(self.target.failed(&tenant, "read the tables"))?;
        let mut there = self.target.raw()?;
        there.run(&fence::begin("READ COMMITTED")).map_err(&read_kept)?;
        let kept_digests = tables::digests(&mut there, &kept, &kept_tables).map_err(&read_kept)?;
        changed.extend(differing(&kept_digests, &digests));
        if !changed.is_empty() {
            let (server, origin) = (self.source.name().to_owned(), self.target.name().to_owned());
            return Err(MoveError::Written { tenant: tenant.to_string(), server, origin, tables: changed }.into());
        }
        self.record_verified(&digests, Ok(()))?;
        self.end_fence(fence, Some(digests))
    }

    /// Compares the rows with those of the target, in which nothing writes.
    fn compare_with_target(&mut self, digests: &Digests, tables: &[MovedTable]) -> Result<(), Error> {
        let tenant = self.moved.tenant.clone();
        let failed = self.target.raw_failed(&tenant, "read the rows");
        let mut session = self.target.raw()?;
        session.run(&fence::begin("READ COMMITTED")).map_err(&failed)?;
        let found = tables::digests(&mut session, tenant.schema(), tables).map_err(&failed)?;
        let differing = differing(digests, &found);
        let result = if differing.is_empty() { Ok(()) } else { Err(differing) };
        self.record_verified(digests, if result.is_ok() { Ok(()) } else { Err(()) })?;
        result.map_err(|tables| {
            let (tenant, server) = (tenant.to_string(), self.target.name().to_owned());
            MoveError::RowsDiffer { tenant, server, tables, switched: false }.into()
        })
    }

    /// Records the checksums and the result of a comparison.
    pub(super) fn record_verified(&mut self, digests: &Digests, result: Result<(), ()>) -> Result<(), Error> {
        let texts: BTreeMap<&str, String> =
            digests.iter().map(|(table, digest)| (table.as_str(), digest.text())).collect();
        let json = serde_json::to_string(&texts).unwrap_or_default();
        self.moved.set(self.registry.connection(), MoveColumn::Checksums, &json)?;
        let is_equal = result.is_ok();
        self.moved.verified = Some(is_equal);
        self.moved.set(self.registry.connection(), MoveColumn::Verified, if is_equal { "true" } else { "false" })
    }

    /// Commits the fence: the source is left.
    fn end_fence(&mut self, fence: Fence, digests: Option<Digests>) -> Result<Leaving, Error> {
        let blocked_since = Some(fence.began);
        fence.leave(&self.source, &self.moved)?;
        self.reach(MoveState::Left)?;
        Ok(Leaving { blocked_since, digests })
    }
}
