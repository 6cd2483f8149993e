//! The VFIO interface: modules, nodes, API.

use std::io;

use super::Check;
use crate::device::bind::driver::vfio_pci_registered;
use crate::device::bus::vfio::{self, VfioError};
use crate::device::sys::host::{Host, errno_text};

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let driver = match vfio_pci_registered(host) {
        true => Check::ok("vfio-pci", "vfio-pci driver", "registered"),
        false => Check::problem(
            "vfio-pci",
            "vfio-pci driver",
            "not registered: not in this kernel, or its module is not loaded",
        )
        .fix("modprobe vfio-pci, or boot an image to which vfioboot added the module"),
    };
    vec![driver, interface(host)]
}

fn interface(host: &Host) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("vfio", "VFIO interface", found)
    };
    let newer =
        if host.exists("dev/iommu") { "; /dev/iommu (iommufd) is there as well" } else { "" };
    match vfio::has_type1(host) {
        Ok(true) => check(Check::ok, format!("/dev/vfio/vfio, with type1{newer}")),
        Ok(false) => check(Check::problem, format!("no type1 IOMMU support{newer}"))
            .fix("the kernel needs CONFIG_VFIO_IOMMU_TYPE1, built in or as a loaded module: modprobe vfio_iommu_type1"),
        Err(error @ VfioError::Open { .. }) if host.exists("sys/class/misc/vfio") => {
            check(Check::warning, format!("{error}, though the kernel has it{newer}"))
                .fix("vfiorun run makes the node itself where no ueventd does; as another user, use root")
        }
        Err(VfioError::Open { path, error }) if error.kind() == io::ErrorKind::PermissionDenied => {
            check(Check::problem, format!("/{path}: {}", errno_text(&error)))
                .fix("run it as root")
                .follows("privileges")
        }
        Err(error @ VfioError::Open { .. }) => check(Check::problem, format!("{error}{newer}"))
            .fix("the kernel needs CONFIG_VFIO (and CONFIG_VFIO_CONTAINER), built in or as a loaded module"),
        Err(error) => check(Check::problem, error.to_string())
            .fix("another program made a file with this name: remove it and start again"),
    }
}
