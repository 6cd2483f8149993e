//! The guest file: the description of a virtual machine, in TOML.
//!
//! Each table of it has a file here: what its keys are, and for every key what it needs of the
//! machine, which arguments of QEMU it becomes, and what it is in libvirt's domain. Each of these
//! three takes the table apart exhaustively, so that a new key does not compile until all have
//! decided.
//!
//! | file | subject |
//! |---|---|
//! | `guest` | the file as a whole, the keys that are in no table, `shutdown`, `log` |
//! | `plugs` | the keys of what is given to a guest while it runs |
//! | `devices`, `machine`, `memory`, `cpus`, `disks`, `network`, `display` | the tables |
//! | [`keys`] | what a key is |
//! | `values` | values with a grammar of their own |
//! | `needs` | what is examined before a start, and whether it is there |
//! | `read` | a guest file read and checked |
//!
//! `docs/guest.toml` is the commented example, the book (`reference/guest.md`) the reference. Everything
//! here is as the user wrote it; what the machine has (which CPUs, which devices, which pages) is decided
//! when the guest is started.

mod cpus;
pub(crate) mod devices;
mod disks;
mod display;
mod guest;
pub mod keys;
mod machine;
mod memory;
mod needs;
mod network;
pub(crate) mod plugs;
mod read;
mod values;

pub use cpus::Cpus;
pub use devices::{Device, HeldDevice};
pub use disks::{Disk, DiskFormat, DiskInterface};
pub use display::{Display, DisplayKind};
pub use guest::{Guest, Log, OnExit, OnReboot, Restart, Shutdown, all_keys};
pub use keys::Conflict;
pub use machine::{Boot, Machine};
pub use memory::Memory;
pub use needs::Missing;
pub(crate) use needs::{Needs, socket_fits};
pub use network::{Network, NetworkMode};
pub use read::{GuestError, parse, read};
pub use values::Name;
pub use values::{Arch, Cluster, Forward, Hugepages, Protocol, Size, ValueError};
