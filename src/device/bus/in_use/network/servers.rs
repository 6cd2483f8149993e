//! Disks and filesystems that are on the network, with their servers.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::sockets;
use crate::device::bus::in_use::blocks::Blocks;
use crate::device::bus::in_use::disks::DiskUse;
use crate::device::bus::in_use::mounts::Mount;
use crate::device::sys::host::Host;

/// Something in use that is on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// What: `/ (nfs4)`, `sda (iSCSI)`.
    pub what: String,
    /// The server as it was named.
    pub server: String,
    /// Its address, where that is known.
    pub address: Option<IpAddr>,
    /// The file that says so.
    pub source: String,
}

/// Filesystems on servers, by what mountinfo calls them.
const FILESYSTEMS: &[&str] = &[
    "9p",
    "afs",
    "ceph",
    "cifs",
    "coda",
    "fuse.ceph",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
];

/// Everything on servers that is in use.
pub(crate) fn in_use(
    host: &Host,
    mounts: &[Mount],
    blocks: &Blocks,
    used: &DiskUse,
) -> Vec<Remote> {
    let mut found: Vec<Remote> = mounts.iter().filter_map(of_mount).collect();
    let controllers = controllers(host);
    let mut disks: Vec<usize> = used.iter().map(|(number, _)| blocks.disk_of(number)).collect();
    disks.sort_unstable();
    disks.dedup();
    for disk in disks {
        let Some(block) = blocks.get(disk) else { continue };
        for (kind, source, server) in of_disk(host, &block.place, &controllers) {
            found.push(Remote {
                what: format!("{} ({kind})", block.name),
                address: parse(&server),
                server,
                source,
            });
        }
    }
    let mut unique: Vec<Remote> = Vec::new();
    for remote in found {
        let is_known =
            |known: &Remote| (&known.what, &known.server) == (&remote.what, &remote.server);
        if !unique.iter().any(is_known) {
            unique.push(remote);
        }
    }
    unique
}

fn of_mount(mount: &Mount) -> Option<Remote> {
    if !FILESYSTEMS.contains(&mount.kind.as_str()) {
        return None;
    }
    // A share of a virtual machine's host comes through no card.
    let option = |name: &str| {
        mount.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    };
    if mount.kind == "9p" && option("trans").is_none_or(|by| by == "virtio" || by == "fd") {
        return None;
    }
    let server = server_of(&mount.source);
    // NFS and CIFS say what the name was resolved to.
    let address = option("addr").and_then(parse).or_else(|| parse(&server));
    Some(Remote {
        what: format!("{} ({})", mount.place, mount.kind),
        server,
        address,
        source: mount.file.clone(),
    })
}

/// The server in `10.0.0.2:/root`, `[fe80::1]:/root`, `//server/share`, `user@host:dir`,
/// `10.0.0.1:6789,10.0.0.3:6789:/`.
fn server_of(source: &str) -> String {
    let text = source.trim_start_matches('/');
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if let Some((inside, _)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return inside.to_owned();
    }
    text.split([':', '/', ',']).next().unwrap_or(text).to_owned()
}

fn parse(text: &str) -> Option<IpAddr> {
    let plain = text.split('%').next().unwrap_or(text).trim_matches(['[', ']']);
    let address = plain.parse().ok();
    address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

/// The servers of a disk: what it is, which file says so, and the server.
fn of_disk(
    host: &Host,
    place: &Path,
    controllers: &[Controller],
) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    for part in place.iter().filter_map(|part| part.to_str()) {
        // /sys/devices/platform/host6/session1/target6:0:0/…
        let session = part.strip_prefix("session").filter(|number| number.parse::<u32>().is_ok());
        for connection in session.map(|number| iscsi(host, number)).unwrap_or_default() {
            found.push(connection);
        }
    }
    let controllers = controllers.iter().filter(|controller| controller.has(place));
    found.extend(controllers.map(|controller| {
        let source = format!("/{CONTROLLERS}/{}/address", controller.name);
        ("NVMe over a network", source, controller.server.clone())
    }));
    if let Ok(pid) = fs::read_to_string(place.join("pid")) {
        found.extend(nbd(host, pid.trim()));
    }
    found
}

fn iscsi(host: &Host, session: &str) -> Vec<(&'static str, String, String)> {
    const CONNECTIONS: &str = "sys/class/iscsi_connection";
    let names = host.list(CONNECTIONS).unwrap_or_default().into_iter();
    // connection1:0
    let ours = names.filter(|name| {
        name.strip_prefix("connection").and_then(|rest| rest.split(':').next()) == Some(session)
    });
    let read = |name: String| {
        let path = format!("{CONNECTIONS}/{name}/address");
        let persistent = format!("{CONNECTIONS}/{name}/persistent_address");
        let address = host.read(&path).or_else(|_| host.read(&persistent));
        ("iSCSI", format!("/{path}"), address.unwrap_or_else(|_| "its target".to_owned()))
    };
    ours.map(read).collect()
}

/// The directory with one link for each NVMe controller.
const CONTROLLERS: &str = "sys/class/nvme";

/// An NVMe controller that is reached over a network.
struct Controller {
    name: String,
    place: PathBuf,
    server: String,
}

impl Controller {
    /// Whether a disk is below it, or below the subsystem that it is in.
    fn has(&self, disk: &Path) -> bool {
        let subsystem = disk.parent().map(|directory| directory.join(&self.name));
        disk.starts_with(&self.place) || subsystem.is_some_and(|entry| entry.exists())
    }
}

/// `traddr=10.0.0.2,trsvcid=4420,src_addr=10.0.0.9`
fn controllers(host: &Host) -> Vec<Controller> {
    let read = |name: String| {
        let path = format!("{CONTROLLERS}/{name}");
        let transport = host.read(&format!("{path}/transport")).ok()?;
        ["tcp", "rdma"].contains(&transport.as_str()).then_some(())?;
        let address = host.read(&format!("{path}/address")).unwrap_or_default();
        let server = address.split(',').find_map(|part| part.strip_prefix("traddr="));
        let server = server.unwrap_or("its target").to_owned();
        Some(Controller { name, place: host.real(&path)?, server })
    };
    host.list(CONTROLLERS).unwrap_or_default().into_iter().filter_map(read).collect()
}

/// The connections of the process that brought a network block device up.
fn nbd(host: &Host, pid: &str) -> Vec<(&'static str, String, String)> {
    let connections = sockets::of_process(host, pid, &sockets::established(host));
    let source = format!("/proc/{pid}/fd and /proc/net/tcp");
    let of = |server: String| ("NBD", source.clone(), server);
    if !host.exists(&format!("proc/{pid}")) {
        // It left the connection to the kernel.
        return vec![of("its server".to_owned())];
    }
    // Without any it is a program of this machine.
    connections.iter().map(|connection| of(connection.remote.to_string())).collect()
}
