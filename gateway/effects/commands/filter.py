"""The system calls of a command: what general programs need for files, memory, time and their own children.

What is not named fails with EPERM, as if the caller lacked a right: a program that can do without goes on, and one
that cannot ends by itself. Left out on purpose, beside everything that administers a machine:

- sockets of any kind but a connected pair of streams, and with them every network;
- setsid and setpgid: a command and all that descends from it stay in one process group, which one signal ends, however
  fast it forks;
- namespaces (unshare, setns, clone with CLONE_NEW*; clone3 hides its flags in memory and is answered with ENOSYS, upon
  which C libraries fall back to clone), mounts, chroot;
- ptrace, process_vm_*, pidfd_getfd, kcmp, perf_event_open, bpf, userfaultfd, io_uring, keyctl: each has been a way to
  another process or into the kernel;
- chmod, chown, utimes and extended attributes: Landlock does not look at them, and the gateway's user owns more than
  the workspace, the programs of the machine included where it is root. Modes and times are answered as if they had been
  set, since programs that unpack or copy give up otherwise; a file keeps the mode that it was made with;
- umask, for the same reason: a file that is made is its owner's alone, its set-id bits mean nothing to others;
- sendmsg and recvmsg, with which descriptors travel: one that is under way is in no process, so a file that it holds
  could not be counted; and out-of-band data on sockets, which nobody needs and which has been a way into the kernel;
- PR_SET_DUMPABLE, behind which a process could hide what it holds;
- inotify, mincore and fcntl's leases, for the same reason: they work on whatever can be named or read;
- memfd_create, because Landlock does not stop memory from being executed; fallocate, because it takes
  disk that a walk over the workspace does not see; shared memory, semaphores and queues, because they outlive
  whoever made them.

Source of the numbers: gateway/workers/syscalls.py.
"""

import errno
from typing import Final

from gateway.workers.seccomp import WORD, Allow, Check, allow, program
from gateway.workers.syscalls import Machine

_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_TYPE: Final = 0xF  # the rest are flags
_CLONE_THREAD: Final = 0x0001_0000
_CLONE_NEW: Final = 0x7E02_0080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} and CLONE_NEWTIME
_PR_ALLOWED: Final = (2, 3, 15, 16, 38, 39)  # GET_PDEATHSIG, GET_DUMPABLE, {SET,GET}_NAME, *_NO_NEW_PRIVS
_PR_SET_VMA: Final = 0x5356_4D41
_IOCTLS: Final = (
    0x5401,  # TCGETS: is it a terminal?
    0x5413,  # TIOCGWINSZ
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5450,  # FIONCLEX, which is not FICLONE
    0x5451,  # FIOCLEX
)
_FCNTLS: Final = (
    *range(8),  # F_DUPFD, F_{GET,SET}FD, F_{GET,SET}FL, F_GETLK, F_SETLK, F_SETLKW
    *(36, 37, 38),  # F_OFD_*
    *(1030, 1031, 1032),  # F_DUPFD_CLOEXEC, F_{SET,GET}PIPE_SZ
)
_IN_BAND: Final = Check(3, 1, (0,))  # no MSG_OOB
_MYSELF: Final = Check(0, WORD, (0,))  # a process id: the caller
_LIMITS_READ: Final = Check(2, (1 << 64) - 1, (0,))  # prlimit64 with no new limit

_FILES: Final = """
access chdir close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fchdir
fdatasync flock fstat fstatfs fsync ftruncate getcwd getdents getdents64 lseek lstat mkdir mkdirat newfstatat
open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv rename renameat renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat
sync_file_range tee truncate unlink unlinkat link linkat write writev getxattr lgetxattr fgetxattr
listxattr llistxattr flistxattr
"""
_WAITING: Final = """
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 poll ppoll pselect6
select pause nanosleep clock_nanosleep signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime
timer_create timer_delete timer_getoverrun timer_gettime timer_settime alarm getitimer setitimer
"""
_STREAMS: Final = """
shutdown getsockname getpeername getsockopt
"""  # of a connected pair (below), used like a pipe
_MEMORY: Final = """
brk madvise membarrier mmap mprotect mremap msync munmap pkey_alloc pkey_free pkey_mprotect mseal
"""
_ITSELF: Final = """
arch_prctl capget exit exit_group futex futex_requeue futex_wait futex_waitv futex_wake set_robust_list rseq
set_tid_address restart_syscall getcpu getpriority getegid geteuid getgid getgroups getpgid getpgrp getpid
getppid getresgid getresuid getsid gettid getuid getrandom getrlimit getrusage sched_getaffinity
sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min sched_yield setrlimit sysinfo
times uname clock_getres clock_gettime gettimeofday time
"""
_SIGNALS: Final = """
kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_tgsigqueueinfo sigaltstack pidfd_open pidfd_send_signal
"""  # Landlock keeps them inside
_PROGRAMS: Final = """
execve execveat wait4 waitid
"""
_ALWAYS: Final = allow(*f"{_FILES}{_WAITING}{_STREAMS}{_MEMORY}{_ITSELF}{_SIGNALS}{_PROGRAMS}".split())
_CHECKED: Final = (
    Allow("socketpair", (Check(0, WORD, (_AF_UNIX,)), Check(1, _SOCK_TYPE, (_SOCK_STREAM,)))),
    Allow("sendto", (_IN_BAND,)),
    Allow("recvfrom", (_IN_BAND,)),
    Allow("prctl", (Check(0, WORD, (*_PR_ALLOWED, _PR_SET_VMA)),)),
    Allow("ioctl", (Check(1, WORD, _IOCTLS),)),
    Allow("fcntl", (Check(1, WORD, _FCNTLS),)),
    Allow("prlimit64", (_MYSELF, _LIMITS_READ)),
    Allow("sched_setaffinity", (_MYSELF,)),
)
_FORKS: Final = (*allow("fork", "vfork"), Allow("clone", (Check(0, _CLONE_NEW, (0,)),)))
_THREADS: Final = (Allow("clone", (Check(0, _CLONE_NEW | _CLONE_THREAD, (_CLONE_THREAD,)),)),)
_IGNORED: Final = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "umask"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
_FALL_BACK: Final = {
    "clone3": errno.ENOSYS,
    "fallocate": errno.EOPNOTSUPP,
    "memfd_create": errno.ENOSYS,
    "io_uring_setup": errno.ENOSYS,
    "setxattr": errno.EOPNOTSUPP,
    "lsetxattr": errno.EOPNOTSUPP,
    "fsetxattr": errno.EOPNOTSUPP,
    "socket": errno.EACCES,
}


def command_filter(machine: Machine, *, forks: bool) -> bytes:
    """Return the filter of a command; without `forks` it may have threads, and no other process."""
    children = _FORKS if forks else _THREADS
    return program(
        (*_ALWAYS, *_CHECKED, *children), machine, refused=_FALL_BACK, ignored=_IGNORED, otherwise=errno.EPERM
    )
