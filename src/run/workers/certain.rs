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
    let told = Told { uncertain: Vec::new(), error: None };
    let mut telling = Telling { db, pool, shared, listener, is_durable, is_away: false, told };
    let mut bundle = Vec::new();
    let mut due = Instant::now() + TELL_EVERY;
    loop {
        telling.server(shared.is_away());
        let message = heard.recv_timeout(due.saturating_duration_since(Instant::now()));
        let over = matches!(message, Err(mpsc::RecvTimeoutError::Disconnected));
        bundle.extend(message.ok());
        // What came while the last bundle was told is one bundle, and not as many as there are outcomes.
        bundle.extend(heard.try_iter());
        if over || Instant::now() >= due || shared.is_idle() {
            if !bundle.is_empty() {
                telling.tell(&mut bundle);
            }
            due = Instant::now() + TELL_EVERY;
        }
        if over {
            return telling.told;
        }
    }
}

/// What telling takes, and what came of it so far.
struct Telling<'a, 's, J, T> {
    db: &'a mut Database,
    pool: &'a Pool,
    shared: &'a Shared<'s, J>,
    listener: &'a mut dyn Listener<J, T>,
    is_durable: bool,
    /// Whether the server was told to be away.
    is_away: bool,
    told: Told<J>,
}

impl<J, T> Telling<'_, '_, J, T> {
    /// Tells that the server went away, or came back, where that is news.
    fn server(&mut self, is_away: bool) {
        if std::mem::replace(&mut self.is_away, is_away) == is_away {
            return;
        }
        match is_away {
            true => self.listener.observer().away(self.shared.reconnect_for),
            false => self.listener.observer().back(),
        }
    }

    /// Makes a bundle of outcomes certain, and tells them.
    fn tell(&mut self, bundle: &mut Vec<(J, T)>) {
        let many = bundle.len();
        let certain = match self.told.error {
            Some(_) => None,
            None => match self.make_certain(bundle) {
                Ok(again) => Some(again),
                Err(error) => {
                    self.shared.halt.store(true, Ordering::Release);
                    self.told.error = Some(error);
                    None
                }
            },
        };
        let again = match certain {
            None => {
                self.told.uncertain.extend(bundle.drain(..).map(|(job, _)| job));
                Vec::new()
            }
            Some(again) => {
                bundle.drain(..).for_each(|(job, outcome)| self.listener.tell(job, outcome));
                if self.listener.ends() {
                    self.shared.halt.store(true, Ordering::Release);
                }
                again
            }
        };
        let mut queue = self.shared.lock();
        queue.uncertain -= many;
        queue.ready.extend(again);
        self.shared.changed.notify_all();
    }

    /// Makes outcomes durable and has them verified, also through a new connection.
    fn make_certain(&mut self, bundle: &mut Vec<(J, T)>) -> Result<Vec<J>, Error> {
        let shared = self.shared;
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let flushed = if self.is_durable { Ok(()) } else { self.db.flush() };
            match flushed.and_then(|()| self.listener.verify(self.db, bundle)) {
                // Who wants it to end does not wait for a server that is not there; but a connection may have been idle.
                Err(error)
                    if error.is_outage()
                        && (began.elapsed() < shared.reconnect_for || shared.is_at_work())
                        && (tries == 0 || !shared.stop.is_requested()) =>
                {
                    tries += 1;
                    if began.elapsed() >= AWAY {
                        self.server(true);
                    }
                    shared.stop.pause(growing(Duration::from_millis(50), tries, LONGEST_PAUSE));
                    // What it meets is met again by the next try.
                    if self.db.reconnect().is_err()
                        && let Ok(mut session) = self.pool.get_timeout(TICK)
                    {
                        // The workers may have all that there are.
                        self.db.replace_connection(&mut session);
                    }
                }
                other => return other,
            }
        }
    }
}
