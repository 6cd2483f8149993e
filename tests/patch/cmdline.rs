//! The kernel command line as words: an edit changes the words it names and no others.
//!
//! The oracle is `reference`, `next_arg` of the kernel's lib/cmdline.c written down once more.

use proptest::prelude::*;
use vfioboot::image::Header;
use vfioboot::patch::Cmdline;

use crate::common;

/// The words of a line, as the kernel's parser cuts them.
fn reference(line: &[u8]) -> Vec<Vec<u8>> {
    let space = |byte: u8| b" \t\n\x0b\x0c\r\xa0".contains(&byte);
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while rest.first().is_some_and(|byte| space(*byte)) {
            rest = &rest[1..];
        }
        if rest.is_empty() {
            return words;
        }
        let (mut end, mut in_quote) = (0, false);
        while end < rest.len() && (in_quote || !space(rest[end])) {
            in_quote ^= rest[end] == b'"';
            end += 1;
        }
        words.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
}

fn line(text: &str) -> Cmdline {
    Cmdline::new(text.as_bytes().to_vec())
}

fn text(line: &Cmdline) -> String {
    line.display()
}

fn set(text: &str, key: &str, value: &str) -> String {
    let mut line = line(text);
    line.set(key, value);
    line.display()
}

fn added(text: &str, word: &str) -> String {
    let mut line = line(text);
    line.add(word);
    line.display()
}

fn removed(text: &str, key: &str) -> (String, usize) {
    let mut line = line(text);
    let count = line.remove(key);
    (line.display(), count)
}

#[test]
fn set_replaces_the_last_such_word_in_place() {
    assert_eq!(set("a=1 b a=2 c", "a", "3"), "a=1 b a=3 c");
}

#[test]
fn set_adds_a_word_that_is_not_there() {
    assert_eq!(set("a=1", "b", "2"), "a=1 b=2");
    assert_eq!(set("", "b", "2"), "b=2");
}

#[test]
fn set_does_not_take_a_prefix_for_the_key() {
    assert_eq!(set("aa=1 a.b=2", "a", "3"), "aa=1 a.b=2 a=3");
}

#[test]
fn dashes_and_underscores_in_a_key_are_the_same() {
    assert_eq!(set("vfio_pci.ids=1", "vfio-pci.ids", "2"), "vfio-pci.ids=2");
}

#[test]
fn a_value_with_spaces_gets_quotes() {
    let once = set("a", "k", "x y");
    assert_eq!(once, "a k=\"x y\"");
    assert_eq!(set(&once, "k", "x y"), once);
    assert_eq!(line(&once).value("k"), Some(&b"x y"[..]));
}

#[test]
fn a_quoted_value_is_one_word() {
    let line = line("a=\"x y\" b");
    assert_eq!(line.value("a"), Some(&b"x y"[..]));
    assert_eq!(line.words().len(), 2);
}

#[test]
fn a_wholly_quoted_word_has_key_and_value() {
    assert_eq!(line("\"a=x y\" b").value("a"), Some(&b"x y"[..]));
}

#[test]
fn add_goes_before_the_double_dash() {
    assert_eq!(added("a -- b", "c"), "a c -- b");
}

#[test]
fn a_double_dash_in_quotes_ends_nothing() {
    assert_eq!(added("a=\" -- \" b", "c"), "a=\" -- \" b c");
}

#[test]
fn add_does_not_repeat_a_word() {
    assert_eq!(added("a b", "a"), "a b");
}

#[test]
fn several_words_are_added_one_by_one_and_once() {
    let once = added("a b", "b c  d");
    assert_eq!(once, "a b c d");
    assert_eq!(added(&once, "b c  d"), once);
}

#[test]
fn a_quote_that_nobody_closes_swallows_no_new_word() {
    let line = added("a b=\"x y", "c");
    assert_eq!(line, "a c b=\"x y");
}

#[test]
fn the_kernels_spaces_are_more_than_ascii() {
    // isspace() of lib/ctype.c takes 0xa0 for one.
    let line = Cmdline::new(b"a\x0bb\xa0c".to_vec());
    assert_eq!(line.words(), [b"a", b"b", b"c"]);
}

#[test]
fn remove_takes_every_such_word_with_one_space() {
    assert_eq!(removed("a k b k=1 c", "k"), ("a b c".to_owned(), 2));
    assert_eq!(removed("k a", "k"), ("a".to_owned(), 1));
    assert_eq!(removed("a k", "k"), ("a".to_owned(), 1));
    assert_eq!(removed("k", "k"), (String::new(), 1));
}

#[test]
fn remove_leaves_what_is_behind_the_double_dash() {
    assert_eq!(removed("a -- a", "a"), ("-- a".to_owned(), 1));
}

#[test]
fn spaces_that_are_not_edited_stay() {
    assert_eq!(set("  a=1   b  ", "a", "2"), "  a=2   b  ");
}

#[test]
fn prepend_comes_first() {
    let mut line = line("a b");
    line.prepend("c");
    assert_eq!(text(&line), "c a b");
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b" ".to_vec()),
        1 => Just(b"\t".to_vec()),
        2 => Just(b"\"".to_vec()),
        2 => Just(b" -- ".to_vec()),
        2 => Just(b"k=".to_vec()),
        1 => Just(b"k".to_vec()),
        1 => Just(b"k-a=1".to_vec()),
        4 => "[a-z0-9=._,/-]{1,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(1u8.., 1..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Words that the kernel reads for itself, and all the words.
fn cut(line: &Cmdline) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let all = reference(line.as_bytes());
    let end = all.iter().position(|word| word == b"--").unwrap_or(all.len());
    (all[..end].to_vec(), all)
}

fn named(word: &[u8], key: &[u8]) -> bool {
    let name = word.split(|byte| *byte == b'=').next().unwrap();
    name.strip_prefix(b"\"").unwrap_or(name) == key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn words_are_what_the_kernel_reads(bytes in any_line()) {
        let line = Cmdline::new(bytes.clone());
        prop_assert_eq!(line.words(), reference(&bytes));
    }

    #[test]
    fn add_adds_one_word_and_changes_none(bytes in any_line(), word in "[a-z=.0-9]{1,8}") {
        let mut line = Cmdline::new(bytes);
        let (kernels, before) = cut(&line);
        let there = kernels.contains(&word.clone().into_bytes());
        line.add(&word);
        let (kernels, mut after) = cut(&line);
        prop_assert!(kernels.contains(&word.clone().into_bytes()));
        if !there {
            let at = after.iter().position(|other| other == word.as_bytes()).unwrap();
            after.remove(at);
        }
        prop_assert_eq!(before, after);
    }

    #[test]
    fn set_changes_one_word_at_most(bytes in any_line(), value in "[a-z0-9 ]{0,6}") {
        let mut line = Cmdline::new(bytes);
        let (_, before) = cut(&line);
        line.set("k", &value);
        prop_assert_eq!(line.value("k"), Some(value.as_bytes()));
        let (_, after) = cut(&line);
        let added = after.len() - before.len();
        prop_assert!(added <= 1);
        let differ = |other: &[Vec<u8>], word: &&Vec<u8>| !other.contains(*word);
        prop_assert!(after.iter().filter(|word| differ(&before, word)).count() <= 1);
        let gone: Vec<_> = before.iter().filter(|word| differ(&after, word)).collect();
        prop_assert!(gone.len() <= 1 - added && gone.iter().all(|word| named(word, b"k")));
    }

    #[test]
    fn remove_takes_these_words_and_no_others(bytes in any_line()) {
        let mut line = Cmdline::new(bytes);
        let (kernels, before) = cut(&line);
        let expected: Vec<_> = before
            .iter()
            .enumerate()
            .filter(|(i, word)| *i >= kernels.len() || !named(word, b"k"))
            .map(|(_, word)| word.clone())
            .collect();
        let count = line.remove("k");
        prop_assert_eq!(before.len() - expected.len(), count);
        prop_assert_eq!(cut(&line).1, expected);
    }

    #[test]
    fn prepend_leaves_the_others(bytes in any_line()) {
        let mut line = Cmdline::new(bytes);
        let (_, before) = cut(&line);
        line.prepend("first=1");
        let (_, after) = cut(&line);
        prop_assert_eq!(&after[0], b"first=1");
        prop_assert_eq!(&after[1..], before);
    }

    #[test]
    fn a_field_is_terminated_or_the_line_refused(line in prop::collection::vec(1u8.., 0..2100)) {
        for (name, sizes) in [
            ("boot-v2-raw", &[(64, 512), (608, 1024)][..]),
            ("boot-v3", &[(44, 1536)]),
            ("vendor_boot-v4", &[(28, 2048)]),
        ] {
            let mut header = Header::parse(&common::fixture(&format!("images/{name}.img"))).unwrap();
            match header.set_cmdline(&line) {
                Ok(()) => {
                    prop_assert_eq!(&header.cmdline(), &line);
                    let bytes = header.to_bytes();
                    for (start, size) in sizes {
                        prop_assert_eq!(bytes[start + size - 1], 0);
                    }
                }
                Err(_) => prop_assert!(line.len() > header.cmdline_capacity() - 512),
            }
        }
    }
}
