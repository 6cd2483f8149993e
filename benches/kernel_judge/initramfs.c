/* The kernel's unpack_to_rootfs (init/initramfs.c) with its lz4_legacy and gzip: what it makes of a
 * ramdisk, in a file system of its own that is empty before each.
 *
 * The answer: the kernel's error, or ""; "within" if it ended within an entry, or ""; the number of
 * entries that it took up; for each its path, "data" and the data if it wrote a file, "target" and the
 * target of a symbolic link, else "other" and ""; then for each of these paths what is there in the end:
 * it, its type, the number of its names, its size, and its data or target; or it and "none" or "root".
 */
#include "judge.h"
#include "shim/vfs.h"
#include <initramfs-part.c>
#include <lib/decompress.c>

/* Whether an input ends with a TRAILER, without all of the padding of its name. */
static bool ends_with_trailer(const char *input, size_t size)
{
	static const char name[] = "TRAILER!!!";
	size_t padding;

	for (padding = 0; padding < 3 && size >= sizeof name; padding++, size--) {
		if (!memcmp(input + size - sizeof name, name, sizeof name))
			return true;
	}
	return false;
}

static void judge(char *input, size_t size)
{
	const char *failed;
	size_t missing, padding;

	vfs_begin();
	/* as the archive that is built into every kernel leaves it */
	next_state = Reset;
	next_header = this_header = 0;
	my_inptr = 0;
	failed = unpack_to_rootfs(input, size);
	/* what is missing of the last entry: its padding may be */
	missing = state == SkipIt ? next_header - this_header : 0;
	padding = -(110 + N_ALIGN(name_len) + body_len) & 3;
	add_text(failed ? failed : "");
	if (state == Reset || state == Start || (state == SkipIt && missing <= padding))
		add_text("");
	else
		add_text(state == Collect && next_state == GotName && ends_with_trailer(input, size) ? "" : "within");
	free_hash();
	vfs_end();
}

int main(void)
{
	vfs_enter();
	return judge_all();
}
