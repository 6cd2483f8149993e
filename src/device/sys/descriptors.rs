//! The descriptors of this process, all at once.

/// `CLOSE_RANGE_CLOEXEC` of `linux/close_range.h`
const CLOSE_AT_EXEC: libc::c_uint = 1 << 2;

/// Closes the descriptors from `first` to `last`. It makes system calls alone: it may be called between
/// fork and exec.
pub(crate) fn close_range(first: i32, last: i32) {
    each_descriptor(first, last, 0, |descriptor| {
        // SAFETY: closing a descriptor touches no memory; the callers own them all.
        unsafe { libc::close(descriptor) };
    });
}

/// Has the descriptors from `first` on closed when a program is executed. As [`close_range`].
pub(crate) fn close_at_exec(first: i32) {
    each_descriptor(first, i32::MAX, CLOSE_AT_EXEC, |descriptor| {
        // SAFETY: sets a flag of a descriptor; one that is not open is an error, and no more.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    });
}

fn each_descriptor(first: i32, last: i32, flags: libc::c_uint, each: impl Fn(i32)) {
    // SAFETY: numbers alone.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } == 0 {
        return;
    }
    // Before Linux 5.9, and 5.11 for the flag.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let end = limit.and_then(|limit| i32::try_from(limit).ok()).unwrap_or(1024).min(65536);
    (first..=last.min(end)).for_each(each);
}
