//! QEMU's arguments, libvirt's XML, and the monitor.

use crate::common::device_tree;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use device_tree::{Tree, at};
use vfioboot::device::guest::file::{Arch, Guest, parse};
use vfioboot::device::guest::qemu::argv::{Backing, Resources};
use vfioboot::device::guest::qemu::probe::explain;
use vfioboot::device::guest::qemu::qmp::{self, Event, Message, ShutdownCause};
use vfioboot::device::guest::qemu::{FindError, find};

fn guest(text: &str) -> Guest {
    parse(&format!("name = \"g\"\n{text}"), "guest.toml").unwrap()
}

fn arguments(text: &str, arch: Arch, backing: Backing) -> String {
    let guest = guest(text);
    let devices: Vec<_> = guest.devices.iter().map(|device| (at("0000:00:02.0"), device)).collect();
    guest.arguments(&Resources::new(arch, backing, "/run/g"), &devices).join(" ")
}

#[test]
fn the_least_guest() {
    assert_eq!(
        arguments("[network]\nmode = \"none\"", Arch::Aarch64, Backing::Anonymous),
        "-nodefaults -no-user-config -name guest=g \
         -machine virt,gic-version=host,accel=kvm -cpu host -smp 1 -m 1024M \
         -chardev socket,id=qmp,path=/run/g/qmp.sock,server=on,wait=off -mon chardev=qmp,mode=control \
         -chardev socket,id=control,path=/run/g/control.sock,server=on,wait=off -mon chardev=control,mode=control \
         -chardev stdio,id=console,signal=off -serial chardev:console -display none"
    );
}

#[test]
fn each_key_becomes_an_argument() {
    let cases = [
        ("devices = [\"1b36:0010\"]", "-device vfio-pci,id=hostdev0,host=0000:00:02.0"),
        (
            "devices = [{ device = \"1b36:0010\", root_port = true, romfile = \"/r\", options = [\"a=b\"] }]",
            "-device pcie-root-port,id=port0,chassis=1 -device vfio-pci,id=hostdev0,host=0000:00:02.0,bus=port0,romfile=/r,a=b",
        ),
        ("[machine]\ngic = \"3\"", "-machine virt,gic-version=3,accel=kvm"),
        (
            "[boot]\nkernel = \"/k\"\ninitrd = \"/i\"\ncmdline = \"a=b,c d\"",
            "-kernel /k -initrd /i -append a=b,c d",
        ),
        (
            "[boot]\nfirmware = \"/f\"\nfirmware_variables = \"/v\"",
            "-drive if=pflash,unit=0,format=raw,file=/f,readonly=on -drive if=pflash,unit=1,format=raw,file=/v",
        ),
        ("[memory]\nsize = \"3G\"\nlocked = true", "-m 3072M -overcommit mem-lock=on"),
        ("[cpus]\ncount = 4", "-smp 4"),
        (
            "[[disks]]\npath = \"/a,b\"\nformat = \"qcow2\"",
            "-drive if=none,id=disk0,format=qcow2,file=/a,,b -device virtio-blk-pci,drive=disk0",
        ),
        (
            "[[disks]]\npath = \"/d\"\nformat = \"raw\"\nreadonly = true\ninterface = \"nvme\"",
            "-drive if=none,id=disk0,format=raw,file=/d,readonly=on -device nvme,drive=disk0,serial=disk0",
        ),
        (
            "[network]\nforwards = [\"2222:22\"]\nmac = \"52:54:00:00:00:01\"",
            "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22 -device virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01",
        ),
        (
            "[network]\nmode = \"tap\"\ntap = \"tap0\"",
            "-netdev tap,id=net0,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=net0",
        ),
        ("[display]\ntype = \"vnc\"", "-display vnc=unix:/run/g/vnc.sock -device virtio-gpu-pci"),
        ("[display]\ntype = \"vnc\"\nsocket = \"/s\"", "-display vnc=unix:/s"),
        ("on_reboot = \"exit\"", "-no-reboot"),
        ("qemu_arguments = [\"-device\", \"edu\"]", "-device edu"),
    ];
    for (text, expected) in cases {
        let all = arguments(text, Arch::Aarch64, Backing::Anonymous);
        assert!(all.contains(expected), "{text}\n{all}");
    }
}

#[test]
fn an_x86_guest_has_a_q35_and_no_gic() {
    let all = arguments("", Arch::X86_64, Backing::Anonymous);
    assert!(all.contains("-machine q35,accel=kvm -cpu host"), "{all}");
}

#[test]
fn hugetlb_pages_become_the_memory_of_the_machine() {
    let all = arguments("", Arch::Aarch64, Backing::Hugetlb(2 << 20));
    assert!(
        all.contains("-object memory-backend-memfd,id=ram,size=1024M,hugetlb=on,hugetlbsize=2048k,prealloc=on -machine virt,gic-version=host,accel=kvm,memory-backend=ram"),
        "{all}"
    );
}

#[test]
fn libvirt_has_managed_devices() {
    let guest =
        guest("devices = [\"1b36:0010\"]\n[boot]\nkernel = \"/k\"\ncmdline = \"a<b & 'c'\"");
    let devices = [(at("0001:02:03.4"), &guest.devices[0])];
    let xml = guest.domain(Arch::Aarch64, "/usr/bin/q", &devices).unwrap();
    assert!(xml.starts_with("<domain type='kvm'>\n  <name>g</name>\n"), "{xml}");
    assert!(xml.contains("<hostdev mode='subsystem' type='pci' managed='yes'>"), "{xml}");
    assert!(
        xml.contains("<address domain='0x0001' bus='0x02' slot='0x03' function='0x4'/>"),
        "{xml}"
    );
    assert!(xml.contains("<gic version='host'/>"), "{xml}");
    assert!(xml.contains("<cmdline>a&lt;b &amp; &apos;c&apos;</cmdline>"), "{xml}");
}

/// Of libvirt's own networks only passt has forwards, which libvirt 9.0 does not take.
#[test]
fn forwards_are_passed_on_to_qemu() {
    let xml = |text: &str| guest(text).domain(Arch::X86_64, "q", &[]).unwrap();
    let with = xml("[network]\nforwards = [\"2222:22\"]\nmac = \"52:54:00:00:00:01\"");
    let args: Vec<&str> = with
        .lines()
        .filter_map(|line| line.trim().strip_prefix("<qemu:arg value='")?.strip_suffix("'/>"))
        .collect();
    assert_eq!(
        args,
        [
            "-netdev",
            "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22",
            "-device",
            "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01"
        ]
    );
    let namespace = "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>";
    assert!(with.starts_with(namespace) && !with.contains("<interface"), "{with}");
    let without = xml("");
    assert!(without.contains("<interface type='user'>") && !without.contains("qemu:"), "{without}");
}

/// One without a slash is looked up by QEMU, which libvirt does not do.
#[test]
fn libvirt_has_absolute_roms() {
    let xml = |rom: &str| {
        let guest =
            guest(&format!("devices = [{{ device = \"1b36:0010\", romfile = \"{rom}\" }}]"));
        guest.domain(Arch::X86_64, "q", &[(at("0000:00:02.0"), &guest.devices[0])]).unwrap()
    };
    assert!(xml("/a/gpu.rom").contains("<rom file='/a/gpu.rom'/>"));
    let own = xml("gpu.rom");
    assert!(
        own.starts_with("<!-- guest file keys that libvirt cannot express: devices.romfile -->")
    );
    assert!(!own.contains("<rom "), "{own}");
}

#[test]
fn the_xml_names_keys_that_libvirt_cannot_express() {
    let guest = guest(
        "chroot = \"/c\"\nqemu_arguments = [\"-x\"]\n[[disks]]\npath = \"/d\"\ninterface = \"nvme\"\nformat = \"raw\"",
    );
    let xml = guest.domain(Arch::X86_64, "q", &[]).unwrap();
    assert!(
        xml.starts_with(
            "<!-- guest file keys that libvirt cannot express: chroot, qemu_arguments, disks.interface -->\n"
        ),
        "{xml}"
    );
    assert!(xml.contains("<target dev='vda' bus='virtio'/>"), "{xml}");
}

#[test]
fn messages_of_qmp() {
    let cases: [(&str, Option<Message>); 7] = [
        (
            r#"{"QMP": {"version": {"qemu": {"micro": 17, "minor": 2, "major": 7}}, "capabilities": []}}"#,
            Some(Message::Greeting("7.2.17".into())),
        ),
        (r#"{"return": {}}"#, Some(Message::Return(serde_json::json!({})))),
        (
            r#"{"error": {"class": "GenericError", "desc": "no"}}"#,
            Some(Message::Refused("no".into())),
        ),
        (
            r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
            Some(Message::Event(Event::Shutdown(ShutdownCause::GuestReset))),
        ),
        (r#"{"event": "GUEST_PANICKED"}"#, Some(Message::Event(Event::Panicked))),
        (r#"{"something": 1}"#, None),
        ("hello", None),
    ];
    for (line, message) in cases {
        assert_eq!(qmp::parse(line.as_bytes()), message, "{line}");
    }
}

/// A monitor that answers each command with the next of `answers`.
fn monitor(tree: &Tree, answers: &'static [&'static str]) -> std::path::PathBuf {
    let path = tree.path("m.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut commands = BufReader::new(stream.try_clone().unwrap()).lines();
        stream.write_all(b"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7}}}}\r\n").unwrap();
        for answer in answers {
            commands.next();
            stream.write_all(answer.as_bytes()).unwrap();
        }
        // Until the other end hangs up.
        commands.next();
    });
    path
}

#[test]
fn the_status_comes_from_the_monitor() {
    let tree = Tree::new("qmp-status");
    let path = monitor(
        &tree,
        &[
            "{\"return\": {}}\r\n{\"event\": \"STOP\"}\r\n",
            "{\"return\": {\"status\": \"paused\", \"running\": false}}\r\n",
        ],
    );
    assert_eq!(qmp::status(&path, Duration::from_secs(5)).unwrap(), "paused");
}

#[test]
fn a_monitor_that_refuses_says_why() {
    let tree = Tree::new("qmp-refuses");
    let path = monitor(&tree, &["{\"error\": {\"desc\": \"busy\"}}\r\n"]);
    let error = qmp::status(&path, Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.to_string(), "QEMU refuses qmp_capabilities: busy");
}

#[test]
fn a_monitor_that_says_nothing_is_not_waited_for_for_ever() {
    let tree = Tree::new("qmp-silent");
    let path = monitor(&tree, &[""]);
    let error = qmp::status(&path, Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().starts_with("QEMU's monitor does not answer within"), "{error}");
}

#[test]
fn answers_that_are_not_qmp_are_reported() {
    let tree = Tree::new("qmp-noise");
    let path = monitor(&tree, &["SSH-2.0\n"]);
    let error = qmp::status(&path, Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.to_string(), "QEMU's monitor: \"SSH-2.0\" is not a QMP message");
}

/// An executable file.
fn program(tree: &Tree, path: &str) {
    use std::os::unix::fs::PermissionsExt;
    tree.file(path, "#!/bin/sh\n");
    std::fs::set_permissions(tree.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn qemu_is_found_in_the_path() {
    let tree = Tree::new("qemu-path");
    program(&tree, "bin/qemu-test");
    let path = tree.path("bin");
    let found = find(&guest("qemu = \"qemu-test\""), Arch::Aarch64, path.to_str()).unwrap();
    assert_eq!(found, format!("{}/qemu-test", path.display()));
}

#[test]
fn qemu_in_a_chroot_is_found_as_it_is_called_there() {
    let tree = Tree::new("qemu-chroot");
    program(&tree, "usr/bin/qemu-system-aarch64");
    let guest = guest(&format!("chroot = \"{}\"", tree.root.display()));
    assert_eq!(find(&guest, Arch::Aarch64, None).unwrap(), "/usr/bin/qemu-system-aarch64");
}

#[test]
fn a_missing_qemu_is_reported_with_its_package() {
    let tree = Tree::new("qemu-none");
    let guest = guest(&format!("chroot = \"{}\"", tree.root.display()));
    let error = find(&guest, Arch::Aarch64, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "there is no qemu-system-aarch64 in the usual directories of {}: install it (Debian: qemu-system-arm), or say where it is with qemu or chroot in the guest file",
            tree.root.display()
        )
    );
}

#[test]
fn a_qemu_or_chroot_that_is_not_there_is_named() {
    let not_there = find(&guest("qemu = \"/no/qemu\""), Arch::Aarch64, None);
    assert_eq!(not_there, Err(FindError::NotThere("/no/qemu".into())));
    let no_chroot = find(&guest("chroot = \"/no/chroot\""), Arch::Aarch64, None);
    assert_eq!(no_chroot, Err(FindError::NoChroot("/no/chroot".into())));
}

/// A program that lists what a QEMU has.
fn lists(name: &str, accelerators: &str, devices: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new(&format!("qemu-lists-{name}"));
    tree.file(
        "qemu",
        format!(
            "#!/bin/sh\ncase $1 in\n-accel) printf 'Accelerators supported in QEMU binary:\\n{accelerators}\\n' ;;\n\
             -device) printf 'name \"{devices}\", bus PCI\\n' ;;\nesac\n"
        ),
    );
    let path = tree.path("qemu");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn missing_features_of_a_failed_qemu_are_reported() {
    let cases = [
        ("termux", "tcg", "vfio-pci", true, Some("KVM")),
        ("no-vfio", "tcg\\nkvm", "virtio-blk-pci", true, Some("vfio-pci")),
        ("neither", "tcg", "nvme", true, Some("KVM and vfio-pci")),
        ("no-devices", "kvm", "nvme", false, None),
        ("whole", "kvm\\ntcg", "vfio-pci", true, None),
        // A name that only begins so is none.
        ("prefix", "kvm", "vfio-pci-nohotplug", true, Some("vfio-pci")),
    ];
    for (name, accelerators, devices, passed, lacks) in cases {
        let program = lists(name, accelerators, devices);
        let said = explain(&program, None, passed);
        let expected = lacks.map(|lacks| {
            format!("{program} was built without {lacks}: take another, as Debian's is (Termux's has no KVM); in a chroot, with chroot in the guest file")
        });
        assert_eq!(said, expected, "{name}");
    }
    assert_eq!(explain("/no/qemu", None, true), None);
    assert_eq!(explain("/bin/false", None, true), None);
}
