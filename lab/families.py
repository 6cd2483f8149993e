"""All families of cases, in the order in which they start."""

from typing import Any

import boot_test
import bootconfig
import device
import flows
import guard
import in_use
import install
import late
import modules
import params
import patching
import pc
import sets
import uboot
import uplink
from family import Family

FAMILIES: tuple[Family[Any], ...] = (
    patching.FAMILY, bootconfig.FAMILY, device.FAMILY, modules.FAMILY, params.FAMILY, late.FAMILY, guard.FAMILY,
    flows.FAMILY, pc.FAMILY, in_use.FAMILY, install.FAMILY, sets.FAMILY, boot_test.FAMILY, uplink.FAMILY,
    uboot.FAMILY,
)  # fmt: skip
