//! What a proof has shown.

use serde::Serialize;

/// What the patched images showed when they were read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// The files of the patch: the kernel unpacks each, with its content.
    pub files: Vec<String>,
    /// The paths of the originals at which it unpacks files of the patch instead.
    pub shadowed: Vec<String>,
    /// The number of all other paths: the kernel unpacks the same there as before.
    pub unchanged: usize,
    /// The words of the patch that are in effect on the command line; no other word is lost.
    pub words: Vec<String>,
    /// The images that undoing the patch gives back.
    pub undo: Vec<Undone>,
    /// AVB's metadata of the images that changed; None if none has any.
    pub avb: Option<AvbProof>,
    /// For each way to flash only a part of the images, one after the other or one alone: what the
    /// device starts.
    pub steps: Vec<Step>,
}

/// An original that undoing the patch gives back, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// Index of the image.
    pub image: usize,
    /// SHA-256 of the original file.
    #[serde(with = "crate::patch::hex")]
    pub sha256: [u8; 32],
}

/// What is true of AVB's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AvbProof {
    /// Signed blobs are byte-identical, and the footers lead to them.
    Kept,
    /// Every digest of a changed image is right, and so is every signature that was made.
    Right,
    /// No changed image has a footer or a blob.
    Removed,
}

/// A device on which some of the patched images were flashed; the others are the originals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Indices of the images that were flashed.
    pub flashed: Vec<usize>,
    /// The program that the kernel starts.
    pub starts: String,
    /// Whether the kernel finds it, as far as the set shows.
    pub boots: bool,
}
