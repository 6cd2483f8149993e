//! The token that a physical function on vfio-pci and its virtual ones share.
//!
//! Whoever drives a physical function can read and break what its virtual ones do, so vfio-pci opens one
//! only for who knows the token of the physical function (`vfio_pci_validate_vf_token` in
//! `drivers/vfio/pci/vfio_pci_core.c`). It is random until somebody opens the physical function with
//! another one, which stays when that is closed again.

use std::io::Write;
use std::path::PathBuf;

use crate::device::bind::driver::is_on_vfio;
use crate::device::bus::pci::{PciAddress, PciDevice};
use crate::device::bus::sriov;
pub use crate::device::bus::sriov::Token;
use crate::device::bus::users::{self, User};
use crate::device::sys::host::Host;
use crate::device::sys::state::{self, StateDir};

const DIRECTORY: &str = "vf-tokens";

/// The token of a physical function, for the devices of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedToken {
    /// The physical function.
    pub physical: PciAddress,
    /// The token.
    pub token: Token,
    /// The devices of the guest that are opened with it.
    pub devices: Vec<PciAddress>,
    /// The processes that have the physical function or one of its functions open: as long as there are
    /// any, its token stays what it is.
    pub users: Vec<User>,
    /// Whether it was set before, by a vfiorun.
    pub known: bool,
}

/// The tokens that a guest with these devices needs: of those whose physical function is on vfio-pci or is
/// one of them.
pub(crate) fn plan(host: &Host, state: &StateDir, devices: &[PciDevice]) -> Vec<SharedToken> {
    let addresses: Vec<PciAddress> = devices.iter().map(|device| device.address).collect();
    let mut all: Vec<SharedToken> = Vec::new();
    for device in devices {
        let address = device.address;
        let physical = match sriov::physical(host, address) {
            Some(physical) => physical,
            None if sriov::has_functions(host, address) => address,
            None => continue,
        };
        let on_vfio = PciDevice::read(host, physical).is_ok_and(|device| is_on_vfio(&device));
        if !on_vfio && !addresses.contains(&physical) {
            continue;
        }
        if let Some(shared) = all.iter_mut().find(|shared| shared.physical == physical) {
            shared.devices.push(address);
            continue;
        }
        let stored = stored(state, physical);
        let known = stored.is_some();
        let Some(token) = stored.or_else(Token::random) else { continue };
        let users = users(host, physical);
        all.push(SharedToken { physical, token, devices: vec![address], users, known });
    }
    all
}

/// Who has the physical function or one of its virtual ones open.
fn users(host: &Host, physical: PciAddress) -> Vec<User> {
    let own = PciDevice::read(host, physical).into_iter();
    own.chain(sriov::used_functions(host, physical))
        .flat_map(|device| users::of_device(host, &device))
        .collect()
}

fn path(state: &StateDir, physical: PciAddress) -> PathBuf {
    state.path().join(DIRECTORY).join(physical.to_string())
}

fn stored(state: &StateDir, physical: PciAddress) -> Option<Token> {
    let bytes = state::read(&path(state, physical), 64).ok()?;
    Token::parse(str::from_utf8(&bytes).ok()?.trim_end())
}

/// Keeps a token for the guests that come later, while the physical function has it.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn store(state: &StateDir, shared: &SharedToken) -> std::io::Result<()> {
    state.directory(DIRECTORY)?;
    let mut file = state::create_anew(&path(state, shared.physical))?;
    writeln!(file, "{}", shared.token)
}
