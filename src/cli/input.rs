//! Input files: mapped into memory, or read from standard input for `-`; or images in them.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vfioboot::bootset::{File, Identity, Pages};
use vfioboot::compression::Budget;
use vfioboot::container::{self, Choice, Form, Given, Inside, Kept};
use vfioboot::image;

use super::bus_error;
use super::platform;
use super::spill;

/// The bytes of one input and its name for messages.
#[derive(Debug)]
pub struct Input {
    /// Where it came from; `-` for standard input.
    pub path: PathBuf,
    /// Bytes of the partition, if the input is one (a block device).
    pub partition: Option<u64>,
    identity: Option<Identity>,
    bytes: Bytes,
    container: Option<Container>,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
    /// Unpacked.
    Kept(Kept),
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bytes")
    }
}

/// Where in its file an image is.
#[derive(Debug)]
struct Container {
    /// The name of the image's own file.
    file: String,
    /// Its path in a file with several.
    path: Option<String>,
    /// What is around it, outermost first.
    forms: Vec<Form>,
}

impl Input {
    /// Open `path`, or read standard input if it is `-`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::read(path).with_context(|| path.display().to_string())
    }

    /// The same with the error of the system alone, which does not name the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::owned(path, read_stream(io::stdin().lock())?));
        }
        let mut file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            let what = "is a directory, expected a file";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, what));
        }
        let block_device = platform::block_device(&metadata).is_some();
        if !metadata.is_file() && !block_device {
            // A pipe has no length to map.
            return Ok(Self::owned(path, read_stream(file)?));
        }
        // The size in the metadata of a block device is 0.
        let size = file.seek(SeekFrom::End(0))?;
        if size == 0 {
            return Ok(Self::owned(path, Vec::new()));
        }
        let length = usize::try_from(size)
            .map_err(|_| io::Error::new(io::ErrorKind::OutOfMemory, "does not fit into memory"))?;
        bus_error::report();
        // SAFETY: the mapping is private and read-only. Another process that truncates the
        // file while we read it ends us with an error message; it cannot make us write anything.
        let map = unsafe { memmap2::MmapOptions::new().len(length).map(&file) }?;
        Budget::grant(size);
        let partition = block_device.then_some(size);
        let identity = platform::identity(path, &metadata);
        let bytes = Bytes::Mapped(map);
        Ok(Input { path: path.into(), partition, identity, bytes, container: None })
    }

    /// Read a text that a person or this program wrote.
    pub fn text(path: &Path) -> anyhow::Result<String> {
        let read = || -> anyhow::Result<String> {
            let input = match path == Path::new("-") {
                true => read_to(io::stdin().lock(), MAX_TEXT)?,
                false => read_to(fs::File::open(path)?, MAX_TEXT)?,
            };
            Ok(String::from_utf8(input)?)
        };
        read().with_context(|| path.display().to_string())
    }

    fn owned(path: &Path, bytes: Vec<u8>) -> Self {
        Budget::grant(bytes.len() as u64);
        let bytes = Bytes::Owned(bytes);
        Input { path: path.into(), partition: None, identity: None, bytes, container: None }
    }

    /// The images in this file: the file itself, or those in a container.
    pub fn images(self, choice: Choice) -> Result<Vec<Self>, container::Error> {
        Ok(match self.inside(choice)? {
            None => vec![self],
            Some(images) => images,
        })
    }

    /// The images in this container; None for what is none.
    pub fn inside(&self, choice: Choice) -> Result<Option<Vec<Self>>, container::Error> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match container::read(self, &name, choice, &spill::Files::default())? {
            Given::Plain => Ok(None),
            Given::Images(images) => {
                let image = |image: Inside| Input {
                    path: self.path.clone(),
                    partition: None,
                    identity: None,
                    bytes: Bytes::Kept(image.bytes),
                    container: Some(Container {
                        file: image.file,
                        path: image.path,
                        forms: image.forms,
                    }),
                };
                Ok(Some(images.into_iter().map(image).collect()))
            }
        }
    }

    /// Which file it is; None for what is in a container, and for pipes.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// As a file of a set.
    pub fn file(&self) -> File<'_> {
        let identity = self.identity;
        File { pages: Some(self), identity, ..File::new(self.name(), self) }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        self.full_path().display().to_string()
    }

    /// The error with this file in the commands that it names, which take no image in a container.
    pub fn named(&self, error: image::Error) -> image::Error {
        match self.identity {
            Some(_) => error.for_file(&self.name()),
            None => error,
        }
    }

    /// The path, with the path in the container.
    pub fn full_path(&self) -> PathBuf {
        match self.container.as_ref().and_then(|container| container.path.as_ref()) {
            Some(inside) => self.path.join(inside),
            None => self.path.clone(),
        }
    }

    /// The name of a file with the image alone; None for standard input.
    pub fn file_name(&self) -> Option<PathBuf> {
        if self.path == Path::new("-") {
            return None;
        }
        match &self.container {
            Some(container) => Some(container.file.clone().into()),
            None => self.path.file_name().map(PathBuf::from),
        }
    }

    /// What is around the image, outermost first.
    pub fn forms(&self) -> &[Form] {
        self.container.as_ref().map_or(&[], |container| &container.forms)
    }

    /// The same in words.
    pub fn packing(&self) -> Option<String> {
        let forms: Vec<String> = self.forms().iter().map(Form::to_string).collect();
        (!forms.is_empty()).then(|| forms.join(", "))
    }
}

/// The most that is read of what has no size, such as a pipe.
const MAX_STREAM: u64 = 512 << 20;
/// The same of a text.
const MAX_TEXT: u64 = 16 << 20;

fn read_stream(stream: impl Read) -> io::Result<Vec<u8>> {
    read_to(stream, MAX_STREAM)
}

fn read_to(stream: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        false => Ok(bytes),
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("has no end after {limit} bytes, the limit for what is not a file"),
        )),
    }
}

impl Pages for Input {
    #[cfg(unix)]
    fn release(&self) {
        if let Bytes::Mapped(map) = &self.bytes {
            // SAFETY: the mapping is private and read-only, so its pages come back from the file as
            // they were.
            let advised = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // Without it, more memory is used.
            _ = advised;
        }
    }

    /// Other systems take pages back by themselves.
    #[cfg(not(unix))]
    fn release(&self) {}
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
            Bytes::Kept(bytes) => (**bytes).as_ref(),
        }
    }
}

impl AsRef<[u8]> for Input {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
