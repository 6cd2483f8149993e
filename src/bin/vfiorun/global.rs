//! The options of every subcommand.

use std::path::PathBuf;

use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

/// The options of every subcommand.
#[derive(clap::Args)]
pub struct Global {
    /// Use this tree instead of the running system
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub sysroot: PathBuf,
    /// Where journals are kept [default: /data/adb/vfioboot/state on a rooted Android device, else
    /// /run/vfioboot]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl Global {
    /// The system to work on.
    pub fn host(&self) -> Host {
        Host::new(&self.sysroot)
    }

    /// Where the journals are.
    pub fn state(&self) -> StateDir {
        self.state.as_ref().map_or_else(|| StateDir::of(&self.host()), StateDir::new)
    }
}
