//! Virtual functions of a physical one, made and taken back (`Documentation/PCI/pci-iov-howto.rst`).
//!
//! No driver of the host takes them (`sriov_drivers_autoprobe`), so that they are for guests. The journal of
//! what was before outlives the process, as that of `bind`.

use core::fmt;
use core::str::FromStr;

use crate::device::bind::journal::{Journal, JournalError};
use crate::device::bind::lease::{self, Report};
use crate::device::bind::undo::Undo;
use crate::device::bus::in_use::set_function;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::bus::sriov;
use crate::device::bus::users::{self, User};
use crate::device::sys::host::{Host, HostError, Write};
use crate::device::sys::lock::{Lock, LockError, Wait};
use crate::device::sys::state::StateDir;

/// How many functions there are, and whether drivers of the host take them.
const COUNT: &str = "sriov_numvfs";
const TOTAL: &str = "sriov_totalvfs";
const AUTOPROBE: &str = "sriov_drivers_autoprobe";
/// How long another process that is changing the device is waited for.
const TIMEOUT: core::time::Duration = core::time::Duration::from_secs(30);
/// The highest number of a VLAN (IEEE 802.1Q).
const LAST_VLAN: u16 = 4094;

/// The hardware address of a network card: `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

/// Text that is not the address of a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected six bytes, as in 52:54:00:12:34:56, and not a group's address")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let byte = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(text, 16).ok())?
        };
        let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
        let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        bytes.filter(|bytes| bytes[0] & 1 == 0).map(Self).ok_or(MacError)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Functions to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many; none takes those away that there are.
    pub count: u32,
    /// The addresses of the first ones.
    pub macs: Vec<Mac>,
    /// The VLAN of each of the first ones; 0 is none.
    pub vlans: Vec<u16>,
}

/// Why the functions are not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// It has none.
    #[error(
        "{0}: it cannot have virtual functions (no sriov_totalvfs): the card has none, they are off in the firmware's setup, or its driver does not know of them"
    )]
    None(PciAddress),
    /// Not so many.
    #[error("{physical}: at most {total} virtual functions, not {count}")]
    TooMany {
        /// The physical function.
        physical: PciAddress,
        /// How many it can have.
        total: u32,
        /// How many are wanted.
        count: u32,
    },
    /// More addresses or VLANs than functions.
    #[error("--{0}: more than there are functions")]
    Excess(&'static str),
    /// No such VLAN.
    #[error("--vlan {0}: expected 0 to {LAST_VLAN}")]
    Vlan(u16),
    /// Functions are in use.
    #[error("{function}: it is in use{}: the functions stay as they are", users_text(.users))]
    InUse {
        /// The function.
        function: PciDevice,
        /// The processes that have it open.
        users: Vec<User>,
    },
    /// The kernel refuses.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Another process is at it.
    #[error("{physical}: {error}")]
    Lock {
        /// The physical function.
        physical: PciAddress,
        /// Who.
        #[source]
        error: LockError,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It is not a network card, so it takes no address.
    #[error(
        "{0}: it has no network interface that addresses and VLANs of its functions are set by"
    )]
    NoInterface(PciAddress),
    /// The driver of the card does not take an address or a VLAN.
    #[error("{physical}: function {number}: its driver does not take the {what}: {}", crate::device::sys::host::errno_text(.error))]
    Set {
        /// The physical function.
        physical: PciAddress,
        /// The number of the virtual one.
        number: u32,
        /// What was set.
        what: &'static str,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// What is there cannot be undone.
    #[error("{0}")]
    Undo(Box<Report>),
}

fn users_text(users: &[User]) -> String {
    if users.is_empty() { String::new() } else { format!(" by {}", users::text(users)) }
}

/// What is written so that there are as many functions as wanted, in order; or why that must not be. Nothing is
/// changed.
///
/// # Errors
/// See [`FunctionsError`].
pub fn plan(
    host: &Host,
    physical: PciAddress,
    wanted: &Wanted,
) -> Result<Vec<Write>, FunctionsError> {
    let Wanted { count, macs, vlans } = wanted;
    let number = |name| host.read(&pci::attribute(physical, name)).ok()?.parse::<u32>().ok();
    let (Some(total), Some(now)) = (number(TOTAL), number(COUNT)) else {
        return Err(FunctionsError::None(physical));
    };
    if *count > total {
        return Err(FunctionsError::TooMany { physical, total, count: *count });
    }
    for (name, given) in [("mac", macs.len()), ("vlan", vlans.len())] {
        if given > *count as usize {
            return Err(FunctionsError::Excess(name));
        }
    }
    if let Some(vlan) = vlans.iter().find(|vlan| **vlan > LAST_VLAN) {
        return Err(FunctionsError::Vlan(*vlan));
    }
    if now == *count {
        return Ok(Vec::new());
    }
    for function in sriov::used_functions(host, physical) {
        let users = users::of_device(host, &function);
        // On vfio-pci and open for nobody, it is only kept ready.
        if !users.is_empty() || !crate::device::bind::driver::is_on_vfio(&function) {
            return Err(FunctionsError::InUse { function, users });
        }
    }
    let write = |name, value: String| Write { path: pci::attribute(physical, name), value };
    let mut writes = Vec::new();
    if *count > 0 && host.exists(&pci::attribute(physical, AUTOPROBE)) {
        writes.push(write(AUTOPROBE, "0".to_owned()));
    }
    // The kernel changes a number only from and to none.
    if now > 0 && *count > 0 {
        writes.push(write(COUNT, "0".to_owned()));
    }
    writes.push(write(COUNT, count.to_string()));
    Ok(writes)
}

/// The journal of a physical function.
fn journal_name(physical: PciAddress) -> String {
    format!("vf-{physical}")
}

/// Makes the functions, or takes them away, and returns those that there are.
///
/// # Errors
/// See [`FunctionsError`]; what was made before is taken back.
pub fn make(
    host: &Host,
    state: &StateDir,
    physical: PciAddress,
    wanted: &Wanted,
) -> Result<Vec<PciAddress>, FunctionsError> {
    let what = format!("vf {physical}");
    let lock = Lock::wait(state, &physical.to_string(), &what, TIMEOUT, &mut |_| Wait::On)
        .map_err(|error| FunctionsError::Lock { physical, error })?;
    let host = &host.with_claims(vec![lock.claim().clone()]);
    let writes = plan(host, physical, wanted)?;
    let name = journal_name(physical);
    // What an earlier one made.
    if !writes.is_empty() && state.journal(&name).exists() {
        let report = match Journal::open(host, state, &name) {
            Ok(journal) if journal.recorded().is_stale(host) => {
                journal.remove()?;
                Report::default()
            }
            journal => lease::undo_held(host, state, &mut journal?, &|_| true)?,
        };
        if !report.is_clean() {
            return Err(FunctionsError::Undo(Box::new(report)));
        }
    }
    if !writes.is_empty() && wanted.count > 0 {
        let mut journal = Journal::create(host, state, &name, &what)?;
        let done = record(host, &mut journal, physical, &writes)
            .and_then(|()| writes.iter().try_for_each(|write| Ok(host.carry_out(write)?)))
            .and_then(|()| set(host, physical, wanted));
        if let Err(error) = done {
            let report = lease::undo_held(host, state, &mut journal, &|_| true)?;
            return Err(if report.is_clean() {
                error
            } else {
                FunctionsError::Undo(report.into())
            });
        }
        journal.keep()?;
    } else {
        // Those that nobody has a journal of.
        let left = host.read(&pci::attribute(physical, COUNT))?;
        if wanted.count == 0 && left != "0" {
            writes.iter().try_for_each(|write| host.carry_out(write))?;
        }
        set(host, physical, wanted)?;
    }
    let mut functions = sriov::functions(host, physical);
    functions.sort_unstable();
    Ok(functions)
}

/// What the attributes were before.
fn record(
    host: &Host,
    journal: &mut Journal,
    physical: PciAddress,
    writes: &[Write],
) -> Result<(), FunctionsError> {
    for name in [AUTOPROBE, COUNT] {
        let path = pci::attribute(physical, name);
        if writes.iter().any(|write| write.path == path) {
            // Those of before are gone when there are new ones.
            let value = if name == COUNT { "0".to_owned() } else { host.read(&path)? };
            journal.record(Undo::Attribute { path, value })?;
        }
    }
    Ok(())
}

/// Gives the functions their addresses and VLANs.
fn set(host: &Host, physical: PciAddress, wanted: &Wanted) -> Result<(), FunctionsError> {
    let Wanted { count: _, macs, vlans } = wanted;
    if macs.is_empty() && vlans.is_empty() {
        return Ok(());
    }
    let interfaces = host.list(&pci::attribute(physical, "net")).unwrap_or_default();
    let index = interfaces.first().and_then(|name| {
        host.read(&format!("{}/{name}/ifindex", pci::attribute(physical, "net"))).ok()?.parse().ok()
    });
    let index: u32 = index.ok_or(FunctionsError::NoInterface(physical))?;
    let failed = |number: usize, what| {
        move |error| FunctionsError::Set { physical, number: number as u32, what, error }
    };
    for (number, mac) in macs.iter().enumerate() {
        set_function(index, number as u32, Some(mac.0), None).map_err(failed(number, "address"))?;
    }
    for (number, vlan) in vlans.iter().enumerate() {
        set_function(index, number as u32, None, Some(*vlan)).map_err(failed(number, "VLAN"))?;
    }
    Ok(())
}
