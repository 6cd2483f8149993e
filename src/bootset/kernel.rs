//! The kernel that a normal boot of the set starts.

use super::{BootSet, Role};
use crate::audit::{Evidence, Facts};
use crate::compression;
use crate::image::{Image, ImageKind, SectionName};
use crate::kernel::{self, Arch, Exports, Kallsyms, Kernel, Scan};

/// How far a kernel could be read.
#[derive(Debug)]
pub enum KernelState {
    /// No image of the set holds one.
    Absent,
    /// It is damaged or in a format that is not read.
    Unreadable(kernel::Error),
    /// It was searched, and has no embedded config.
    NoConfig,
    /// It was searched, and has an embedded config.
    Config,
}

/// The kernel of a set and what is known of it.
#[derive(Debug)]
pub struct SetKernel {
    /// Index of the image that holds it.
    pub image: Option<usize>,
    /// How far it could be read.
    pub state: KernelState,
    /// Its containers in words: `gzip → arm64 Image`.
    pub summary: String,
    /// The architecture, as its headers say.
    pub arch: Option<Arch>,
    /// Something of Linux was found in it.
    pub is_linux: bool,
    /// All of it was looked at.
    pub complete: bool,
    /// [`Facts::release`] is the whole release, not only the version in the config's header.
    pub release_is_whole: bool,
    /// What is wrong with the headers of its containers.
    pub problems: Vec<kernel::Problem>,
    /// The damage that ended the search.
    pub damage: Option<compression::Error>,
    /// What is known of it and of its command line.
    pub facts: Facts,
}

impl SetKernel {
    /// Search the kernel for version and config. It is unpacked once, as far as needed.
    pub(super) fn read(set: &BootSet<'_>) -> Self {
        Self::search(set, |kernel| Ok((kernel.scan()?, None))).0
    }

    /// The same, and the names in its symbol table where all of it was searched and has no
    /// config.
    fn read_with_names(set: &BootSet<'_>) -> (Self, Option<Kallsyms>) {
        Self::search(set, Kernel::scan_or_kallsyms)
    }

    fn search<'a>(
        set: &BootSet<'a>,
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
            damage: None,
            facts: Facts::default(),
        };
        let mut names = None;
        if let Some((image, bytes)) = set.kernel_bytes() {
            own.image = Some(image);
            let in_image = set.images()[image].kind() != ImageKind::Kernel;
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
        let lines = set.command_lines();
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
fn parse(bytes: &[u8], in_image: bool) -> Result<Kernel<'_>, kernel::Error> {
    match Kernel::parse(bytes) {
        Err(kernel::Error::Unrecognised { .. }) if in_image => Ok(Kernel::raw(bytes)),
        parsed => parsed,
    }
}

impl<'a> BootSet<'a> {
    /// The image that holds the kernel, and the kernel as it is there: the one that a normal boot
    /// starts, or recovery's where it is the only one.
    pub fn kernel_bytes(&self) -> Option<(usize, &'a [u8])> {
        let kernel = |image: &Image<'a>| image.section(SectionName::Kernel);
        let mut kernels =
            self.images().iter().enumerate().filter_map(|(i, image)| Some((i, kernel(image)?)));
        // Roles cost more than a look at the headers.
        let (first, second) = (kernels.next()?, kernels.next());
        if second.is_none() {
            return Some(first);
        }
        let normal = |index: usize| self.roles()[index] != Role::Recovery;
        let others = second.into_iter().chain(kernels);
        let mut normals = std::iter::once(first).chain(others).filter(|(index, _)| normal(*index));
        Some(normals.next().unwrap_or(first))
    }

    /// The kernel that a normal boot starts.
    pub fn kernel(&self) -> &SetKernel {
        self.kernel.get_or_init(|| SetKernel::read(self))
    }

    /// What the kernel's own symbol table says about its config; None where there is a config, or
    /// no table that can be read. Unpacks the kernel into memory; asked for before
    /// [`BootSet::kernel`], it costs no second pass.
    ///
    /// # Errors
    /// As [`Kernel::kallsyms`].
    pub fn evidence(&self) -> Result<Option<&Evidence>, &kernel::Error> {
        let evidence = self.evidence.get_or_init(|| {
            let mut names = None;
            if self.kernel.get().is_none() {
                let (kernel, found) = SetKernel::read_with_names(self);
                names = found;
                // Nobody asked before, and whoever asks now gets the same.
                let _ = self.kernel.set(kernel);
            } else if let (KernelState::NoConfig, Some((_, bytes))) =
                (&self.kernel().state, self.kernel_bytes())
                && self.kernel().complete
            {
                names = parse(bytes, true)?.kallsyms()?;
            }
            let (kernel, name) = (self.kernel(), self.name(self.kernel().image.unwrap_or(0)));
            let (arch, version) = (kernel.facts.arch, kernel.facts.version());
            Ok(names.map(|names| Evidence::collect(&names, arch, version, name)))
        });
        evidence.as_ref().map(Option::as_ref)
    }

    /// The symbols that the kernel exports to modules; None where they cannot be read. Unpacks the
    /// kernel into memory, at each call.
    pub fn exports(&self) -> Option<Exports> {
        let (_, bytes) = self.kernel_bytes()?;
        Kernel::parse(bytes).ok()?.exports().ok()?
    }
}
