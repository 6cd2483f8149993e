//! Which mutant is on. `scripts/mutants.sh` puts this file into the copy that it changes.
//!
//! `VFIOBOOT_MUTANT=17` switches one on. `VFIOBOOT_MUTANT_REACHED=FILE` switches none on, and appends to
//! FILE the number of each the first time that this process comes to its place.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The highest number.
const LAST: usize = 0;
const REACHED_FILE: &str = "VFIOBOOT_MUTANT_REACHED";
const UNREAD: usize = usize::MAX;
const RECORDING: usize = usize::MAX - 1;

static ON: AtomicUsize = AtomicUsize::new(UNREAD);
static REACHED: [AtomicBool; LAST + 1] = [const { AtomicBool::new(false) }; LAST + 1];

#[inline(always)]
pub(crate) fn is(number: usize) -> bool {
    match ON.load(Relaxed) {
        UNREAD | RECORDING => seldom(number),
        on => on == number,
    }
}

#[cold]
fn seldom(number: usize) -> bool {
    if ON.load(Relaxed) == UNREAD {
        let named = std::env::var("VFIOBOOT_MUTANT").ok().and_then(|text| text.parse().ok());
        let recording = std::env::var_os(REACHED_FILE).is_some();
        ON.store(if recording { RECORDING } else { named.unwrap_or(0) }, Relaxed);
        return is(number);
    }
    if !REACHED[number].load(Relaxed)
        && !REACHED[number].swap(true, Relaxed)
        && let Some(file) = std::env::var_os(REACHED_FILE)
        // opened each time: the programs close what they did not open
        && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(file)
    {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
    false
}
