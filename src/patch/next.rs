//! How patched images get onto a device: in which order, with which tool, and a trial before.

use serde::Serialize;

use super::context::Context;
use crate::bootset::{FlowKind, Role};
use crate::image::Image;

/// What to do with the images that a patch changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Next {
    /// Every changed image, in the order of flashing: wherever that is interrupted, the device boots
    /// ([`Proof::steps`](super::Proof::steps)). The originals go back in the reverse order.
    pub flash: Vec<Flash>,
    /// Index of the image that a bootloader can start without flashing it (`fastboot boot`).
    pub trial: Option<usize>,
}

/// One image to flash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flash {
    /// Its index.
    pub image: usize,
    /// The tool that flashes it.
    #[serde(flatten)]
    pub tool: FlashTool,
}

/// The tool that flashes an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "tool", rename_all = "snake_case")]
pub enum FlashTool {
    /// fastboot of Android's platform tools.
    Fastboot {
        /// The partition, without the suffix of a slot.
        partition: String,
    },
    /// heimdall, for Samsung's bootloaders, which do not speak fastboot.
    Heimdall {
        /// The partition, as fastboot would call it.
        partition: String,
    },
    /// None: the bootloader reads a file, such as the initrd of a distribution.
    Copy,
}

impl FlashTool {
    /// The partition; None if it is not known.
    pub fn partition(&self) -> Option<&str> {
        match self {
            FlashTool::Fastboot { partition } | FlashTool::Heimdall { partition } => {
                Some(partition)
            }
            FlashTool::Copy => None,
        }
    }
}

impl Next {
    /// For the images of these indices, in the order of flashing.
    pub(crate) fn new(set: &Context<'_, '_>, changed: &[usize]) -> Self {
        let roles = set.set.roles();
        let flash: Vec<Flash> =
            changed.iter().map(|image| Flash { image: *image, tool: tool(set, *image) }).collect();
        let trial = match &flash[..] {
            [Flash { image, tool: FlashTool::Fastboot { .. } }]
                if roles[*image] == Role::Boot && set.flow().kind != FlowKind::LinuxInitramfs =>
            {
                Some(*image)
            }
            _ => None,
        };
        Next { flash, trial }
    }
}

fn tool(set: &Context<'_, '_>, index: usize) -> FlashTool {
    match set.set.partition_of(index) {
        None => FlashTool::Copy,
        Some(partition) if set.images.iter().any(Image::is_samsung) => {
            FlashTool::Heimdall { partition }
        }
        Some(partition) => FlashTool::Fastboot { partition },
    }
}
