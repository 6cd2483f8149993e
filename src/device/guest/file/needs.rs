//! What a guest needs of the machine before QEMU is started.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::values::{Arch, Cluster, Hugepages, Size};
use crate::bootfile::DeviceSpec;
use crate::device::bus::usb::{UsbDevice, UsbError, UsbSpec};
use crate::device::sys::host::{Host, errno_text};
use crate::device::sys::inside;

/// What is examined before a start. Each table of the guest file adds what its keys need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs<'g> {
    /// The architecture; that of the machine when `None`.
    pub arch: Option<Arch>,
    /// Devices of the host.
    pub devices: Vec<DeviceSpec>,
    /// Devices that are taken and not given to the guest.
    pub hold: Vec<DeviceSpec>,
    /// USB devices of the host.
    pub usb: &'g [UsbSpec],
    /// Whether interrupts need not be isolated.
    pub unsafe_interrupts: bool,
    /// Memory.
    pub memory: Size,
    /// The pages that the memory is made of.
    pub hugepages: Hugepages,
    /// How many processors.
    pub cpus: u32,
    /// Which of the host's processors.
    pub cluster: Cluster,
    /// Files that QEMU opens.
    pub files: Vec<NeededFile<'g>>,
    /// Sockets that QEMU makes, each with the key that names it.
    pub sockets: Vec<(&'static str, &'g str)>,
    /// More nodes below `/dev` that it opens: named in arguments, or by what these do.
    pub nodes: Vec<String>,
    /// A tap interface.
    pub tap: Option<&'g str>,
}

/// What QEMU has of its own in a chroot: see `launch`.
const HIDDEN: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// Where a process with another root directory finds a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Below that root directory.
    Inside(PathBuf),
    /// In the host's `/dev`, `/proc` or `/sys`.
    Host(PathBuf),
    /// In a directory that is empty for it.
    Empty,
}

impl Place {
    fn of(root: Option<&Path>, host: &Host, path: &str) -> Self {
        let Some(root) = root else { return Self::Inside(PathBuf::from(path)) };
        let found = inside::resolve(root, path, &HIDDEN);
        let relative = found.strip_prefix("/").unwrap_or(&found).to_owned();
        match HIDDEN.iter().find(|directory| found.starts_with(directory)) {
            Some(&"/run") => Self::Empty,
            Some(_) => Self::Host(host.path(relative)),
            None => Self::Inside(root.join(relative)),
        }
    }
}

/// A path below `/dev` as it is found there, if that is where it leads to.
fn below_dev(root: &Path, path: &str) -> Option<String> {
    let found = inside::resolve(root, path, &HIDDEN);
    (found.starts_with("/dev") && found != Path::new("/dev"))
        .then(|| found.to_string_lossy().into_owned())
}

/// A file that QEMU opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeededFile<'g> {
    /// The key that names it.
    pub key: &'static str,
    /// Its path, in the chroot if there is one.
    pub path: &'g str,
    /// Whether it is written to.
    pub write: bool,
}

/// What is not there for a guest.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// A file that cannot be used.
    #[error("{key}: {path}: {}", errno_text(.error))]
    File {
        /// The key that names it.
        key: &'static str,
        /// Its path.
        path: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// A file that is not where QEMU finds anything.
    #[error(
        "{key}: {path}: in a chroot QEMU has a /run of its own, in which this is not: take another directory of the chroot"
    )]
    Hidden {
        /// The key that names it.
        key: &'static str,
        /// Its path.
        path: String,
    },
    /// Something else is where a socket is made, and QEMU would remove it.
    #[error("{key}: {path}: there is something that is not a socket, and QEMU would remove it")]
    NotSocket {
        /// The key that names it.
        key: &'static str,
        /// Its path.
        path: String,
    },
    /// The path of a socket is too long for the kernel.
    #[error("{key}: {path}: {} bytes, but the path of a socket has at most {SOCKET_LIMIT}", path.len())]
    LongSocket {
        /// The key or the option that it comes from.
        key: &'static str,
        /// The path.
        path: String,
    },
    /// A tap interface.
    #[error("network.tap: interface {0} does not exist: ip tuntap add dev {0} mode tap")]
    Tap(String),
    /// A USB device.
    #[error("usb: {0}")]
    Usb(#[source] UsbError),
}

/// Nodes that an argument of QEMU's needs though it does not name them.
const NODES_BY_WORD: &[(&str, &str)] = &[
    ("vhost=on", "/dev/vhost-net"),
    ("vhost-vsock", "/dev/vhost-vsock"),
    ("vhost-scsi", "/dev/vhost-scsi"),
    ("gl=on", "/dev/dri"),
    ("egl-headless", "/dev/dri"),
];

/// The nodes that an argument of QEMU's is about.
pub(super) fn nodes_of(word: &str) -> Vec<String> {
    let by_word = NODES_BY_WORD.iter().filter(|(part, _)| word.contains(part));
    let named = word.split([',', '=', ':']).filter(|part| part.starts_with("/dev/"));
    by_word.map(|(_, node)| *node).chain(named).map(str::to_owned).collect()
}

/// The longest path of a socket, in bytes (`sun_path` of `unix(7)`, and NUL).
const SOCKET_LIMIT: usize = 107;

/// Whether a socket can be made at `path`; `key` is what it comes from.
pub(crate) fn socket_fits(key: &'static str, path: &str) -> Option<Missing> {
    (path.len() > SOCKET_LIMIT).then(|| Missing::LongSocket { key, path: path.to_owned() })
}

impl Needs<'_> {
    /// The files and interfaces that are not there. `root` is the root directory of QEMU, if it has one of
    /// its own.
    pub(crate) fn missing(&self, host: &Host, root: Option<&Path>) -> Vec<Missing> {
        let file = |file: &NeededFile<'_>| {
            let NeededFile { key, path, write } = *file;
            let place = match Place::of(root, host, path) {
                Place::Empty => return Some(Missing::Hidden { key, path: path.to_owned() }),
                Place::Inside(place) | Place::Host(place) => place,
            };
            let mut options = OpenOptions::new();
            // Not to wait for the other end of a FIFO.
            options.read(true).write(write).custom_flags(libc::O_NONBLOCK);
            let error = options.open(place).err()?;
            Some(Missing::File { key, path: path.to_owned(), error })
        };
        let socket = |(key, path): &(&'static str, &str)| {
            let (key, owned) = (*key, (*path).to_owned());
            match Place::of(root, host, path) {
                Place::Empty => Some(Missing::Hidden { key, path: owned }),
                Place::Inside(place) | Place::Host(place) => {
                    let there = place.symlink_metadata().ok();
                    match there.is_some_and(|meta| !meta.file_type().is_socket()) {
                        true => Some(Missing::NotSocket { key, path: owned }),
                        false => socket_fits(key, path),
                    }
                }
            }
        };
        let tap = self.tap.filter(|tap| !host.exists(&format!("sys/class/net/{tap}")));
        let tap = tap.map(|tap| Missing::Tap(tap.to_owned()));
        let sockets = self.sockets.iter().filter_map(socket);
        let usb = self.usb.iter().filter_map(|spec| UsbDevice::find(host, spec).err());
        let usb = usb.map(Missing::Usb);
        self.files.iter().filter_map(file).chain(sockets).chain(tap).chain(usb).collect()
    }

    /// The nodes below `/dev` that QEMU gets in its root directory.
    pub(crate) fn nodes(&self, host: &Host, root: &Path) -> Vec<String> {
        let files = self.files.iter().filter_map(|file| below_dev(root, file.path));
        let named = self.nodes.iter().filter_map(|path| below_dev(root, path));
        let mut nodes: Vec<String> =
            files.chain(named).filter(|path| host.exists(path.trim_start_matches('/'))).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}
