//! The option ROM of a device.

use crate::common::device_tree;

use std::sync::{Arc, Mutex};

use device_tree::{Tree, at};
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::bus::rom::Rom;
use vfioboot::device::sys::host::Host;

/// An image of a ROM: of whose device, what its code is for, whether it is the last.
fn image(vendor: u16, kind: u8, last: bool) -> Vec<u8> {
    let mut image = vec![0; 1024];
    image[..2].copy_from_slice(&[0x55, 0xaa]);
    image[0x18] = 0x40;
    image[0x40..0x44].copy_from_slice(b"PCIR");
    image[0x44..0x46].copy_from_slice(&vendor.to_le_bytes());
    image[0x50] = 2;
    image[0x54] = kind;
    image[0x55] = u8::from(last) << 7;
    image
}

/// What is read of a device on this driver whose ROM has this content, and what is written meanwhile.
fn read(
    name: &str,
    driver: Option<&str>,
    rom: Option<Vec<u8>>,
) -> (Result<Rom, String>, Vec<String>) {
    let tree = Tree::new(&format!("rom-{name}"));
    tree.device("0000:01:00.0", ("10de", "1c82"), driver);
    if let Some(rom) = rom {
        tree.file("sys/devices/pci0000:00/0000:01:00.0/rom", rom);
    }
    let writes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&writes);
    let host = Host::with_kernel(
        &tree.root,
        Arc::new(move |path: &str, value: &str| {
            assert!(path.ends_with("/rom"), "{path}");
            seen.lock().unwrap().push(value.to_owned());
            Ok(())
        }),
    );
    let device = PciDevice::read(&host, at("0000:01:00.0")).unwrap();
    let rom = Rom::read(&host, &device).map_err(|error| error.to_string());
    let writes = writes.lock().unwrap().clone();
    (rom, writes)
}

#[test]
fn a_rom_is_read_with_all_its_images() {
    let bytes = [image(0x10de, 0, false), image(0x10de, 3, true)].concat();
    let (rom, writes) = read("whole", Some("vfio-pci"), Some(bytes.clone()));
    assert_eq!(rom, Ok(Rom { bytes, kinds: vec!["BIOS", "UEFI"] }));
    // The kernel takes two bytes for "off".
    assert_eq!(writes, ["1", "0\n"]);
}

#[test]
fn what_is_no_rom_of_the_device_is_refused() {
    let whole = image(0x10de, 0, true);
    let cases = [
        ("empty", Vec::new()),
        ("short", whole[..0x30].to_vec()),
        ("other", image(0x1002, 0, true)),
        ("endless", image(0x10de, 0, false)),
        ("ones", vec![0xff; 1024]),
    ];
    for (name, bytes) in cases {
        let (rom, writes) = read(name, None, Some(bytes));
        assert!(rom.unwrap_err().contains(": what is read is not a ROM of it"), "{name}");
        assert_eq!(writes.last().unwrap(), "0\n", "{name}");
    }
}

#[test]
fn a_driver_is_not_disturbed() {
    let (rom, writes) = read("driver", Some("nouveau"), Some(image(0x10de, 0, true)));
    let error = rom.unwrap_err();
    assert!(error.ends_with("would disturb that: vfiorun bind 0000:01:00.0 first"), "{error}");
    assert_eq!(writes, [""; 0]);
    let (rom, _) = read("none", None, None);
    assert!(rom.unwrap_err().contains(": the kernel shows no ROM of it"));
}
