//! The kernel that a normal boot of the set starts.

use super::evidence::Evidence;
use super::facts::Facts;
use super::members::Members;
use super::sources::CommandLines;
use crate::compression;
use crate::image::{ImageKind, SectionName};
use crate::kernel::{self, Arch, Kallsyms, Kernel, Scan};

/// How far a kernel could be read.
#[derive(Debug)]
pub enum KernelState {
    /// No image of the set has a kernel.
    Absent,
    /// It is damaged or in an unsupported format.
    Unreadable(kernel::Error),
    /// The search found no embedded config.
    NoConfig,
    /// It has an embedded config, or a config file is among the files.
    Config,
}

/// The kernel of a set and what is known about it.
#[derive(Debug)]
pub struct SetKernel {
    /// Index of the image that contains it.
    pub image: Option<usize>,
    /// How far it could be read.
    pub state: KernelState,
    /// The names of its containers: `gzip → arm64 Image`.
    pub summary: String,
    /// The architecture, as its headers say.
    pub arch: Option<Arch>,
    /// It contains signs of Linux.
    pub is_linux: bool,
    /// Whether the whole kernel was searched.
    pub complete: bool,
    /// [`Facts::release`] is the whole release, not only the version in the config's header.
    pub release_is_whole: bool,
    /// What is wrong with the headers of its containers.
    pub problems: Vec<kernel::Problem>,
    /// It has an embedded config, but the config file of the set is used instead.
    pub overruled_config: bool,
    /// The damage that ended the search.
    pub damage: Option<compression::Error>,
    /// What is known about it and its command line.
    pub facts: Facts,
}

impl SetKernel {
    /// Search the kernel for version and config. It is decompressed once, as far as needed.
    pub(super) fn read(set: &Members<'_>, kernel: Option<usize>, lines: &CommandLines) -> Self {
        Self::search(set, kernel, lines, |kernel| Ok((kernel.scan()?, None))).0
    }

    /// The same, and the names in its symbol table where all of it was searched and has no
    /// config.
    pub(super) fn read_with_names(
        set: &Members<'_>,
        kernel: Option<usize>,
        lines: &CommandLines,
    ) -> (Self, Option<Kallsyms>) {
        let texts = Evidence::texts();
        Self::search(set, kernel, lines, |kernel| kernel.scan_or_kallsyms(&texts))
    }

    /// `image` is the index of the one that holds the kernel.
    fn search<'a>(
        set: &Members<'a>,
        image: Option<usize>,
        lines: &CommandLines,
        scan: impl FnOnce(&Kernel<'a>) -> Result<(Scan, Option<Kallsyms>), kernel::Error>,
    ) -> (Self, Option<Kallsyms>) {
        let mut own = SetKernel {
            image: None,
            state: KernelState::Absent,
            summary: String::new(),
            arch: None,
            is_linux: false,
            complete: false,
            release_is_whole: false,
            problems: Vec::new(),
            overruled_config: false,
            damage: None,
            facts: Facts::default(),
        };
        let mut names = None;
        let bytes = image.and_then(|index| set.images[index].section(SectionName::Kernel));
        if let (Some(image), Some(bytes)) = (image, bytes) {
            own.image = Some(image);
            let in_image = set.images[image].kind() != ImageKind::Kernel;
            match parse(bytes, in_image).and_then(|kernel| {
                own.arch = kernel.arch();
                own.summary = kernel.summary();
                own.problems = kernel.problems().to_vec();
                scan(&kernel)
            }) {
                Ok((scan, found)) => {
                    own.take(scan, set.name(image));
                    names = found;
                }
                Err(error) => own.state = KernelState::Unreadable(error),
            }
            // Searched as it is, and without a result.
            if let (false, Err(error)) = (own.is_linux, Kernel::parse(bytes)) {
                own.state = KernelState::Unreadable(error);
            }
        }
        if let Some((config, provenance)) = &set.config {
            own.overruled_config = own.facts.config.is_some();
            own.facts.set_config(config.clone(), provenance.clone());
            if let KernelState::NoConfig = own.state {
                own.state = KernelState::Config;
            }
        }
        if !lines.parts.is_empty() {
            own.facts.set_cmdline(lines.parts.clone());
        }
        (own, names)
    }

    fn take(&mut self, scan: Scan, name: &str) {
        self.facts = Facts::from_scan(&scan, self.arch, name);
        self.state = match &self.facts.config {
            Some(_) => KernelState::Config,
            None => KernelState::NoConfig,
        };
        self.arch = self.facts.arch;
        self.is_linux = scan.is_linux();
        self.complete = scan.complete;
        self.release_is_whole = scan.banner.is_some();
        self.damage = scan.damage;
    }
}

/// What an image calls its kernel is searched as it is when it has no known header.
pub(super) fn parse(bytes: &[u8], in_image: bool) -> Result<Kernel<'_>, kernel::Error> {
    match Kernel::parse(bytes) {
        Err(kernel::Error::Unrecognised { .. }) if in_image => Ok(Kernel::raw(bytes)),
        parsed => parsed,
    }
}
