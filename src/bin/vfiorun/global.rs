//! The options of every subcommand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vfioboot::device::doctor::bundle::{UnpackError, Unpacked};
use vfioboot::device::sys::bounded::Patience;
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;
use vfioboot::usage::{Matches, UsageError};

use crate::{interrupt, output};

/// How long the kernel is waited for, of the subcommands that change devices.
pub struct Waiting {
    timeout: u32,
}

impl Waiting {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        let timeout = given.parsed("timeout")?.pop().unwrap_or(Patience::DEFAULT_SECONDS);
        Ok(Self { timeout })
    }
}

/// The options of every subcommand.
pub struct Global {
    /// The tree to use instead of the running system, or a bundle.
    pub sysroot: PathBuf,
    /// Where journals are kept.
    pub state: Option<PathBuf>,
}

impl Global {
    pub fn of(given: &Matches) -> Self {
        Self {
            sysroot: given.value("sysroot").unwrap_or("/".as_ref()).into(),
            state: given.value("state").map(PathBuf::from),
        }
    }

    /// Unpacks what is to be used instead of the running system, if it is a bundle. It is there as long as
    /// the result is.
    pub fn unpack(&mut self) -> Result<Option<Unpacked>, UnpackError> {
        if !self.sysroot.is_file() {
            return Ok(None);
        }
        let unpacked = Unpacked::new(&self.sysroot)?;
        self.sysroot = unpacked.path().to_owned();
        Ok(Some(unpacked))
    }

    /// The system to look at.
    pub fn host(&self) -> Host {
        self.patient(Patience::DEFAULT_SECONDS, Arc::new(interrupt::count))
    }

    /// The system to work on, with what `signals` counts as the signals to end.
    pub fn host_within(
        &self,
        waiting: &Waiting,
        signals: Arc<dyn Fn() -> usize + Send + Sync>,
    ) -> Host {
        self.patient(waiting.timeout, signals)
    }

    fn patient(&self, seconds: u32, signals: Arc<dyn Fn() -> usize + Send + Sync>) -> Host {
        let limit = Duration::from_secs(seconds.into());
        let tell = Arc::new(|text: &str| output::complain(text));
        Host::new(&self.sysroot).within(Patience { limit, tell, signals })
    }

    /// Where the journals are.
    pub fn state(&self) -> StateDir {
        self.state.as_ref().map_or_else(|| StateDir::of(&self.host()), StateDir::new)
    }
}
