//! Executes moves. What is done next follows from what is on the two servers, and not from the recorded state: a process may end
//! at any moment.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Text, Uuid as SqlUuid};

use super::arrive::Arrival;
use super::record::{MoveMethod, MoveState, TenantMove, VerifyRows};
use super::site::{MoveLock, Site, SiteFacts};
use super::writing::MoveColumn;
use super::{leave, prepare, replication};
use crate::database::{Database, Stop};
use crate::error::{Error, MoveError};
use crate::model::TenantName;
use crate::operations::{IfMissing, Untracked, drop_tenants, plan_drop};
use crate::servers::{Directory, FleetServer};
use crate::tenants::Tenancy;

/// What moves of tenants need.
pub struct Mover<'a> {
    /// The migrations and limits of the tenants.
    pub tenancy: &'a Tenancy,
    /// The registry.
    pub registry: &'a mut Database,
    /// The servers.
    pub directory: &'a Directory,
    /// Connects to a server, and checks that it is the one that was registered.
    pub connect: &'a dyn Fn(&FleetServer) -> Result<Database, Error>,
    /// A request to stop.
    pub stop: &'a Stop,
    /// Shows the progress.
    pub report: &'a mut dyn FnMut(&str),
    /// How long writes may be blocked; `None` is 2 seconds for a replication, and no limit for a copy.
    pub max_pause: Option<Duration>,
}

/// The longest pause of a replication, unless another one is given.
pub const MAX_PAUSE: Duration = Duration::from_secs(2);

/// A tenant that was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTenant {
    /// The tenant.
    pub tenant: TenantName,
    /// How it was moved.
    pub method: MoveMethod,
    /// How long writes were blocked; `None` if another command blocked them.
    pub blocked: Option<Duration>,
    /// Whether the rows were compared.
    pub verified: bool,
    /// What the operator has to do besides, as sentences.
    pub remarks: Vec<String>,
}

/// A move that is worked on.
pub(super) struct Moving<'m> {
    pub(super) tenancy: &'m Tenancy,
    pub(super) registry: &'m mut Database,
    pub(super) stop: &'m Stop,
    pub(super) report: &'m mut dyn FnMut(&str),
    pub(super) max_pause: Option<Duration>,
    pub(super) moved: TenantMove,
    pub(super) source: Site,
    pub(super) target: Site,
    /// Whether the method may be replaced by a copy.
    pub(super) is_auto: bool,
    pub(super) remarks: Vec<String>,
    _lock: MoveLock,
}

/// How far the source is.
enum SourcePosition {
    /// The tenant is in use, and its tracker row has no mark.
    Unmarked,
    /// The tenant is in use, and marked.
    Marked,
    /// The schema is renamed.
    Left,
}

impl Mover<'_> {
    /// The site of a server.
    pub(super) fn site(&self, tenant: &TenantName, server: uuid::Uuid) -> Result<Site, Error> {
        let server = self.directory.by_id(server).ok_or_else(|| MoveError::Inconsistent {
            tenant: tenant.to_string(),
            reason: "one of its servers is not in the directory any more".to_owned(),
        })?;
        let mut db = (self.connect)(server)?;
        db.require_writable(self.tenancy)?;
        Ok(Site { server: server.clone(), db })
    }

    /// Acquires the lock of a tenant's moves.
    pub(super) fn lock(&self, tenant: &TenantName) -> Result<MoveLock, Error> {
        MoveLock::take(self.registry, tenant, self.stop)
    }

    /// Begins to work on a move.
    pub(super) fn open<'m>(&'m mut self, moved: TenantMove, lock: MoveLock) -> Result<Moving<'m>, Error> {
        let source = self.site(&moved.tenant, moved.source)?;
        let target = self.site(&moved.tenant, moved.target)?;
        Ok(Moving {
            tenancy: self.tenancy,
            registry: self.registry,
            stop: self.stop,
            report: self.report,
            max_pause: self.max_pause,
            moved,
            source,
            target,
            is_auto: false,
            remarks: Vec::new(),
            _lock: lock,
        })
    }

    /// Continues the move of a tenant.
    ///
    /// # Errors
    /// [`MoveError::NoMove`], [`MoveError::Running`], or why the move cannot be completed.
    pub fn resume(&mut self, tenant: &TenantName) -> Result<MovedTenant, Error> {
        let lock = self.lock(tenant)?;
        let moved = self.open_move(tenant, "resumed")?;
        self.open(moved, lock)?.run()
    }

    /// Undoes the move of a tenant that is still in use on the source, or was only renamed there. A move that has switched is
    /// completed instead, and is an error.
    ///
    /// # Errors
    /// [`MoveError::NoMove`], [`MoveError::Running`], [`MoveError::Switched`], or why the move cannot be undone.
    pub fn abort(&mut self, tenant: &TenantName) -> Result<(), Error> {
        let lock = self.lock(tenant)?;
        let moved = self.open_move(tenant, "aborted")?;
        let mut moving = self.open(moved, lock)?;
        let result = moving.abort();
        moving.note(result)
    }

    /// The open move of a tenant.
    pub(super) fn open_move(&mut self, tenant: &TenantName, action: &'static str) -> Result<TenantMove, Error> {
        let moves = super::record::unended(self.registry.connection(), std::slice::from_ref(tenant))?;
        let open = moves.into_iter().find(|one| one.state.is_open());
        open.ok_or_else(|| MoveError::NoMove { tenant: tenant.to_string(), action }.into())
    }
}

impl Moving<'_> {
    /// Executes the rest of the move.
    pub(super) fn run(mut self) -> Result<MovedTenant, Error> {
        let result = self.advance();
        self.note(result)
    }

    /// Records an error of the move. The record is missing if the registry cannot be reached either.
    pub(super) fn note<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let _ = self.moved.set(self.registry.connection(), MoveColumn::Error, &error.to_string());
        }
        result
    }

    fn advance(&mut self) -> Result<MovedTenant, Error> {
        let facts = self.source.facts(&self.moved, self.stop)?;
        let left = match self.position(&facts)? {
            SourcePosition::Left => leave::Leaving::unknown(),
            SourcePosition::Marked => self.leave(&facts)?,
            SourcePosition::Unmarked => {
                self.mark()?;
                self.leave(&facts)?
            }
        };
        Arrival { moving: self, left }.complete()
    }

    /// How far the source is.
    fn position(&self, facts: &SiteFacts) -> Result<SourcePosition, Error> {
        let is_usable = matches!(facts.state.as_deref(), Some("active" | "archived")) && facts.of_move.is_none();
        match (facts.schema, facts.old) {
            (Some(_), None) if facts.is_marked(&self.moved) => Ok(SourcePosition::Marked),
            (Some(_), None) if is_usable => Ok(SourcePosition::Unmarked),
            (None, Some(_)) if facts.state.is_none() => Ok(SourcePosition::Left),
            _ => Err(self.inconsistent(format!(
                "the tenant on server {} is in a state that no move leaves behind",
                self.source.name()
            ))),
        }
    }

    pub(super) fn inconsistent(&self, reason: String) -> Error {
        MoveError::Inconsistent { tenant: self.moved.tenant.to_string(), reason }.into()
    }

    pub(super) fn reach(&mut self, state: MoveState) -> Result<(), Error> {
        self.moved.reach(self.registry.connection(), state)
    }

    /// Marks the tenant on the source, so that no other command changes it.
    fn mark(&mut self) -> Result<(), Error> {
        let id = self.moved.id;
        let tenant = self.moved.tenant.clone();
        let marked = self.source.locked(&tenant, "mark the tenant", self.stop, |conn| {
            sql_query(
                "UPDATE public.schema_tracker SET state = 'moving', move = $2 \
                 WHERE name = $1 AND state IN ('active', 'archived') AND unfinished_version IS NULL",
            )
            .bind::<Text, _>(tenant.as_str())
            .bind::<SqlUuid, _>(id)
            .execute(conn)
        })?;
        if marked == 1 {
            return Ok(());
        }
        Err(self.inconsistent(format!("it is neither active nor archived on server {}", self.source.name())))
    }

    /// Removes what the move has made on the target. Only while the tenant is in use on the source.
    pub(super) fn discard(&mut self) -> Result<(), Error> {
        let facts = self.target.facts(&self.moved, self.stop)?;
        match (facts.state.as_deref(), facts.schema) {
            (None, None) => return Ok(()),
            (Some("arriving"), _) if facts.is_marked(&self.moved) => {}
            // An earlier attempt was interrupted.
            (Some("dropping"), _) => {}
            _ => {
                let found = "a tenant or a schema with its name, which the move has not made, is";
                return Err(self.inconsistent(format!("{found} on server {}", self.target.name())));
            }
        }
        let tenant = self.moved.tenant.clone();
        let id = self.moved.id;
        self.target.locked(&tenant, "discard the schema", self.stop, |conn| {
            sql_query("UPDATE public.schema_tracker SET state = 'dropping', move = NULL WHERE name = $1 AND move = $2")
                .bind::<Text, _>(tenant.as_str())
                .bind::<SqlUuid, _>(id)
                .execute(conn)
        })?;
        let db = &mut self.target.db;
        let names = [tenant.schema().clone()];
        let plan = plan_drop(db, self.tenancy, &names, Untracked::Refuse, IfMissing::Accept)?;
        let report = drop_tenants(db, self.tenancy, plan, self.stop, &mut ())?;
        match report.failed.into_iter().next() {
            Some(failed) => Err(Error::Tenant { name: tenant, error: Box::new(failed.error) }),
            None if report.ended.is_some() => {
                Err(MoveError::Interrupted { tenant: self.moved.tenant.to_string() }.into())
            }
            None => Ok(()),
        }
    }

    fn abort(&mut self) -> Result<(), Error> {
        let facts = self.source.facts(&self.moved, self.stop)?;
        let position = self.position(&facts)?;
        if matches!(position, SourcePosition::Left) {
            let target = self.target.facts(&self.moved, self.stop)?;
            let is_in_use = target.of_move.is_none() && target.state.is_some();
            if is_in_use {
                Arrival { moving: self, left: leave::Leaving::unknown() }.complete()?;
                return Err(MoveError::Switched {
                    tenant: self.moved.tenant.to_string(),
                    server: self.target.name().to_owned(),
                }
                .into());
            }
            self.return_to_source()?;
        }
        if self.moved.method == MoveMethod::Replicate {
            let schema = self.moved.tenant.schema().clone();
            replication::end(&mut self.source, &mut self.target, &self.moved, &schema, self.stop)?;
        }
        if self.moved.method != MoveMethod::Back {
            self.discard()?;
            self.discard_role()?;
        }
        let tenant = self.moved.tenant.clone();
        let id = self.moved.id;
        self.source.locked(&tenant, "remove the mark of the tenant", self.stop, |conn| {
            sql_query(
                "UPDATE public.schema_tracker SET move = NULL, \
                 state = CASE WHEN archived_at IS NULL THEN 'active' ELSE 'archived' END WHERE name = $1 AND move = $2",
            )
            .bind::<Text, _>(tenant.as_str())
            .bind::<SqlUuid, _>(id)
            .execute(conn)
        })?;
        self.moved.undo(self.registry.connection())
    }

    /// Gives the schema on the source its name again, while nothing is in use on the target.
    fn return_to_source(&mut self) -> Result<(), Error> {
        let tracked = self.tracked()?;
        let moved = self.moved.clone();
        self.source.locked(&moved.tenant, "rename the schema", self.stop, |conn| {
            prepare::insert_row(conn, &moved, &tracked, "moving")?;
            conn.batch_execute(&prepare::rename(&moved.old_schema, moved.tenant.schema()))
        })
    }

    /// The tracker row of the source, as it was recorded when the move began.
    pub(super) fn tracked(&mut self) -> Result<String, Error> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            tracked: String,
        }
        let row: Option<Row> =
            sql_query("SELECT tracked::text AS tracked FROM public.schema_move WHERE id = $1 AND tracked IS NOT NULL")
                .bind::<SqlUuid, _>(self.moved.id)
                .get_result(self.registry.connection())
                .optional()
                .map_err(Error::doing("read public.schema_move"))?;
        row.map(|row| row.tracked).ok_or_else(|| self.inconsistent("its tracker row was not recorded".to_owned()))
    }

    /// Until when the fence may last.
    pub(super) fn deadline(&self, began: Instant) -> Option<Instant> {
        match (self.max_pause, self.moved.method) {
            (Some(pause), _) => Some(began + pause),
            (None, MoveMethod::Replicate) => Some(began + MAX_PAUSE),
            (None, _) => None,
        }
    }

    /// Whether rows are compared while writes are blocked.
    pub(super) fn verifies_before(&self) -> bool {
        self.moved.verify == VerifyRows::Before
    }
}
