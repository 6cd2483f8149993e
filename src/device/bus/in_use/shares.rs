//! Filesystems that the host of a virtual machine shares with it: 9p and virtiofs. They are on no disk and
//! on no network, but on a device of their own.

use super::carriers::{Carrier, Functions};
use super::mounts::Mount;
use super::need::{InUse, Need};
use crate::device::sys::host::Host;

/// The devices of virtio; those of 9p have the tag that their share is mounted by.
const VIRTIO: &str = "sys/bus/virtio/devices";

/// The shares of virtiofs, each with its tag and its device (from Linux 6.9 on).
const VIRTIOFS: &str = "sys/fs/virtiofs";

/// Every mounted share, with the device that carries it.
pub(crate) fn mounted(
    host: &Host,
    functions: &Functions,
    mounts: &[Mount],
) -> Vec<(Vec<Carrier>, InUse)> {
    let mut found = Vec::new();
    for (kind, directory, tag, device) in
        [("9p", VIRTIO, "mount_tag", ""), ("virtiofs", VIRTIOFS, "tag", "/device")]
    {
        for name in host.list(directory).unwrap_or_default() {
            let entry = format!("{directory}/{name}");
            let Ok(tag) = host.read(&format!("{entry}/{tag}")) else { continue };
            // The attribute of 9p ends in NUL.
            let tag = tag.trim_end_matches('\0');
            let carriers = host.real(&format!("{entry}{device}"));
            let carriers = carriers.map(|place| functions.carriers(&place)).unwrap_or_default();
            let mut of_tag =
                mounts.iter().filter(|mount| mount.kind == kind && mount.source == tag);
            let Some(first) = of_tag.next().filter(|_| !carriers.is_empty()) else { continue };
            let need = Need::Mount {
                place: first.place.clone(),
                block: tag.to_owned(),
                more: of_tag.filter(|mount| mount.place != first.place).count(),
                process: first.process.clone(),
            };
            found.push((carriers, InUse::new(need, first.file.clone())));
        }
    }
    found
}
