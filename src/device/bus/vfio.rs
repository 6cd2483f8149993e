//! VFIO: its nodes, and whether groups can be used
//! (`Documentation/driver-api/vfio.rst`, `include/uapi/linux/vfio.h`).

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::device::bus::pci::{self, PciAddress};
use crate::device::bus::sriov::Token;
use crate::device::sys::host::{Host, errno_text};

/// The node that all groups share.
pub(crate) const CONTAINER: &str = "dev/vfio/vfio";

/// The node of iommufd.
pub(crate) const IOMMU: &str = "dev/iommu";

/// How devices are opened (`Documentation/driver-api/vfio.rst`, "VFIO Device cdev").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Groups in a container.
    Container,
    /// Each device by its own node, and an iommufd for them: kernels without `VFIO_CONTAINER`.
    Iommufd,
}

impl Interface {
    /// The one that this kernel has: with both it is the container, which every QEMU knows.
    pub fn of(host: &Host) -> Self {
        let any = |paths: [&str; 2]| paths.into_iter().any(|path| host.exists(path));
        match any([CONTAINER, "sys/class/misc/vfio/dev"]) {
            false if any([IOMMU, "sys/class/misc/iommu/dev"]) => Self::Iommufd,
            _ => Self::Container,
        }
    }
}

/// The parameter that lets VFIO accept devices whose interrupts are not isolated.
pub(crate) const UNSAFE_INTERRUPTS: &str =
    "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

// `_IO(';', 100 + n)`
const VFIO_GET_API_VERSION: libc::c_int = 0x3b64;
const VFIO_CHECK_EXTENSION: libc::c_int = 0x3b65;
const VFIO_SET_IOMMU: libc::c_int = 0x3b66;
const VFIO_GROUP_GET_STATUS: libc::c_int = 0x3b67;
const VFIO_GROUP_SET_CONTAINER: libc::c_int = 0x3b68;
const VFIO_GROUP_GET_DEVICE_FD: libc::c_int = 0x3b6a;
const VFIO_DEVICE_BIND_IOMMUFD: libc::c_int = 0x3b76;
const VFIO_DEVICE_ATTACH_IOMMUFD_PT: libc::c_int = 0x3b77;
// Of `include/uapi/linux/iommufd.h`: `_IO(';', 0x81)`
const IOMMU_IOAS_ALLOC: libc::c_int = 0x3b81;

const VFIO_API_VERSION: libc::c_int = 0;
const VFIO_TYPE1V2_IOMMU: libc::c_ulong = 3;
const VFIO_GROUP_FLAGS_VIABLE: u32 = 1;
const VFIO_DEVICE_BIND_FLAG_TOKEN: u32 = 1;

/// `struct vfio_group_status`
#[repr(C)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

/// `struct iommu_ioas_alloc`
#[repr(C)]
struct IoasAlloc {
    size: u32,
    flags: u32,
    out_ioas_id: u32,
}

/// `struct vfio_device_bind_iommufd`
#[repr(C)]
struct BindIommufd {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
    /// The address of a [`Token`], for kernels that know [`VFIO_DEVICE_BIND_FLAG_TOKEN`].
    token: u64,
}

/// `struct vfio_device_attach_iommufd_pt`
#[repr(C)]
struct AttachIommufd {
    argsz: u32,
    flags: u32,
    pt_id: u32,
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
    /// A device has no node of its own.
    #[error(
        "{0}: it has no node of its own (vfio-dev in sysfs): the kernel is built without CONFIG_VFIO_DEVICE_CDEV"
    )]
    NoDeviceNode(PciAddress),
    /// A device cannot be opened through iommufd.
    #[error("{address}: {step}: {}", errno_text(.error))]
    Device {
        /// The device.
        address: PciAddress,
        /// What was asked.
        step: &'static str,
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

/// The nodes that QEMU will open for these devices through iommufd. What sysfs does not know is left out.
pub fn device_nodes(host: &Host, devices: &[PciAddress]) -> Vec<Node> {
    let node = |attribute: String, path: String| {
        let text = host.read(&attribute).ok()?;
        let (major, minor) = text.split_once(':')?;
        Some(Node { path, number: (major.parse().ok()?, minor.parse().ok()?) })
    };
    let shared = [("kvm", "dev/kvm"), ("iommu", IOMMU)];
    let shared = shared
        .into_iter()
        .filter_map(|(name, path)| node(format!("sys/class/misc/{name}/dev"), path.to_owned()));
    let own = devices.iter().filter_map(|address| {
        let name = device_name(host, *address)?;
        let attribute = pci::attribute(*address, &format!("vfio-dev/{name}/dev"));
        node(attribute, format!("dev/vfio/devices/{name}"))
    });
    shared.chain(own).collect()
}

/// Whether devices get nodes of their own: VFIO is there, with `VFIO_DEVICE_CDEV`.
pub(crate) fn has_device_nodes(host: &Host) -> bool {
    let devices = host.read("proc/devices").unwrap_or_default();
    devices.lines().any(|line| line.split_whitespace().nth(1) == Some("vfio-dev"))
}

/// Opens the node of iommufd.
///
/// # Errors
/// [`VfioError::Open`].
pub(crate) fn open_iommufd(host: &Host) -> Result<File, VfioError> {
    open(host, IOMMU)
}

/// The name of a device's own node.
fn device_name(host: &Host, address: PciAddress) -> Option<String> {
    host.list(&pci::attribute(address, "vfio-dev")).ok()?.into_iter().next()
}

/// A device to be opened through iommufd, with its token if it needs one.
pub(crate) type WithToken = (PciAddress, Option<Token>);

/// Does with the devices what QEMU will do through iommufd, and then closes them: open, bind to one
/// iommufd, attach to one address space.
///
/// # Errors
/// See [`VfioError`].
pub(crate) fn try_devices(host: &Host, devices: &[WithToken]) -> Result<(), VfioError> {
    if devices.is_empty() {
        return Ok(());
    }
    let iommufd = open_iommufd(host)?;
    let mut space = IoasAlloc { size: size_of::<IoasAlloc>() as u32, flags: 0, out_ioas_id: 0 };
    call(&iommufd, IOMMU_IOAS_ALLOC, &raw mut space as libc::c_ulong).map_err(VfioError::Iommu)?;
    // Declared after the iommufd, so closed before it.
    let mut opened = Vec::new();
    for device in devices {
        let file = bind_to(host, &iommufd, device)?;
        let mut attach = AttachIommufd {
            argsz: size_of::<AttachIommufd>() as u32,
            flags: 0,
            pt_id: space.out_ioas_id,
        };
        match call(&file, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &raw mut attach as libc::c_ulong) {
            Ok(_) => opened.push(file),
            Err(error) => {
                let step = "attach to an address space";
                return Err(VfioError::Device { address: device.0, step, error });
            }
        }
    }
    Ok(())
}

/// Opens a device and binds it to an iommufd. The kernels that do not know of tokens there, which are those
/// before Linux 6.17, refuse the flag and ask for no token.
fn bind_to(host: &Host, iommufd: &File, &(address, token): &WithToken) -> Result<File, VfioError> {
    let name = device_name(host, address).ok_or(VfioError::NoDeviceNode(address))?;
    let device = open(host, &format!("dev/vfio/devices/{name}"))?;
    let bind = |token: Option<&Token>| {
        let mut bind = BindIommufd {
            argsz: size_of::<BindIommufd>() as u32,
            flags: if token.is_some() { VFIO_DEVICE_BIND_FLAG_TOKEN } else { 0 },
            iommufd: iommufd.as_raw_fd(),
            out_devid: 0,
            token: token.map_or(0, |token| token.bytes().as_ptr() as u64),
        };
        call(&device, VFIO_DEVICE_BIND_IOMMUFD, &raw mut bind as libc::c_ulong)
    };
    let bound = match bind(token.as_ref()) {
        Err(error) if token.is_some() && error.raw_os_error() == Some(libc::EINVAL) => bind(None),
        result => result,
    };
    match bound {
        Ok(_) => Ok(device),
        Err(error) => Err(VfioError::Device { address, step: "bind to iommufd", error }),
    }
}

/// Gives a physical function on vfio-pci a token for its virtual ones: it is opened with it, and closed.
///
/// # Errors
/// See [`VfioError`]; `EACCES` in [`VfioError::Device`] when its functions are open with another one.
pub(crate) fn set_token(
    host: &Host,
    interface: Interface,
    (physical, group): (PciAddress, u32),
    token: Token,
) -> Result<(), VfioError> {
    match interface {
        Interface::Container => set_token_by_group(host, physical, group, token),
        Interface::Iommufd => {
            let iommufd = open_iommufd(host)?;
            bind_to(host, &iommufd, &(physical, Some(token))).map(drop)
        }
    }
}

fn set_token_by_group(
    host: &Host,
    physical: PciAddress,
    group: u32,
    token: Token,
) -> Result<(), VfioError> {
    let failed = |error| VfioError::Group { group, error };
    let container = open_container(host)?;
    let opened = open(host, &format!("dev/vfio/{group}"))?;
    if !viable(&opened).map_err(failed)? {
        return Err(VfioError::NotViable(group));
    }
    let descriptor: libc::c_int = container.as_raw_fd();
    call(&opened, VFIO_GROUP_SET_CONTAINER, &raw const descriptor as libc::c_ulong)
        .map_err(failed)?;
    call(&container, VFIO_SET_IOMMU, VFIO_TYPE1V2_IOMMU).map_err(VfioError::Iommu)?;
    let refused = |error| VfioError::Device { address: physical, step: "set its token", error };
    let name = CString::new(format!("{physical} vf_token={token}"))
        .map_err(|error| refused(error.into()))?;
    let device =
        call(&opened, VFIO_GROUP_GET_DEVICE_FD, name.as_ptr() as libc::c_ulong).map_err(refused)?;
    // SAFETY: VFIO_GROUP_GET_DEVICE_FD returned a descriptor that nobody else knows of.
    drop(unsafe { OwnedFd::from_raw_fd(device) });
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
    // SAFETY: a number, a `c_int` that is read, a text that ends in NUL, or a structure above whose
    // first field is its size; the callers keep them alive during the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
