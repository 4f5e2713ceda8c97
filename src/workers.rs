//! Work on many tenants at once: a queue, as many workers as there are connections, and one thread that hears of results.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::Error;
use crate::postgres::Session;

/// A request to begin nothing new and to finish what is under way. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Makes the request.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was made.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
}

/// Hears nothing.
impl Observer for () {}

/// What a try at a piece of work led to.
pub(crate) enum Attempt<T> {
    Done(T),
    /// Another session is at it: put aside, and tried again.
    Later,
}

/// How the work ended.
pub(crate) struct Rest<J> {
    /// What was not begun, or put aside and not tried again.
    pub(crate) not_reached: Vec<J>,
    /// The server was lost.
    pub(crate) lost: Option<Error>,
}

/// How often results are made durable and told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// The longest pause before work that was put aside is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

struct Item<J> {
    job: J,
    tries: u32,
    not_before: Instant,
}

struct Queue<J> {
    ready: VecDeque<Item<J>>,
    aside: Vec<Item<J>>,
    in_hand: usize,
    /// How many workers there are.
    workers: usize,
    lost: Option<Error>,
}

/// Does `jobs` through as many connections as the database allows. `tell` hears of results in the order in which they
/// come, after they are durable. After a result that `ends` the work, nothing new is begun.
pub(crate) fn run<J: Send, T: Send>(
    db: &mut Database,
    jobs: Vec<J>,
    stop: &Stop,
    work: impl Fn(&mut Session, &mut J) -> Attempt<T> + Sync,
    ends: impl Fn(&T) -> bool + Sync,
    mut tell: impl FnMut(J, T),
) -> Result<Rest<J>, Error> {
    if jobs.is_empty() {
        return Ok(Rest { not_reached: Vec::new(), lost: None });
    }
    let alone = jobs.len() == 1;
    let now = Instant::now();
    let pool = db.pool(jobs.len())?;
    let ready = jobs.into_iter().map(|job| Item { job, tries: 0, not_before: now }).collect();
    let queue =
        Mutex::new(Queue { ready, aside: Vec::new(), in_hand: 0, workers: pool.max_size() as usize, lost: None });
    let changed = Condvar::new();
    let halt = AtomicBool::new(false);
    let halted = || halt.load(Ordering::Acquire) || stop.is_requested();
    let (results, heard) = mpsc::channel();

    let told = thread::scope(|scope| {
        for _ in 0..pool.max_size() {
            let (results, pool, queue, changed) = (results.clone(), &pool, &queue, &changed);
            let (work, ends, halt, halted) = (&work, &ends, &halt, &halted);
            scope.spawn(move || {
                while let Some(mut item) = take(queue, changed, halted) {
                    // Held for one job only: a session that broke in it is replaced.
                    let attempt = match pool.get() {
                        Ok(mut session) => work(&mut session, &mut item.job),
                        Err(_) => {
                            // The pool tells no more than that it waited; the server itself says why.
                            let error = db_error(pool);
                            let mut queue = lock(queue);
                            queue.workers -= 1;
                            // Those that have connections go on without this one.
                            if queue.workers == 0 {
                                queue.lost.get_or_insert(error);
                            }
                            put_back(&mut queue, item);
                            changed.notify_all();
                            return;
                        }
                    };
                    let mut queue = lock(queue);
                    queue.in_hand -= 1;
                    match attempt {
                        Attempt::Done(result) => {
                            if ends(&result) {
                                halt.store(true, Ordering::Release);
                            }
                            // Nobody listens any more only when the listener failed, which ends the work.
                            let _ = results.send((item.job, result));
                        }
                        Attempt::Later => {
                            item.tries += 1;
                            item.not_before = Instant::now() + pause(item.tries);
                            queue.aside.push(item);
                        }
                    }
                    changed.notify_all();
                }
            });
        }
        drop(results);
        listen(db, heard, alone, &halt, &mut tell)
    });
    let queue = queue.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut not_reached: Vec<J> = queue.ready.into_iter().chain(queue.aside).map(|item| item.job).collect();
    not_reached.extend(told.untold);
    Ok(Rest { not_reached, lost: queue.lost.or(told.error) })
}

/// What became of the results.
struct Told<J> {
    /// Work whose results are not known to be durable.
    untold: Vec<J>,
    error: Option<Error>,
}

/// Hears results until the workers are gone, and tells them in bundles, each after it was made durable.
fn listen<J, T>(
    db: &mut Database,
    heard: mpsc::Receiver<(J, T)>,
    alone: bool,
    halt: &AtomicBool,
    mut tell: impl FnMut(J, T),
) -> Told<J> {
    let mut told = Told { untold: Vec::new(), error: None };
    let mut bundle = Vec::new();
    let mut due = Instant::now() + TELL_EVERY;
    loop {
        let message = heard.recv_timeout(due.saturating_duration_since(Instant::now()));
        let over = matches!(message, Err(mpsc::RecvTimeoutError::Disconnected));
        bundle.extend(message.ok());
        if over || Instant::now() >= due {
            if !bundle.is_empty() {
                // A piece of work that is alone commits durably by itself.
                let durable = if alone || told.error.is_some() { Ok(()) } else { db.flush() };
                if let Err(error) = durable {
                    halt.store(true, Ordering::Release);
                    told.error = Some(error);
                }
                for (job, result) in bundle.drain(..) {
                    match told.error {
                        None => tell(job, result),
                        Some(_) => told.untold.push(job),
                    }
                }
            }
            due = Instant::now() + TELL_EVERY;
        }
        if over {
            return told;
        }
    }
}

/// The next piece of work, waited for where all that is left is put aside or may yet be. None: the work is over.
fn take<J>(queue: &Mutex<Queue<J>>, changed: &Condvar, halted: impl Fn() -> bool) -> Option<Item<J>> {
    let mut queue = lock(queue);
    loop {
        if halted() || queue.lost.is_some() {
            return None;
        }
        let now = Instant::now();
        if let Some(item) = queue.ready.pop_front() {
            queue.in_hand += 1;
            return Some(item);
        }
        let due = (0..queue.aside.len()).min_by_key(|index| queue.aside[*index].not_before);
        let wait = match due {
            Some(index) if queue.aside[index].not_before <= now => {
                queue.in_hand += 1;
                return Some(queue.aside.swap_remove(index));
            }
            Some(index) => queue.aside[index].not_before - now,
            None if queue.in_hand == 0 => return None,
            None => LONGEST_PAUSE,
        };
        // A request to stop comes without a notification, from a signal.
        let wait = wait.min(Duration::from_millis(100));
        queue = changed.wait_timeout(queue, wait).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
    }
}

fn put_back<J>(queue: &mut Queue<J>, item: Item<J>) {
    queue.in_hand -= 1;
    queue.ready.push_front(item);
}

/// 20 ms, doubled with each try, up to a second.
fn pause(tries: u32) -> Duration {
    Duration::from_millis(10).saturating_mul(1 << tries.min(10)).min(LONGEST_PAUSE)
}

fn lock<J>(queue: &Mutex<Queue<J>>) -> MutexGuard<'_, Queue<J>> {
    queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn db_error(pool: &crate::postgres::connect::Pool) -> Error {
    match pool.get_timeout(Duration::ZERO) {
        Err(error) => Error::ConnectionsLost { message: error.to_string() },
        Ok(_) => Error::ConnectionsLost { message: "no connection could be made in time".to_owned() },
    }
}
