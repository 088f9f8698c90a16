//! A run shown live in a browser while it trains: its report, its progress, and buttons to stop it
//! and to write a checkpoint.
//!
//! The server listens on the loopback address alone, and answers only who knows the token in its
//! URL. It serves the report and nothing else of the disk.
use crate::{Error, Result};
use serde_json::{Value, json};
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};
use tiny_http::{Header, Method, Request, Response, Server};

/// Shortest time between two messages of progress.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest time without a message; a browser that left is noticed then.
const SILENCE: Duration = Duration::from_secs(15);
/// Time for which the server goes on after the run, if somebody watches.
const LINGER: Duration = Duration::from_secs(3);
/// Content types of what is served.
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A server that shows a run. It ends with the process.
pub struct Live {
    url: String,
    shown: Arc<Shown>,
    said: Mutex<Instant>,
}

/// The part that the server's threads share with the training.
struct Shown {
    token: String,
    /// The signal that a stop button stands for is written here.
    stop: Arc<AtomicUsize>,
    checkpoint: AtomicBool,
    /// Number of browsers that follow the messages.
    readers: AtomicUsize,
    now: Mutex<Now>,
    changed: Condvar,
}

/// The state of the run.
#[derive(Default)]
struct Now {
    /// The report as it was last written.
    page: String,
    /// Number of reports so far.
    pages: u64,
    /// The last message of progress.
    progress: Value,
    /// Number of changes so far.
    changes: u64,
}

impl Live {
    /// Starts a server on this port of the loopback address; 0 takes a free one. A stop button
    /// writes SIGINT's number to `stop`. Errors: the port is taken, no random numbers.
    pub fn start(port: u16, stop: Arc<AtomicUsize>) -> Result<Self> {
        let refuse = |what: String| Error::Usage(format!("--serve {port}: {what}; give another port, or none"));
        let server = Server::http((Ipv4Addr::LOCALHOST, port)).map_err(|error| refuse(error.to_string()))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| refuse(error.to_string()))?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let address = server.server_addr().to_ip().expect("it listens on an address");
        let url = format!("http://{address}/?token={token}");
        let (checkpoint, now, changed) = (AtomicBool::new(false), Mutex::default(), Condvar::new());
        let readers = AtomicUsize::new(0);
        let shown = Arc::new(Shown { token, stop, checkpoint, readers, now, changed });
        let served = shown.clone();
        std::thread::spawn(move || {
            for request in server.incoming_requests() {
                let shown = served.clone();
                // A thread a request: one that waits for messages keeps nobody else waiting. A
                // request for which there is no thread is dropped.
                let _ = Builder::new().spawn(move || shown.answer(request));
            }
        });
        Ok(Live { url, shown, said: Mutex::new(Instant::now()) })
    }

    /// The page's address, with its token.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Shows that the share `done` of the run is done and `remaining` is the time to go, in words.
    pub fn progress(&self, done: f64, remaining: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() > PAUSE {
            *said = Instant::now();
            self.change(|now| {
                now.progress["done"] = done.into();
                now.progress["remaining"] = remaining.into();
            });
        }
    }

    /// Shows a line about the last epoch.
    pub fn say(&self, line: &str) {
        self.change(|now| now.progress["line"] = line.into());
    }

    /// Shows a new report.
    pub fn page(&self, page: &str) {
        self.change(|now| {
            now.pages += 1;
            // The page knows its number, by which it tells a newer one.
            now.page = page.replacen("<html ", &format!("<html data-number=\"{}\" ", now.pages), 1);
        });
    }

    /// True once for each time that a checkpoint was asked for.
    pub(crate) fn checkpoint_is_asked(&self) -> bool {
        self.shown.checkpoint.swap(false, Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        let mut now = self.shown.now();
        change(&mut now);
        now.changes += 1;
        self.shown.changed.notify_all();
    }
}

/// Waits a moment, so that browsers get the last report.
impl Drop for Live {
    fn drop(&mut self) {
        if self.shown.readers.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(LINGER);
        }
    }
}

impl Shown {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request. A browser that goes away ends its answer, which nobody needs to know.
    fn answer(&self, request: Request) {
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        let known = query.split('&').any(|pair| pair.strip_prefix("token=") == Some(&self.token));
        let text = |status, body: &str, kind: &str| {
            let header = Header::from_bytes("Content-Type", kind).expect("a content type is a header");
            Response::from_string(body).with_status_code(status).with_header(header)
        };
        let answer = match (known, request.method(), path) {
            (false, ..) => text(403, "the token is missing or another run's; see the console for the address\n", TEXT),
            (_, Method::Get, "/") => text(200, &self.now().page, HTML),
            (_, Method::Get, "/events") => {
                self.readers.fetch_add(1, Ordering::Relaxed);
                let _ = self.events(&mut request.into_writer());
                self.readers.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            (_, Method::Post, "/stop") => {
                self.stop.store(signal_hook::consts::SIGINT as usize, Ordering::Relaxed);
                text(200, "stopping\n", TEXT)
            }
            (_, Method::Post, "/checkpoint") => {
                self.checkpoint.store(true, Ordering::Relaxed);
                text(200, "a checkpoint follows at the end of the epoch or update\n", TEXT)
            }
            _ => text(404, "no such page\n", TEXT),
        };
        let _ = request.respond(answer);
    }

    /// Writes server-sent events for as long as somebody reads: progress, and the number of reports
    /// so far, by which the page knows that there is a new one.
    fn events(&self, writer: &mut dyn Write) -> std::io::Result<()> {
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n")?;
        let mut seen = None;
        loop {
            let message = {
                let same = |now: &mut Now| seen == Some(now.changes);
                let wait = self.changed.wait_timeout_while(self.now(), SILENCE, same);
                let (now, _) = wait.unwrap_or_else(PoisonError::into_inner);
                seen = Some(now.changes);
                json!({ "pages": now.pages, "progress": now.progress })
            };
            write!(writer, "data: {message}\n\n")?;
            writer.flush()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpStream;

    /// Sends a request, and returns a reader of the answer.
    fn ask(live: &Live, method: &str, path: &str) -> BufReader<TcpStream> {
        let address = live.url().strip_prefix("http://").unwrap().split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        BufReader::new(stream)
    }

    fn status(live: &Live, method: &str, path: &str) -> String {
        let mut line = String::new();
        ask(live, method, path).read_line(&mut line).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn only_the_token_opens_the_page_and_the_buttons_reach_the_training() {
        let stop = Arc::new(AtomicUsize::new(0));
        let live = Live::start(0, stop.clone()).unwrap();
        let token = live.url().split_once("?").unwrap().1.to_owned();
        for path in ["/", "/events", "/?token=", "/?token=0123456789abcdef0123456789abcdef", &format!("/?x{token}")] {
            assert_eq!(status(&live, "GET", path), "403", "{path}");
        }
        assert_eq!(status(&live, "POST", "/stop"), "403");
        assert_eq!(stop.load(Ordering::Relaxed), 0);
        assert!(!live.checkpoint_is_asked());

        live.page("<html lang=\"en\">first");
        let page: Vec<String> =
            ask(&live, "GET", &format!("/?{token}")).lines().map_while(|line| line.ok()).take(12).collect();
        assert!(page.iter().any(|line| line == "Content-Type: text/html; charset=utf-8"), "{page:?}");
        assert!(page.iter().any(|line| line == "<html data-number=\"1\" lang=\"en\">first"), "{page:?}");
        assert_eq!(status(&live, "GET", &format!("/config.toml?{token}")), "404");
        assert_eq!(status(&live, "POST", &format!("/checkpoint?{token}")), "200");
        assert!(live.checkpoint_is_asked() && !live.checkpoint_is_asked(), "once");
        assert_eq!(status(&live, "POST", &format!("/stop?{token}")), "200");
        assert_eq!(stop.load(Ordering::Relaxed), signal_hook::consts::SIGINT as usize);
    }

    #[test]
    fn events_tell_of_new_pages_and_of_progress() {
        let live = Live::start(0, Arc::default()).unwrap();
        let token = live.url().split_once("?").unwrap().1.to_owned();
        let mut messages = ask(&live, "GET", &format!("/events?{token}"))
            .lines()
            .map_while(|line| line.ok())
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        assert_eq!(messages.next().unwrap()["pages"], 0);
        live.page("<html lang=\"en\">first");
        assert_eq!(messages.next().unwrap()["pages"], 1);
        live.say("epoch 1: fine");
        assert_eq!(messages.next().unwrap()["progress"]["line"], "epoch 1: fine");
    }

    #[test]
    fn a_port_that_is_taken_is_one_clear_line() {
        let live = Live::start(0, Arc::default()).unwrap();
        let port = live.url().split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
        let error = Live::start(port, Arc::default()).err().unwrap().to_string();
        assert!(error.starts_with(&format!("--serve {port}: ")) && error.lines().count() == 1, "{error}");
    }
}
