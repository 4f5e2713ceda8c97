//! Work on many tenants at once: a queue, as many workers as there are connections, and one thread that hears of results.
//!
//! A result counts once it is durable and was looked at again through another session. While the server cannot be
//! reached, workers wait for it; what was under way is tried again.

mod certain;
mod queue;

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::database::{Database, Stop};
use crate::error::Error;
use crate::postgres::connect::{self, Pool};
use crate::postgres::{self, ServerMessage, Session};

use queue::{Item, Shared, Why};

/// Hears how the work on a fleet goes on. What it hears of is durable.
pub trait Observer {
    /// The work begins: so many tenants.
    fn begin(&mut self, tenants: usize) {
        let _ = tenants;
    }

    /// A tenant is done.
    fn done(&mut self, tenant: &str, took: Duration) {
        let _ = (tenant, took);
    }

    /// A tenant failed; it is told in full in the report.
    fn failed(&mut self, tenant: &str, error: &crate::error::TenantError) {
        let _ = (tenant, error);
    }

    /// The server cannot be reached, or takes no writes, for a second or longer. It is waited for, for `patience` at most.
    fn away(&mut self, patience: Duration) {
        let _ = patience;
    }

    /// The server is back.
    fn back(&mut self) {}

    /// The next tenants are begun after a pause.
    fn pause(&mut self, time: Duration) {
        let _ = time;
    }
}

/// Hears nothing.
impl Observer for () {}

/// Work on jobs: how one is tried.
pub(crate) trait Work: Sync {
    type Job: Send;
    type Outcome: Send;

    /// Tries a job.
    fn attempt(&self, session: &mut Session, job: &mut Self::Job) -> Attempt<Self::Outcome>;

    /// Whether a job's own commit is durable when it returns, so that nothing is left to be made so.
    fn is_durable(&self) -> bool {
        false
    }

    /// How many jobs may be under way or waiting to be told when another is begun, but as many as there are workers in any
    /// case. Asked before each.
    fn most_untold(&self) -> usize {
        usize::MAX
    }

    /// Whether nothing new is to begin after this outcome.
    fn ends(&self, job: &Self::Job, outcome: &Self::Outcome) -> bool {
        let _ = (job, outcome);
        false
    }
}

/// Hears of outcomes, in the thread that the work was ordered in.
pub(crate) trait Listener<J, T> {
    /// Looks at outcomes that are durable now, and returns those jobs that must be tried again after all.
    ///
    /// # Errors
    /// What the server answered. When the connection was lost, it is called again.
    fn verify(&mut self, db: &mut Database, outcomes: &mut Vec<(J, T)>) -> Result<Vec<J>, Error>;

    /// Hears of an outcome that is certain.
    fn tell(&mut self, job: J, outcome: T);

    /// Who is told of a server that goes away and comes back.
    fn observer(&mut self) -> &mut dyn Observer;

    /// Whether nothing new is to begin after what was verified.
    fn ends(&self) -> bool {
        false
    }
}

/// What a try at a job led to.
pub(crate) enum Attempt<T> {
    Done(T),
    /// It cannot be done now: put aside, and tried again no sooner than after this time.
    Later(Duration),
    /// The connection was lost: tried again when the server is back.
    Lost(ServerMessage),
    /// The server takes no writes any more: tried again when it does, or another has taken its place.
    ReadOnly,
    /// It was cancelled because that was asked for.
    Canceled,
    /// The server can do no work, this or any other.
    Fault(Error),
}

impl<T> Attempt<T> {
    /// The same with another outcome.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Self::Done(outcome) => Attempt::Done(change(outcome)),
            Self::Later(pause) => Attempt::Later(pause),
            Self::Lost(server) => Attempt::Lost(server),
            Self::ReadOnly => Attempt::ReadOnly,
            Self::Canceled => Attempt::Canceled,
            Self::Fault(error) => Attempt::Fault(error),
        }
    }
}

/// How the work ended.
pub(crate) struct Rest<J> {
    /// What was not begun, or was put aside or cancelled and not tried again.
    pub(crate) not_reached: Vec<J>,
    /// The server was lost, or can do no work.
    pub(crate) lost: Option<Error>,
}

/// A request to stop comes without a notification, from a signal.
const TICK: Duration = Duration::from_millis(100);

/// The longest pause before the server is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Does `jobs` through as many connections as the database allows. The server may be away for up to `reconnect_for`.
pub(crate) fn run<W: Work>(
    db: &mut Database,
    jobs: Vec<W::Job>,
    work: &W,
    listener: &mut dyn Listener<W::Job, W::Outcome>,
    stop: &Stop,
    reconnect_for: Duration,
) -> Result<Rest<W::Job>, Error> {
    if jobs.is_empty() {
        return Ok(Rest { not_reached: Vec::new(), lost: None });
    }
    let pool = db.pool(jobs.len())?;
    let shared = Shared::new(jobs, pool.max_size() as usize, stop, reconnect_for);
    let (outcomes, heard) = mpsc::channel();
    let told = thread::scope(|scope| {
        for _ in 0..pool.max_size() {
            let (outcomes, pool, shared) = (outcomes.clone(), &pool, &shared);
            scope.spawn(move || worker(pool, shared, work, &outcomes));
        }
        drop(outcomes);
        certain::listen(db, &pool, &heard, &shared, listener, work.is_durable())
    });
    let (mut not_reached, lost) = shared.left();
    not_reached.extend(told.uncertain);
    Ok(Rest { not_reached, lost: lost.or(told.error) })
}

fn worker<W: Work>(pool: &Pool, shared: &Shared<'_, W::Job>, work: &W, outcomes: &mpsc::Sender<(W::Job, W::Outcome)>) {
    while let Some(mut in_hand) = shared.take(|| work.most_untold()) {
        // Held for one job only: a session that broke in it is replaced.
        let most = shared.reconnect_for.max(Duration::from_secs(1));
        let mut session = match connect::session(pool, most, || !shared.stop.is_requested()) {
            Ok(session) if session.is_current() => {
                shared.note_reached();
                session
            }
            Ok(mut older) => {
                // It was open when another was lost, and is likely to be lost as well.
                older.discard();
                shared.put_back(in_hand);
                continue;
            }
            Err(message) => {
                shared.put_back(in_hand);
                shared.wait_for_server(Why::Unreachable, || postgres::Error::ConnectionsLost { message }.into());
                continue;
            }
        };
        let attempt = work.attempt(&mut session, &mut in_hand.job);
        drop(session);
        let mut queue = shared.lock();
        queue.leaves_hand(&in_hand);
        queue.at_work -= 1;
        let job = in_hand.job;
        match attempt {
            Attempt::Done(outcome) => {
                queue.outage = None;
                if work.ends(&job, &outcome) {
                    shared.halt.store(true, Ordering::Release);
                }
                queue.uncertain += 1;
                shared.must_wait_for_telling(&mut queue, work.most_untold());
                // Nobody listens any more only when the listener failed, which ends the work.
                let _ = outcomes.send((job, outcome));
            }
            Attempt::Later(pause) => {
                queue.outage = None;
                queue.aside.push(Item { job, not_before: Instant::now() + pause });
            }
            Attempt::Canceled => queue.canceled.push(job),
            Attempt::Fault(error) => {
                queue.lost.get_or_insert(error);
                queue.ready.push_front(job);
            }
            Attempt::Lost(server) => {
                queue.ready.push_front(job);
                drop(queue);
                let message = server.to_string();
                shared.wait_for_server(Why::Unreachable, || postgres::Error::ConnectionsLost { message }.into());
            }
            Attempt::ReadOnly => {
                queue.ready.push_front(job);
                drop(queue);
                shared.wait_for_server(Why::ReadOnly, || postgres::Error::ReadOnly.into());
            }
        }
        shared.changed.notify_all();
    }
}

/// A pause that doubles with each try up to a longest, give or take a quarter, so that many do not try at once.
pub(crate) fn growing(first: Duration, tries: u32, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(longest);
    pause.mul_f64(0.75 + 0.5 * fastrand::f64())
}
