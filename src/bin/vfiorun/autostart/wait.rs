//! Waits until guests run, and until a service is ended.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vfioboot::device::guest::run::record;
use vfioboot::device::sys::notify::Manager;

use super::child::{Child, Fate};
use crate::global::Global;
use crate::interrupt;
use crate::output::{self, StepWriter};

/// How long a guest has until it runs: a machine with many of them is slow when it boots, and huge pages
/// take long to be put together.
const TIMEOUT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// What is shown of the log of a guest that does not run.
const LAST_LINES: usize = 3;

/// Waits until each guest runs, or is known not to. Returns how many do not.
pub fn wait_for_all(global: &Global, guests: &mut [Child], writer: &mut StepWriter) -> usize {
    let (host, state) = (global.host(), global.state());
    let started = Instant::now();
    let (mut failed, mut waiting) = (0, guests.len());
    while waiting > 0 && !interrupt::requested() {
        let records = record::running(&host, &state);
        for guest in guests.iter_mut().filter(|guest| guest.fate == Fate::Starting) {
            let runs = records
                .iter()
                .any(|record| record.ready && record.supervisor.pid == guest.process.id());
            guest.fate = match guest.process.try_wait() {
                Ok(None) if runs => Fate::Runs,
                Ok(None) if started.elapsed() < TIMEOUT => continue,
                Ok(None) => Fate::Late,
                Ok(Some(status)) if status.success() => Fate::Done,
                Ok(Some(_)) | Err(_) => Fate::Failed,
            };
            waiting -= 1;
            let Child { name, log, process, fate } = guest;
            let (pid, path) = (process.id(), log.display());
            match fate {
                Fate::Runs => {
                    writer.print(&format!("{name}: runs, pid {pid}, console in {path}\n"))
                }
                Fate::Done => writer.print(&format!("{name}: has ended, console in {path}\n")),
                Fate::Late => output::complain(&format!(
                    "{name}: does not run after {} s, pid {pid} goes on with it: {path}",
                    TIMEOUT.as_secs()
                )),
                Fate::Failed | Fate::Starting => {
                    output::complain(&format!("{name}: not started: {path}"));
                    last_lines(log).iter().for_each(|line| output::pass_on(&format!("  {line}")));
                }
            }
            failed += usize::from(matches!(fate, Fate::Late | Fate::Failed));
        }
        if waiting > 0 {
            thread::sleep(POLL_INTERVAL);
        }
    }
    failed
}

/// Tells a service manager that the guests run, and stays until it is ended; then so are they.
pub fn stay(manager: Option<&Manager>, guests: &mut [Child], failed: usize) {
    let tell = |text: &str| manager.into_iter().for_each(|manager| manager.tell(text));
    let running = guests.iter().filter(|guest| guest.fate == Fate::Runs).count();
    let failed = if failed > 0 { format!(", {failed} not started") } else { String::new() };
    tell(&format!("READY=1\nSTATUS=guests that run: {running}{failed}\n"));
    while !interrupt::requested() {
        // Those that have ended do not stay zombies.
        for guest in guests.iter_mut() {
            _ = guest.process.try_wait();
        }
        thread::sleep(STAY_INTERVAL);
    }
    tell("STOPPING=1\nSTATUS=powering guests down\n");
    for guest in guests.iter_mut() {
        if let (Ok(None), Ok(pid)) = (guest.process.try_wait(), i32::try_from(guest.process.id())) {
            _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::TERM));
        }
    }
    for guest in guests.iter_mut() {
        _ = guest.process.wait();
    }
}

/// How often it is looked whether to end.
const STAY_INTERVAL: Duration = Duration::from_millis(200);

/// The last lines of a log, without those that only say what follows.
fn last_lines(log: &Path) -> Vec<String> {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(LAST_LINES);
    lines.into_iter().skip(first).map(str::to_owned).collect()
}
