//! Attributes that several guests change, given back by difference.
//!
//! A guest that needs huge pages adds its own to `nr_hugepages`; when it has ended, as many are taken away,
//! whoever came or went in the meantime. Free pages are all alike: a guest that starts may have counted on those
//! of one that has ended and has not given them back yet. Those are passed on to it, not taken away. A setting
//! (transparent huge pages) goes back when nobody wants it any more. Who wants what is in a ledger: a file for each
//! attribute in the state directory, changed under a lock, replaced before the attribute is written. So the
//! attribute can be made right again after a kill at any moment, and what others did to it is told from what we did.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::device::sys::host::{Host, HostError, errno_text};
use crate::device::sys::hugepages::Pool;
use crate::device::sys::lock::{Lock, LockError, Wait};
use crate::device::sys::state::{self, StateDir};

/// How long another process that changes the attribute is waited for: making huge pages takes long.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A ledger has a line for each guest.
const SIZE_LIMIT: u64 = 64 * 1024;
/// How often the attribute is written that does not take its value at once.
const ATTEMPTS: u32 = 20;
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const DIRECTORY: &str = "shared";
/// In the ledger: of pages that are still to be taken.
const PENDING: &str = "pending";

/// What a guest wants of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// So many more hugetlb pages than there are.
    More {
        /// How many.
        amount: u64,
        /// How many it uses, those included.
        needed: u64,
        /// Whether it has still to take them from what is free.
        pending: bool,
    },
    /// This value.
    Value(String),
}

/// Why an attribute does not have what a guest wants.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Another process changes it.
    #[error("/{path}: {error}")]
    Lock {
        /// The attribute.
        path: String,
        /// Who.
        #[source]
        error: LockError,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It does not hold a number.
    #[error("/{path} reads \"{value}\"")]
    NotNumber {
        /// The attribute.
        path: String,
        /// What it holds.
        value: String,
    },
    /// It reads differently from what was written.
    #[error("/{path}: \"{wanted}\" was written, but it reads \"{now}\"")]
    NotTaken {
        /// The attribute.
        path: String,
        /// What was written.
        wanted: String,
        /// What it reads.
        now: String,
    },
    /// The ledger cannot be read or written.
    #[error("{}: {}", path.display(), errno_text(.error))]
    Ledger {
        /// Its path.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
}

/// An attribute that nobody else changes as long as this is there.
#[derive(Debug)]
pub struct Shared<'a> {
    host: &'a Host,
    state: &'a StateDir,
    path: String,
    ledger: Ledger,
    _lock: Lock,
}

/// Who wants what.
#[derive(Debug, Default)]
struct Ledger {
    /// What the attribute was before anybody wanted anything, as far as others have not changed it since.
    base: String,
    /// What it read before it was written last.
    before: String,
    owners: Vec<(String, Want)>,
}

impl Ledger {
    /// Adds up to so many pages to those of guests that use more than were made for them: of those that have
    /// still to take them, and of the others too with `running`. Returns how many.
    fn pass_on(&mut self, missing: u64, running: bool) -> u64 {
        let mut rest = missing;
        for (_, want) in &mut self.owners {
            if let Want::More { amount, needed, pending } = want
                && (*pending || running)
            {
                let part = rest.min(needed.saturating_sub(*amount));
                *amount += part;
                rest -= part;
            }
        }
        missing - rest
    }
}

impl<'a> Shared<'a> {
    /// Locks the attribute at `path`; `what` says to others what for. While another has it, `stop` is asked
    /// whether to give up, and `log` hears who that is.
    ///
    /// # Errors
    /// See [`SharedError`].
    pub fn open(
        host: &'a Host,
        state: &'a StateDir,
        path: &str,
        what: &str,
        stop: &dyn Fn() -> bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Self, SharedError> {
        let mut waiting = |holder: Option<&str>| {
            if let Some(holder) = holder {
                log(&format!("/{path}: waiting up to {} s for {holder}", TIMEOUT.as_secs()));
            }
            if stop() { Wait::Stop } else { Wait::On }
        };
        let lock = Lock::wait(state, &path.replace('/', ","), what, TIMEOUT, &mut waiting)
            .map_err(|error| SharedError::Lock { path: path.to_owned(), error })?;
        let mut this =
            Self { host, state, path: path.to_owned(), ledger: Ledger::default(), _lock: lock };
        let now = host.setting(path)?;
        this.ledger = this.read()?.unwrap_or_default();
        match this.ledger.owners.is_empty() && this.ledger.before.is_empty() {
            true => (this.ledger.base, this.ledger.before) = (now.clone(), now),
            false => this.settle(now)?,
        }
        Ok(this)
    }

    /// How many of the free pages guests that are about to start have claimed.
    pub fn claimed(&self) -> u64 {
        let claimed = |(_, want): &(String, Want)| match want {
            Want::More { needed, pending: true, .. } => *needed,
            _ => 0,
        };
        self.ledger.owners.iter().map(claimed).sum()
    }

    /// Whether nothing has to be done or remembered for `want`.
    pub fn has(&self, want: &Want) -> bool {
        self.ledger.owners.is_empty()
            && match want {
                Want::More { needed, .. } => *needed == 0,
                Want::Value(value) => self.ledger.base == *value,
            }
    }

    /// Gives `owner` what it wants.
    ///
    /// # Errors
    /// See [`SharedError`].
    pub fn take(&mut self, owner: &str, want: Want) -> Result<(), SharedError> {
        self.ledger.owners.retain(|(name, _)| name != owner);
        self.ledger.owners.push((owner.to_owned(), want));
        self.make(1).map(drop)
    }

    /// What `owner` claimed it has by now.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn claim_ends(&mut self, owner: &str) -> Result<(), SharedError> {
        for (name, want) in &mut self.ledger.owners {
            if let Want::More { pending, .. } = want
                && name == owner
            {
                *pending = false;
            }
        }
        self.write()
    }

    /// Takes back what `owner` was given; nothing when that was done before. Returns whether that changed it.
    ///
    /// # Errors
    /// See [`SharedError`].
    pub fn give_back(&mut self, owner: &str) -> Result<bool, SharedError> {
        if let Some(place) = self.ledger.owners.iter().position(|(name, _)| name == owner)
            && let (_, Want::More { amount, .. }) = self.ledger.owners.remove(place)
        {
            // The kernel may not have made all of them.
            let (now, rest) = (self.host.setting(&self.path)?, self.target()?);
            let made = self.number(&now)?.saturating_sub(self.number(&rest)?);
            self.pass_on(amount.min(made));
        }
        // The huge pages of a process that has just ended are not free at once.
        let changed = self.make(ATTEMPTS)?;
        if self.ledger.owners.is_empty() {
            match fs::remove_file(self.place()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.failed(error));
                }
                _ => {}
            }
        }
        Ok(changed)
    }

    /// Leaves those of so many pages to others that are not free, or that guests about to start count on:
    /// they give them back.
    fn pass_on(&mut self, mut amount: u64) {
        let Some(pool) = Pool::counted_at(&self.path) else { return };
        for attempt in 1..=ATTEMPTS {
            // What cannot be counted is taken away, and read back.
            let Ok(free) = pool.free(self.host) else { return };
            let missing = (self.claimed() + amount).saturating_sub(free).min(amount);
            let passed = self.ledger.pass_on(missing, attempt == ATTEMPTS);
            amount -= passed;
            if passed == missing {
                return;
            }
            // They may be those of the process that has just ended.
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// What others did to it since is theirs.
    fn settle(&mut self, now: String) -> Result<(), SharedError> {
        let target = self.target()?;
        if now != target && now != self.ledger.before {
            self.ledger.base = match self.is_number() {
                true => {
                    let (base, number) = (self.number(&self.ledger.base)?, self.number(&now)?);
                    (base + number).saturating_sub(self.number(&target)?).to_string()
                }
                false => now,
            };
        }
        Ok(())
    }

    fn is_number(&self) -> bool {
        self.ledger.owners.iter().all(|(_, want)| matches!(want, Want::More { .. }))
            && self.ledger.base.parse::<u64>().is_ok()
    }

    fn number(&self, value: &str) -> Result<u64, SharedError> {
        value.parse().map_err(|_| SharedError::NotNumber {
            path: self.path.clone(),
            value: value.to_owned(),
        })
    }

    /// What it has to be for those who want something.
    fn target(&self) -> Result<String, SharedError> {
        let mut more = 0;
        for (_, want) in &self.ledger.owners {
            match want {
                Want::More { amount, .. } => more += amount,
                Want::Value(value) => return Ok(value.clone()),
            }
        }
        match more {
            0 => Ok(self.ledger.base.clone()),
            more => Ok((self.number(&self.ledger.base)? + more).to_string()),
        }
    }

    /// Makes it what it has to be. Returns whether it was something else.
    fn make(&mut self, attempts: u32) -> Result<bool, SharedError> {
        let target = self.target()?;
        self.ledger.before = self.host.setting(&self.path)?;
        self.write()?;
        if self.ledger.before == target {
            return Ok(false);
        }
        let mut attempt = 1;
        loop {
            // "\n": an empty write(2) does not reach the kernel's store function.
            self.host.write(&self.path, if target.is_empty() { "\n" } else { &target })?;
            match self.host.setting(&self.path)? {
                now if now == target => return Ok(true),
                _ if attempt < attempts => thread::sleep(RETRY_INTERVAL),
                now => {
                    return Err(SharedError::NotTaken {
                        path: self.path.clone(),
                        wanted: target,
                        now,
                    });
                }
            }
            attempt += 1;
        }
    }

    fn place(&self) -> PathBuf {
        self.state.path().join(DIRECTORY).join(self.path.replace('/', ","))
    }

    fn failed(&self, error: io::Error) -> SharedError {
        SharedError::Ledger { path: self.place(), error }
    }

    /// The ledger of this boot, if there is one.
    fn read(&self) -> Result<Option<Ledger>, SharedError> {
        let bytes = match state::read(&self.place(), SIZE_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        if lines.next() != self.host.boot_id().ok().as_deref() {
            return Ok(None);
        }
        let mut next = || lines.next().map(str::to_owned);
        let (Some(base), Some(before)) = (next(), next()) else { return Ok(None) };
        let owner = |line: &str| {
            let (owner, want) = line.split_once(' ')?;
            let want = match want.strip_prefix('=') {
                Some(value) => Want::Value(value.to_owned()),
                None => {
                    let mut fields = want.split(' ');
                    let (amount, needed) = (fields.next()?, fields.next()?);
                    let (amount, needed) = (amount.parse().ok()?, needed.parse().ok()?);
                    Want::More { amount, needed, pending: fields.next() == Some(PENDING) }
                }
            };
            Some((owner.to_owned(), want))
        };
        Ok(Some(Ledger { base, before, owners: lines.filter_map(owner).collect() }))
    }

    fn write(&self) -> Result<(), SharedError> {
        let boot = self.host.boot_id()?;
        let Ledger { base, before, owners } = &self.ledger;
        let mut text = format!("{boot}\n{base}\n{before}\n");
        for (owner, want) in owners {
            text += &match want {
                Want::More { amount, needed, pending } => {
                    let state = if *pending { PENDING } else { "taken" };
                    format!("{owner} {amount} {needed} {state}\n")
                }
                Want::Value(value) => format!("{owner} ={value}\n"),
            };
        }
        let (place, new) = (self.place(), self.place().with_extension("new"));
        let written = self
            .state
            .directory(DIRECTORY)
            .and_then(|_| state::create_anew(&new)?.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&new, &place));
        written.map_err(|error| self.failed(error))
    }
}
