//! Edits of a command line. What is not edited keeps its bytes, doubled and trailing blanks
//! included.

use std::ops::Range;

use super::ctype::is_space;
use super::line::Cmdline;
use super::parameter::{Parameter, Parameters, closes_quotes};

impl Cmdline<Vec<u8>> {
    /// Set `name=value`: the last such parameter is replaced where it is, or one is added. A value
    /// with spaces is quoted, unless it has quotes.
    pub fn set(&mut self, name: &str, value: &str) {
        let bare = value.bytes().any(is_space) && !value.contains('"');
        let quote = if bare { "\"" } else { "" };
        let parameter = format!("{name}={quote}{value}{quote}");
        let with_value = |own: &Parameter<'_>| own.is(name) && own.value.is_some();
        match self.parameters().filter(with_value).last().map(|own| own.span()) {
            Some(span) => drop(self.0.splice(span, parameter.into_bytes())),
            None => self.insert_at_end(parameter.as_bytes()),
        }
    }

    /// Add a parameter after all others of the kernel, unless it is there with the same value.
    /// Several parameters are added one by one.
    pub fn add(&mut self, parameters: &str) {
        // Bytes, not characters: the kernel's spaces include 0xa0, which is half of an "à".
        for new in Parameters::new(parameters.as_bytes()) {
            if !self.parameters().any(|own| own.same_as(&new)) {
                self.insert_at_end(new.raw);
            }
        }
    }

    /// Put a parameter before all others.
    pub fn prepend(&mut self, parameter: &str) {
        let separator = if self.0.is_empty() { "" } else { " " };
        self.0.splice(0..0, format!("{parameter}{separator}").into_bytes());
    }

    /// Remove every parameter of this name, with or without a value, each with one space beside
    /// it. Returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let own = self.parameters().filter(|parameter| parameter.is(name));
        let spans: Vec<_> = own.map(|parameter| parameter.span()).collect();
        spans.iter().rev().for_each(|span| self.cut(span));
        spans.len()
    }

    /// Replace the last parameter that is written as `old` by `new`, or remove it with one space beside
    /// it. Whether there was one.
    #[cfg(feature = "desktop")]
    pub(crate) fn replace(&mut self, old: &[u8], new: Option<&[u8]>) -> bool {
        let Some(span) = self.all().filter(|own| own.raw == old).last().map(|own| own.span())
        else {
            return false;
        };
        match new {
            Some(new) => drop(self.0.splice(span, new.iter().copied())),
            None => self.cut(&span),
        }
        true
    }

    /// Remove what is at `span`, with one space beside it.
    fn cut(&mut self, span: &Range<usize>) {
        let space = |at: Option<usize>| at.and_then(|at| self.0.get(at)) == Some(&b' ');
        let before = span.start.checked_sub(1);
        let cut = if space(Some(span.end)) {
            span.start..span.end + 1
        } else if space(before) {
            span.start - 1..span.end
        } else {
            span.clone()
        };
        self.0.drain(cut);
    }

    /// Set `name=value` as the only parameter of this name: the one that is there is replaced, and
    /// several make room for one at the end.
    #[cfg(feature = "desktop")]
    pub(crate) fn set_only(&mut self, name: &str, value: &str) {
        let (all, last) = (self.parameters().filter(|own| own.is(name)).count(), self.value(name));
        if all == 1 && last == Some(value.as_bytes()) {
            return;
        }
        if all > 1 {
            self.remove(name);
        }
        self.set(name, value);
    }

    /// Take `element` out of every `name=element,…`; a parameter that has no other goes.
    #[cfg(feature = "desktop")]
    pub(crate) fn remove_element(&mut self, name: &str, element: &str) {
        let parts = |value: &[u8]| -> Vec<Vec<u8>> {
            value.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect()
        };
        loop {
            let with = |own: &Parameter<'_>| {
                let parts = parts(own.value?);
                let rest: Vec<_> = parts.iter().filter(|p| *p != element.as_bytes()).collect();
                let found = own.is(name) && rest.len() < parts.len();
                found.then(|| (own.span(), rest.into_iter().cloned().collect::<Vec<_>>()))
            };
            let Some((span, rest)) = self.parameters().find_map(|own| with(&own)) else { return };
            match rest.as_slice() {
                [] => self.cut(&span),
                rest => {
                    let new = [name.as_bytes(), b"=", &rest.join(&b',')].concat();
                    drop(self.0.splice(span, new));
                }
            }
        }
    }

    fn insert_at_end(&mut self, parameter: &[u8]) {
        let end = self.all().find(Parameter::ends_parameters);
        // A quote that is not closed would take in what follows.
        let open = || self.all().last().filter(|last| !closes_quotes(last.raw));
        if let Some(next) = end.or_else(open).map(|next| next.span()) {
            self.0.splice(next.start..next.start, [parameter, b" "].concat());
            return;
        }
        // Also behind a blank: without the parameter and its space the line is what it was.
        if !self.0.is_empty() {
            self.0.push(b' ');
        }
        self.0.extend_from_slice(parameter);
    }
}
