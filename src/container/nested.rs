//! The images among the files of an archive, and the archive within it that has them.

use super::entry::{EXTRACTED, Entry, EntryKind, file_name, last_of_each_path};
use super::error::{Error, names};
use super::form::Form;
use super::recognise::recognise;
use crate::image::{Image, ImageKind};

/// The images and kernels among the files of an archive, given by path and size.
pub(super) fn entries_of<'f>(files: impl Iterator<Item = (&'f str, u64)>) -> Vec<Entry> {
    let files = files.enumerate();
    last_of_each_path(
        files.filter_map(|(index, (path, size))| Entry::of_file(path, size, index)).collect(),
    )
}

/// Leave out what only has the name of a kernel.
pub(super) fn with_kernels(
    entries: Vec<Entry>,
    head: &mut dyn FnMut(usize) -> Vec<u8>,
) -> Vec<Entry> {
    let mut is_kernel =
        |index| Image::parse(&head(index)).is_ok_and(|image| image.kind() == ImageKind::Kernel);
    let wanted = |own: &Entry| own.kind == EntryKind::Image || is_kernel(own.index);
    entries.into_iter().filter(wanted).collect()
}

/// The index of the file with the images: a payload, or another archive where the images of a device are
/// not in this one.
pub(super) fn nested(
    form: Form,
    files: &[(&str, u64)],
    entries: &[Entry],
    head: &mut dyn FnMut(usize) -> Vec<u8>,
) -> Result<Option<usize>, Error> {
    if let Some(payload) = files.iter().position(|(path, _)| file_name(path) == "payload.bin") {
        return Ok(Some(payload));
    }
    let is_here =
        |own: &Entry| own.kind == EntryKind::Kernel || EXTRACTED.contains(&own.partition.as_str());
    if entries.iter().any(is_here) {
        return Ok(None);
    }
    const ARCHIVES: &[&str] =
        &[".zip", ".tar", ".tar.md5", ".tgz", ".tar.gz", ".tar.xz", ".tar.lz4"];
    let archives = (0..files.len()).filter(|at| {
        let name = file_name(files[*at].0).to_ascii_lowercase();
        ARCHIVES.iter().any(|suffix| name.ends_with(suffix)) && is_archive(&head(*at))
    });
    let archives: Vec<usize> = archives.collect();
    // Google's name for the images, and Samsung's.
    let known = |at: &&usize| {
        let name = file_name(files[**at].0);
        name.starts_with("image-") || name.starts_with("AP_")
    };
    let named: Vec<usize> = archives.iter().filter(known).copied().collect();
    match (&named[..], &archives[..]) {
        ([one], _) | ([], [one]) => Ok(Some(*one)),
        ([], []) => Ok(None),
        _ => {
            let names = names(archives.iter().map(|at| files[*at].0));
            Err(Error::SeveralArchives { form, names })
        }
    }
}

fn is_archive(head: &[u8]) -> bool {
    matches!(recognise(head), Form::Zip | Form::Tar | Form::Compressed(_))
}
