//! The changes of a plan: data, and the text that the plan shows for each.

use serde::{Serialize, Serializer};

use super::assignment::Decision;
use super::hook::kind::HookKind;
use crate::compression::Format;
use crate::image::AvbFooter;

/// One change of one image. Serialised as `image`, `what`, `why`, `before` and `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEdit {
    /// Index of the image in the set.
    pub image: usize,
    /// The change.
    pub change: Change,
}

/// What kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EditKind {
    /// The appended segment.
    Ramdisk,
    /// A list of the ramdisk's kernel modules, such as `modules.load`.
    Modules,
    /// An rc file of Android's init.
    Rc,
    /// The kernel command line in the header.
    Cmdline,
    /// The `id` of header versions 0 to 2.
    Id,
    /// The AVB footer.
    AvbFooter,
    /// A vbmeta blob, in an image or by itself.
    Vbmeta,
}

impl EditKind {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            EditKind::Ramdisk => "ramdisk",
            EditKind::Modules => "modules",
            EditKind::Rc => "rc",
            EditKind::Cmdline => "cmdline",
            EditKind::Id => "id",
            EditKind::AvbFooter => "avb_footer",
            EditKind::Vbmeta => "vbmeta",
        }
    }
}

/// A change, with the details that the plan shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The segment is appended to a ramdisk.
    Segment(SegmentChange),
    /// The segment shadows a list of the ramdisk's modules.
    ModuleList(ListEdit),
    /// The segment adds or shadows a file for Android's init.
    RcFile {
        /// The file.
        file: PlannedFile,
        /// Why init reads it there.
        why: String,
    },
    /// The command line in the header.
    Cmdline {
        /// Why in this image.
        why: Decision,
        /// The line in the image.
        before: String,
        /// The line of the patched image.
        after: String,
    },
    /// The `id` field, in hex.
    Id {
        /// Of the original.
        before: String,
        /// Of the patched image.
        after: String,
    },
    /// The footer moves, or is removed (`after` is None).
    AvbFooter {
        /// Why.
        why: AvbEdit,
        /// Of the original.
        before: AvbFooter,
        /// Of the patched image.
        after: Option<AvbFooter>,
    },
    /// The vbmeta blob.
    Vbmeta {
        /// Why.
        why: AvbEdit,
        /// Algorithm, key and digests of the original.
        before: String,
        /// Those of the patched image.
        after: String,
    },
}

/// The segment that a patch appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentChange {
    /// The fragment that grows, of a vendor_boot image.
    pub fragment: Option<usize>,
    /// Bytes of the ramdisk (or fragment) in the image.
    pub ramdisk_size: usize,
    /// The compression of the segment; None for a raw cpio archive.
    pub format: Option<Format>,
    /// Bytes of the segment.
    pub segment_size: usize,
    /// It has the runtime.
    pub runtime: bool,
    /// How the kernel starts the runtime.
    pub hook: HookKind,
    /// The reason for that.
    pub hook_reason: String,
    /// The init program that runs afterwards.
    pub init: String,
    /// Bytes of the copy of that program in the segment, before compression.
    pub original_size: usize,
}

/// A change of one list of the ramdisk's modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListEdit {
    /// The list's path in the ramdisk.
    pub path: String,
    /// Added lines, each with its position.
    pub added: Vec<String>,
    /// Removed lines.
    pub removed: Vec<String>,
}

/// A file that the segment adds for Android's init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Its path.
    pub path: String,
    /// What it is.
    pub what: String,
    /// Whether the ramdisk has a file there, which is shadowed.
    pub shadows: bool,
}

/// Why a footer or a vbmeta blob changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvbEdit {
    /// The blob is unchanged and moves, and the footer with it.
    Preserved,
    /// An unsigned blob has its digest updated.
    Rehashed,
    /// The blob has its digest updated and is signed.
    Resigned,
    /// Footer and blob are overwritten with zeros.
    Stripped,
    /// An unsigned vbmeta image has the digest of an image updated.
    TopRehashed,
    /// A vbmeta image is updated and signed.
    TopResigned,
}

impl AvbEdit {
    fn why(self) -> &'static str {
        match self {
            AvbEdit::Preserved => {
                "preserve: the vbmeta blob stays byte-identical, the footer has its new offset"
            }
            AvbEdit::Rehashed => "the vbmeta blob is not signed: its digest is updated",
            AvbEdit::Resigned => {
                "resign: the vbmeta blob has the new digest and a new signature; properties, \
                 rollback index and salt stay"
            }
            AvbEdit::Stripped => {
                "strip: blob and footer are overwritten with zeros, the size stays"
            }
            AvbEdit::TopRehashed => "it is not signed: its digest is updated",
            AvbEdit::TopResigned => {
                "resign: it has the new digests and keys and a new signature; everything else in \
                 it stays"
            }
        }
    }
}

impl Change {
    /// What kind of change it is.
    pub fn kind(&self) -> EditKind {
        match self {
            Change::Segment(_) => EditKind::Ramdisk,
            Change::ModuleList(_) => EditKind::Modules,
            Change::RcFile { .. } => EditKind::Rc,
            Change::Cmdline { .. } => EditKind::Cmdline,
            Change::Id { .. } => EditKind::Id,
            Change::AvbFooter { .. } => EditKind::AvbFooter,
            Change::Vbmeta { .. } => EditKind::Vbmeta,
        }
    }

    /// The reason, for people.
    pub fn why(&self) -> String {
        match self {
            Change::Segment(segment) => segment.why(),
            Change::ModuleList(_) => "the segment shadows the list; the original stays below it, \
                                      and PID 1 restores it in recovery, in charger mode and with \
                                      vfioboot.disable"
                .to_owned(),
            Change::RcFile { why, .. } => why.clone(),
            Change::Cmdline { why, .. } => why.to_string(),
            Change::Id { .. } => {
                "SHA-1 over the sections, computed as AOSP's mkbootimg does".to_owned()
            }
            Change::AvbFooter { why, .. } | Change::Vbmeta { why, .. } => why.why().to_owned(),
        }
    }

    /// What is in the image now, for people.
    pub fn before(&self) -> String {
        match self {
            Change::Segment(segment) => segment.before(),
            Change::ModuleList(list) => match list.removed.as_slice() {
                [] => list.path.clone(),
                removed => format!("{}: {}", list.path, removed.join("; ")),
            },
            Change::RcFile { file, .. } => match file.shadows {
                true => format!("{}, which stays below and is restored by PID 1", file.path),
                false => format!("no {}", file.path),
            },
            Change::Cmdline { before, .. }
            | Change::Id { before, .. }
            | Change::Vbmeta { before, .. } => before.clone(),
            Change::AvbFooter { before, .. } => footer(before),
        }
    }

    /// What will be in the patched image, for people.
    pub fn after(&self) -> String {
        match self {
            Change::Segment(segment) => segment.after(),
            Change::ModuleList(list) => match list.added.as_slice() {
                [] => "without that".to_owned(),
                added => added.join("; "),
            },
            Change::RcFile { file, .. } => format!("{}: {}", file.path, file.what),
            Change::Cmdline { after, .. }
            | Change::Id { after, .. }
            | Change::Vbmeta { after, .. } => after.clone(),
            Change::AvbFooter { after, .. } => after.as_ref().map_or("none".to_owned(), footer),
        }
    }
}

impl SegmentChange {
    fn why(&self) -> String {
        let SegmentChange { hook_reason, init, .. } = self;
        if !self.runtime {
            return "the kernel unpacks it after the files that it replaces".to_owned();
        }
        match self.hook {
            HookKind::Rdinit => "the kernel unpacks it after the original, which stays \
                                 byte-identical, and starts /vfioboot/init from it"
                .to_owned(),
            HookKind::Init => format!(
                "{hook_reason}. So the runtime takes the path {init}: the kernel unpacks it over \
                 the original, and the segment carries a copy of that; it rebinds the devices, \
                 restores the original at {init} and executes it. The ramdisk in the image stays \
                 byte-identical below"
            ),
        }
    }

    fn before(&self) -> String {
        let name = match self.fragment {
            Some(index) => format!("vendor ramdisk fragment {index}"),
            None => "ramdisk".to_owned(),
        };
        format!("{name}, {} bytes", self.ramdisk_size)
    }

    fn after(&self) -> String {
        let SegmentChange { segment_size, init, original_size, .. } = self;
        let format = self.format.map_or("raw cpio", Format::name);
        let files = match self.hook {
            _ if !self.runtime => "the files for other programs and /vfioboot/undo".to_owned(),
            HookKind::Rdinit => "/vfioboot/{init,boot.toml,undo}".to_owned(),
            HookKind::Init => format!(
                "{init}, /vfioboot/{{boot.toml,undo}} and the original {init} ({original_size} \
                 bytes unpacked)"
            ),
        };
        format!("the same and a {format} segment of {segment_size} bytes with {files}")
    }
}

fn footer(footer: &AvbFooter) -> String {
    format!("image {} bytes, vbmeta at {}", footer.original_image_size, footer.vbmeta_offset)
}

impl Serialize for EditKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for PlannedEdit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row {
            image: usize,
            what: EditKind,
            why: String,
            before: String,
            after: String,
        }
        let PlannedEdit { image, change } = self;
        let row = Row {
            image: *image,
            what: change.kind(),
            why: change.why(),
            before: change.before(),
            after: change.after(),
        };
        row.serialize(serializer)
    }
}
