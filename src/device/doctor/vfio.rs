//! The VFIO interface: modules, nodes, API.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

use super::Check;
use crate::device::bind::vfio_pci_registered;
use crate::device::host::{Host, errno_text};

const CONTAINER: &str = "dev/vfio/vfio";

/// `_IO(';', 100)` and `_IO(';', 101)` of `include/uapi/linux/vfio.h`.
const VFIO_GET_API_VERSION: libc::c_int = 0x3b64;
const VFIO_CHECK_EXTENSION: libc::c_int = 0x3b65;
/// The only version there is.
const VFIO_API_VERSION: libc::c_int = 0;
const VFIO_TYPE1_IOMMU: libc::c_ulong = 1;
const VFIO_TYPE1V2_IOMMU: libc::c_ulong = 3;

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let driver = match vfio_pci_registered(host) {
        true => Check::ok("vfio-pci", "vfio-pci driver", "registered"),
        false => Check::problem(
            "vfio-pci",
            "vfio-pci driver",
            "not registered: not in this kernel, or its module is not loaded",
        )
        .fix("modprobe vfio-pci, or boot an image that vfioboot patched with --add-module"),
    };
    vec![driver, interface(host)]
}

fn interface(host: &Host) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("vfio", "VFIO interface", found)
    };
    let newer =
        if host.exists("dev/iommu") { "; /dev/iommu (iommufd) is there as well" } else { "" };
    let file = match OpenOptions::new().read(true).write(true).open(host.path(CONTAINER)) {
        Ok(file) => file,
        Err(error) if host.exists("sys/class/misc/vfio") => {
            let found =
                format!("/dev/vfio/vfio: {}, though the kernel has it{newer}", errno_text(&error));
            return check(Check::warning, found)
                .fix("vfiorun run makes the node itself where no ueventd does; as another user, use root");
        }
        Err(error) => {
            return check(Check::problem, format!("/dev/vfio/vfio: {}{newer}", errno_text(&error)))
                .fix("the kernel needs CONFIG_VFIO (and CONFIG_VFIO_CONTAINER), built in or as a loaded module");
        }
    };
    // SAFETY: both take an integer or nothing, and touch no memory of ours; the file is open.
    let call = |request, argument: libc::c_ulong| unsafe {
        libc::ioctl(file.as_raw_fd(), request as _, argument)
    };
    match call(VFIO_GET_API_VERSION, 0) {
        VFIO_API_VERSION => {}
        -1 => {
            let error = std::io::Error::last_os_error();
            return check(
                Check::problem,
                format!("/dev/vfio/vfio is no VFIO container: {}", errno_text(&error)),
            );
        }
        other => {
            return check(
                Check::problem,
                format!("API version {other}, expected {VFIO_API_VERSION}"),
            );
        }
    }
    let type1 = [VFIO_TYPE1V2_IOMMU, VFIO_TYPE1_IOMMU]
        .into_iter()
        .find(|kind| call(VFIO_CHECK_EXTENSION, *kind) > 0);
    match type1 {
        Some(VFIO_TYPE1V2_IOMMU) => check(Check::ok, format!("API version 0, type1 v2{newer}")),
        Some(_) => check(Check::ok, format!("API version 0, type1{newer}")),
        None => check(Check::problem, "no type1 IOMMU support".to_owned())
            .fix("modprobe vfio_iommu_type1"),
    }
}
