"""All families of cases, in the order in which they start."""

import bootconfig
import device
import modules
import patching
from family import Family

FAMILIES: tuple[Family, ...] = (patching.FAMILY, bootconfig.FAMILY, device.FAMILY, modules.FAMILY)
