/* killat N COMMAND...: kill -9 the command when its Nth fdatasync has returned. vfiorun calls it once
 * for each record of its journal and for nothing else, so the record is on disk, and its step has not
 * been executed yet. The status is the command's, or 137.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static long syscall_of(pid_t pid)
{
    struct user_regs_struct regs;
    struct iovec area = { &regs, sizeof(regs) };

    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &area) != 0)
        return -1;
#ifdef __aarch64__
    return regs.regs[8];
#else
    return regs.orig_rax;
#endif
}

int main(int argc, char **argv)
{
    int status, left, entered = 0;
    long signal = 0;
    pid_t pid;

    if (argc < 3)
        return 2;
    left = atoi(argv[1]);
    pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 2;
    ptrace(PTRACE_SETOPTIONS, pid, 0, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, 0, (void *)signal) != 0 && errno != ESRCH)
            return 2;
        if (waitpid(pid, &status, 0) != pid)
            return 2;
        if (WIFEXITED(status))
            return WEXITSTATUS(status);
        if (WIFSIGNALED(status))
            return 128 + WTERMSIG(status);
        signal = WSTOPSIG(status);
        if (signal == SIGTRAP) /* execve */
            signal = 0;
        if (signal != (SIGTRAP | 0x80))
            continue;
        signal = 0;
        /* each call stops twice, when it begins and when it returns */
        entered = !entered;
        if (!entered && syscall_of(pid) == SYS_fdatasync && --left == 0)
            kill(pid, SIGKILL);
    }
}
