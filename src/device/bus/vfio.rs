//! VFIO: its nodes, and whether groups can be used
//! (`Documentation/driver-api/vfio.rst`, `include/uapi/linux/vfio.h`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use crate::device::sys::host::{Host, errno_text};

/// The node that all groups share.
pub(crate) const CONTAINER: &str = "dev/vfio/vfio";

/// The parameter that lets VFIO accept devices whose interrupts are not isolated.
pub(crate) const UNSAFE_INTERRUPTS: &str =
    "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

// `_IO(';', 100 + n)`
const VFIO_GET_API_VERSION: libc::c_int = 0x3b64;
const VFIO_CHECK_EXTENSION: libc::c_int = 0x3b65;
const VFIO_SET_IOMMU: libc::c_int = 0x3b66;
const VFIO_GROUP_GET_STATUS: libc::c_int = 0x3b67;
const VFIO_GROUP_SET_CONTAINER: libc::c_int = 0x3b68;

const VFIO_API_VERSION: libc::c_int = 0;
const VFIO_TYPE1V2_IOMMU: libc::c_ulong = 3;
const VFIO_GROUP_FLAGS_VIABLE: u32 = 1;

/// `struct vfio_group_status`
#[repr(C)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

/// A character device that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its path, relative to the [`Host`].
    pub path: String,
    /// Its major and minor number.
    pub number: (u32, u32),
}

/// Why groups cannot be handed to a guest.
#[derive(Debug, thiserror::Error)]
pub enum VfioError {
    /// A node cannot be opened.
    #[error("/{path}: {}", open_text(.error))]
    Open {
        /// Its path.
        path: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The node is not VFIO's.
    #[error("/{CONTAINER} is not a VFIO container: {}", errno_text(.0))]
    NotVfio(#[source] io::Error),
    /// Not the interface that QEMU speaks.
    #[error("/{CONTAINER} has API version {0}, expected {VFIO_API_VERSION}")]
    Version(i32),
    /// A device of the group is on a driver of the host.
    #[error(
        "IOMMU group {0} is not viable: a device of it is still on a driver of the host (`vfiorun devices` shows which)"
    )]
    NotViable(u32),
    /// The group cannot be put into a container.
    #[error("IOMMU group {group}: {}", errno_text(.error))]
    Group {
        /// Its number.
        group: u32,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The IOMMU does not take the group.
    #[error("the IOMMU does not take the groups: {}", errno_text(.0))]
    Iommu(#[source] io::Error),
}

fn open_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => "EBUSY: another process uses it".to_owned(),
        _ => errno_text(error),
    }
}

/// The nodes that QEMU will open for these groups, with the numbers that sysfs gives them.
/// What sysfs does not know is left out: opening it will say why.
pub fn nodes(host: &Host, groups: &[u32]) -> Vec<Node> {
    let class = |class: &str, path: String| {
        let text = host.read(&format!("sys/class/{class}/dev")).ok()?;
        let (major, minor) = text.split_once(':')?;
        Some(Node { path, number: (major.parse().ok()?, minor.parse().ok()?) })
    };
    let shared = [("misc/kvm", "dev/kvm".to_owned()), ("misc/vfio", CONTAINER.to_owned())];
    let shared = shared.into_iter().filter_map(|(name, path)| class(name, path));
    let of_groups = groups
        .iter()
        .filter_map(|group| class(&format!("vfio/{group}"), format!("dev/vfio/{group}")));
    shared.chain(of_groups).collect()
}

/// Does with the groups what QEMU will do, and then closes them: open, ask for viability,
/// put them into one container, attach that to the IOMMU.
///
/// # Errors
/// See [`VfioError`].
pub(crate) fn try_groups(host: &Host, groups: &[u32]) -> Result<(), VfioError> {
    if groups.is_empty() {
        return Ok(());
    }
    let container = open_container(host)?;
    // Declared after the container, so closed before it.
    let mut opened = Vec::new();
    for &number in groups {
        let failed = |error| VfioError::Group { group: number, error };
        let group = open(host, &format!("dev/vfio/{number}"))?;
        if !viable(&group).map_err(failed)? {
            return Err(VfioError::NotViable(number));
        }
        let descriptor: libc::c_int = container.as_raw_fd();
        call(&group, VFIO_GROUP_SET_CONTAINER, &raw const descriptor as libc::c_ulong)
            .map_err(failed)?;
        opened.push(group);
    }
    call(&container, VFIO_SET_IOMMU, VFIO_TYPE1V2_IOMMU).map_err(VfioError::Iommu)?;
    Ok(())
}

/// Whether the interface is there in the version that QEMU speaks, and with the IOMMU that it uses.
///
/// # Errors
/// [`VfioError::Open`], [`VfioError::Version`].
pub(crate) fn has_type1(host: &Host) -> Result<bool, VfioError> {
    let container = open_container(host)?;
    Ok(call(&container, VFIO_CHECK_EXTENSION, VFIO_TYPE1V2_IOMMU).is_ok_and(|known| known > 0))
}

fn open_container(host: &Host) -> Result<File, VfioError> {
    let container = open(host, CONTAINER)?;
    match call(&container, VFIO_GET_API_VERSION, 0) {
        Ok(VFIO_API_VERSION) => Ok(container),
        Ok(other) => Err(VfioError::Version(other)),
        Err(error) => Err(VfioError::NotVfio(error)),
    }
}

fn open(host: &Host, path: &str) -> Result<File, VfioError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(host.path(path))
        .map_err(|error| VfioError::Open { path: path.to_owned(), error })
}

fn viable(group: &File) -> io::Result<bool> {
    let mut status = GroupStatus { argsz: size_of::<GroupStatus>() as u32, flags: 0 };
    call(group, VFIO_GROUP_GET_STATUS, &raw mut status as libc::c_ulong)?;
    Ok(status.flags & VFIO_GROUP_FLAGS_VIABLE != 0)
}

/// `argument` is what the request takes: a number, or the address of a value that outlives the
/// call.
fn call(file: &File, request: libc::c_int, argument: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: a number, a `c_int` that is read, or a `GroupStatus` whose `argsz` is its size;
    // the callers above keep them alive during the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
