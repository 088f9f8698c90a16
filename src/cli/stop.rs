//! Signals that ask a training to stop, and the server that shows it.
use crate::host::{files, say};
use crate::run::live::Live;
use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A flag that becomes the number of the signal that asks to stop; a second signal kills the
/// process.
pub fn stop_flag() -> Result<Arc<AtomicUsize>> {
    let (stop, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    for signal in signals() {
        flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())
            .and_then(|_| flag::register(signal, asked.clone()))
            .and_then(|_| flag::register_usize(signal, stop.clone(), signal as usize))
            .map_err(|e| Error::Device(format!("cannot listen for signal {signal}: {e}")))?;
    }
    Ok(stop)
}

/// A work of several parts that a signal ends: at once, or after the trainings that run have saved.
#[derive(Clone)]
pub struct Stops {
    /// Number of the signal, or 0.
    pub flag: Arc<AtomicUsize>,
    /// Number of trainings that run.
    trainings: Arc<AtomicUsize>,
}

impl Stops {
    /// Listens for signals. `end` prints what there is to say before the process ends at once.
    pub fn listen(end: impl Fn(i32) + Send + 'static) -> Result<Self> {
        let stops = Stops { flag: stop_flag()?, trainings: Arc::default() };
        let Stops { flag, trainings } = stops.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(50));
                let signal = flag.load(Ordering::Relaxed) as i32;
                if signal != 0 && trainings.load(Ordering::SeqCst) == 0 {
                    end(signal);
                    std::process::exit(128 + signal);
                }
            }
        });
        Ok(stops)
    }

    /// Waits for the end of the process, once a signal has come.
    pub fn end(&self) -> ! {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Calls a training that saves by itself when a signal comes.
    pub fn training<T>(&self, train: impl FnOnce() -> T) -> T {
        self.trainings.fetch_add(1, Ordering::SeqCst);
        let trained = train();
        self.trainings.fetch_sub(1, Ordering::SeqCst);
        trained
    }
}

/// The signals that ask to stop. A signal that the process ignores, such as SIGHUP under `nohup`,
/// is not one of them.
fn signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGUSR1};
        let about = files::text("/proc/self/status".as_ref(), 1 << 20).unwrap_or_default();
        let ignored = about.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
        let asks = |signal: &i32| ignored.unwrap_or(0) >> (signal - 1) & 1 == 0;
        signals.extend([SIGHUP, SIGUSR1].iter().filter(|signal| asks(signal)));
    }
    signals
}

/// The server that shows a run on this port, if there is to be one; says its address. Errors: the
/// port is taken.
pub fn serve(port: Option<u16>, stop: &Arc<AtomicUsize>) -> Result<Option<Live>> {
    let live = port.map(|port| Live::start(port, stop.clone())).transpose()?;
    if let Some(live) = &live {
        say::say(&format!("watch it at {}", live.url()));
    }
    Ok(live)
}
