//! The kernel that a normal boot of the set starts.

use super::{BootSet, Role};
use crate::audit::Facts;
use crate::image::{Image, SectionName};
use crate::kernel::{self, Arch, Exports, Kernel};

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
    /// The architecture, as its headers say.
    pub arch: Option<Arch>,
    /// [`Facts::release`] is the whole release, not only the version in the config's header.
    pub release_is_whole: bool,
    /// What is known of it and of its command line.
    pub facts: Facts,
}

impl SetKernel {
    /// Search the kernel for version and config. It is unpacked once, as far as needed.
    pub(super) fn read(set: &BootSet<'_>) -> Self {
        let mut own = Self::search(set);
        let lines = set.command_lines();
        if !lines.parts.is_empty() {
            own.facts.set_cmdline(lines.parts.clone());
        }
        own
    }

    fn search(set: &BootSet<'_>) -> Self {
        let absent = SetKernel {
            image: None,
            state: KernelState::Absent,
            arch: None,
            release_is_whole: false,
            facts: Facts::default(),
        };
        let Some((image, bytes)) = set.kernel_bytes() else { return absent };
        let kernel = Kernel::parse(bytes);
        let arch = kernel.as_ref().ok().and_then(Kernel::arch);
        let own = SetKernel { image: Some(image), arch, ..absent };
        match kernel.and_then(|kernel| kernel.scan()) {
            Err(error) => SetKernel { state: KernelState::Unreadable(error), ..own },
            Ok(scan) => {
                let facts = Facts::from_scan(&scan, arch, set.name(image));
                let state = match &facts.config {
                    Some(_) => KernelState::Config,
                    None => KernelState::NoConfig,
                };
                let (arch, release_is_whole) = (facts.arch, scan.banner.is_some());
                SetKernel { state, arch, release_is_whole, facts, ..own }
            }
        }
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

    /// The symbols that the kernel exports to modules; None where they cannot be read. Unpacks the
    /// kernel into memory, at each call.
    pub fn exports(&self) -> Option<Exports> {
        let (_, bytes) = self.kernel_bytes()?;
        Kernel::parse(bytes).ok()?.exports().ok()?
    }
}
