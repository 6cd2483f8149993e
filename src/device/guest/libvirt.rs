//! libvirt's domain XML (<https://libvirt.org/formatdomain.html>): how it is written.

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
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}
