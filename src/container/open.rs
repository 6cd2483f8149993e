//! Opens a file down to its images.

use std::io::Cursor;

use super::blocks::Blocks;
use super::entry::{Entry, file_name};
use super::error::Error;
use super::form::Form;
use super::limits::{HEAD, MAX_DEPTH, budget};
use super::nested::{entries_of, nested, with_kernels};
use super::opened::{Opened, Source};
use super::recognise::{decoded_head, recognise, recognise_blocks};
use super::sparse::SparseImage;
use super::spill::Spill;
use super::stream::{self, Streams};
use super::unpack::{copy, require_size, within};
use super::zip::Archive;
use super::{super_image, tar};
use crate::compression::Format;
use crate::image::{self, Image};
use crate::ota::Payload;

/// Open a file, also a container in another one. `name` is its path or file name, empty where there is
/// none; what the file is does not depend on it.
///
/// # Errors
/// [`Error::NotContainer`] and those of the formats; those of `act`.
pub fn open<T, E: From<Error>>(
    file: &[u8],
    name: &str,
    spill: &dyn Spill,
    act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
) -> Result<T, E> {
    Opener { spill, forms: Vec::new() }.open(file, name, act)
}

/// The state of opening containers in containers.
struct Opener<'s> {
    spill: &'s dyn Spill,
    /// Outermost first.
    forms: Vec<Form>,
}

impl Opener<'_> {
    fn open<T, E: From<Error>>(
        mut self,
        file: &[u8],
        name: &str,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let form = recognise(file);
        if self.forms.len() >= MAX_DEPTH {
            return Err(Error::TooDeep.into());
        }
        self.forms.push(form);
        match form {
            Form::Plain => Err(not_container(file, name, self.forms.len() > 1).into()),
            Form::Payload => {
                let payload = Payload::parse(file).map_err(Error::Payload)?;
                let partitions = payload.partitions().iter().enumerate();
                let entries =
                    partitions.map(|(at, own)| Entry::of_partition(&own.name, own.size, at));
                self.act(entries.collect(), Source::Payload(payload), act)
            }
            Form::Zip => self.zip(file, act),
            Form::Tar => self.tar(file, act),
            Form::Compressed(format) => self.compressed(format, file, name, act),
            Form::Sparse => {
                let sparse = SparseImage::parse(file)?;
                match recognise_blocks(&sparse) {
                    Form::Super => {
                        self.forms.push(Form::Super);
                        self.logical(&sparse, act)
                    }
                    _ => {
                        let entry = Entry::only(name, Some(sparse.size()));
                        self.act(vec![entry], Source::Sparse(sparse), act)
                    }
                }
            }
            Form::Super => self.logical(&file, act),
        }
    }

    fn act<'a, T, E: From<Error>>(
        self,
        entries: Vec<Entry>,
        source: Source<'a>,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        Self: 'a,
    {
        let Opener { spill, forms } = self;
        act(&mut Opened::new(forms, entries, source, spill))
    }

    fn logical<T, E: From<Error>>(
        self,
        blocks: &dyn Blocks,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let logical = super_image::partitions(blocks)?;
        let entries = logical.iter().enumerate();
        let entries = entries.map(|(at, own)| Entry::of_partition(&own.name, own.size, at));
        let entries = entries.collect();
        self.act(entries, Source::Super(blocks, logical), act)
    }

    /// An archive in a stream is read as a stream; any other container is decompressed.
    fn compressed<T, E: From<Error>>(
        mut self,
        format: Format,
        file: &[u8],
        name: &str,
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match recognise(&decoded_head(format, file)) {
            Form::Plain => {
                let entry = Entry::only(name, None);
                self.act(vec![entry], Source::Stream(format, file), act)
            }
            Form::Tar => {
                self.forms.push(Form::Tar);
                let mut files = Vec::new();
                tar::walk::<Error>(
                    Streams::new(format, file, budget(file.len()))?,
                    &mut |file, _| {
                        files.push(file);
                        Ok(true)
                    },
                )?;
                let paths = files.iter().map(|file| (file.path.as_str(), file.size));
                let entries = entries_of(paths);
                self.act(entries, Source::TarStream(format, file), act)
            }
            _ => {
                let limit = budget(file.len());
                let kept = self.spill.keep(&mut |out| stream::copy(format, file, limit, out))?;
                let name = Entry::only(name, None).file;
                self.open((*kept).as_ref(), &name, act)
            }
        }
    }

    fn zip<T, E: From<Error>>(
        self,
        file: &[u8],
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut archive = Archive::open(file)?;
        let members = archive.members().to_vec();
        let files: Vec<_> = members.iter().map(|own| (own.name.as_str(), own.size)).collect();
        let mut head = |at: usize| archive.head(&members[at], HEAD);
        let entries = with_kernels(entries_of(files.iter().copied()), &mut head);
        let Some(inner) = nested(Form::Zip, &files, &entries, &mut head)? else {
            let source = Source::Zip(archive, members.clone());
            return self.act(entries, source, act);
        };
        let member = &members[inner];
        if let Some(bytes) = archive.stored(member)? {
            return self.open(bytes, file_name(&member.name), act);
        }
        require_size(&member.name, member.size, budget(file.len()))?;
        let kept = self.spill.keep(&mut |out| {
            let mut reader = archive.reader(member)?;
            copy(&mut reader, &member.name, member.size, out)
        })?;
        self.open((*kept).as_ref(), file_name(&member.name), act)
    }

    fn tar<T, E: From<Error>>(
        self,
        file: &[u8],
        act: impl FnOnce(&mut Opened<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        tar::check_digest(file)?;
        let found = tar::files(Cursor::new(file))?;
        let files: Vec<_> = found.iter().map(|own| (own.path.as_str(), own.size)).collect();
        let mut head = |at: usize| {
            let bytes = within(file, &found[at]).unwrap_or_default();
            bytes[..bytes.len().min(HEAD as usize)].to_vec()
        };
        let entries = with_kernels(entries_of(files.iter().copied()), &mut head);
        match nested(Form::Tar, &files, &entries, &mut head)? {
            Some(inner) => {
                let bytes = within(file, &found[inner])?;
                self.open(bytes, file_name(&found[inner].path), act)
            }
            None => {
                let source = Source::Tar(file, found.clone());
                self.act(entries, source, act)
            }
        }
    }
}

/// The error for a file that is none, or for what is in one. Commands take only the file.
fn not_container(file: &[u8], name: &str, is_inside: bool) -> Error {
    let named = |error: image::Error| match is_inside || name.is_empty() {
        true => error,
        false => error.for_file(name),
    };
    let found = match Image::parse(file).map_err(named) {
        Ok(image) => format!("a {} image: the other commands take it as it is", image.kind()),
        Err(image::Error::UnknownMagic { found, hint }) => format!("{found}{hint}"),
        Err(error) => error.to_string(),
    };
    Error::NotContainer { found }
}
