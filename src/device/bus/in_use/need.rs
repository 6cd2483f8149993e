//! What a device is needed for.

use core::fmt;

use crate::device::bus::pci::PciAddress;
use crate::device::bus::users::User;

/// Something that depends on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// What.
    pub need: Need,
    /// The file of the system that says so, or the call that was answered so.
    pub source: String,
    /// The virtual function that it is about: it goes with its physical function.
    pub function: Option<PciAddress>,
}

/// What a need means for a device that is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The device is taken, and this is said.
    Warn,
    /// The device is not taken, unless the user names it.
    Refuse,
}

/// What a device is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A filesystem is mounted.
    Mount {
        /// Where, the first place.
        place: String,
        /// What the device carries of it: `nvme0n1p2`.
        block: String,
        /// At how many further places.
        more: usize,
        /// A process of the mount namespace, when it is not ours.
        process: Option<User>,
    },
    /// A filesystem is in use that no mount was found for.
    Filesystem {
        /// `ext4`, `btrfs`, `zfs`.
        kind: String,
        /// Its name, where it has one: `rpool`.
        name: Option<String>,
        /// What the device carries of it.
        block: String,
    },
    /// The system swaps to it.
    Swap {
        /// What the device carries: `nvme0n1p3`.
        block: String,
    },
    /// Another block device consists of it: device mapper, RAID, bcache.
    Holder {
        /// What the device carries: `nvme0n1p3`.
        block: String,
        /// What is made of it, with its own name: `dm-3 (data-vm)`.
        holder: String,
    },
    /// An exclusive open says `EBUSY`: somebody has it for himself.
    Busy {
        /// What the device carries: `nvme0n1`.
        block: String,
    },
    /// A process has it open.
    Open {
        /// The process, the first one.
        process: User,
        /// The node: `/dev/nvme0n1`.
        node: String,
        /// How many further processes.
        more: usize,
        /// Whether its driver cannot let go of it before it is closed, or whoever has it depends on
        /// it.
        binds: bool,
    },
    /// The default route leads through it, and no other.
    Uplink {
        /// The interface of the route: `wg0`.
        interface: String,
        /// That of the device: `eth0`.
        card: String,
        /// Whether it is certain that the one stands on the other.
        known: bool,
    },
    /// The present session came in through it.
    Session {
        /// The device's interface.
        card: String,
        /// The other end.
        peer: String,
        /// Whether it is certain.
        known: bool,
    },
    /// A mount or a disk is on a server, which is reached through it.
    Server {
        /// What is there: `/ (nfs4)`, `sda (iSCSI)`.
        what: String,
        /// The server.
        server: String,
        /// The device's interface.
        card: String,
        /// Whether it is certain.
        known: bool,
    },
    /// It shows the picture.
    Display {
        /// How that is known: `boot VGA`, `HDMI-A-1 is connected`, `fb0`.
        evidence: String,
    },
    /// The kernel's messages go to it.
    Console {
        /// `ttyS4`.
        name: String,
    },
    /// The only keyboard is on it.
    Keyboard {
        /// Its name.
        name: String,
    },
    /// Another device of the machine cannot work without it.
    Supplier {
        /// That device: `platform:fan0`.
        consumer: String,
    },
    /// It carries a part of the machine.
    Part {
        /// Which: `a cellular modem`.
        what: &'static str,
        /// Its name: `wwan0`.
        name: String,
        /// What it weighs.
        weight: Weight,
    },
    /// One of its functions is set aside for a guest.
    Function {
        /// The driver of the function.
        driver: String,
    },
}

impl InUse {
    pub(crate) fn new(need: Need, source: impl Into<String>) -> Self {
        Self { need, source: source.into(), function: None }
    }

    /// What it means for a device that is to be taken.
    pub fn weight(&self) -> Weight {
        match &self.need {
            Need::Open { binds: false, .. } => Weight::Warn,
            Need::Part { weight, .. } => *weight,
            Need::Mount { .. }
            | Need::Filesystem { .. }
            | Need::Swap { .. }
            | Need::Holder { .. }
            | Need::Busy { .. }
            | Need::Open { .. }
            | Need::Uplink { .. }
            | Need::Session { .. }
            | Need::Server { .. }
            | Need::Display { .. }
            | Need::Console { .. }
            | Need::Keyboard { .. }
            | Need::Supplier { .. }
            | Need::Function { .. } => Weight::Refuse,
        }
    }

    /// Whether data would be lost with the device: something on one of its disks is in use.
    pub fn is_storage(&self) -> bool {
        matches!(
            self.need,
            Need::Mount { .. }
                | Need::Filesystem { .. }
                | Need::Swap { .. }
                | Need::Holder { .. }
                | Need::Busy { .. }
        )
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.need)?;
        match self.function {
            Some(function) => write!(f, " (its virtual function {function})"),
            None => Ok(()),
        }
    }
}

/// What follows a way through the network that is not known to its end.
fn unknown(known: bool) -> &'static str {
    if known { "" } else { ", as far as can be known: what is below it cannot be followed" }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { place, block, more, process } => {
                write!(f, "{block} is mounted at {place}")?;
                match more {
                    0 => {}
                    1 => f.write_str(" and 1 other place")?,
                    more => write!(f, " and {more} other places")?,
                }
                match process {
                    Some(process) => write!(f, " in the mount namespace of {process}"),
                    None => Ok(()),
                }
            }
            Self::Filesystem { kind, name: Some(name), block } => {
                write!(f, "{block} belongs to {kind} {name}, which is in use")
            }
            Self::Filesystem { kind, name: None, block } => {
                write!(f, "{block} has a file system ({kind}) that is in use")
            }
            Self::Swap { block } => write!(f, "the system swaps to {block}"),
            Self::Holder { block, holder } => write!(f, "{holder} is made of {block}"),
            Self::Busy { block } => {
                write!(f, "{block} is in use: the kernel grants nobody an exclusive open (EBUSY)")
            }
            Self::Open { process, node, more, .. } => {
                write!(f, "{process} has {node} open")?;
                match more {
                    0 => Ok(()),
                    1 => f.write_str(", and 1 other process"),
                    more => write!(f, ", and {more} other processes"),
                }
            }
            Self::Uplink { interface, card, known } => {
                write!(f, "{interface} is the only network uplink")?;
                if card != interface {
                    write!(f, ", through {card}")?;
                }
                f.write_str(unknown(*known))
            }
            Self::Session { card, peer, known } => {
                write!(f, "{card} carries this session (from {peer}){}", unknown(*known))
            }
            Self::Server { what, server, card, known } => {
                write!(f, "{what} is on {server}, reached through {card}{}", unknown(*known))
            }
            Self::Display { evidence } => write!(f, "it drives the display ({evidence})"),
            Self::Console { name } => write!(f, "{name} is the console of the kernel"),
            Self::Keyboard { name } => write!(f, "the only keyboard is on it ({name})"),
            Self::Supplier { consumer } => write!(f, "{consumer} cannot work without it"),
            Self::Part { what, name, .. } => write!(f, "it has {what} ({name})"),
            Self::Function { driver } => write!(f, "one of its functions is on {driver}"),
        }
    }
}
