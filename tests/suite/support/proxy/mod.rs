//! A proxy in front of the server that counts, delays and cuts messages.

mod frames;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tenantry::local::{Ephemeral, SUPERUSER};

use super::{percent_encoded, socket_of};
use frames::{Opening, read_message, read_opening};

/// The port in the name of the proxy's socket.
const PORT: u16 = 5432;

/// A proxy in front of a server, on its own socket.
///
/// It counts round trips: the startup of each connection, and each `Query` and `Sync` (which ends the messages of the
/// extended protocol). A cancel request is passed on and not counted.
pub struct Proxy {
    folder: TempDir,
    shared: Arc<Shared>,
}

/// When a connection is cut, relative to the message at which it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutPoint {
    /// The server does not receive the message.
    Before,
    /// The server receives the message and answers it; the client does not receive the answer.
    After,
}

struct Shared {
    upstream: PathBuf,
    delay: Duration,
    closed: AtomicBool,
    traffic: Mutex<Traffic>,
}

#[derive(Default)]
struct Traffic {
    /// The number of messages of each connection.
    messages: BTreeMap<usize, usize>,
    queries: Vec<String>,
    /// The number of messages that still pass before the one at which its connection is cut.
    fault: Option<(usize, CutPoint)>,
    /// Both ends of each connection.
    lines: BTreeMap<usize, [UnixStream; 2]>,
    opened: usize,
}

impl Proxy {
    /// A proxy that adds no delay.
    pub fn start(server: &Ephemeral) -> Self {
        Self::with_delay(server, Duration::ZERO)
    }

    /// A proxy that delays everything in each direction: a round trip takes twice the delay.
    pub fn with_delay(server: &Ephemeral, delay: Duration) -> Self {
        let (host, port) = socket_of(server);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}"))).expect("a socket");
        let shared = Arc::new(Shared {
            upstream: PathBuf::from(host).join(format!(".s.PGSQL.{port}")),
            delay,
            closed: AtomicBool::new(false),
            traffic: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { folder, shared }
    }

    /// The URL of a database, through the proxy.
    pub fn url(&self, database: &str) -> String {
        let folder = percent_encoded(&self.folder.path().to_string_lossy());
        format!("postgresql://{SUPERUSER}@/{}?host={folder}&port={PORT}", percent_encoded(database))
    }

    /// The number of counted messages of all connections.
    pub fn messages(&self) -> usize {
        self.shared.traffic().messages.values().sum()
    }

    /// The number of counted messages of each connection, in the order in which they were opened.
    pub fn messages_by_connection(&self) -> Vec<usize> {
        self.shared.traffic().messages.values().copied().collect()
    }

    /// The SQL that was sent, in simple queries or to be prepared.
    pub fn queries(&self) -> Vec<String> {
        self.shared.traffic().queries.clone()
    }

    /// Resets the counts and cancels a pending [`cut_at`](Self::cut_at). Connections are kept.
    pub fn reset(&self) {
        let mut traffic = self.shared.traffic();
        traffic.messages.clear();
        traffic.queries.clear();
        traffic.fault = None;
    }

    /// Cuts the connection that sends the `n`-th counted message from now on (the next one is the first). Other
    /// connections are kept, and new ones can be opened.
    pub fn cut_at(&self, n: usize, point: CutPoint) {
        assert!(n > 0, "the next message is the first");
        self.shared.traffic().fault = Some((n, point));
    }

    /// Cuts all open connections.
    pub fn cut_now(&self) {
        let lines = std::mem::take(&mut self.shared.traffic().lines);
        lines.values().for_each(cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts connections.
        let _ = UnixStream::connect(self.folder.path().join(format!(".s.PGSQL.{PORT}")));
        self.cut_now();
    }
}

impl Shared {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a message, and returns whether the connection is cut at it.
    fn count(&self, connection: usize) -> Option<CutPoint> {
        let mut traffic = self.traffic();
        *traffic.messages.entry(connection).or_default() += 1;
        let (left, point) = traffic.fault?;
        traffic.fault = (left > 1).then_some((left - 1, point));
        (left == 1).then_some(point)
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        // Both ends notice that the connection is closed; nothing else needs to be reported.
        thread::spawn(move || serve(client, &shared));
    }
}

fn serve(client: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = UnixStream::connect(&shared.upstream)?;
    let connection = {
        let mut traffic = shared.traffic();
        traffic.opened += 1;
        let connection = traffic.opened;
        traffic.lines.insert(connection, [client.try_clone()?, server.try_clone()?]);
        connection
    };
    // Set if the answer must not reach the client.
    let swallow = Arc::new(AtomicBool::new(false));
    let answers = {
        let (from, to) = (server.try_clone()?, Outlet::new(client.try_clone()?, shared.delay)?);
        let swallow = Arc::clone(&swallow);
        thread::spawn(move || pass_answers(from, to, &swallow))
    };
    let ended = pass_messages(client, Outlet::new(server, shared.delay)?, shared, connection, &swallow);
    let _ = answers.join();
    shared.traffic().lines.remove(&connection);
    ended
}

/// Passes on the client's messages. Afterwards, the server's end is closed, and then the client's.
fn pass_messages(
    mut client: UnixStream,
    mut to: Outlet,
    shared: &Shared,
    connection: usize,
    swallow: &AtomicBool,
) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let mut next = loop {
        match read_opening(&mut from)? {
            Opening::Encryption => client.write_all(b"N")?,
            Opening::Cancel(bytes) => {
                to.send(bytes)?;
                return wait_for_end(&mut from);
            }
            Opening::Startup(bytes) => break bytes,
        }
    };
    let mut counts = true;
    let mut batch = Vec::new();
    loop {
        match if counts { shared.count(connection) } else { None } {
            Some(CutPoint::Before) => return to.send(batch),
            Some(CutPoint::After) => {
                swallow.store(true, Ordering::SeqCst);
                batch.append(&mut next);
                to.send(batch)?;
                return wait_for_end(&mut from);
            }
            None => batch.append(&mut next),
        }
        if from.buffer().is_empty() {
            to.send(std::mem::take(&mut batch))?;
        }
        let message = read_message(&mut from)?;
        if let Some(sql) = message.sql() {
            shared.traffic().queries.push(sql);
        }
        counts = message.is_round_trip();
        next = message.bytes;
    }
}

/// Passes on the server's messages. Afterwards, the client's end is closed, and then the server's.
fn pass_answers(from: UnixStream, mut to: Outlet, swallow: &AtomicBool) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut batch = Vec::new();
    loop {
        let mut message = read_message(&mut from)?;
        if swallow.load(Ordering::SeqCst) {
            if message.is_ready() {
                return Ok(());
            }
            continue;
        }
        batch.append(&mut message.bytes);
        if from.buffer().is_empty() {
            to.send(std::mem::take(&mut batch))?;
        }
    }
}

/// Waits until the other direction or the owner has closed this end.
fn wait_for_end(from: &mut impl Read) -> io::Result<()> {
    io::copy(from, &mut io::sink()).map(|_| ())
}

fn cut(ends: &[UnixStream; 2]) {
    // It may be closed already.
    ends.iter().for_each(|end| {
        let _ = end.shutdown(Shutdown::Both);
    });
}

/// The target of one direction. The stream is closed when this is dropped, after all sent data.
enum Outlet {
    Direct(UnixStream),
    /// A thread owns the stream and sends data when it is due.
    Delayed(Sender<(Instant, Vec<u8>)>, Duration),
}

impl Outlet {
    fn new(stream: UnixStream, delay: Duration) -> io::Result<Self> {
        if delay.is_zero() {
            return Ok(Self::Direct(stream));
        }
        let (sender, queue) = mpsc::channel::<(Instant, Vec<u8>)>();
        let mut direct = Self::Direct(stream);
        thread::Builder::new().spawn(move || {
            for (due, bytes) in queue {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if direct.send(bytes).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self::Delayed(sender, delay))
    }

    fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Direct(stream) => stream.write_all(&bytes),
            Self::Delayed(queue, delay) => queue.send((Instant::now() + *delay, bytes)).map_err(io::Error::other),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if let Self::Direct(stream) = self {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
