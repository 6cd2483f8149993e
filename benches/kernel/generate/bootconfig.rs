//! Texts of the kernel's bootconfig, mostly sound.

use super::random::Random;

/// Kernels disagree about the sixteenth brace within others; the library goes by those that refuse it.
const BRACES: usize = 15;
const WORDS: [&[u8]; 12] = [
    b"a",
    b"b",
    b"c",
    b"kernel",
    b"init",
    b"k-1",
    b"_x",
    b"androidboot",
    b"0",
    b"\xe9t\xe9",
    b"A",
    b"zz",
];
const SPECIAL: &[u8] = b"{}=+;:\n# \t,.\"'\\\0\x01\x7f\xa0\xd7\xf7\xe9-_a";

/// A text.
pub fn text(random: &mut Random) -> Vec<u8> {
    if random.once_in(4000) {
        return large(random);
    }
    let mut text = Vec::new();
    let mut depth = 0;
    for _ in 0..=random.below(12) {
        statement(random, &mut text, &mut depth);
    }
    if !random.once_in(6) {
        text.resize(text.len() + depth, b'}');
        text.push(b'\n');
    }
    if random.once_in(2) {
        random.damage(&mut text, SPECIAL);
    }
    let mut braces = 0;
    text.retain(|byte| {
        braces += usize::from(*byte == b'{');
        *byte != b'{' || braces <= BRACES
    });
    text
}

/// At the limits of size and nodes.
fn large(random: &mut Random) -> Vec<u8> {
    let mut text = Vec::new();
    let nodes = 8192 - 4 + random.below(8);
    match random.below(3) {
        0 => (0..nodes).for_each(|_| text.extend_from_slice(b"a,")),
        1 => (0..nodes / 2).for_each(|n| text.extend_from_slice(format!("{n:x}={n}\n").as_bytes())),
        _ => text.resize(32 * 1024 - 8 + random.below(12), b' '),
    }
    let mut all = b"k=".to_vec();
    all.append(&mut text);
    all.push(b'\n');
    all
}

fn blanks(random: &mut Random, text: &mut Vec<u8>) {
    for _ in 0..random.below(3) {
        text.extend_from_slice(random.pick(&[
            &b" "[..],
            b" ",
            b" ",
            b"\t",
            b"\r",
            b"\xa0",
            b"\x0b",
        ]));
    }
}

fn key(random: &mut Random, text: &mut Vec<u8>) {
    let words = match random.below(40) {
        0 => 14 + random.below(4),
        1..12 => 1,
        _ => 1 + random.below(3),
    };
    for number in 0..words {
        if number > 0 {
            text.push(b'.');
        }
        if random.once_in(100) {
            text.resize(text.len() + 1 + random.below(260), b'w');
        } else {
            text.extend_from_slice(random.pick(&WORDS));
        }
    }
}

fn value(random: &mut Random, text: &mut Vec<u8>) {
    const PLAIN: [&[u8]; 10] =
        [b"1", b"on", b"x y", b"/dev/a", b"\xe9", b"a\"b", b"a'b", b"a=b", b"c{d", b"\xc3\xa0"];
    const QUOTED: [&[u8]; 8] = [b"", b"a b", b"a;b", b"#", b"a\nb", b"}", b",", b"\xa0"];
    match random.below(10) {
        0 => {}
        1..4 => {
            let quote = random.pick(&[&b"\""[..], b"'"]);
            text.extend_from_slice(quote);
            text.extend_from_slice(random.pick(&QUOTED));
            text.extend_from_slice(quote);
        }
        4 => {
            comment(random, text);
            text.extend_from_slice(random.pick(&PLAIN));
        }
        _ => text.extend_from_slice(random.pick(&PLAIN)),
    }
    blanks(random, text);
}

fn comment(random: &mut Random, text: &mut Vec<u8>) {
    text.extend_from_slice(random.pick(&[&b"# c\n"[..], b"#\n", b"# a = 1; {\n", b"#\"\n"]));
}

fn statement(random: &mut Random, text: &mut Vec<u8>, depth: &mut usize) {
    blanks(random, text);
    if *depth > 0 && random.once_in(3) {
        text.push(b'}');
        *depth -= 1;
        return;
    }
    if random.once_in(8) {
        comment(random, text);
    }
    key(random, text);
    blanks(random, text);
    match random.below(12) {
        0 | 1 => {}
        2..5 => {
            text.push(b'{');
            *depth += 1;
            return;
        }
        operator => {
            text.extend_from_slice(match operator {
                5 | 6 => b"+=",
                7 | 8 => b":=",
                _ => b"=",
            });
            blanks(random, text);
            value(random, text);
            while random.once_in(3) {
                text.extend_from_slice(random.pick(&[&b","[..], b", ", b",\n"]));
                value(random, text);
            }
        }
    }
    text.extend_from_slice(random.pick(&[&b"\n"[..], b";", b"; ", b"\n\n", b" # c\n"]));
}
