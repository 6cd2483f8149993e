//! The files that the kernel must find.

use crate::bootfile::{BOOT_FILE, RUNTIME, UNDO_FILE};
use crate::patch::error::Error;
use crate::patch::segment::Segment;
use crate::ramdisk::cpio::FileType;

/// A file that a segment must bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedFile {
    /// Absolute.
    pub path: String,
    /// What is there.
    pub content: Content,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A regular file.
    File(Vec<u8>),
    /// A program.
    Program(Vec<u8>),
    /// A symbolic link.
    Link(Vec<u8>),
}

impl Content {
    /// That of a file or a symbolic link.
    pub(crate) fn of(file_type: FileType, bytes: Vec<u8>) -> Self {
        match file_type {
            FileType::Symlink => Content::Link(bytes),
            _ => Content::File(bytes),
        }
    }
}

/// The files of a segment.
///
/// # Errors
/// [`Error::BootFile`], [`Error::UndoRecord`].
pub(crate) fn expected(segment: &Segment<'_>) -> Result<Vec<ExpectedFile>, Error> {
    let program = || Content::Program(segment.runtime.executable().to_vec());
    let mut files = Vec::new();
    let mut add = |path: &str, content| files.push(ExpectedFile { path: path.to_owned(), content });
    if let Some(boot) = segment.boot {
        add(BOOT_FILE, Content::File(toml::to_string(boot)?.into_bytes()));
        if segment.parts.original.is_none() {
            add(RUNTIME, program());
        }
    }
    add(UNDO_FILE, Content::File(segment.undo.to_bytes()?));
    if let Some(original) = &segment.parts.original {
        let (path, file_type, bytes) = original.kept();
        add(path, Content::of(file_type, bytes));
        add(&original.path(), program());
    }
    for path in &segment.parts.runtime_names {
        add(path, Content::Link(RUNTIME.as_bytes().to_vec()));
    }
    for file in &segment.parts.files {
        add(&file.path, Content::of(file.header.file_type(), file.bytes.clone()));
    }
    Ok(files)
}
