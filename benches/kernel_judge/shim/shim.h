/* What the kernel's sources take from headers that are not compiled here. */
#ifndef SHIM_H
#define SHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef int16_t s16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t time64_t;

#define __init
#define __initdata
#define __initconst
#define EXPORT_SYMBOL(name)
#define fallthrough __attribute__((fallthrough))
#define likely(condition) (condition)
#define unlikely(condition) (condition)
#define WARN_ON(condition) (condition)
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
#define min(a, b) ((a) < (b) ? (a) : (b))
#define IS_ENABLED(option) 0
#define BITS_PER_LONG 64
#define __fls(word) (63 - __builtin_clzl(word))
#define MODULE_LICENSE(text)
#define MODULE_DESCRIPTION(text)
#define GFP_KERNEL 0
#define kmalloc(size, flags) malloc(size)
#define kfree(memory) free(memory)
#define vmalloc(size) malloc(size)
#define vfree(memory) free(memory)
#define pr_debug(...)
#define pr_err(...)
#define pr_warn(...)

/* lib/kstrtox.c, with which no text is a number here */
#define simple_strtol(text, end, base) strtol(text, end, base)
#define simple_strtoul(text, end, base) strtoul(text, end, base)
#define simple_strtoull(text, end, base) strtoull(text, end, base)

/* kernel/params.c: there are no parameters that could be found */
#define KERNEL_PARAM_OPS_FL_NOARG 1
struct kernel_param {
	const char *name;
	int level;
	void *mod;
	struct {
		int flags;
		int (*set)(const char *value, const struct kernel_param *own);
	} *ops;
};
#define kernel_param_lock(mod)
#define kernel_param_unlock(mod)
#define irqs_disabled() false
#define param_check_unsafe(own) true
#define ERR_PTR(error) ((void *)(long)(error))

char *skip_spaces(const char *text);
char *strim(char *text);

#endif
