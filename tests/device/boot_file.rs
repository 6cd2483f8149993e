//! The boot file: everything that the desktop writes is read, and nothing else.

use crate::common::device_tree;

use device_tree::Tree;
use proptest::prelude::*;
use vfioboot::bootfile::{BootFile, BootModule};
use vfioboot::device::boot::file::{self, parse};

const GOOD: &str = "version = 1\ninit = \"/init\"\ndeadline_ms = 5000\ndevices = [\"1b36:0010\"]\n";

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn reads_what_people_may_write() {
    let text = "# by hand\r\n\n  version=1 # one\ninit = '/init'\r\ndeadline_ms\t=\t100\n\
        devices = [\n  \"1b36:0010\", # the disk\n  '0000:00:02.0',\n]\n\
        [[modules]]\npath = \"/m\\u0041\\\\.ko\"\n\n[[modules]] # two\nparams = \"a=\\\"b c\\\"\"\npath = \"/n.ko\"";
    let module = |path: &str, params: &str| BootModule { path: path.into(), params: params.into() };
    assert_eq!(
        parse(text).unwrap(),
        BootFile {
            version: 1,
            init: "/init".into(),
            deadline_ms: 100,
            wait_ms: 0,
            devices: vec!["1b36:0010".into(), "0000:00:02.0".into()],
            shadows: Vec::new(),
            runtime_names: Vec::new(),
            modules: vec![module("/mA\\.ko", ""), module("/n.ko", "a=\"b c\"")],
        }
    );
}

#[test]
fn errors_name_the_line() {
    assert_eq!(error("version = 1\n"), "line 1: missing field `init`");
    assert_eq!(error("\nversion = 2\nfrob = 1\n"), "version 2, but only version 1 is known");
    let unknown = error(&format!("{GOOD}frob = 1\n"));
    assert!(
        unknown.starts_with("line 5: frob: unknown field `frob`, expected one of"),
        "{unknown}"
    );
    assert_eq!(error(&format!("{GOOD}init = \"/b\"\n")), "line 5: init: duplicate key");
    assert_eq!(error(&format!("{GOOD}[[modules]]\n")), "line 5: modules: missing field `path`");
    assert_eq!(
        error("version = \"1\""),
        "line 1: version: invalid type: string \"1\", expected u32"
    );
    assert_eq!(error("init = '/init\n"), "line 1: init: invalid literal string, expected `'`");
}

#[test]
fn init_must_be_an_absolute_path() {
    for bad in ["", "init", "./init", "/a\\nb", "/a\\u0000"] {
        let text = GOOD.replace("/init", bad);
        assert!(error(&text).contains("not an absolute path"), "{bad}");
    }
}

#[test]
fn files_that_are_none() {
    let tree = Tree::new("boot-file");
    let read = || file::read(&tree.path("boot.toml"));
    assert_eq!(read().unwrap_err().to_string(), "no such file");
    tree.file("boot.toml", b"version = 1\n\xff");
    assert_eq!(read().unwrap_err().to_string(), "not UTF-8 at byte 12");
    tree.file("boot.toml", GOOD.to_owned() + &"#".repeat(file::SIZE_LIMIT - GOOD.len()));
    assert_eq!(read().unwrap().init, "/init");
    tree.file("boot.toml", GOOD.to_owned() + &"#".repeat(file::SIZE_LIMIT - GOOD.len() + 1));
    assert_eq!(read().unwrap_err().to_string(), "larger than 65536 bytes");
    std::fs::remove_file(tree.path("boot.toml")).unwrap();
    std::fs::create_dir(tree.path("boot.toml")).unwrap();
    assert_eq!(read().unwrap_err().to_string(), "is a directory");
}

fn boot_file() -> impl Strategy<Value = BootFile> {
    let text = "[^x]{0,20}|[a\"'\\\\\n]{0,9}";
    let module = ("/[^x]{0,20}", text).prop_map(|(path, params)| BootModule { path, params });
    (
        "/[^\r\n\u{0}]{0,20}",
        any::<i32>(),
        prop::collection::vec(text, 0..4),
        prop::collection::vec(module, 0..4),
    )
        .prop_map(|(init, ms, devices, modules)| BootFile {
            version: BootFile::VERSION,
            init,
            deadline_ms: ms.unsigned_abs(),
            wait_ms: ms.unsigned_abs() / 2,
            devices,
            shadows: Vec::new(),
            runtime_names: Vec::new(),
            modules,
        })
}

proptest! {
    #[test]
    fn what_the_desktop_writes_is_read(file in boot_file()) {
        for text in [toml::to_string(&file).unwrap(), toml::to_string_pretty(&file).unwrap()] {
            prop_assert_eq!(&parse(&text).unwrap(), &file, "{}", text);
        }
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(text in any::<String>()) {
        _ = parse(&text);
    }
}
