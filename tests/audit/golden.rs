//! Reports of every format, byte for byte, as they are in `fixtures/reports`: by a profile with every kind of
//! rule, of inputs with every kind of verdict.

use crate::common;
use crate::common::cli::Scratch;

use std::fs;
use std::path::PathBuf;

const HEAD: &str = "# Linux/arm64 6.1.99 Kernel Configuration\n";
/// What every complete config has.
const COMPLETE: &str = "CONFIG_INIT_ENV_ARG_LIMIT=32\nCONFIG_PANIC_TIMEOUT=0\n\
    CONFIG_BLK_DEV_INITRD=y\nCONFIG_EVENTFD=y\nCONFIG_CMDLINE=\"\"\n";
const GOOD: &str = "CONFIG_KVM=y\nCONFIG_VFIO_PCI=y\n# CONFIG_TRAP is not set\n\
    CONFIG_IOMMU_STRICT=y\nCONFIG_HELPER=y\nCONFIG_EXTRA=y\n";
/// Fails a rule of each level.
const BAD: &str = "# CONFIG_KVM is not set\nCONFIG_VFIO_PCI=y\nCONFIG_TRAP=y\nCONFIG_HELPER=y\n";
/// A config that is not complete, with modules of which nothing is known.
const OPEN: &str = "CONFIG_KVM=y\nCONFIG_VFIO_PCI=m\nCONFIG_HELPER=m\nCONFIG_EXTRA=y\n\
    CONFIG_CMDLINE=\"iommu.strict=1 quiet\"\nCONFIG_CMDLINE_FORCE=y\n";

fn fixture(name: &str) -> PathBuf {
    common::fixture_path(&format!("reports/{name}"))
}

fn inputs() -> Scratch {
    let scratch = Scratch::new();
    for (name, start, settings) in
        [("good.config", COMPLETE, GOOD), ("bad.config", COMPLETE, BAD), ("open.config", "", OPEN)]
    {
        scratch.file(name, format!("{HEAD}{start}{settings}").as_bytes());
    }
    scratch.file("words.config", b"no config\nat all\n");
    fs::copy(fixture("profile.toml"), scratch.path("profile.toml")).unwrap();
    scratch
}

/// The output of `check` with these words is that of the fixture.
fn same(scratch: &Scratch, name: &str, words: &str) {
    let mut command = scratch.command(&format!("check --profile profile.toml {words}"));
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty() || words.contains("words.config"), "{words}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let place = fixture(name);
    if std::env::var_os("VFIOBOOT_UPDATE").is_some() {
        fs::write(&place, &text).unwrap();
    }
    let expected = fs::read_to_string(&place).unwrap_or_default();
    assert!(
        text == expected,
        "{words}: differs from {name}, VFIOBOOT_UPDATE=1 writes it again:\n{text}"
    );
}

#[test]
fn each_format() {
    let scratch = inputs();
    for format in ["text", "json", "jsonl", "sarif", "junit", "tap", "github", "gitlab", "markdown"]
    {
        let inputs = "good.config bad.config open.config words.config";
        same(&scratch, &format!("all.{format}"), &format!("{inputs} --format {format}"));
        same(&scratch, &format!("good.{format}"), &format!("good.config --format {format}"));
        let all = format!("open.config bad.config --fail-on recommended --format {format}");
        same(&scratch, &format!("recommended.{format}"), &all);
    }
    // More than GitHub shows.
    fs::copy(scratch.path("bad.config"), scratch.path("more.config")).unwrap();
    let inputs = "bad.config more.config open.config words.config";
    same(&scratch, "many.github", &format!("{inputs} --format github"));
}

#[test]
fn known_failures_in_each_format() {
    let scratch = inputs();
    scratch.run("check --profile profile.toml bad.config --write-baseline known.json");
    for format in ["text", "json", "sarif", "junit", "tap", "github", "gitlab", "markdown", "html"]
    {
        let words = format!("bad.config --baseline known.json --format {format}");
        same(&scratch, &format!("known.{format}"), &words);
    }
}

#[test]
fn a_fragment_with_what_fails() {
    let scratch = inputs();
    for name in ["bad", "open"] {
        scratch.run(&format!("check --profile profile.toml {name}.config --fragment fragment"));
        let text = String::from_utf8(scratch.read("fragment")).unwrap();
        let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let place = fixture(&format!("{name}.fragment"));
        if std::env::var_os("VFIOBOOT_UPDATE").is_some() {
            fs::write(&place, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&place).unwrap_or_default(), "{name}");
    }
}
