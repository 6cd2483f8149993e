/* The file system calls of init/initramfs.c, made for real in an empty root directory; and the note of
 * what they were. Owners, permissions and times are left out. A special file is a FIFO whose permission
 * bits are its real type. */
#include "shim.h"
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef unsigned short umode_t;
struct path { int fd; };
struct file { struct path f_path; };
struct kstat { unsigned mode; };

#define show_mem(a, b)
#define panic(...) abort()
#define MKDEV(major, minor) ((major) << 20 | (minor))
#define new_encode_dev(device) (device)
#define init_chown(...)
#define init_chmod(...)
#define vfs_fchown(...)
#define vfs_fchmod(...)
#define IS_ERR(file) (!(file))

/* Before the tests of one entry's path the notes of another follow. */
enum note { NOTHING, DATA, TARGET };
struct seen {
	char *path, *data;
	size_t size;
	enum note note;
};
static struct seen *seen;
static size_t seen_count, seen_room;

static void vfs_begin(void)
{
	seen_count = 0;
}

static void see(const char *path)
{
	if (seen_count == seen_room) {
		seen_room = 2 * seen_room + 64;
		seen = realloc(seen, seen_room * sizeof *seen);
	}
	seen[seen_count++] = (struct seen) { .path = strdup(path) };
}

static void note(enum note note, const void *data, size_t size)
{
	struct seen *last = &seen[seen_count - 1];

	last->note = note;
	last->data = realloc(last->data, last->size + size + 1);
	memcpy(last->data + last->size, data, size);
	last->size += size;
}

static unsigned real_mode(const struct stat *own)
{
	return S_ISFIFO(own->st_mode) ? (own->st_mode & 0777) << 12 : own->st_mode;
}

static int init_stat(const char *path, struct kstat *out, int flags)
{
	struct stat own;

	see(path);
	if (fstatat(AT_FDCWD, path, &own, flags) < 0)
		return -errno;
	out->mode = real_mode(&own);
	return 0;
}

static void init_rmdir(const char *path) { (void)!rmdir(path); }
static void init_unlink(const char *path) { (void)!unlink(path); }
static void init_mkdir(const char *path, umode_t mode) { (void)!mkdir(path, 0755); }

static void init_mknod(const char *path, umode_t mode, unsigned device)
{
	(void)!mknod(path, S_IFIFO | mode >> 12, 0);
}

static void init_symlink(const char *target, const char *path)
{
	note(TARGET, target, strlen(target));
	(void)!symlink(target, path);
}

static int init_link(const char *old, const char *new)
{
	/* clean_path has asked for this path a second time */
	free(seen[--seen_count].path);
	return linkat(AT_FDCWD, old, AT_FDCWD, new, 0) < 0 ? -errno : 0;
}

static struct file *filp_open(const char *path, int flags, umode_t mode)
{
	int fd = open(path, flags | O_NONBLOCK, 0755);
	struct file *file;

	if (fd < 0)
		return NULL;
	note(DATA, "", 0);
	file = malloc(sizeof *file);
	file->f_path.fd = fd;
	return file;
}

static void vfs_truncate(const struct path *path, loff_t size)
{
	(void)!ftruncate(path->fd, size);
}

static ssize_t kernel_write(struct file *file, const void *data, size_t size, loff_t *position)
{
	ssize_t written = pwrite(file->f_path.fd, data, size, *position);

	if (written < 0)
		return -errno;
	note(DATA, data, written);
	*position += written;
	return written;
}

static void fput(struct file *file)
{
	close(file->f_path.fd);
	free(file);
}

/* At most this much of a file is compared. */
#define CONTENT (1 << 20)

static void add_found(const char *path)
{
	static char content[CONTENT];
	struct stat own, root;
	ssize_t size = 0;
	int fd;

	add_text(path);
	if (lstat(path, &own) < 0) {
		add_text("none");
		return;
	}
	stat("/", &root);
	if (own.st_ino == root.st_ino) {
		add_text("root");
		return;
	}
	add_number(real_mode(&own) >> 12);
	add_number(own.st_nlink);
	add_number(own.st_size);
	if (S_ISLNK(own.st_mode)) {
		size = readlink(path, content, sizeof content);
	} else if (S_ISREG(own.st_mode)) {
		fd = open(path, O_RDONLY);
		size = fd < 0 ? -1 : read(fd, content, sizeof content);
		close(fd);
	}
	add(content, size < 0 ? 0 : size);
}

static int remove_one(const char *path, const struct stat *own, int type, struct FTW *walk)
{
	return walk->level ? remove(path) : 0;
}

static void vfs_end(void)
{
	const char *notes[] = { "other", "data", "target" };
	size_t i;

	add_number(seen_count);
	for (i = 0; i < seen_count; i++) {
		add_text(seen[i].path);
		add_text(notes[seen[i].note]);
		add(seen[i].data ? seen[i].data : "", seen[i].size);
	}
	for (i = 0; i < seen_count; i++)
		add_found(seen[i].path);
	for (i = 0; i < seen_count; i++) {
		free(seen[i].path);
		free(seen[i].data);
	}
	if (nftw("/", remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		abort();
}

/* Make the working directory, which must be empty, the root. */
static void vfs_enter(void)
{
	if (chroot(".") < 0 && (unshare(CLONE_NEWUSER) < 0 || chroot(".") < 0)) {
		perror("initramfs: chroot");
		exit(2);
	}
	umask(0);
}
