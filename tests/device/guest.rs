//! Guest files: what is taken, and what each error says.

use crate::common::device_tree;

use device_tree::Tree;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::guest::file::{
    Cluster, DiskFormat, DiskInterface, Guest, Hugepages, NetworkMode, OnExit, Size, parse, read,
};

const EXAMPLE: &str = include_str!("../../docs/guest.toml");

fn good(text: &str) -> Guest {
    parse(text, "guest.toml").unwrap()
}

/// The message of a guest file that is refused.
fn refused(text: &str) -> String {
    parse(text, "guest.toml").unwrap_err().to_string()
}

#[test]
fn the_example_is_what_its_comments_say() {
    let guest = good(EXAMPLE);
    assert_eq!(guest.name.as_str(), "debian");
    assert_eq!(guest.devices[0].spec, DeviceSpec::Id { vendor: 0x1b36, device: 0x0010 });
    assert!(guest.devices[1].root_port);
    assert_eq!(guest.memory.size, Size(2 << 30));
    assert_eq!(guest.cpus.cluster, Cluster::Big);
    assert_eq!(guest.disks[0].format, DiskFormat::Qcow2);
    assert_eq!((guest.network.forwards[0].host, guest.network.forwards[0].guest), (2222, 22));
}

#[test]
fn what_the_example_shows_in_comments_are_the_defaults() {
    let guest = good("");
    assert_eq!(guest.on_exit, OnExit::Restore);
    assert_eq!(guest.memory.size, Size(1 << 30));
    assert_eq!(guest.memory.hugepages, Hugepages::Auto);
    assert_eq!((guest.cpus.count, &guest.cpus.cluster), (1, &Cluster::Any));
    assert_eq!(guest.network.mode, NetworkMode::User);
    assert_eq!((guest.shutdown.timeout, guest.shutdown.quit_timeout), (60, 5));
}

#[test]
fn every_key_of_the_example_is_known() {
    // What is commented out with a value, put in; of what excludes each other one half is left.
    let excluded = ["#firmware", "#firmware_variables", "#tap", "#chroot"];
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let option = line.strip_prefix('#').filter(|rest| {
            let key = rest.split(' ').next().unwrap_or_default();
            rest.contains(" = ") && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        });
        match option {
            Some(rest) if !excluded.iter().any(|key| line.starts_with(&format!("{key} "))) => {
                text.push_str(rest);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let guest = good(&text);
    assert_eq!(guest.network.mac.as_deref(), Some("52:54:00:12:34:56"));
    assert_eq!(guest.disks[0].interface, DiskInterface::Virtio);
}

#[test]
fn a_guest_without_a_name_is_called_as_its_file() {
    let tree = Tree::new("guest-name");
    tree.file("router.toml", "");
    assert_eq!(read(&tree.path("router.toml")).unwrap().name.as_str(), "router");
}

#[test]
fn paths_are_relative_to_the_guest_file() {
    let tree = Tree::new("guest-paths");
    tree.file("g.toml", "[boot]\nkernel = \"Image\"\ninitrd = \"/boot/initrd\"\n");
    let guest = read(&tree.path("g.toml")).unwrap();
    assert_eq!(guest.boot.kernel.unwrap(), tree.path("Image").to_str().unwrap());
    assert_eq!(guest.boot.initrd.unwrap(), "/boot/initrd");
}

#[test]
fn paths_in_a_chroot_stay_as_they_are() {
    let tree = Tree::new("guest-chroot");
    tree.file(
        "g.toml",
        "chroot = \"/data/debian\"\nqemu = \"/usr/bin/q\"\n[boot]\nkernel = \"/Image\"\n",
    );
    let guest = read(&tree.path("g.toml")).unwrap();
    assert_eq!(guest.boot.kernel.unwrap(), "/Image");
    assert_eq!(guest.qemu.unwrap(), "/usr/bin/q");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = read("no/such/guest.toml".as_ref()).unwrap_err();
    assert_eq!(error.to_string(), "no/such/guest.toml: no such file");
}

#[test]
fn a_file_name_that_is_not_a_valid_name_needs_the_key_name() {
    let tree = Tree::new("guest-no-name");
    tree.file("my guest.toml", "");
    let error = read(&tree.path("my guest.toml")).unwrap_err().to_string();
    assert!(
        error.ends_with("name: must be given: the name of the file cannot be the name of a guest")
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_there_is() {
    let message = refused("[memory]\nsize = \"1G\"\nhugepage = \"auto\"\n");
    assert!(
        message.starts_with("guest.toml:3: memory.hugepage: unknown field `hugepage`"),
        "{message}"
    );
    assert!(message.contains("`hugepages`"), "{message}");
}

#[test]
fn an_unknown_table_is_named_with_its_line() {
    let message = refused("name = \"a\"\n\n[cpu]\ncount = 1\n");
    assert!(message.starts_with("guest.toml:3: cpu: unknown field `cpu`"), "{message}");
}

#[test]
fn values_say_what_was_expected() {
    let cases = [
        (
            "[memory]\nsize = \"2Q\"",
            "guest.toml:2: memory.size: \"2Q\" is not a size: expected a number and M or G, as in \"2G\"",
        ),
        (
            "[memory]\nsize = 2",
            "guest.toml:2: memory.size: invalid type: integer `2`, expected a size in quotes: a number and M or G, as in \"2G\"",
        ),
        (
            "name = \"my guest\"",
            "guest.toml:1: name: \"my guest\" is not a name: expected 1 to 32 letters, digits, \".\", \"_\" or \"-\", the first a letter or digit",
        ),
        (
            "devices = [\"nvme\"]",
            "guest.toml:1: devices: \"nvme\" is not a PCI device: expected VENDOR:DEVICE (1b36:0010) or DOMAIN:BUS:DEVICE.FUNCTION (0000:00:02.0), in hex, or its path below /sys; lspci -nn, vfiorun devices and cat /sys/bus/pci/devices/*/uevent show both for each device",
        ),
        (
            "[network]\nforwards = [\"22\"]",
            "guest.toml:2: network.forwards: \"22\" is not a forward: expected [tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT, as in \"2222:22\"",
        ),
        (
            "[cpus]\ncluster = \"huge\"",
            "guest.toml:2: cpus.cluster: invalid value: string \"huge\", expected \"any\", \"big\", \"little\" or a list of CPU numbers",
        ),
        ("[cpus]\ncluster = []", "guest.toml:2: cpus.cluster: an empty list of CPUs"),
        (
            "on_exit = \"keep\"",
            "guest.toml:1: on_exit: unknown variant `keep`, expected `restore` or `host`",
        ),
        ("[[disks]]\npath = \"a\"", "guest.toml:1: disks: missing field `format`"),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message);
    }
}

#[test]
fn keys_that_do_not_go_together_are_named() {
    let cases = [
        ("[boot]\ninitrd = \"i\"", "boot.initrd: there is no boot.kernel to load it"),
        ("[boot]\ncmdline = \"c\"", "boot.cmdline: there is no boot.kernel to read it"),
        (
            "[boot]\nfirmware_variables = \"v\"",
            "boot.firmware_variables: there is no boot.firmware to use them",
        ),
        ("[cpus]\ncount = 0", "cpus.count: expected 1 to 512"),
        (
            "[network]\nmode = \"none\"\nforwards = [\"1:1\"]",
            "network.forwards: only network.mode = \"user\" has forwards",
        ),
        ("[network]\nmode = \"tap\"", "network.tap: is for network.mode = \"tap\", which needs it"),
        ("chroot = \"debian\"", "chroot: expected an absolute path"),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), format!("guest.toml: {message}"));
    }
}

#[test]
fn invalid_toml_is_refused_with_its_line() {
    let message = refused("name = \"a\"\nmemory = [\n");
    assert!(message.starts_with("guest.toml:"), "{message}");
}

#[test]
fn a_forward_may_name_protocol_and_address() {
    let guest = good("[network]\nforwards = [\"udp:0.0.0.0:53:5353\"]");
    let forward = &guest.network.forwards[0];
    assert_eq!(forward.protocol.name(), "udp");
    assert_eq!(
        (forward.address.to_string(), forward.host, forward.guest),
        ("0.0.0.0".into(), 53, 5353)
    );
}
