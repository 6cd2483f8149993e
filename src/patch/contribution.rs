//! The contribution of one part of a patch.

use super::edit::Change;
use super::hook::original::Original;
use super::parameters::parameter::{Contradiction, LineEdit, PlannedParameter};
use super::segment_file::{SegmentDirectory, SegmentFile};
use super::warning::Warning;
use crate::bootfile::BootModule;

/// The contribution of one part of a patch. A plan is the sum of all contributions, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contribution {
    /// The init program whose path the runtime takes; at most one part sets it.
    pub original: Option<Original>,
    /// Files of the segment.
    pub files: Vec<SegmentFile>,
    /// Directories of the segment outside of `/vfioboot`.
    pub directories: Vec<SegmentDirectory>,
    /// More absolute paths of the runtime, for the boot file.
    pub runtime_names: Vec<String>,
    /// Absolute paths of the ramdisk's files that the segment shadows, for the boot file.
    pub shadows: Vec<String>,
    /// Modules that PID 1 loads, in order.
    pub boot_modules: Vec<BootModule>,
    /// Kernel parameters, in order.
    pub parameters: Vec<PlannedParameter>,
    /// What contradicts them and is taken off the command line.
    pub contradictions: Vec<Contradiction>,
    /// Changes of the image that carries the segment.
    pub changes: Vec<Change>,
    /// What may go wrong.
    pub warnings: Vec<Warning>,
}

impl Contribution {
    /// A contribution of warnings only.
    pub(crate) fn of_warnings(warnings: impl IntoIterator<Item = Warning>) -> Self {
        Contribution { warnings: warnings.into_iter().collect(), ..Contribution::default() }
    }

    /// What becomes of the command line.
    pub(crate) fn line_edit(&self) -> LineEdit<'_> {
        LineEdit { parameters: &self.parameters, contradictions: &self.contradictions }
    }

    /// Append another contribution.
    pub(crate) fn add(&mut self, other: Contribution) {
        let Contribution {
            original,
            files,
            directories,
            runtime_names,
            shadows,
            boot_modules,
            parameters,
            contradictions,
            changes,
            warnings,
        } = other;
        self.original = original.or(self.original.take());
        self.files.extend(files);
        self.directories.extend(directories);
        self.runtime_names.extend(runtime_names);
        self.shadows.extend(shadows);
        self.boot_modules.extend(boot_modules);
        self.parameters.extend(parameters);
        self.contradictions.extend(contradictions);
        self.changes.extend(changes);
        self.warnings.extend(warnings);
    }
}
