/* As tools/bootconfig/include/linux/bootconfig.h, but with the kernel's own character classes. */
#include "../shim.h"
#include <linux/ctype.h>
#include_next <linux/bootconfig.h>
