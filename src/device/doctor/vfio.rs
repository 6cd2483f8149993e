//! The VFIO interface: modules, nodes, API.

use std::io;

use super::Check;
use crate::device::bind::driver::vfio_pci_registered;
use crate::device::bus::vfio::{self, Interface, VfioError};
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
    match Interface::of(host) {
        Interface::Container => container(host),
        Interface::Iommufd => iommufd(host),
    }
}

fn check(status: fn(&'static str, &'static str, String) -> Check, found: String) -> Check {
    status("vfio", "VFIO interface", found)
}

/// A node that cannot be opened, by the reason. `more` follows.
fn unopened(host: &Host, class: &str, error: &VfioError, more: &str) -> Check {
    match error {
        error if host.exists(class) => {
            check(Check::warning, format!("{error}, though the kernel has it{more}"))
                .fix("vfiorun run makes the node itself where no ueventd does; as another user, use root")
        }
        VfioError::Open { path, error } if error.kind() == io::ErrorKind::PermissionDenied => {
            check(Check::problem, format!("/{path}: {}", errno_text(error)))
                .fix("run it as root")
                .follows("privileges")
        }
        error => check(Check::problem, format!("{error}{more}"))
            .fix("the kernel needs CONFIG_VFIO (and CONFIG_VFIO_CONTAINER), built in or as a loaded module"),
    }
}

fn container(host: &Host) -> Check {
    let newer =
        if host.exists("dev/iommu") { "; /dev/iommu (iommufd) is there as well" } else { "" };
    match vfio::has_type1(host) {
        Ok(true) => check(Check::ok, format!("/dev/vfio/vfio, with type1{newer}")),
        Ok(false) => check(Check::problem, format!("no type1 IOMMU support{newer}"))
            .fix("the kernel needs CONFIG_VFIO_IOMMU_TYPE1, built in or as a loaded module: modprobe vfio_iommu_type1"),
        Err(error @ VfioError::Open { .. }) => {
            unopened(host, "sys/class/misc/vfio", &error, newer)
        }
        Err(error) => check(Check::problem, error.to_string())
            .fix("another program made a file with this name: remove it and start again"),
    }
}

/// A kernel without a container is as good, if devices have nodes of their own.
fn iommufd(host: &Host) -> Check {
    match vfio::open_iommufd(host) {
        Err(error) => unopened(host, "sys/class/misc/iommu", &error, ""),
        Ok(_) if vfio::has_device_nodes(host) => {
            check(Check::ok, "/dev/iommu (iommufd), with a node for each device".to_owned())
        }
        Ok(_) => check(
            Check::problem,
            "/dev/iommu (iommufd), but neither a container nor nodes for devices".to_owned(),
        )
        .fix("the kernel needs CONFIG_VFIO with CONFIG_VFIO_DEVICE_CDEV, or CONFIG_VFIO_CONTAINER and CONFIG_VFIO_GROUP; as modules: modprobe vfio-pci"),
    }
}
