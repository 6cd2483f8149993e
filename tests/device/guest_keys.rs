//! The table of guest keys: that it is the whole truth, and that each renderer decides about each key.

use std::collections::BTreeSet;

use serde::de::{DeserializeOwned, DeserializeSeed, Visitor, value::Error};
use serde::{Deserializer, forward_to_deserialize_any};
use vfioboot::device::guest::file::keys::{Example, Key, Kind};
use vfioboot::device::guest::file::{
    Arch, Boot, Cpus, Disk, Display, Guest, Log, Machine, Memory, Network, Shutdown, all_keys,
    parse,
};
use vfioboot::device::guest::qemu::argv::{Backing, Resources};
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::sys::state::StateDir;

use crate::common::device_tree::{Tree, at};

/// The names of a struct's fields, as its `Deserialize` gives them to a format.
fn fields<T: DeserializeOwned>() -> Vec<&'static str> {
    struct Names<'n>(&'n mut Vec<&'static str>);
    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = Error;
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            names: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            self.0.extend(names);
            visitor.visit_map(Nothing)
        }
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            panic!("not a struct")
        }
        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    struct Nothing;
    impl<'de> serde::de::MapAccess<'de> for Nothing {
        type Error = Error;
        fn next_key_seed<K: DeserializeSeed<'de>>(
            &mut self,
            _: K,
        ) -> Result<Option<K::Value>, Error> {
            Ok(None)
        }
        fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, Error> {
            panic!("there is no key")
        }
    }
    let mut names = Vec::new();
    _ = T::deserialize(Names(&mut names));
    names
}

#[test]
fn the_table_has_every_key_of_the_structs_and_no_other() {
    let tables = [
        ("machine", fields::<Machine>()),
        ("boot", fields::<Boot>()),
        ("memory", fields::<Memory>()),
        ("cpus", fields::<Cpus>()),
        ("disks", fields::<Disk>()),
        ("network", fields::<Network>()),
        ("display", fields::<Display>()),
        ("shutdown", fields::<Shutdown>()),
        ("log", fields::<Log>()),
    ];
    let mut names: BTreeSet<String> = BTreeSet::new();
    for name in fields::<Guest>() {
        match tables.iter().find(|(table, _)| *table == name) {
            Some((_, keys)) => names.extend(keys.iter().map(|key| format!("{name}.{key}"))),
            None => _ = names.insert(name.to_owned()),
        }
    }
    // A device has a form of its own; the error for an unknown key is from the same derive.
    let unknown =
        parse("devices = [{ device = \"1b36:0010\", x = 1 }]", "g").unwrap_err().to_string();
    for key in ["device", "romfile", "root_port", "options"] {
        assert!(unknown.contains(&format!("`{key}`")), "{unknown}");
        names.insert(format!("devices.{key}"));
    }
    assert_eq!(unknown.matches('`').count(), 2 * (1 + 4), "{unknown}");
    let table: BTreeSet<String> = all_keys().map(|key| key.name.to_owned()).collect();
    assert_eq!(table, names);
    assert_eq!(table.len(), all_keys().count(), "a key twice");
}

/// `docs/guest.toml`, made from the table.
fn example() -> String {
    let mut text = "# A guest file for `vfiorun run`. Only what you write is set. What is commented out shows the\n\
                    # default, or an example of what is not set. Relative paths start at this file.\n\n"
        .to_owned();
    let mut table = "";
    for Key { name, example, meaning, .. } in all_keys() {
        let (own_table, key) = name.split_once('.').unwrap_or(("", name));
        let (mark, value) = match example {
            Example::Set(value) => ("", *value),
            Example::Default(value) | Example::Unset(value) => ("#", *value),
            Example::Inside => continue,
        };
        if own_table != table {
            let list = own_table == "disks";
            text +=
                &if list { format!("\n[[{own_table}]]\n") } else { format!("\n[{own_table}]\n") };
            table = own_table;
        }
        let line = format!("{mark}{key} = {value}");
        if meaning.is_empty() {
            text += &format!("{line}\n");
        } else if line.len() <= 31 {
            text += &format!("{line:<31} # {meaning}\n");
        } else {
            let blank = if value.contains('\n') { "\n" } else { "" };
            text += &format!("{blank}# {}\n{line}\n{blank}", meaning.replace('\n', "\n# "));
        }
    }
    text
}

#[test]
fn the_example_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guest.toml");
    if std::env::var_os("VFIOBOOT_UPDATE").is_some() {
        std::fs::write(path, example()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        example(),
        "VFIOBOOT_UPDATE=1 writes it again"
    );
}

/// The texts in backticks of a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The keys of the book's table, each with the cell that its default is in.
fn book_keys() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/book/src/reference/guest.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split_once("| Key | Value | Default |\n").unwrap().1;
    let mut keys = Vec::new();
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let row = row.replace("\\|", "");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", names, value, default, ""] = cells[..] else { panic!("{row}") };
        let mut table = "";
        for name in quoted(names) {
            let list = name.strip_suffix("[]");
            // ".type" after "machine.arch"
            let full = match name.strip_prefix('.') {
                Some(name) => format!("{table}.{name}"),
                None => name.to_owned(),
            };
            table = name
                .split_once('.')
                .map_or(table, |(own, _)| if own.is_empty() { table } else { own });
            if list.is_none() {
                keys.push((full, default.to_owned()));
            }
            // What a list is made of is in its value.
            let is_key = |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if let Some(list) = list.or((name == "devices").then_some(name)) {
                keys.extend(
                    quoted(value)
                        .filter(is_key)
                        .map(|key| (format!("{list}.{key}"), String::new())),
                );
            }
        }
    }
    keys
}

#[test]
fn the_book_has_every_key_and_its_default() {
    let book = book_keys();
    let names: BTreeSet<&str> = book.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, all_keys().map(|key| key.name).collect());
    assert_eq!(names.len(), book.len(), "a key twice");
    for (name, cell) in book.iter().filter(|(_, cell)| !cell.is_empty()) {
        let key = all_keys().find(|key| key.name == name).unwrap();
        if let Example::Default(value) = key.example {
            let is_default = |text: &str| text.trim_matches('"') == value.trim_matches('"');
            assert!(quoted(cell).any(is_default), "{name}: {value}, the book: {cell}");
        }
    }
}

/// The least guest with a key given another value than its default.
fn with(key: &Key) -> (&'static str, String) {
    let base = match key.name {
        "devices.romfile" | "devices.root_port" | "devices.options" => {
            "devices = [\"1b36:0010\"]\n"
        }
        "boot.initrd" | "boot.cmdline" => "[boot]\nkernel = \"/k\"\n",
        "boot.firmware_variables" => "[boot]\nfirmware = \"/f\"\n",
        // A directory can be opened, but not to be written to.
        "disks.readonly" => "[[disks]]\npath = \"/\"\nformat = \"raw\"\n",
        "disks.format" | "disks.interface" => "[[disks]]\npath = \"/d\"\nformat = \"raw\"\n",
        "disks.path" => "[[disks]]\npath = \"/e\"\nformat = \"raw\"\n",
        "display.socket" => "[display]\ntype = \"vnc\"\n",
        _ => "",
    };
    let changed = match key.name {
        "devices" | "devices.device" => "devices = [\"1b36:0010\"]".to_owned(),
        "devices.romfile" => "devices = [{ device = \"1b36:0010\", romfile = \"/r\" }]".to_owned(),
        "devices.root_port" => {
            "devices = [{ device = \"1b36:0010\", root_port = true }]".to_owned()
        }
        "devices.options" => {
            "devices = [{ device = \"1b36:0010\", options = [\"a=b\"] }]".to_owned()
        }
        "usb" => "usb = [\"046d:c52b\"]".to_owned(),
        "hold" => "hold = [\"0000:00:1f.4\"]".to_owned(),
        "chroot" => "chroot = \"/c\"".to_owned(),
        "qemu" => "qemu = \"/q\"".to_owned(),
        "qemu_arguments" => "qemu_arguments = [\"-x\"]".to_owned(),
        "machine.arch" => "[machine]\narch = \"x86_64\"".to_owned(),
        "machine.type" => "[machine]\ntype = \"other\"".to_owned(),
        "machine.gic" => "[machine]\ngic = \"3\"".to_owned(),
        "memory.hugepages" => "[memory]\nhugepages = \"transparent\"".to_owned(),
        "cpus.cluster" => "[cpus]\ncluster = \"little\"".to_owned(),
        "network.forwards" => "[network]\nforwards = [\"1:1\"]".to_owned(),
        "network.tap" | "network.mode" => "[network]\nmode = \"tap\"\ntap = \"t\"".to_owned(),
        "disks.path" => "[[disks]]\npath = \"/d\"\nformat = \"raw\"".to_owned(),
        "disks.format" => "[[disks]]\npath = \"/d\"\nformat = \"qcow2\"".to_owned(),
        name => {
            let (table, key_name) = name.split_once('.').unwrap_or(("", name));
            let value = match key.kind {
                Kind::Flag => "true".to_owned(),
                Kind::Name | Kind::Text | Kind::Path => "\"other\"".to_owned(),
                Kind::Size => "\"3G\"".to_owned(),
                Kind::Number(first, _) => (first + 2).to_string(),
                Kind::Seconds => "7".to_owned(),
                Kind::Choice(names) => format!("\"{}\"", names[1]),
                kind => panic!("{name}: a sample is missing ({kind:?})"),
            };
            match base {
                "" if table.is_empty() => format!("{key_name} = {value}"),
                "" => format!("[{table}]\n{key_name} = {value}"),
                base => format!("{base}{key_name} = {value}"),
            }
        }
    };
    (base, changed)
}

fn guest(text: &str) -> Guest {
    let name = if text.starts_with("name") { "" } else { "name = \"g\"\n" };
    parse(&format!("{name}{text}\n"), "guest.toml")
        .unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn arch(guest: &Guest) -> Arch {
    guest.machine.arch.unwrap_or(Arch::Aarch64)
}

fn arguments(guest: &Guest) -> Vec<String> {
    let devices: Vec<_> = guest.devices.iter().map(|device| (at("0000:00:02.0"), device)).collect();
    let backing = Backing::Anonymous;
    guest.arguments(&Resources::new(arch(guest), backing, "/run/g"), &devices)
}

/// Keys that QEMU's arguments say nothing of: who carries them out.
const NOT_ARGUMENTS: &[(&str, &str)] = &[
    ("autostart", "vfiorun autostart"),
    ("hold", "the lease"),
    ("on_exit", "the end of the lease"),
    ("allow_unsafe_interrupts", "a parameter of vfio_iommu_type1"),
    ("qemu", "the program that is started"),
    ("chroot", "the process of QEMU"),
    ("memory.hugepages", "the plan for the memory"),
    ("cpus.cluster", "the affinity of QEMU"),
    ("shutdown.timeout", "the supervisor"),
    ("shutdown.quit_timeout", "the supervisor"),
    ("restart", "the supervisor"),
    ("log.size", "the supervisor"),
    ("log.count", "the supervisor"),
];

#[test]
fn every_key_is_an_argument_of_qemu_or_of_vfiorun() {
    for key in all_keys() {
        let (base, changed) = with(key);
        let differs = arguments(&guest(base)) != arguments(&guest(&changed));
        let elsewhere = NOT_ARGUMENTS.iter().any(|(name, _)| *name == key.name);
        assert_eq!(differs, !elsewhere, "{}", key.name);
    }
}

#[test]
fn every_key_is_in_the_domain_of_libvirt_or_named_as_lost() {
    let domain = |guest: &Guest| {
        let devices: Vec<_> =
            guest.devices.iter().map(|device| (at("0000:00:02.0"), device)).collect();
        let qemu = guest.qemu.as_deref().unwrap_or("q");
        let xml = guest.domain(arch(guest), qemu, &devices).unwrap();
        let body = xml.find("<domain").unwrap();
        (xml[..body].to_owned(), xml[body..].to_owned())
    };
    for key in all_keys() {
        let (base, changed) = with(key);
        let ((_, before), (comment, after)) = (domain(&guest(base)), domain(&guest(&changed)));
        let named = comment.split([' ', ',']).any(|word| word == key.name);
        assert!(before != after || named, "{}: {comment}", key.name);
        if before != after {
            assert!(!named || key.name == "disks.interface", "{}: {comment}", key.name);
        }
    }
}

/// Keys that need nothing of the machine before QEMU is started.
const NOT_EXAMINED: &[&str] = &[
    "autostart",
    "on_exit",
    "on_reboot",
    "qemu_arguments",
    "machine.type",
    "machine.gic",
    "boot.cmdline",
    "memory.locked",
    "disks.format",
    "disks.interface",
    "network.forwards",
    "network.mac",
    "display.type",
    "display.socket",
    "shutdown.timeout",
    "shutdown.quit_timeout",
    "restart",
    "hotplug",
    "agent",
    "log.size",
    "log.count",
    "devices.root_port",
    "devices.options",
];

#[test]
fn every_key_is_examined_before_the_start_or_needs_nothing_of_the_machine() {
    let tree = Tree::new("guest-keys");
    tree.file(
        "proc/meminfo",
        "MemTotal: 2000000 kB\nMemAvailable: 2000000 kB\nHugepagesize: 2048 kB\n",
    );
    for (file, value) in [("free_hugepages", "0"), ("resv_hugepages", "0"), ("nr_hugepages", "0")] {
        tree.file(&format!("sys/kernel/mm/hugepages/hugepages-2048kB/{file}"), value);
    }
    tree.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n");
    tree.file("sys/devices/system/cpu/online", "0-1\n");
    for (cpu, midr, capacity) in [(0, "0x1", "1024"), (1, "0x2", "512")] {
        let directory = format!("sys/devices/system/cpu/cpu{cpu}");
        tree.file(&format!("{directory}/regs/identification/midr_el1"), midr);
        tree.file(&format!("{directory}/cpu_capacity"), capacity);
    }
    let host = tree.host();
    let state = StateDir::new(tree.path("state"));
    let options = Options { machine: "aarch64".into(), ..Options::default() };
    let start = |text: &str| format!("{:?}", Start::new(&host, &state, &guest(text), &options));
    for key in all_keys() {
        let (base, changed) = with(key);
        let differs = start(base) != start(&changed);
        assert_eq!(differs, !NOT_EXAMINED.contains(&key.name), "{}", key.name);
    }
}

#[test]
fn a_choice_takes_what_the_table_lists_and_nothing_else() {
    for key in all_keys() {
        let Kind::Choice(names) = key.kind else { continue };
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        let text = |value: &str| match (table, name) {
            ("", name) => format!("{name} = \"{value}\""),
            ("disks", "format") => format!("[[disks]]\npath = \"/d\"\nformat = \"{value}\""),
            ("disks", name) => {
                format!("[[disks]]\npath = \"/d\"\nformat = \"raw\"\n{name} = \"{value}\"")
            }
            ("network", "mode") if value == "tap" => {
                format!("[network]\nmode = \"{value}\"\ntap = \"t\"")
            }
            (table, name) => format!("[{table}]\n{name} = \"{value}\""),
        };
        for value in names {
            assert!(parse(&text(value), "g").is_ok(), "{}: {value}", key.name);
        }
        assert!(parse(&text("other"), "g").is_err(), "{}", key.name);
    }
}

#[test]
fn the_limits_of_numbers_are_those_of_the_table() {
    for key in all_keys() {
        let Kind::Number(first, last) = key.kind else { continue };
        let line = match key.name.split_once('.') {
            Some((table, name)) => format!("[{table}]\n{name}"),
            None => key.name.to_owned(),
        };
        let is_good = |number: i64| parse(&format!("{line} = {number}"), "g").is_ok();
        let (first, last) = (i64::from(first), i64::from(last));
        assert!(is_good(first) && is_good(last), "{}", key.name);
        assert!(!is_good(first - 1) && !is_good(last + 1), "{}", key.name);
    }
}
