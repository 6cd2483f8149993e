//! PCI devices from a fake sysfs.

use crate::common::device_tree;

use device_tree::{Tree, at};
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bus::pci::{self, PciAddress, PciDevice};

#[test]
fn lists_devices_by_address_with_their_state() {
    let tree = Tree::new("pci-list");
    tree.device("10000:00:00.0", ("8086", "a77f"), None);
    tree.device("0000:01:00.1", ("1b36", "0010"), Some("nvme"));
    tree.device("0000:00:1f.7", ("1b36", "0010"), None);
    tree.group("0000:01:00.1", 12);
    tree.set_override("0000:01:00.1", "vfio-pci\n");
    let devices = pci::enumerate(&tree.host()).unwrap();
    let addresses: Vec<String> = devices.iter().map(|d| d.address.to_string()).collect();
    assert_eq!(addresses, ["0000:00:1f.7", "0000:01:00.1", "10000:00:00.0"]);
    assert_eq!(
        devices[1],
        PciDevice {
            address: PciAddress { domain: 0, bus: 1, device: 0, function: 1 },
            vendor: 0x1b36,
            device: 0x10,
            driver: Some("nvme".into()),
            driver_override: Some("vfio-pci".into()),
            iommu_group: Some(12),
        }
    );
    assert_eq!(devices[1].to_string(), "0000:01:00.1 (1b36:0010)");
    assert_eq!(devices[0].driver_override, None, "(null) means unset");
    assert_eq!((&devices[0].driver, devices[0].iommu_group), (&None, None));
}

#[test]
fn an_empty_override_is_unset() {
    let tree = Tree::new("pci-empty-override");
    tree.device("0000:00:02.0", ("1b36", "0010"), None);
    tree.set_override("0000:00:02.0", "\n");
    let device = PciDevice::read(&tree.host(), at("0000:00:02.0")).unwrap();
    assert_eq!(device.driver_override, None);
}

#[test]
fn entries_that_are_not_devices_are_skipped() {
    let tree = Tree::new("pci-junk");
    tree.device("0000:00:02.0", ("1b36", "0010"), None);
    tree.device("0000:00:03.0", ("what", "0010"), None);
    tree.file("sys/bus/pci/devices/README", "");
    assert_eq!(pci::enumerate(&tree.host()).unwrap().len(), 1);
    let error = PciDevice::read(&tree.host(), at("0000:00:03.0")).unwrap_err().to_string();
    assert_eq!(error, "/sys/bus/pci/devices/0000:00:03.0/vendor: \"0xwhat\" is not a PCI id");
}

#[test]
fn a_system_without_pci_is_an_error_with_the_path() {
    let tree = Tree::new("pci-none");
    std::fs::remove_dir_all(tree.path("sys")).unwrap();
    let error = pci::enumerate(&tree.host()).unwrap_err().to_string();
    assert_eq!(error, "list /sys/bus/pci/devices: no such file");
}

#[test]
fn matches_by_id_and_by_address() {
    let tree = Tree::new("pci-match");
    tree.device("0000:00:02.0", ("1b36", "0010"), None);
    let device = PciDevice::read(&tree.host(), at("0000:00:02.0")).unwrap();
    let matches = |spec: &str| device.matches(&spec.parse::<DeviceSpec>().unwrap());
    assert!(matches("1b36:0010"));
    assert!(matches("1B36:0010"));
    assert!(matches("0000:00:02.0"));
    assert!(matches("00:02.0"));
    assert!(!matches("1b36:0011"));
    assert!(!matches("0000:00:02.1"));
    assert!(!matches("0001:00:02.0"));
}

#[test]
fn a_device_is_named_as_lspci_and_sysfs_name_it() {
    let spec = |text: &str| text.parse::<DeviceSpec>();
    let id = DeviceSpec::Id { vendor: 0x10de, device: 0x1c82 };
    for text in ["10de:1c82", "[10de:1c82]", "10DE:1C82"] {
        assert_eq!(spec(text), Ok(id.clone()), "{text}");
    }
    let address = |domain, bus| DeviceSpec::Address { domain, bus, device: 0, function: 0 };
    for (text, expected) in [
        ("01:00.0", address(0, 1)),
        ("0000:01:00.0", address(0, 1)),
        ("10000:01:00.0", address(0x10000, 1)),
        ("/sys/bus/pci/devices/0000:01:00.0", address(0, 1)),
        ("/sys/bus/pci/devices/0000:01:00.0/", address(0, 1)),
        ("/sys/devices/pci0000:00/0000:00:01.0/0000:02:00.0", address(0, 2)),
        ("/sys/devices/platform/40000000.pcie/pci0002:00/0002:00:00.0", address(2, 0)),
        ("/sys/bus/pci/drivers/nvme/0000:01:00.0", address(0, 1)),
        ("/sys/kernel/iommu_groups/4/devices/0000:01:00.0", address(0, 1)),
    ] {
        assert_eq!(spec(text), Ok(expected), "{text}");
        assert_eq!(spec(&spec(text).unwrap().to_string()), spec(text), "{text}");
    }
    for text in [
        "[10de:1c82",
        "10de:1c82]",
        "[01:00.0]",
        "[[10de:1c82]]",
        "10de:1c8",
        "+10d:1c82",
        "01:00.8",
        "01:20.0",
        "/sys/",
        "/sys/bus/pci/devices",
        "/sys/bus/pci/devices/01:00.0",
        "/sys/bus/pci/devices/0000:01:00.0/vendor",
        "/sys/bus/pci/devices/../0000:01:00.0",
        "/sys//0000:01:00.0",
        "/dev/0000:01:00.0",
        "sys/bus/pci/devices/0000:01:00.0",
        "/sys/bus/pci/devices/10de:1c82",
    ] {
        let error = spec(text).unwrap_err().to_string();
        for place in ["lspci -nn", "vfiorun devices", "/sys/bus/pci/devices/*/uevent"] {
            assert!(error.contains(place), "{text}: {error}");
        }
    }
}
