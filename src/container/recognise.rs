//! What a file is, decided by its contents.

use std::io::Read;

use super::blocks::{Blocks, head_of};
use super::form::Form;
use super::limits::{HEAD, MAX_DEPTH};
use super::sparse::SparseImage;
use super::{sparse, super_image, tar, zip};
use crate::compression::{Decoder, Format};
use crate::image::{self, Image, ImageKind};
use crate::kernel::config_file::is_config;
use crate::ota::Payload;

/// What a file is. Of a compressed stream only the beginning is decompressed.
pub fn recognise(bytes: &[u8]) -> Form {
    recognise_within(bytes, 0)
}

/// The kind of the image that a container is around, by its beginning: None in it where that is not known,
/// or the container has several files. None for what is no container.
pub fn kind_inside(bytes: &[u8]) -> Option<Option<ImageKind>> {
    let head = match recognise(bytes) {
        Form::Plain => return None,
        Form::Compressed(format) => decoded_head(format, bytes),
        Form::Sparse => match SparseImage::parse(bytes) {
            Ok(sparse) => head_of(&sparse, HEAD),
            Err(_) => return Some(None),
        },
        Form::Payload | Form::Zip | Form::Tar | Form::Super => return Some(None),
    };
    Some(match recognise(&head) {
        Form::Plain => Image::parse(&head).ok().map(|image| image.kind()),
        // The same again, a little further in; it ends where the beginning is used up.
        _ => kind_inside(&head).flatten(),
    })
}

fn recognise_within(bytes: &[u8], depth: usize) -> Form {
    if is_android_image(bytes) {
        return Form::Plain;
    }
    if let Some(form) = by_structure(bytes) {
        return form;
    }
    match Format::detect(bytes) {
        Some(format) if depth < MAX_DEPTH => {
            let head = decoded_head(format, bytes);
            match is_around(bytes, &head, depth) {
                true => Form::Compressed(format),
                false => Form::Plain,
            }
        }
        _ => Form::Plain,
    }
}

/// What the contents of a sparse image are.
pub(super) fn recognise_blocks(blocks: &dyn Blocks) -> Form {
    let head = head_of(blocks, HEAD);
    match is_android_image(&head) {
        true => Form::Plain,
        false => by_structure(&head).unwrap_or(Form::Plain),
    }
}

/// An image whose magic is at its start: its command line may contain anything.
fn is_android_image(bytes: &[u8]) -> bool {
    [&b"ANDROID!"[..], b"VNDRBOOT", b"AVB0"].iter().any(|magic| bytes.starts_with(magic))
}

/// Forms that have a magic and more that was checked.
fn by_structure(bytes: &[u8]) -> Option<Form> {
    type Starts = fn(&[u8]) -> bool;
    let tests: [(Starts, Form); 5] = [
        (Payload::starts, Form::Payload),
        (zip::starts, Form::Zip),
        (sparse::starts, Form::Sparse),
        (tar::starts, Form::Tar),
        (super_image::starts, Form::Super),
    ];
    tests.iter().find(|(starts, _)| starts(bytes)).map(|(_, form)| *form)
}

/// The beginning of a stream; that of a damaged one as far as it can be read.
pub(super) fn decoded_head(format: Format, bytes: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    if let Ok(decoder) = Decoder::new(format, bytes) {
        // The reader of the whole stream reports damage.
        let _ = decoder.take(HEAD).read_to_end(&mut head);
    }
    head
}

/// Whether a stream that begins with `head` has a container or an image in it. A compressed kernel, ramdisk
/// or config is none of these: it is used as it is.
fn is_around(stream: &[u8], head: &[u8], depth: usize) -> bool {
    let used_as_it_is = [ImageKind::Kernel, ImageKind::Ramdisk, ImageKind::Config];
    if is_config(stream) || Image::parse(stream).is_ok() {
        return false;
    }
    match recognise_within(head, depth + 1) {
        Form::Plain => match Image::parse(head) {
            Ok(image) => !used_as_it_is.contains(&image.kind()),
            // A file that is known, such as a file system.
            Err(image::Error::UnknownMagic { hint, .. }) => !hint.is_empty(),
            Err(_) => true,
        },
        _ => true,
    }
}
