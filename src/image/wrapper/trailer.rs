//! Markers that vendor bootloaders look for right after the image. They move with its end, like all
//! bytes after the last section.

/// What Samsung's signing adds: what its bootloader requires, and the signature.
const SAMSUNG: [&[u8]; 2] = [b"SEANDROIDENFORCE", b"SignerVer02"];

const TRAILERS: [(&[u8], &str); 4] = [
    (SAMSUNG[0], "SEANDROIDENFORCE (Samsung)"),
    (
        &[
            0x41, 0xa9, 0xe4, 0x67, 0x74, 0x4d, 0x1d, 0x1b, 0xa4, 0x29, 0xf2, 0xec, 0xea, 0x65,
            0x52, 0x79,
        ],
        "bump (LG)",
    ),
    (b"AVB0", "a vbmeta image that no footer points to"),
    (SAMSUNG[1], "SignerVer02 (Samsung)"),
];

/// The name of the bytes after an image, if they start with a known marker.
pub fn trailer_name(bytes: &[u8]) -> Option<&'static str> {
    TRAILERS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}

/// Whether the bytes after an image are from Samsung's signing.
pub(crate) fn is_samsung(bytes: &[u8]) -> bool {
    SAMSUNG.iter().any(|magic| bytes.starts_with(magic))
}
