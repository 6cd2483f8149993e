//! A program that links the library has the same results as the commands.

use std::fs;
use std::path::Path;

use vfioboot::audit::render::{Audience, FORMATS, Medium};
use vfioboot::audit::run::{Content, Input, Run, Settings};
use vfioboot::audit::{self, Profile};
use vfioboot::bootset::{BootSet, File};
use vfioboot::patch::{self, Options, Runtimes};

use crate::common::cli::Scratch;
use crate::common::flows::{self, image};
use crate::common::{AARCH64, elf, with_config};

const FILES: [&str; 3] = ["boot.img", "vendor_boot.img", "init_boot.img"];

/// The images of a device whose kernel has a config.
fn device() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    scratch.file("boot.img", &with_config(&image("boot-v4"), "CONFIG_KVM=y\nCONFIG_VFIO=m\n"));
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    scratch.image("init_boot.img", "init_boot-v4");
    scratch
}

fn files(scratch: &Scratch, names: &[&'static str]) -> Vec<(&'static str, Vec<u8>)> {
    names.iter().map(|name| (*name, scratch.read(name))).collect()
}

fn set<'f>(files: &'f [(&'static str, Vec<u8>)]) -> BootSet<'f> {
    BootSet::new(files.iter().map(|(name, bytes)| File::new(*name, bytes))).unwrap()
}

#[test]
fn a_report_of_the_library_is_what_check_prints() {
    let scratch = device();
    let files = files(&scratch, &FILES);
    let options = audit::Options::new(Profile::builtin("passthrough").unwrap());
    let beside = files[1..].iter().map(|(name, bytes)| (name.to_string(), Content::of(bytes)));
    let input = Input {
        content: Some(Content::of(&files[0].1)),
        beside: beside.collect(),
        ..Input::new(FILES[0], audit::check(&set(&files), &options))
    };
    let run = Run { settings: Settings::of(&options), inputs: vec![input] };
    assert!(FORMATS.len() > 1);
    for format in FORMATS {
        let name = format.name;
        let arguments = format!("check --format {name} {}", FILES.join(" "));
        let printed = scratch.run(&arguments).code(1).get_output().stdout.clone();
        let medium = match format.audience {
            // There are no colours on a pipe.
            Audience::People => Medium::File,
            Audience::Programs => Medium::Terminal,
        };
        let expected = format.render(&run, medium);
        assert_eq!(String::from_utf8(printed).unwrap(), expected, "{name}");
        scratch.run(&format!("{arguments} -o report")).code(1);
        let expected = format.render(&run, Medium::File);
        assert_eq!(String::from_utf8(scratch.read("report")).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_patch_of_the_library_is_what_patch_writes() {
    let sets: [(&[&'static str], Scratch); 3] = [
        (&FILES, device()),
        (&["boot.img"], alone(&flows::magisk_two_stage())),
        (&["boot.img"], alone(&flows::rootfs())),
    ];
    for (names, scratch) in sets {
        let files = files(&scratch, names);
        let runtime = scratch.read("rt");
        let devices = vec!["1b36:0010".parse().unwrap()];
        let options = Options::new(devices, Runtimes::given(&runtime));
        let set = set(&files);
        let plan = patch::plan(&set, &options).unwrap();
        scratch.ok(&format!(
            "patch --runtime rt --device 1b36:0010 --anyway {} -d out",
            names.join(" ")
        ));
        let mut changed = Vec::new();
        for (image, name) in std::iter::zip(&plan.images, names) {
            let Some(output) = &image.output else { continue };
            changed.push((*name).to_owned());
            assert!(output.to_vec() == scratch.read(&format!("out/{name}")), "{name}");
        }
        changed.sort();
        assert!(!changed.is_empty());
        assert_eq!(scratch.names("out"), changed);
    }
}

fn alone(image: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    scratch.file("boot.img", image);
    scratch
}

#[test]
fn the_book_lists_every_format_of_reports_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book/src/reference/audit.md");
    let page = fs::read_to_string(page).unwrap();
    let mut lines = page.lines().skip_while(|line| !line.starts_with("| `--format` |"));
    let listed: Vec<&str> = lines
        .by_ref()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(','))
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    let formats: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    assert_eq!(listed, formats);
}
