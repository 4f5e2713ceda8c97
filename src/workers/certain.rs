//! Outcomes are made certain before they are told.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::queue::{AWAY, Shared};
use super::{LONGEST_PAUSE, Listener, TICK, growing};
use crate::database::Database;
use crate::error::Error;
use crate::postgres::connect::Pool;

/// How often results are made durable and told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What became of the outcomes.
pub(super) struct Told<J> {
    /// Jobs whose outcomes are not certain.
    pub(super) uncertain: Vec<J>,
    pub(super) error: Option<Error>,
    /// Whether the server was told to be away.
    is_away: bool,
}

/// Tells that the server went away, or came back, where that is news.
fn tell_of_server<J, T>(is_away: bool, told: &mut bool, shared: &Shared<'_, J>, listener: &mut dyn Listener<J, T>) {
    if std::mem::replace(told, is_away) == is_away {
        return;
    }
    match is_away {
        true => listener.observer().away(shared.reconnect_for),
        false => listener.observer().back(),
    }
}

/// Hears outcomes until the workers are gone, and tells them in bundles, each after it was made certain.
pub(super) fn listen<J, T>(
    db: &mut Database,
    pool: &Pool,
    heard: &mpsc::Receiver<(J, T)>,
    shared: &Shared<'_, J>,
    listener: &mut dyn Listener<J, T>,
    is_durable: bool,
) -> Told<J> {
    let mut told = Told { uncertain: Vec::new(), error: None, is_away: false };
    let mut bundle = Vec::new();
    let mut due = Instant::now() + TELL_EVERY;
    loop {
        tell_of_server(shared.is_away(), &mut told.is_away, shared, listener);
        let message = heard.recv_timeout(due.saturating_duration_since(Instant::now()));
        let over = matches!(message, Err(mpsc::RecvTimeoutError::Disconnected));
        bundle.extend(message.ok());
        // What came while the last bundle was told is one bundle, and not as many as there are outcomes.
        bundle.extend(heard.try_iter());
        if over || Instant::now() >= due || shared.is_idle() {
            if !bundle.is_empty() {
                tell(db, pool, shared, listener, is_durable, &mut bundle, &mut told);
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
    is_durable: bool,
    bundle: &mut Vec<(J, T)>,
    told: &mut Told<J>,
) {
    let many = bundle.len();
    let certain = match told.error {
        Some(_) => None,
        None => match make_certain(db, pool, shared, listener, is_durable, bundle, &mut told.is_away) {
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
            if listener.ends() {
                shared.halt.store(true, Ordering::Release);
            }
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
    is_durable: bool,
    bundle: &mut Vec<(J, T)>,
    is_away: &mut bool,
) -> Result<Vec<J>, Error> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let flushed = if is_durable { Ok(()) } else { db.flush() };
        match flushed.and_then(|()| listener.verify(db, bundle)) {
            // Who wants it to end does not wait for a server that is not there; but a connection may have been idle.
            Err(error)
                if error.is_outage()
                    && (began.elapsed() < shared.reconnect_for || shared.is_at_work())
                    && (tries == 0 || !shared.stop.is_requested()) =>
            {
                tries += 1;
                if began.elapsed() >= AWAY {
                    tell_of_server(true, is_away, shared, listener);
                }
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
