//! Makes untrusted text (from images, file names, journals, the kernel) safe to print: control
//! characters and invisible characters are written as escapes. Printable Unicode is kept.
//!
//! Both programs print such text through this module, in one writer each.

use std::borrow::Cow;
use std::fmt::Write;

/// Characters without a glyph: controls, line separators, and characters that renderers ignore
/// (`Default_Ignorable_Code_Point`), including directional overrides and isolates. The variation
/// selectors U+FE00 to U+FE0F are not listed: they modify the character before them, as in emoji.
const HIDDEN: &[(char, char)] = &[
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// `text` as a word of a POSIX shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true if !text.starts_with('-') => text.to_owned(),
        true => format!("./{text}"),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Whether a character is invisible.
pub fn is_hidden(character: char) -> bool {
    HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&character))
}

/// Escape for XML and HTML, in text and in quoted attributes. Hidden characters are written as
/// escapes; characters that are not valid in XML 1.0 become U+FFFD.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            hidden if is_hidden(hidden) => escape(&mut out, hidden),
            other => out.push(other),
        }
    }
    out
}

/// `text` on one line: every hidden character, including line breaks and tabs, as an escape (`\n`,
/// `\x1b`, `\u{202e}`).
pub fn visible(text: &str) -> Cow<'_, str> {
    replace(text, is_hidden, escape)
}

/// Like [`visible`], but line breaks are kept.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    replace(text, |character| character != '\n' && is_hidden(character), escape)
}

/// Like [`visible`], for bytes: those that are not UTF-8 are written as `\xe9`.
pub fn visible_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&visible(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Escape hidden characters in JSON, of which serialisers escape only the ASCII controls. The value
/// of the JSON does not change.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    // Outside strings, white space is the only such character in JSON.
    let hidden = |character: char| character >= '\u{7f}' && is_hidden(character);
    replace(json, hidden, |out, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// Escape `line` so that it is not a workflow command in the log of a CI job: GitHub's runner
/// interprets `::name` at the start of a line, also after spaces, and `##[name]` anywhere.
pub fn without_command(line: &str) -> Cow<'_, str> {
    let rest = line.trim_start();
    let begins = rest.starts_with("::");
    if !begins && !line.contains("##[") {
        return Cow::Borrowed(line);
    }
    let blanks = &line[..line.len() - rest.len()];
    let rest = if begins { format!("\\x3a{}", &rest[1..]) } else { rest.to_owned() };
    Cow::Owned(format!("{blanks}{}", rest.replace("##[", "#\\x23[")))
}

/// Append the escape of a character, in the form of [`visible`].
pub(crate) fn escape(out: &mut String, character: char) {
    // Writing to a String does not fail.
    let _ = match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(character)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(character)),
    };
}

fn replace(
    text: &str,
    wanted: impl Fn(char) -> bool,
    with: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    // Fast path for almost all text: no character needs a lookup.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(&wanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match wanted(character) {
            true => with(&mut out, character),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}
