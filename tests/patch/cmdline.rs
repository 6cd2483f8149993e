//! The kernel command line: what is read is what the kernel reads, and an edit changes what it
//! names and not one other byte.
//!
//! The judge is `next_arg` of the kernel's lib/cmdline.c, ported line by line.

use proptest::prelude::*;
use vfioboot::cmdline::{Cmdline, Parameter, same_name};
use vfioboot::image::Header;

use crate::common;

/// A parameter as the kernel's parser leaves it, and where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    raw: Vec<u8>,
    name: Vec<u8>,
    value: Option<Vec<u8>>,
    start: usize,
}

/// `isspace` of lib/ctype.c.
fn space(byte: u8) -> bool {
    b" \t\n\x0b\x0c\r\xa0".contains(&byte)
}

/// Up to the NUL, as C reads a string.
fn c_string(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap().to_vec()
}

/// `next_arg` of lib/cmdline.c over a buffer that ends in a NUL: the parameter at `args`, and the
/// offset of what follows it. It writes NULs into the buffer, as the kernel does.
fn next_arg(buffer: &mut [u8], mut args: usize) -> (Reference, usize) {
    let start = args;
    let original = buffer.to_vec();
    let (mut in_quote, mut quoted) = (false, false);
    if buffer[args] == b'"' {
        args += 1;
        in_quote = true;
        quoted = true;
    }
    let (mut i, mut equals) = (0, 0);
    while buffer[args + i] != 0 {
        if space(buffer[args + i]) && !in_quote {
            break;
        }
        if equals == 0 && buffer[args + i] == b'=' {
            equals = i;
        }
        if buffer[args + i] == b'"' {
            in_quote = !in_quote;
        }
        i += 1;
    }
    let mut val = None;
    if equals != 0 {
        buffer[args + equals] = 0;
        let mut at = args + equals + 1;
        if buffer[at] == b'"' {
            at += 1;
            if buffer[args + i - 1] == b'"' {
                buffer[args + i - 1] = 0;
            }
        }
        val = Some(at);
    }
    if quoted && i > 0 && buffer[args + i - 1] == b'"' {
        buffer[args + i - 1] = 0;
    }
    let end = args + i;
    let mut next = end;
    if buffer[end] != 0 {
        buffer[end] = 0;
        next += 1;
    }
    while space(buffer[next]) {
        next += 1;
    }
    let reference = Reference {
        raw: original[start..end].to_vec(),
        name: c_string(&buffer[args..]),
        value: val.map(|at| c_string(&buffer[at..])),
        start,
    };
    (reference, next)
}

/// The loop of `parse_args` in kernel/params.c, past `--` as well.
fn reference(line: &[u8]) -> Vec<Reference> {
    let mut buffer = [line, b"\0\0"].concat();
    let mut at = line.iter().take_while(|byte| space(**byte)).count();
    let mut found = Vec::new();
    while buffer[at] != 0 {
        let (parameter, next) = next_arg(&mut buffer, at);
        found.push(parameter);
        at = next;
    }
    found
}

/// How many of them are the kernel's own.
fn own(all: &[Reference]) -> usize {
    let end = |one: &Reference| one.name == b"--" && one.value.is_none();
    all.iter().position(end).unwrap_or(all.len())
}

/// `parameq` of kernel/params.c.
fn is(one: &Reference, name: &[u8]) -> bool {
    let underscores = |name: &[u8]| {
        name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect::<Vec<_>>()
    };
    underscores(&one.name) == underscores(name)
}

/// `text` as [`Cmdline`] cuts it: raw, name and value.
fn cut(text: &str) -> Vec<(String, String, Option<String>)> {
    let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let line = Cmdline::new(text);
    let cut = |own: Parameter<'_>| (text_of(own.raw), text_of(own.name), own.value.map(text_of));
    line.all().map(cut).collect()
}

fn one(text: &str) -> (String, Option<String>) {
    let (raw, name, value) = cut(text).swap_remove(0);
    assert_eq!(raw, text);
    (name, value)
}

fn line(text: &str) -> Cmdline {
    Cmdline::new(text.as_bytes().to_vec())
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
fn set_replaces_the_last_such_parameter() {
    assert_eq!(set("a=1 b a=2 c", "a", "3"), "a=1 b a=3 c");
}

#[test]
fn set_adds_a_missing_parameter() {
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
fn a_value_with_spaces_is_quoted() {
    let once = set("a", "k", "x y");
    assert_eq!(once, "a k=\"x y\"");
    assert_eq!(set(&once, "k", "x y"), once);
    assert_eq!(line(&once).value("k"), Some(&b"x y"[..]));
}

#[test]
fn a_quoted_value_is_one_parameter() {
    let line = line("a=\"x y\" b");
    assert_eq!(line.value("a"), Some(&b"x y"[..]));
    assert_eq!(line.all().count(), 2);
}

#[test]
fn a_fully_quoted_parameter_has_key_and_value() {
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
fn add_does_not_repeat_a_parameter() {
    assert_eq!(added("a b", "a"), "a b");
}

#[test]
fn several_parameters_are_added_once_each() {
    let once = added("a b", "b c  d");
    assert_eq!(once, "a b c d");
    assert_eq!(added(&once, "b c  d"), once);
}

#[test]
fn an_open_quote_does_not_swallow_a_new_parameter() {
    let line = added("a b=\"x y", "c");
    assert_eq!(line, "a c b=\"x y");
}

#[test]
fn the_kernels_spaces_are_more_than_ascii() {
    // isspace() of lib/ctype.c takes 0xa0 for one.
    let line = Cmdline::new(b"a\x0bb\xa0c".to_vec());
    let raw: Vec<&[u8]> = line.all().map(|own| own.raw).collect();
    assert_eq!(raw, [b"a", b"b", b"c"]);
}

#[test]
fn remove_removes_every_such_parameter_with_one_space() {
    assert_eq!(removed("a k b k=1 c", "k"), ("a b c".to_owned(), 2));
    assert_eq!(removed("k a", "k"), ("a".to_owned(), 1));
    assert_eq!(removed("a k", "k"), ("a".to_owned(), 1));
    assert_eq!(removed("k", "k"), (String::new(), 1));
}

#[test]
fn remove_keeps_arguments_after_the_double_dash() {
    assert_eq!(removed("a -- a", "a"), ("-- a".to_owned(), 1));
}

#[test]
fn spaces_that_are_not_edited_stay() {
    assert_eq!(set("  a=1   b  ", "a", "2"), "  a=2   b  ");
    // The added parameter brings its own space, so that removing it gives the line back.
    assert_eq!(added("  a   b  ", "c"), "  a   b   c");
    assert_eq!(added("  a   b  ", "b"), "  a   b  ");
    assert_eq!(removed("  a  k  b  ", "k").0, "  a  ".to_owned() + " b  ");
    assert_eq!(removed("  a  ", "k").0, "  a  ");
}

#[test]
fn only_the_outer_quotes_are_the_kernels() {
    let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    assert_eq!(one("a=\"x y\""), some("a", "x y"));
    assert_eq!(one("\"a=x y\""), some("a", "x y"));
    assert_eq!(one("a=\"x\"y\"z\""), some("a", "x\"y\"z"));
    assert_eq!(one("a=x\"y z\""), some("a", "x\"y z\""));
    assert_eq!(one("a=\""), some("a", ""));
    assert_eq!(one("a\"b c\"d"), ("a\"b c\"d".to_owned(), None));
    assert_eq!(one("\"a b\""), ("a b".to_owned(), None));
}

#[test]
fn an_equals_sign_in_the_first_place_belongs_to_the_name() {
    assert_eq!(one("=a"), ("=a".to_owned(), None));
    assert_eq!(one("=a=b"), ("=a".to_owned(), Some("b".to_owned())));
}

#[test]
fn a_quoted_double_dash_ends_the_parameters_as_well() {
    let line = line("a \"--\" b=1");
    assert!(line.has("a") && !line.has("b"));
}

#[test]
fn the_last_value_wins_and_all_can_be_asked_for() {
    let line = line("a=1 a-b=2 a a=3 a_b -- a=4");
    assert_eq!(line.value("a"), Some(&b"3"[..]));
    assert_eq!(line.values("a").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(line.value("a_b"), Some(&b"2"[..]));
    assert!(line.has_flag("a") && line.has_flag("a-b") && !line.has_flag("b"));
    assert!(line.has("a-b") && !line.has("A"));
}

/// `early_kvm_mode_cfg` leaves what an earlier parameter has set.
#[test]
fn a_value_that_the_kernel_does_not_know_does_not_decide() {
    let decides = |text: &str| {
        let line = line(text);
        line.effective("kvm-arm.mode").map(|own| own.to_string())
    };
    assert_eq!(
        decides("kvm-arm.mode=nvhe kvm-arm.mode=other kvm-arm.mode").as_deref(),
        Some("kvm-arm.mode=nvhe")
    );
    assert_eq!(decides("kvm-arm.mode=other"), None);
}

#[test]
fn for_people_a_parameter_has_no_outer_quotes() {
    let shown = |text: &str| Parameter::first_of(text.as_bytes()).unwrap().to_string();
    assert_eq!(shown("\"dyndbg=file a.c +p\""), "dyndbg=file a.c +p");
    assert_eq!(shown("a=\"b c\" d"), "a=b c");
    assert_eq!(shown("quiet"), "quiet");
}

#[test]
fn truth_is_what_kstrtobool_says() {
    let truth = |text: &str| Parameter::first_of(text.as_bytes()).unwrap().truth();
    for text in ["p", "p=1", "p=y", "p=Yes", "p=on", "p=ON", "p=\"1\"", "p=true"] {
        assert_eq!(truth(text), Some(true), "{text}");
    }
    for text in ["p=0", "p=n", "p=No", "p=off", "p=oFF", "p=false"] {
        assert_eq!(truth(text), Some(false), "{text}");
    }
    for text in ["p=", "p=2", "p=o", "p=ox"] {
        assert_eq!(truth(text), None, "{text}");
    }
}

#[test]
fn add_takes_another_spelling_for_the_same_parameter() {
    assert_eq!(added("vfio_pci.ids=\"1:2\"", "vfio-pci.ids=1:2"), "vfio_pci.ids=\"1:2\"");
}

#[test]
fn prepend_comes_first() {
    let mut line = line("a b");
    line.prepend("c");
    assert_eq!(line.display(), "c a b");
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

/// `after` is `before` with `inserted` put in at one place.
fn is_insertion(before: &[u8], after: &[u8], inserted: &[u8]) -> bool {
    (0..=before.len()).any(|at| [&before[..at], inserted, &before[at..]].concat() == after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_line_is_cut_as_the_kernel_cuts_it(bytes in any_line()) {
        let line = Cmdline::new(bytes.as_slice());
        let mut found = Vec::new();
        for parameter in line.all() {
            // `raw` is a piece of the line.
            let start = parameter.raw.as_ptr() as usize - bytes.as_ptr() as usize;
            found.push(Reference {
                raw: parameter.raw.to_vec(),
                name: parameter.name.to_vec(),
                value: parameter.value.map(<[u8]>::to_vec),
                start,
            });
        }
        let expected = reference(&bytes);
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(line.parameters().count(), own(&expected));
    }

    #[test]
    fn answers_are_the_kernels(bytes in any_line(), name in "k|k[_-]a|a") {
        let line = Cmdline::new(bytes.as_slice());
        let all = reference(&bytes);
        let own: Vec<_> = all[..own(&all)].iter().filter(|one| is(one, name.as_bytes())).collect();
        let values: Vec<_> = own.iter().filter_map(|one| one.value.as_deref()).collect();
        prop_assert_eq!(line.values(&name).collect::<Vec<_>>(), values.clone());
        prop_assert_eq!(line.value(&name), values.last().copied());
        prop_assert_eq!(line.has(&name), !own.is_empty());
        prop_assert_eq!(line.has_flag(&name), values.len() < own.len());
    }

    #[test]
    fn add_inserts_one_parameter_and_changes_no_byte(
        bytes in any_line(),
        parameter in "[a-z.-][a-z=.0-9-]{0,7}",
    ) {
        prop_assume!(parameter != "--");
        let mut line = Cmdline::new(bytes.clone());
        line.add(&parameter);
        let wanted = reference(parameter.as_bytes()).swap_remove(0);
        let same = |one: &Reference| is(one, &wanted.name) && one.value == wanted.value;
        let (old, new) = (reference(&bytes), reference(line.as_bytes()));
        if old[..own(&old)].iter().any(same) {
            prop_assert_eq!(line.as_bytes(), bytes);
        } else {
            // The last of the kernel's own, but for one that has a quote open.
            prop_assert_eq!(new.len(), old.len() + 1);
            prop_assert!(new[..own(&new)].iter().any(same));
            let text = parameter.as_bytes();
            let forms = [text.to_vec(), [text, b" "].concat(), [b" ", text].concat()];
            prop_assert!(forms.iter().any(|form| is_insertion(&bytes, line.as_bytes(), form)));
        }
    }

    #[test]
    fn set_replaces_one_parameter_or_inserts_one(bytes in any_line(), value in "[a-z0-9 ]{0,6}") {
        let mut line = Cmdline::new(bytes.clone());
        line.set("k", &value);
        prop_assert_eq!(line.value("k"), Some(value.as_bytes()));
        let quote = if value.contains(' ') { "\"" } else { "" };
        let text = format!("k={quote}{value}{quote}").into_bytes();
        let old = reference(&bytes);
        let last = old[..own(&old)].iter().rfind(|one| is(one, b"k") && one.value.is_some());
        match last {
            Some(one) => {
                let (start, end) = (one.start, one.start + one.raw.len());
                let expected = [&bytes[..start], &text, &bytes[end..]].concat();
                prop_assert_eq!(line.as_bytes(), expected);
            }
            None => {
                let forms = [text.clone(), [&text[..], b" "].concat(), [b" ", &text[..]].concat()];
                prop_assert!(forms.iter().any(|form| is_insertion(&bytes, line.as_bytes(), form)));
            }
        }
    }

    #[test]
    fn remove_takes_these_parameters_with_a_space_each(bytes in any_line()) {
        let mut line = Cmdline::new(bytes.clone());
        let old = reference(&bytes);
        let end = own(&old);
        let (gone, kept): (Vec<_>, Vec<_>) =
            old.iter().enumerate().partition(|(at, one)| *at < end && is(one, b"k"));
        prop_assert_eq!(line.remove("k"), gone.len());
        let raw = |all: &[Reference]| all.iter().map(|one| one.raw.clone()).collect::<Vec<_>>();
        let kept: Vec<_> = kept.into_iter().map(|(_, one)| one.clone()).collect();
        prop_assert_eq!(raw(&reference(line.as_bytes())), raw(&kept));
        // Nothing but their bytes and one space for each is gone.
        let lost: usize = gone.iter().map(|(_, one)| one.raw.len()).sum();
        let left = bytes.len() - line.as_bytes().len();
        prop_assert!((lost..=lost + gone.len()).contains(&left));
        if gone.is_empty() {
            prop_assert_eq!(line.as_bytes(), bytes);
        }
    }

    #[test]
    fn prepend_leaves_the_others(bytes in any_line()) {
        let mut line = Cmdline::new(bytes.clone());
        line.prepend("first=1");
        let separator: &[u8] = if bytes.is_empty() { b"" } else { b" " };
        prop_assert_eq!(line.as_bytes(), [b"first=1", separator, &bytes].concat());
    }

    #[test]
    fn names_are_the_same_as_for_parameq(a in "[a_-]{0,3}", b in "[a_-]{0,3}") {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        let other = Reference { raw: Vec::new(), name: a.to_vec(), value: None, start: 0 };
        prop_assert_eq!(same_name(a, b), is(&other, b));
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
