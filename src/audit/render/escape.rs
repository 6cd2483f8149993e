//! Foreign text (names of files, strings out of images) in the syntax of each report.

use std::fmt::Write;

use crate::text::{escape, is_hidden, visible_lines};

/// For XML and HTML, in text and in quoted attributes, with hidden characters as escapes. What XML
/// 1.0 cannot hold at all becomes U+FFFD.
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

/// For running text in GitHub's Markdown, also in a table: no character does anything, no line
/// ends.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A name behind it would be told.
            '@' => out.push_str("@\u{2060}"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(character);
            }
            '\n' => out.push(' '),
            hidden if is_hidden(hidden) => {
                // Its backslash is one of Markdown's too.
                out.push('\\');
                escape(&mut out, hidden);
            }
            other => out.push(other),
        }
    }
    // A bare address would be linked.
    out.replace("://", "&#58;//")
}

/// The message of a workflow command.
pub fn github_message(text: &str) -> String {
    visible_lines(text).replace('%', "%25").replace('\n', "%0A")
}

/// A property of a workflow command.
pub fn github_property(text: &str) -> String {
    github_message(text).replace(':', "%3A").replace(',', "%2C")
}

/// A path as a URI: relative to where the run takes place, or `file:` when it is absolute.
pub fn uri(key: &str) -> String {
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
