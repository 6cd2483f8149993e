//! Values of a wrapper that are computed from the payload.

use std::ops::Range;

use flate2::Crc;

use crate::image::Output;

/// A computed value and its position.
#[derive(Debug)]
pub(super) struct Derived {
    pub name: &'static str,
    pub position: Position,
    pub value: Value,
}

/// The position of a value, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    /// From the start of the header.
    Header(usize),
    /// From the end of the payload.
    Trailer(usize),
    /// From the start of the block at the end of the file.
    Block(usize),
}

/// The kind of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// The payload's size, 32 bits, little-endian.
    SizeLe,
    /// The payload's size, 32 bits, big-endian.
    SizeBe,
    /// SHA-256 of the payload.
    Sha256,
    /// CRC-32 (IEEE 802.3) of the payload, big-endian.
    CrcBe,
    /// CRC-32 of the first bytes of the header, with this value as zero, big-endian.
    HeaderCrcBe(usize),
    /// Rockchip's CRC-32 of the payload, little-endian.
    RockchipCrcLe,
}

impl Derived {
    /// Its range within the header, the trailer or the block.
    pub(crate) fn range(&self) -> Range<usize> {
        let (Position::Header(at) | Position::Trailer(at) | Position::Block(at)) = self.position;
        let size = if matches!(self.value, Value::Sha256) { 32 } else { 4 };
        at..at + size
    }

    /// Whether it determines how many bytes of the payload a loader reads.
    pub(crate) fn is_size(&self) -> bool {
        match self.value {
            Value::SizeLe | Value::SizeBe => true,
            Value::Sha256 | Value::CrcBe | Value::HeaderCrcBe(_) | Value::RockchipCrcLe => false,
        }
    }

    pub(crate) fn end(&self) -> usize {
        self.range().end
    }

    /// Its bytes for a payload; None if the payload is too large for a 32-bit size.
    pub(crate) fn expected(&self, header: &[u8], payload: &Output<'_>) -> Option<Vec<u8>> {
        let size = u32::try_from(payload.size()).ok();
        Some(match self.value {
            Value::SizeLe => size?.to_le_bytes().to_vec(),
            Value::SizeBe => size?.to_be_bytes().to_vec(),
            Value::Sha256 => payload.sha256().to_vec(),
            Value::CrcBe => {
                let mut crc = Crc::new();
                payload.each(|bytes| crc.update(bytes));
                crc.sum().to_be_bytes().to_vec()
            }
            Value::HeaderCrcBe(length) => {
                let mut bytes = header.get(..length)?.to_vec();
                bytes.get_mut(self.range())?.fill(0);
                let mut crc = Crc::new();
                crc.update(&bytes);
                crc.sum().to_be_bytes().to_vec()
            }
            Value::RockchipCrcLe => {
                let mut crc = 0;
                payload.each(|bytes| crc = rockchip_crc(crc, bytes));
                crc.to_le_bytes().to_vec()
            }
        })
    }
}

/// It differs in one bit from the usual polynomial, and is neither reflected nor inverted (`Crc32`
/// of Rockchip's rkdeveloptool and rkcrc).
const ROCKCHIP_POLYNOMIAL: u32 = 0x04c1_0db7;

const fn rockchip_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000_0000 != 0;
            crc <<= 1;
            if carry {
                crc ^= ROCKCHIP_POLYNOMIAL;
            }
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

fn rockchip_crc(crc: u32, bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = rockchip_table();
    bytes.iter().fold(crc, |crc, byte| {
        let index = (crc >> 24) as u8 ^ byte;
        crc << 8 ^ TABLE[usize::from(index)]
    })
}
