//! Bootconfig as the kernel's lib/bootconfig.c reads it, and edits that change nothing else.

use proptest::prelude::*;
use vfioboot::image::bootconfig::{Bootconfig, Entry, Error, Limits};

fn parse(text: &str) -> Bootconfig {
    Bootconfig::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// `key = values` of every entry, in the form of /proc/bootconfig.
fn entries(text: &str) -> Vec<String> {
    let config = parse(text);
    let quoted = |values: &[String]| {
        values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
    };
    let line = |(key, values): (String, Vec<String>)| format!("{key} = {}", quoted(&values));
    config.entries().into_iter().map(|entry| line((entry.key, entry.values))).collect()
}

fn error(text: &str) -> String {
    let config = match Bootconfig::parse(text.as_bytes()) {
        Ok(config) => config,
        Err(error) => return error.to_string(),
    };
    config.validate(Limits::KERNEL).expect_err(text).to_string()
}

fn set(text: &str, key: &str, value: &str) -> String {
    let mut config = parse(text);
    config.set(key, value).unwrap_or_else(|error| panic!("{key}={value}: {error}"));
    String::from_utf8(config.as_bytes().to_vec()).unwrap()
}

fn set_error(text: &str, key: &str, value: &str) -> String {
    parse(text).set(key, value).expect_err(value).to_string()
}

fn removed(text: &str, key: &str) -> String {
    let mut config = parse(text);
    config.remove(key).unwrap_or_else(|error| panic!("{key}: {error}"));
    String::from_utf8(config.as_bytes().to_vec()).unwrap()
}

// --- reading ----------------------------------------------------------------------------------

#[test]
fn a_line_is_a_key_and_its_value() {
    assert_eq!(entries("androidboot.hardware=qcom\n"), ["androidboot.hardware = \"qcom\""]);
}

#[test]
fn spaces_around_keys_and_values_do_not_count() {
    assert_eq!(entries("  a.b =  c d \n"), ["a.b = \"c d\""]);
}

#[test]
fn at_the_end_of_the_text_the_spaces_of_a_value_stay() {
    assert_eq!(entries("a = b "), ["a = \"b \""]);
}

#[test]
fn quotes_keep_what_would_end_a_value() {
    assert_eq!(entries("a = \"b;c#d}\"; e = 'f\"g'\n"), ["a = \"b;c#d}\"", "e = \"f\"g\""]);
}

#[test]
fn commas_make_an_array_over_several_lines() {
    assert_eq!(entries("a = b, # first\n  \"c\",\n d\n"), ["a = \"b\", \"c\", \"d\""]);
}

#[test]
fn braces_prefix_their_keys() {
    assert_eq!(
        entries("a.b { c = 1; d { e\n f = 2 } }\ng = 3\n"),
        ["a.b.c = \"1\"", "a.b.d.e = ", "a.b.d.f = \"2\"", "g = \"3\""]
    );
}

#[test]
fn an_override_replaces_a_value_and_an_append_follows_it() {
    assert_eq!(entries("a = 1\na := 2, 3\na += 4\n"), ["a = \"2\", \"3\", \"4\""]);
}

#[test]
fn a_key_may_have_a_value_and_keys_below_it() {
    assert_eq!(entries("a = 1\na.b = 2\n"), ["a = \"1\"", "a.b = \"2\""]);
}

#[test]
fn keys_are_listed_as_the_kernel_lists_them() {
    // Those below one key together, in the order of their first statements.
    assert_eq!(
        entries("a.b = 1\nc = 2\na.d = 3\na = 4\n"),
        ["a = \"4\"", "a.b = \"1\"", "a.d = \"3\"", "c = \"2\""]
    );
    // A key without a value is one only if none is below it.
    assert_eq!(entries("a\na.b\nc {}\n"), ["a.b = ", "c = "]);
}

#[test]
fn comments_and_empty_lines_say_nothing() {
    assert_eq!(entries("# a=b\n\n a # c\n;\n"), ["a = "]);
}

#[test]
fn zeros_after_the_text_are_padding() {
    assert_eq!(parse("a = 1\n\0\0\0").as_bytes(), b"a = 1\n");
}

#[test]
fn nodes_are_counted_as_the_kernel_does() {
    // a, b, c and two values
    assert_eq!(parse("a.b = 1, 2\na.c\n").nodes(), 5);
    // an override takes over the first node
    assert_eq!(parse("a = 1\na := 2\n").nodes(), 2);
    assert_eq!(parse("a = 1\na += 2\n").nodes(), 3);
}

// --- what the kernel refuses ------------------------------------------------------------------

#[test]
fn a_second_value_voids_the_block_and_the_message_names_both_lines() {
    let text = error("a.b = 1\n# c\na { b = 2 }\n");
    assert!(text.starts_with("bootconfig line 3: a.b has a value already, from line 1"), "{text}");
    assert!(text.contains("a.b := …"), "{text}");
}

#[test]
fn a_value_that_is_added_or_replaces_another_voids_nothing() {
    for text in ["a = 1\na += 2\n", "a = 1\na := 2\n", "a += 1\n", "a\na = 1\na\n"] {
        parse(text).validate(Limits::KERNEL).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }
}

#[test]
fn syntax_errors_name_line_offset_and_what_was_expected() {
    for (text, expected) in [
        ("a = 1\nb\nc d = 2\n", "line 3 (offset 8): \"c d\" is not a key"),
        ("a + 1\n", "line 1 (offset 2): expected += and not + alone"),
        ("a : 1\n", "line 1 (offset 2): expected := and not : alone"),
        ("a = \"b\n", "line 1 (offset 4): the quote \" is not closed"),
        ("a = 'b' c\n", "line 1 (offset 8): expected , ; # } or a line break after the closing"),
        ("a = bc\u{7}\n", "line 1 (offset 6): a value has a byte that cannot be printed"),
        ("a {\n b = 1\n", "line 1 (offset 2): the brace of a is not closed"),
        ("a = 1 }\n", "line 1 (offset 6): a closing brace without an opening one"),
        ("a = 1\nword", "line 2 (offset 6): expected =, {, ; or a line break after the key"),
        (" = 1\n", "line 1 (offset 1): expected a key"),
    ] {
        let found = error(text);
        assert!(found.starts_with(&format!("bootconfig {expected}")), "{text:?}: {found}");
    }
}

#[test]
fn limits_are_the_kernels() {
    let long = "a".repeat(256);
    assert!(error(&format!("{long} = 1\n")).contains("has 256 bytes, the limit is 255"));
    let deep = vec!["a"; 17].join(".");
    assert!(error(&format!("{deep} = 1\n")).contains("has 17 words, the limit is 16"));
    let braces = "a{".repeat(16) + &"}".repeat(16);
    assert!(error(&braces).contains("too many braces"), "{}", error(&braces));
    let full = format!("a = \"{}\"\n", "x".repeat(32 * 1024 - 2 - 7));
    parse(&full).validate(Limits::KERNEL).unwrap();
    let text = error(&format!("{full}#"));
    assert!(
        text.contains("has 32767 bytes, the kernel accepts at most 32766 (1 too many)"),
        "{text}"
    );
    let nodes: String = (0..4097).map(|i| format!("k{i}=1\n")).collect();
    let text = parse(&nodes).validate(Limits { bytes: usize::MAX, nodes: 8192 }).unwrap_err();
    assert!(text.to_string().contains("has 8194 nodes"), "{text}");
}

#[test]
fn keys_that_the_kernel_cannot_read_out_are_refused() {
    let long = |key: &str| match Bootconfig::parse(format!("a = 1\na.{key}\n").as_bytes()) {
        Err(Error::LongKey { line: 2, what, found, .. }) => (what, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(long(&vec!["b"; 16].join(".")), ("words", 17));
    assert_eq!(long(&"b".repeat(254)), ("bytes", 256));
    parse(&format!("a.{} = 1\n", vec!["b"; 15].join(".")));
}

#[test]
fn no_more_text_is_read_than_an_edit_could_repair() {
    let text = vec![b'\n'; Limits::READ];
    Bootconfig::parse(&text).unwrap();
    let found = Limits::READ + 1;
    let error = Bootconfig::parse(&[&text[..], b"\n"].concat()).unwrap_err();
    assert_eq!(error, Error::TooLarge { what: "bytes", found, limit: Limits::READ });
}

// --- edits ------------------------------------------------------------------------------------

#[test]
fn setting_a_key_changes_its_value_and_nothing_else() {
    let before = "# hardware\nandroidboot.hardware=qcom # which\na = 1; b=2\n";
    assert_eq!(
        set(before, "androidboot.hardware", "mt"),
        "# hardware\nandroidboot.hardware=mt # which\na = 1; b=2\n"
    );
    assert_eq!(set(before, "b", "3"), before.replace("b=2", "b=3"));
}

#[test]
fn setting_a_key_inside_of_braces_stays_inside_of_them() {
    assert_eq!(set("a { b = \"1\", 2 } c = 3\n", "a.b", "x"), "a { b = x } c = 3\n");
}

#[test]
fn setting_a_key_without_a_value_gives_it_one() {
    assert_eq!(set("a # c\n", "a", "1"), "a = 1 # c\n");
}

#[test]
fn a_new_key_is_added_as_a_separate_line() {
    assert_eq!(set("", "a.b", "1"), "a.b = 1\n");
    assert_eq!(set("a = 1", "b", "2, 3"), "a = 1\nb = 2, 3\n");
}

#[test]
fn a_new_key_is_not_a_value_of_the_previous_key() {
    for text in ["a =", "a =\n", "a := # b", "a = b,\n", "a = b, # c"] {
        let edited = set(text, "k", "'new;'");
        let mut expected = entries(text);
        expected.push("k = \"new;\"".into());
        assert_eq!(entries(&edited), expected, "{text:?}");
    }
    // A value that is there, but empty, needs nothing.
    assert_eq!(set("a = \"\"\n", "k", "1"), "a = \"\"\nk = 1\n");
}

#[test]
fn setting_a_key_leaves_it_one_statement() {
    assert_eq!(set("a = 1\nb = 0\na := 2\na += 3\n", "a", "4"), "a = 4\nb = 0\n");
}

#[test]
fn setting_a_key_repairs_a_text_that_assigns_two_values_to_it() {
    let text = set("a = 1\na = 2\n", "a", "3");
    assert_eq!(text, "a = 3\n");
    parse(&text).validate(Limits::KERNEL).unwrap();
}

#[test]
fn values_that_bootconfig_would_cut_are_refused() {
    for value in ["a;b", "a#b", "a}b", "a\nb", "#a", "\"a\" b", "\"a", "\u{1}"] {
        let text = set_error("", "k", value);
        assert!(text.contains("is not a bootconfig value"), "{value:?}: {text}");
    }
    assert_eq!(set("", "k", "\"a;b\""), "k = \"a;b\"\n");
    assert_eq!(set("", "k", ""), "k = \"\"\n");
}

#[test]
fn keys_that_bootconfig_does_not_know_are_refused() {
    for key in ["", "a b", "a..b", ".a", "a=b", "ä"] {
        assert!(set_error("", key, "1").contains("is not a bootconfig key"), "{key:?}");
    }
}

#[test]
fn removing_a_key_takes_its_line() {
    assert_eq!(removed("a = 1\n  b = 2\nc = 3\n", "b"), "a = 1\nc = 3\n");
    assert_eq!(removed("a = 1\nb = 2", "b"), "a = 1\n");
}

#[test]
fn removing_a_key_keeps_the_rest_of_its_line() {
    assert_eq!(removed("a = 1; b = 2 # c\n", "a"), "b = 2 # c\n");
    assert_eq!(removed("a = 1; b = 2 # c\n", "b"), "a = 1; # c\n");
    assert_eq!(removed("a { b = 1 } c = 2\n", "a.b"), "a { } c = 2\n");
    assert_eq!(removed("a = 1; b = 2\nc = 3\n", "b"), "a = 1; \nc = 3\n");
    assert_eq!(removed("a = 1; b = 2", "b"), "a = 1; ");
    assert_eq!(removed("a = 1\n  b = 2", "b"), "a = 1\n");
}

#[test]
fn removing_a_key_takes_all_its_statements() {
    assert_eq!(removed("a = 1\nb\na += 2\n", "a"), "b\n");
}

#[test]
fn removing_a_missing_key_names_the_keys_below_it() {
    let mut config = parse("a.b = 1\na.c = 2\n");
    let error = config.remove("a").unwrap_err();
    assert_eq!(error.to_string(), "the bootconfig has no key a itself, only a.b, a.c");
    let error = config.remove("x").unwrap_err();
    assert!(matches!(error, Error::NoKey { .. }));
    assert_eq!(error.to_string(), "the bootconfig has no key x");
}

/// Texts that follow the grammar, of few keys so that they meet.
fn texts() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "a.b", "a.b.c", "c"]);
    let value = prop::sample::select(vec!["1", "\"x;y\"", "'#'", "u v", "1, 2", "\"\""]);
    let operator = prop::sample::select(vec!["=", " = ", " := ", "+="]);
    let ending = prop::sample::select(vec!["\n", ";", " # note\n", "\n\n", " ; "]);
    let assignment = (key.clone(), operator, value, ending.clone())
        .prop_map(|(key, operator, value, ending)| format!("{key}{operator}{value}{ending}"));
    let bare = (key.clone(), ending).prop_map(|(key, ending)| format!("{key}{ending}"));
    let flat = prop_oneof![4 => assignment, 1 => bare];
    let block = (key, prop::collection::vec(flat.clone(), 0..3))
        .prop_map(|(key, inside)| format!("{key} {{ {} }}\n", inside.concat()));
    prop::collection::vec(prop_oneof![3 => flat, 1 => block], 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn set_and_remove_touch_one_key(text in texts(), key in prop::sample::select(vec!["a", "a.b", "d.e"])) {
        let before = parse(&text);
        let others = |config: &Bootconfig| {
            let mut entries = config.entries();
            // A key without a value is none when there is one below it.
            let above = |own: &Entry| own.values.is_empty() && key.starts_with(&own.key);
            entries.retain(|entry| entry.key != key && !above(entry));
            // Another key may be the first below a common one.
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            entries
        };
        let mut after = before.clone();
        after.set(key, "new").unwrap();
        prop_assert_eq!(others(&before), others(&after));
        let value: Vec<_> = after.entries().into_iter().filter(|entry| entry.key == key).collect();
        prop_assert_eq!(&value[0].values, &["new"]);
        after.remove(key).unwrap();
        prop_assert_eq!(others(&before), others(&after));
        // Braces without anything in them stay.
        prop_assert!(after.entries().iter().all(|own| own.key != key || own.values.is_empty()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop::sample::select(
        b"ab.=+:{}#;,\n \"'\x01\xff".to_vec()), 0..40))
    {
        if let Ok(config) = Bootconfig::parse(&bytes) {
            let _ = config.validate(Limits::KERNEL);
            prop_assert!(config.statements().iter().all(|s| s.span.end <= bytes.len()));
        }
    }
}
