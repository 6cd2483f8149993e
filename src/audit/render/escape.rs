//! Escapes untrusted text (file names, strings from images) for each report format, and writes digests.

use std::fmt::Write;

use crate::text::{escape, is_hidden, visible_lines};

/// Escape for inline text in GitHub's Markdown, also in a table: no character has a special meaning,
/// and there are no line breaks.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A name after it would be notified.
            '@' => out.push_str("@\u{2060}"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(character);
            }
            '\n' => out.push(' '),
            hidden if is_hidden(hidden) => {
                // The backslash of the escape is special in Markdown too.
                out.push('\\');
                escape(&mut out, hidden);
            }
            other => out.push(other),
        }
    }
    // A bare URL would become a link.
    out.replace("://", "&#58;//")
}

/// Escape for the message of a workflow command.
pub(crate) fn github_message(text: &str) -> String {
    visible_lines(text).replace('%', "%25").replace('\n', "%0A")
}

/// Escape for a property of a workflow command.
pub(crate) fn github_property(text: &str) -> String {
    github_message(text).replace(':', "%3A").replace(',', "%2C")
}

/// A path as a URI: relative to the working directory, or `file:` for an absolute path.
pub(crate) fn uri(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    if key.starts_with('/') {
        out.push_str("file://");
    }
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}
