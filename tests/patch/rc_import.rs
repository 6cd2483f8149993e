//! The `import` line that `patch` adds to an `init.rc`: where init honours it, and nothing else of
//! the file is touched.

use proptest::prelude::*;
use vfioboot::rc::import::add_import;
use vfioboot::rc::{End, Script};

fn added(text: &str) -> String {
    String::from_utf8(add_import(text.as_bytes(), "/x.rc").unwrap()).unwrap()
}

#[test]
fn the_line_follows_the_last_import_or_precedes_the_first_section() {
    for (text, expected) in [
        (
            "import /a.rc\non boot\n    start a\n",
            "import /a.rc\nimport /x.rc\non boot\n    start a\n",
        ),
        (
            "import /a.rc\n\nimport /b.rc\non boot\n",
            "import /a.rc\n\nimport /b.rc\nimport /x.rc\non boot\n",
        ),
        ("# note\n\non boot\n    start a\n", "# note\n\nimport /x.rc\non boot\n    start a\n"),
        (
            "on boot\n    start a\nimport /a.rc\n",
            "on boot\n    start a\nimport /a.rc\nimport /x.rc\n",
        ),
        ("import /a.rc", "import /a.rc\nimport /x.rc\n"),
        ("import \\\n    /a.rc\non boot\n", "import \\\n    /a.rc\nimport /x.rc\non boot\n"),
        ("import /a.rc\r\non boot\r\n", "import /a.rc\r\nimport /x.rc\non boot\r\n"),
        ("", "import /x.rc\n"),
        ("# nothing but this", "import /x.rc\n# nothing but this"),
        // These are not sections: the words are in quotes, in a comment, in an action.
        (
            "on boot\n    write /a \"\nimport /a.rc\"\n",
            "import /x.rc\non boot\n    write /a \"\nimport /a.rc\"\n",
        ),
        ("# import /a.rc \\\non boot\n", "# import /a.rc \\\nimport /x.rc\non boot\n"),
        ("on boot\n    trigger import\n", "import /x.rc\non boot\n    trigger import\n"),
    ] {
        assert_eq!(added(text), expected);
    }
}

#[test]
fn lines_that_init_ignores_are_not_a_position() {
    // Behind a NUL byte, in an open quote, at a last backslash.
    assert_eq!(added("on boot\n\0import /a.rc\n"), "import /x.rc\non boot\n\0import /a.rc\n");
    assert_eq!(
        added("on boot\n  a \"b\nimport /a.rc\n"),
        "import /x.rc\non boot\n  a \"b\nimport /a.rc\n"
    );
    assert_eq!(added("on boot\nimport /a.rc \\"), "import /x.rc\non boot\nimport /a.rc \\");
}

#[test]
fn a_line_that_is_there_is_not_added_again() {
    assert_eq!(add_import(b"on boot\nimport \"/x.rc\"\n", "/x.rc"), None);
}

proptest! {
    /// Pieces that matter to the tokenizer, in any order.
    #[test]
    fn exactly_one_statement_is_added(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "import ", "/a.rc", "on ", "boot", "\n", "\r\n", " ", "\\", "\"", "#", "\0", "\\n", "x",
            ]),
            0..24,
        ),
    ) {
        let text = pieces.concat();
        let before = Script::read(text.as_bytes());
        let after = added(&text);
        let script = Script::read(after.as_bytes());
        let words = |script: &Script| -> Vec<Vec<String>> {
            script.statements.iter().map(|statement| statement.words.clone()).collect()
        };
        let mut rest = words(&script);
        let at = rest.iter().position(|line| line == &["import", "/x.rc"]).unwrap();
        rest.remove(at);
        prop_assert_eq!(rest, words(&before));
        prop_assert_eq!(
            std::mem::discriminant(&script.end), std::mem::discriminant(&before.end)
        );
        let without = after.replacen("import /x.rc\n", "", 1);
        // Where the last line had no end it got one.
        let ended = [&text, "\n"].concat();
        prop_assert!(without == text || without == ended);
    }

    #[test]
    fn statements_tile_what_is_read(text in "[a-c \\\\\"#\n\r\0]{0,40}") {
        let script = Script::read(text.as_bytes());
        let mut end = 0;
        for statement in &script.statements {
            prop_assert!(statement.range.start >= end && !statement.words.is_empty());
            let lines = text.as_bytes()[..statement.range.start].iter().filter(|b| **b == b'\n');
            prop_assert_eq!(statement.line, lines.count() + 1);
            end = statement.range.end;
        }
        prop_assert!(end <= text.len());
    }
}

#[test]
fn the_end_says_what_is_lost() {
    let end = |text: &str| Script::read(text.as_bytes()).end;
    assert_eq!(end("on boot"), End::Whole);
    assert_eq!(end("on boot\n\0"), End::Nul { line: 2, offset: 8 });
    assert_eq!(end("on boot\n a \"b\n"), End::OpenQuote { line: 2 });
    assert_eq!(end("on boot\n a \\"), End::Backslash { line: 2 });
}
