//! libvirt's domain XML (<https://libvirt.org/formatdomain.html>): how it is written.

/// A value that XML cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: it has the character U+{:04X}, which XML and so libvirt cannot have", u32::from(*.character))]
pub struct NotXml {
    /// The key.
    pub key: &'static str,
    /// The character.
    pub character: char,
}

impl NotXml {
    /// Looks for one among the values of these keys.
    pub(crate) fn find(texts: &[(&'static str, &str)]) -> Result<(), Self> {
        for (key, text) in texts {
            if let Some(character) = text.chars().find(|character| !is_xml(*character)) {
                return Err(Self { key, character });
            }
        }
        Ok(())
    }
}

/// `Char` of XML 1.0, without the discouraged control characters.
fn is_xml(character: char) -> bool {
    let allowed = matches!(character, '\t' | '\n' | '\r');
    allowed || !(character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}'))
}

/// The keys of a guest file that have a value which libvirt cannot express.
#[derive(Debug, Default)]
pub(crate) struct Unsupported(Vec<&'static str>);

impl Unsupported {
    /// Names `key` if `is` holds.
    pub(crate) fn when(&mut self, is: bool, key: &'static str) {
        if is && !self.0.contains(&key) {
            self.0.push(key);
        }
    }

    /// The comment that names them; empty when there are none.
    pub(crate) fn comment(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            keys => format!(
                "<!-- guest file keys that libvirt cannot express: {} -->\n",
                keys.join(", ")
            ),
        }
    }
}

/// A writer of elements, one a line.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    text: String,
    depth: usize,
}

impl Xml {
    fn line(&mut self, text: &str) {
        self.text.push_str(&"  ".repeat(self.depth));
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// Writes an element without content.
    pub(crate) fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.line(&format!("<{name}{}/>", attribute_text(attributes)));
    }

    /// Writes an element with text in it.
    pub(crate) fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.line(&format!("<{name}{}>{}</{name}>", attribute_text(attributes), escape(text)));
    }

    /// Writes an element with the elements in it that `content` writes.
    pub(crate) fn within(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        content: impl FnOnce(&mut Self),
    ) {
        self.line(&format!("<{name}{}>", attribute_text(attributes)));
        self.depth += 1;
        content(self);
        self.depth -= 1;
        self.line(&format!("</{name}>"));
    }

    /// What was written.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

fn attribute_text(attributes: &[(&str, &str)]) -> String {
    attributes.iter().map(|(name, value)| format!(" {name}='{}'", escape(value))).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&apos;"),
            // A parser makes spaces or line feeds of them where they stand for themselves.
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped
}
