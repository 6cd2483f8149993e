//! Any bytes as an rc file: the statements are in order within it, every finding is within it,
//! and an import that is added is read where it was put and changes nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::rc::import::add_import;
use vfioboot::rc::{Platform, Script, check};
use vfioboot::root_manager::RcOverlay;

const PATH: &str = "/init.vfioboot.rc";

fuzz_target!(|bytes: &[u8]| {
    let script = Script::read(bytes);
    let mut end = 0;
    for statement in &script.statements {
        assert!(statement.range.start >= end && !statement.words.is_empty());
        end = statement.range.end;
    }
    assert!(end <= bytes.len());
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for overlay in RcOverlay::all().map(Some).chain([None]) {
        let newest = overlay.is_none().then_some(9);
        let findings = check(bytes, Platform { overlay, oldest: None, newest });
        assert!(findings.is_sorted_by_key(|finding| finding.line));
        assert!(findings.iter().all(|finding| (1..=lines).contains(&finding.line)));
    }
    let words = |script: Script| -> Vec<Vec<String>> {
        script.statements.into_iter().map(|statement| statement.words).collect()
    };
    let Some(added) = add_import(bytes, PATH) else { return };
    let mut after = words(Script::read(&added));
    let at = after.iter().position(|words| words == &["import", PATH]).unwrap();
    after.remove(at);
    assert_eq!(after, words(script));
    assert!(add_import(&added, PATH).is_none());
});
