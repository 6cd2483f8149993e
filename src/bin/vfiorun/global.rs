//! The options of every subcommand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vfioboot::device::doctor::bundle::{UnpackError, Unpacked};
use vfioboot::device::sys::bounded::Patience;
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

use crate::{interrupt, output};

/// How long the kernel is waited for, of the subcommands that change devices.
#[derive(clap::Args)]
pub struct Waiting {
    /// Seconds that the kernel has for each write that it may not come back from, as when a driver waits
    /// for who has the device open
    #[arg(long, value_name = "SECONDS", default_value_t = Patience::DEFAULT_SECONDS)]
    timeout: u32,
}

/// The options of every subcommand.
#[derive(clap::Args)]
pub struct Global {
    /// Use this tree instead of the running system, or a file that `doctor --bundle` wrote
    #[arg(long, global = true, value_name = "DIR|FILE", default_value = "/")]
    pub sysroot: PathBuf,
    /// Where journals are kept [default: /data/adb/vfioboot/state on a rooted Android device, else
    /// /run/vfioboot]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl Global {
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
