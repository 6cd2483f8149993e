//! The forms of files.

use crate::compression::Format;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Not a container: an image, a kernel, a ramdisk, a config, also where these are compressed as
    /// kernels and bootloaders read them; or a file that is unknown.
    Plain,
    /// A compressed stream around an image or another container.
    Compressed(Format),
    /// A tar archive.
    Tar,
    /// A zip file.
    Zip,
    /// An OTA payload.
    Payload,
    /// An Android sparse image.
    Sparse,
    /// A super image.
    Super,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Form::Plain => "plain",
            Form::Compressed(format) => format.name(),
            Form::Tar => "tar archive",
            Form::Zip => "zip file",
            Form::Payload => "OTA payload",
            Form::Sparse => "sparse image",
            Form::Super => "super image",
        })
    }
}

impl Form {
    /// Its name in JSON.
    pub fn id(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::Compressed(format) => format.name(),
            Form::Tar => "tar",
            Form::Zip => "zip",
            Form::Payload => "payload",
            Form::Sparse => "sparse",
            Form::Super => "super",
        }
    }

    /// Whether it contains one image and nothing else.
    pub(super) fn is_around_one(self) -> bool {
        matches!(self, Form::Compressed(_) | Form::Sparse)
    }
}
