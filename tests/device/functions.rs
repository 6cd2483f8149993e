//! Virtual functions, and the names of USB devices.

use crate::common::device_tree;

use std::os::unix::fs::symlink;

use device_tree::{Tree, at};
use vfioboot::device::bind::functions::{FunctionsError, Mac, Wanted, make, plan};
use vfioboot::device::bus::usb::{UsbDevice, UsbError, UsbSpec};
use vfioboot::device::sys::state::StateDir;

const CARD: &str = "0000:00:05.0";
const FUNCTION: &str = "0000:00:05.1";

/// A card that can have seven functions and has `now`.
fn card(name: &str, now: u32) -> Tree {
    let tree = Tree::new(&format!("functions-{name}"));
    tree.device(CARD, ("8086", "10c9"), Some("igb"));
    tree.running_as(100, 7, "boot-one");
    for (name, value) in
        [("sriov_totalvfs", 7), ("sriov_numvfs", now), ("sriov_drivers_autoprobe", 1)]
    {
        tree.file(&format!("sys/devices/pci0000:00/{CARD}/{name}"), format!("{value}\n"));
    }
    tree
}

fn attribute(tree: &Tree, name: &str) -> String {
    tree.read(&format!("sys/bus/pci/devices/{CARD}/{name}")).trim().to_owned()
}

fn wanted(count: u32) -> Wanted {
    Wanted { count, macs: Vec::new(), vlans: Vec::new() }
}

fn writes(tree: &Tree, count: u32) -> Vec<String> {
    let writes = plan(&tree.host(), at(CARD), &wanted(count)).unwrap();
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    writes.iter().map(|write| format!("{} {}", name(&write.path), write.value)).collect()
}

#[test]
fn a_number_is_changed_only_by_way_of_none() {
    let none = card("plan", 0);
    assert_eq!(writes(&none, 2), ["sriov_drivers_autoprobe 0", "sriov_numvfs 2"]);
    assert_eq!(writes(&none, 0), Vec::<String>::new());
    let three = card("plan-three", 3);
    assert_eq!(
        writes(&three, 2),
        ["sriov_drivers_autoprobe 0", "sriov_numvfs 0", "sriov_numvfs 2"]
    );
    assert_eq!(writes(&three, 0), ["sriov_numvfs 0"]);
    assert_eq!(writes(&three, 3), Vec::<String>::new());
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let tree = card("refused", 0);
    let refused = |count, macs: usize, vlans: &[u16]| {
        let macs = vec![Mac([2, 0, 0, 0, 0, 1]); macs];
        let wanted = Wanted { count, macs, vlans: vlans.to_vec() };
        plan(&tree.host(), at(CARD), &wanted).unwrap_err().to_string()
    };
    assert_eq!(refused(8, 0, &[]), "0000:00:05.0: at most 7 virtual functions, not 8");
    assert_eq!(refused(1, 2, &[]), "--mac: more than there are functions");
    assert_eq!(refused(1, 0, &[4095]), "--vlan 4095: expected 0 to 4094");
    tree.device("0000:00:06.0", ("1b36", "0010"), None);
    let error = plan(&tree.host(), at("0000:00:06.0"), &wanted(1)).unwrap_err();
    assert!(matches!(error, FunctionsError::None(_)), "{error}");
    for text in ["52:54:00:12:34", "52:54:00:12:34:5g", "53:54:00:12:34:56", ""] {
        assert!(text.parse::<Mac>().is_err(), "{text}");
    }
    assert_eq!("52:54:00:ab:CD:56".parse::<Mac>().unwrap().to_string(), "52:54:00:ab:cd:56");
}

#[test]
fn functions_that_are_in_use_stay() {
    let tree = card("in-use", 1);
    tree.device(FUNCTION, ("8086", "10ca"), Some("igbvf"));
    let place = tree.path(&format!("sys/devices/pci0000:00/{CARD}"));
    symlink(format!("../{FUNCTION}"), place.join("virtfn0")).unwrap();
    let error = plan(&tree.host(), at(CARD), &wanted(0)).unwrap_err().to_string();
    assert!(error.contains("0000:00:05.1") && error.contains("it is in use"), "{error}");
    // On vfio-pci, with nobody who has it open.
    tree.unlink_driver(FUNCTION);
    tree.link_driver(FUNCTION, "vfio-pci");
    assert!(plan(&tree.host(), at(CARD), &wanted(0)).is_ok());
}

#[test]
fn functions_are_made_and_what_was_before_comes_back_with_their_end() {
    let tree = card("make", 0);
    let state = StateDir::new(tree.path("state"));
    make(&tree.host(), &state, at(CARD), &wanted(2)).unwrap();
    assert_eq!(
        (attribute(&tree, "sriov_numvfs").as_str(), state.journals().unwrap().len()),
        ("2", 1)
    );
    assert_eq!(attribute(&tree, "sriov_drivers_autoprobe"), "0");
    // Another number, and the same one again.
    make(&tree.host(), &state, at(CARD), &wanted(3)).unwrap();
    make(&tree.host(), &state, at(CARD), &wanted(3)).unwrap();
    assert_eq!(attribute(&tree, "sriov_numvfs"), "3");
    make(&tree.host(), &state, at(CARD), &wanted(0)).unwrap();
    assert_eq!(attribute(&tree, "sriov_numvfs"), "0");
    assert_eq!(attribute(&tree, "sriov_drivers_autoprobe"), "1");
    assert_eq!(state.journals().unwrap(), Vec::<String>::new());
    // A card without an interface cannot be told an address; nothing stays.
    let with_address = Wanted { macs: vec![Mac([2, 0, 0, 0, 0, 1])], ..wanted(1) };
    let error = make(&tree.host(), &state, at(CARD), &with_address).unwrap_err();
    assert!(matches!(error, FunctionsError::NoInterface(_)), "{error}");
    assert_eq!(attribute(&tree, "sriov_numvfs"), "0");
    assert_eq!(state.journals().unwrap(), Vec::<String>::new());
}

#[test]
fn a_usb_device_has_a_port_or_ids() {
    for good in ["046d:c52b", "1-1", "12-1.2.3"] {
        assert_eq!(good.parse::<UsbSpec>().unwrap().to_string(), good);
    }
    for bad in ["", "1", "1-", "-1", "1-1.", "1-a", "046d", "46d:c52b", "usb1", "1-1:1.0"] {
        assert!(bad.parse::<UsbSpec>().is_err(), "{bad}");
    }
}

#[test]
fn a_name_of_several_usb_devices_and_a_hub_are_refused() {
    let tree = Tree::new("functions-usb");
    for (port, product, class) in
        [("1-1", "0001", "09"), ("1-1.1", "0002", "00"), ("1-1.2", "0002", "00")]
    {
        for (file, value) in [
            ("idVendor", "046d"),
            ("idProduct", product),
            ("busnum", "1"),
            ("devnum", "5"),
            ("dev", "189:4"),
            ("bDeviceClass", class),
        ] {
            tree.file(&format!("sys/bus/usb/devices/{port}/{file}"), value);
        }
    }
    let find = |name: &str| UsbDevice::find(&tree.host(), &name.parse().unwrap());
    let device = find("1-1.2").unwrap();
    assert_eq!((device.node.as_str(), device.number), ("dev/bus/usb/001/005", (189, 4)));
    assert!(matches!(find("1-1"), Err(UsbError::Hub(_))));
    let error = find("046d:0002").unwrap_err().to_string();
    assert_eq!(error, "046d:0002: several are connected; name one by its port: 1-1.1, 1-1.2");
    assert!(matches!(find("046d:0003"), Err(UsbError::Nothing(_))));
}
