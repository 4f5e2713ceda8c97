//! Work on many tenants at once: a queue, as many workers as there are connections, and one thread that hears of results.
//!
//! A result counts once it is durable and was looked at again through another session. While the server cannot be
//! reached, workers wait for it; what was under way is tried again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::Error;
use crate::postgres::connect::{self, Pool};
use crate::postgres::{ServerMessage, Session};

/// A request to begin nothing new. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    const FINISH: u8 = 1;
    const CANCEL: u8 = 2;

    /// Asks to begin nothing new, and to finish what is under way.
    pub fn request(&self) {
        self.0.fetch_max(Self::FINISH, Ordering::AcqRel);
    }

    /// Asks to begin nothing new, and to cancel on the server what is under way: it is rolled back.
    pub fn cancel(&self) {
        self.0.fetch_max(Self::CANCEL, Ordering::AcqRel);
    }

    /// Whether nothing new is to begin.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::FINISH
    }

    /// Whether what is under way is to be cancelled.
    pub fn is_cancel(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::CANCEL
    }

    /// Waits, unless it is requested before. Returns whether the whole time has passed.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_requested() {
            match until.checked_duration_since(Instant::now()) {
                None => return true,
                Some(left) => thread::sleep(left.min(TICK)),
            }
        }
        false
    }
}

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
    fn failed(&mut self, tenant: &str, error: &crate::failure::TenantError) {
        let _ = (tenant, error);
    }

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

/// How often results are made durable and told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A request to stop comes without a notification, from a signal.
const TICK: Duration = Duration::from_millis(100);

/// The longest pause before the server is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

struct Item<J> {
    job: J,
    not_before: Instant,
}

struct Queue<J> {
    ready: VecDeque<J>,
    aside: Vec<Item<J>>,
    canceled: Vec<J>,
    in_hand: usize,
    /// How many of those have a session.
    at_work: usize,
    /// How many outcomes are not certain yet.
    uncertain: usize,
    outage: Option<Outage>,
    lost: Option<Error>,
}

/// The server cannot be reached, or takes no writes.
struct Outage {
    since: Instant,
    tries: u32,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Unreachable,
    ReadOnly,
}

struct Shared<'a, J> {
    queue: Mutex<Queue<J>>,
    changed: Condvar,
    halt: AtomicBool,
    stop: &'a Stop,
    reconnect_for: Duration,
}

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
    let alone = jobs.len() == 1;
    let pool = db.pool(jobs.len())?;
    let queue = Queue {
        ready: jobs.into(),
        aside: Vec::new(),
        canceled: Vec::new(),
        in_hand: 0,
        at_work: 0,
        uncertain: 0,
        outage: None,
        lost: None,
    };
    let shared =
        Shared { queue: Mutex::new(queue), changed: Condvar::new(), halt: AtomicBool::new(false), stop, reconnect_for };
    let (outcomes, heard) = mpsc::channel();
    let told = thread::scope(|scope| {
        for _ in 0..pool.max_size() {
            let (outcomes, pool, shared) = (outcomes.clone(), &pool, &shared);
            scope.spawn(move || worker(pool, shared, work, &outcomes));
        }
        drop(outcomes);
        listen(db, &pool, &heard, &shared, listener, alone)
    });
    let queue = shared.queue.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let aside = queue.aside.into_iter().map(|item| item.job);
    let mut not_reached: Vec<W::Job> = queue.ready.into_iter().chain(aside).chain(queue.canceled).collect();
    not_reached.extend(told.uncertain);
    Ok(Rest { not_reached, lost: queue.lost.or(told.error) })
}

fn worker<W: Work>(pool: &Pool, shared: &Shared<'_, W::Job>, work: &W, outcomes: &mpsc::Sender<(W::Job, W::Outcome)>) {
    while let Some(mut job) = shared.take() {
        // Held for one job only: a session that broke in it is replaced.
        let most = shared.reconnect_for.max(Duration::from_secs(1));
        let mut session = match connect::session(pool, most, || !shared.stop.is_requested()) {
            Ok(session) if session.is_current() => {
                shared.is_reached();
                session
            }
            Ok(mut older) => {
                // It was open when another was lost, and is likely to be lost as well.
                older.spend();
                shared.put_back(job);
                continue;
            }
            Err(message) => {
                shared.put_back(job);
                shared.wait_for_server(Why::Unreachable, || Error::ConnectionsLost { message });
                continue;
            }
        };
        let attempt = work.attempt(&mut session, &mut job);
        drop(session);
        let mut queue = shared.lock();
        queue.in_hand -= 1;
        queue.at_work -= 1;
        match attempt {
            Attempt::Done(outcome) => {
                queue.outage = None;
                if work.ends(&job, &outcome) {
                    shared.halt.store(true, Ordering::Release);
                }
                queue.uncertain += 1;
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
                shared.wait_for_server(Why::Unreachable, || Error::ConnectionsLost { message: server.to_string() });
            }
            Attempt::ReadOnly => {
                queue.ready.push_front(job);
                drop(queue);
                shared.wait_for_server(Why::ReadOnly, || Error::ReadOnly);
            }
        }
        shared.changed.notify_all();
    }
}

impl<J> Shared<'_, J> {
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn halted(&self) -> bool {
        self.halt.load(Ordering::Acquire) || self.stop.is_requested()
    }

    /// The next job, waited for where all that is left is put aside or may yet be. None: the work is over.
    fn take(&self) -> Option<J> {
        let mut queue = self.lock();
        loop {
            if self.halted() || queue.lost.is_some() {
                return None;
            }
            if let Some(job) = queue.ready.pop_front() {
                queue.in_hand += 1;
                return Some(job);
            }
            let now = Instant::now();
            let due = (0..queue.aside.len()).min_by_key(|index| queue.aside[*index].not_before);
            let wait = match due {
                Some(index) if queue.aside[index].not_before <= now => {
                    queue.in_hand += 1;
                    return Some(queue.aside.swap_remove(index).job);
                }
                Some(index) => queue.aside[index].not_before - now,
                None if queue.in_hand + queue.uncertain == 0 => return None,
                None => TICK,
            };
            queue = self.changed.wait_timeout(queue, wait.min(TICK)).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    fn put_back(&self, job: J) {
        let mut queue = self.lock();
        queue.in_hand -= 1;
        queue.ready.push_front(job);
    }

    /// Notes that a session was had: the server lets sessions in.
    fn is_reached(&self) {
        let mut queue = self.lock();
        queue.at_work += 1;
        if queue.outage.as_ref().is_some_and(|outage| outage.why == Why::Unreachable) {
            queue.outage = None;
        }
    }

    /// Whether any worker has a session: then it is not the server that is missing, but connections.
    fn is_at_work(&self) -> bool {
        self.lock().at_work > 0
    }

    /// Waits a while for a server that cannot be reached. When it has been away for too long, the work is over.
    fn wait_for_server(&self, why: Why, error: impl FnOnce() -> Error) {
        let mut queue = self.lock();
        let at_work = queue.at_work > 0;
        let outage = queue.outage.get_or_insert_with(|| Outage { since: Instant::now(), tries: 0, why });
        outage.tries += 1;
        let tries = outage.tries;
        if at_work {
            outage.since = Instant::now();
        } else if outage.since.elapsed() >= self.reconnect_for {
            queue.lost.get_or_insert_with(error);
            self.changed.notify_all();
            return;
        }
        drop(queue);
        self.stop.pause(growing(Duration::from_millis(50), tries, LONGEST_PAUSE));
    }

    /// Whether nothing is left but outcomes that are to be made certain.
    fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.ready.is_empty() && queue.aside.is_empty() && queue.in_hand == 0
    }
}

/// What became of the outcomes.
struct Told<J> {
    /// Jobs whose outcomes are not certain.
    uncertain: Vec<J>,
    error: Option<Error>,
}

/// Hears outcomes until the workers are gone, and tells them in bundles, each after it was made certain.
fn listen<J, T>(
    db: &mut Database,
    pool: &Pool,
    heard: &mpsc::Receiver<(J, T)>,
    shared: &Shared<'_, J>,
    listener: &mut dyn Listener<J, T>,
    alone: bool,
) -> Told<J> {
    let mut told = Told { uncertain: Vec::new(), error: None };
    let mut bundle = Vec::new();
    let mut due = Instant::now() + TELL_EVERY;
    loop {
        let message = heard.recv_timeout(due.saturating_duration_since(Instant::now()));
        let over = matches!(message, Err(mpsc::RecvTimeoutError::Disconnected));
        bundle.extend(message.ok());
        if over || Instant::now() >= due || shared.is_idle() {
            if !bundle.is_empty() {
                tell(db, pool, shared, listener, alone, &mut bundle, &mut told);
            }
            due = Instant::now() + TELL_EVERY;
        }
        if over {
            return told;
        }
    }
}

/// Makes a bundle of outcomes certain, and tells them.
fn tell<J, T>(
    db: &mut Database,
    pool: &Pool,
    shared: &Shared<'_, J>,
    listener: &mut dyn Listener<J, T>,
    alone: bool,
    bundle: &mut Vec<(J, T)>,
    told: &mut Told<J>,
) {
    let many = bundle.len();
    let certain = match told.error {
        Some(_) => None,
        None => match make_certain(db, pool, shared, listener, alone, bundle) {
            Ok(again) => Some(again),
            Err(error) => {
                shared.halt.store(true, Ordering::Release);
                told.error = Some(error);
                None
            }
        },
    };
    let again = match certain {
        None => {
            told.uncertain.extend(bundle.drain(..).map(|(job, _)| job));
            Vec::new()
        }
        Some(again) => {
            bundle.drain(..).for_each(|(job, outcome)| listener.tell(job, outcome));
            again
        }
    };
    let mut queue = shared.lock();
    queue.uncertain -= many;
    queue.ready.extend(again);
    shared.changed.notify_all();
}

/// Makes outcomes durable and has them verified, also through a new connection.
fn make_certain<J, T>(
    db: &mut Database,
    pool: &Pool,
    shared: &Shared<'_, J>,
    listener: &mut dyn Listener<J, T>,
    alone: bool,
    bundle: &mut Vec<(J, T)>,
) -> Result<Vec<J>, Error> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        // A job that is alone commits durably by itself.
        let flushed = if alone { Ok(()) } else { db.flush() };
        match flushed.and_then(|()| listener.verify(db, bundle)) {
            // Who wants it to end does not wait for a server that is not there; but a connection may have been idle.
            Err(error)
                if error.is_outage()
                    && (began.elapsed() < shared.reconnect_for || shared.is_at_work())
                    && (tries == 0 || !shared.stop.is_requested()) =>
            {
                tries += 1;
                shared.stop.pause(growing(Duration::from_millis(50), tries, LONGEST_PAUSE));
                // What it meets is met again by the next try.
                if db.reconnect().is_err()
                    && let Ok(mut session) = pool.get_timeout(TICK)
                {
                    // The workers may have all that there are.
                    db.take_over(&mut session);
                }
            }
            other => return other,
        }
    }
}

/// A pause that doubles with each try up to a longest, give or take a quarter, so that many do not try at once.
pub(crate) fn growing(first: Duration, tries: u32, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(longest);
    pause.mul_f64(0.75 + 0.5 * fastrand::f64())
}
