//! What could not be read in a source of modules.

use std::error::Error;
use std::io;
use std::mem::discriminant;
use std::sync::Arc;

use crate::kernel::module;
use crate::ramdisk;

/// A file in a source of modules, or the rest of a source, that could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct ModuleProblem {
    /// The file as messages call it.
    pub file: String,
    /// What is wrong with it.
    #[source]
    pub cause: ProblemCause,
}

/// What is wrong with a file in a source of modules.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemCause {
    /// It could not be read.
    #[error(transparent)]
    Read(Arc<io::Error>),
    /// It is called a module, and is not one.
    #[error(transparent)]
    Module(Arc<module::Error>),
    /// An archive that is damaged: what comes after is not known.
    #[error("the rest is damaged: {0}")]
    Archive(#[source] Arc<io::Error>),
    /// A ramdisk that is damaged: what comes after is not known.
    #[error("the rest is damaged: {}", with_causes(&**.0))]
    Ramdisk(#[source] Arc<ramdisk::Error>),
}

/// Problems of the same kind with the same file are one. The causes have no equality of their own.
impl PartialEq for ModuleProblem {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && discriminant(&self.cause) == discriminant(&other.cause)
    }
}

impl Eq for ModuleProblem {}

impl ModuleProblem {
    /// Of the file that messages call `file`.
    pub(crate) fn new(file: impl Into<String>, cause: ProblemCause) -> Self {
        ModuleProblem { file: file.into(), cause }
    }
}

/// An error with its causes, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
