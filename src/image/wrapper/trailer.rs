//! Marks that vendors' bootloaders look for right behind the image. They move with its end, as
//! everything behind the last section does.

const TRAILERS: [(&[u8], &str); 3] = [
    (b"SEANDROIDENFORCE", "SEANDROIDENFORCE (Samsung)"),
    (
        &[
            0x41, 0xa9, 0xe4, 0x67, 0x74, 0x4d, 0x1d, 0x1b, 0xa4, 0x29, 0xf2, 0xec, 0xea, 0x65,
            0x52, 0x79,
        ],
        "bump (LG)",
    ),
    (b"SignerVer02", "SignerVer02 (Samsung)"),
];

/// What the bytes behind an image are, when they start with a known mark.
pub fn trailer_name(bytes: &[u8]) -> Option<&'static str> {
    TRAILERS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}
