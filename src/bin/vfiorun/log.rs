//! `vfiorun log`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use vfioboot::device::guest::log;
use vfioboot::device::guest::run::record;
use vfioboot::usage::Matches;

use crate::autostart::child::LOG;
use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::{guests, interrupt, output};

/// How often it is looked whether there is more.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub fn run(global: &Global, given: &Matches) -> Outcome {
    let path = path(global, guests::named(given).as_deref())?;
    let open = |path: &Path| {
        File::open(path).map_err(|error| {
            let error = vfioboot::device::sys::host::errno_text(&error);
            Failure::new(format!("{}: {error}", path.display()))
        })
    };
    let mut file = open(&path)?;
    // What is full, the oldest first.
    for full in log::full(&path).iter().rev() {
        copy(&mut open(full)?);
    }
    copy(&mut file);
    if !given.has("follow") {
        return Ok(Answer::Yes);
    }
    interrupt::listen();
    while !interrupt::requested() {
        copy(&mut file);
        let (here, there) = (file.metadata()?, fs::metadata(&path));
        let moved = there.is_ok_and(|there| (there.dev(), there.ino()) != (here.dev(), here.ino()));
        if moved {
            // What was written to it last.
            copy(&mut file);
            file = open(&path)?;
        } else if file.stream_position()? > here.len() {
            // Begun again in its place.
            file.seek(SeekFrom::Start(0))?;
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(Answer::Yes)
}

/// The log of a guest that runs, or that ran: there `autostart` has written it.
fn path(global: &Global, name: Option<&str>) -> Result<PathBuf, Failure> {
    let usual = |name: &str| global.state().path().join("log").join(format!("{name}.{LOG}"));
    let running = record::running(&global.host(), &global.state());
    let known = running.iter().find(|record| match name {
        Some(name) => record.name == name,
        None => running.len() == 1,
    });
    match (known, name) {
        (Some(record), _) => match &record.log {
            Some(log) => Ok(log.into()),
            None => Err(Failure::new(format!(
                "guest {} has no log: its output is that of its vfiorun, {} (run --log FILE)",
                record.name, record.supervisor
            ))),
        },
        (None, Some(name)) if !name.contains('/') => Ok(usual(name)),
        (None, _) => guests::choose(global, name).map(|record| usual(&record.name)),
    }
}

fn copy(file: &mut File) {
    let mut buffer = [0; 8192];
    while let Ok(length) = read(file, &mut buffer) {
        if length == 0 {
            return;
        }
        output::console(buffer.get(..length).unwrap_or_default());
    }
}

fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
