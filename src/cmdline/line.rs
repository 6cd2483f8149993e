//! A command line and what is asked of it.

use super::parameter::{Parameter, Parameters};

/// A command line, over bytes that are borrowed or its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline<B = Vec<u8>>(pub(super) B);

impl<B: AsRef<[u8]>> Cmdline<B> {
    /// Take a line as it is.
    pub fn new(line: B) -> Self {
        Cmdline(line)
    }

    /// The line's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The line for people; what is not UTF-8 is replaced.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(self.as_bytes()).into_owned()
    }

    /// Everything on the line in order: the kernel's parameters, `--`, the arguments of init.
    pub fn all(&self) -> impl Iterator<Item = Parameter<'_>> {
        Parameters::new(self.as_bytes())
    }

    /// The kernel's own parameters: those before `--`.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.all().take_while(|parameter| !parameter.ends_parameters())
    }

    /// The value of the last `name=value`, which wins for most parameters. A later `name` without
    /// a value does not take it away.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.values(name).last()
    }

    /// The last parameter of this name whose value the kernel takes: the one that decides.
    pub fn effective(&self, name: &str) -> Option<Parameter<'_>> {
        let own = |parameter: &Parameter<'_>| parameter.is(name) && parameter.takes_effect();
        self.parameters().filter(own).last()
    }

    /// The values of every `name=value`, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.parameters().filter(move |parameter| parameter.is(name)).filter_map(|p| p.value)
    }

    /// Whether the parameter is given, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.parameters().any(|parameter| parameter.is(name))
    }

    /// Whether the parameter is given without a value.
    pub fn has_flag(&self, name: &str) -> bool {
        self.parameters().any(|parameter| parameter.is(name) && parameter.value.is_none())
    }
}
