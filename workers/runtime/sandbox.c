#include "workers/runtime/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Calls that plain computing over files needs, threads of one process included (the profiles that differ are below).
static const int common_calls[] = {
    SCMP_SYS(read),           SCMP_SYS(write),        SCMP_SYS(readv),           SCMP_SYS(writev),
    SCMP_SYS(pread64),        SCMP_SYS(pwrite64),     SCMP_SYS(preadv),          SCMP_SYS(pwritev),
    SCMP_SYS(close),          SCMP_SYS(fstat),        SCMP_SYS(stat),            SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),     SCMP_SYS(statx),
    SCMP_SYS(lseek),          SCMP_SYS(munmap),       SCMP_SYS(mremap),          SCMP_SYS(madvise),
    SCMP_SYS(brk),            SCMP_SYS(futex),        SCMP_SYS(rt_sigaction),    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),   SCMP_SYS(sigaltstack),  SCMP_SYS(exit),            SCMP_SYS(exit_group),
    SCMP_SYS(clock_gettime),  SCMP_SYS(gettimeofday), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(clock_getres),   SCMP_SYS(time),         SCMP_SYS(times),           SCMP_SYS(getrusage),
    SCMP_SYS(getpid),         SCMP_SYS(gettid),       SCMP_SYS(getppid),         SCMP_SYS(getuid),
    SCMP_SYS(geteuid),        SCMP_SYS(getgid),       SCMP_SYS(getegid),         SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield),    SCMP_SYS(fsync),        SCMP_SYS(fdatasync),       SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),      SCMP_SYS(fadvise64),    SCMP_SYS(unlink),          SCMP_SYS(unlinkat),
    SCMP_SYS(rename),         SCMP_SYS(renameat),     SCMP_SYS(renameat2),       SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),        SCMP_SYS(rmdir),        SCMP_SYS(getdents64),      SCMP_SYS(getcwd),
    SCMP_SYS(readlink),       SCMP_SYS(readlinkat),   SCMP_SYS(access),          SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),     SCMP_SYS(dup),          SCMP_SYS(dup2),            SCMP_SYS(dup3),
    SCMP_SYS(uname),          SCMP_SYS(sysinfo),      SCMP_SYS(umask),           SCMP_SYS(restart_syscall),
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq),        SCMP_SYS(set_tid_address), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(membarrier),     SCMP_SYS(copy_file_range), SCMP_SYS(flock),        SCMP_SYS(poll),
};

static const int mesa_calls[] = {
    SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_setscheduler), SCMP_SYS(memfd_create), SCMP_SYS(getpriority),
    SCMP_SYS(setpriority),       SCMP_SYS(epoll_create1),      SCMP_SYS(eventfd2),     SCMP_SYS(pipe2),
};

// What a process needs beyond that which talks over connections: it may make new ones, but not wait for any.
static const int client_calls[] = {
    SCMP_SYS(connect),  SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname),     SCMP_SYS(getpeername),
    SCMP_SYS(sendto),   SCMP_SYS(recvfrom),   SCMP_SYS(sendmsg),    SCMP_SYS(recvmsg),         SCMP_SYS(sendmmsg),
    SCMP_SYS(shutdown), SCMP_SYS(select),     SCMP_SYS(pselect6),   SCMP_SYS(ppoll),
    SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait),
};

#define ALLOW(...)                                                                                                     \
    do {                                                                                                               \
        int kf_rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, __VA_ARGS__);                                             \
        if (kf_rc < 0)                                                                                                 \
            return kf_rc;                                                                                              \
    } while (0)

// A file is emptied only by who may write to it: O_RDONLY|O_TRUNC empties it as well, and Landlock before ABI 3 lets that
// pass for an input that may only be read.
static int add_opening(scmp_filter_ctx filter)
{
    const unsigned long cut = O_TRUNC, both = O_TRUNC | O_ACCMODE;
    const unsigned long writing[] = {O_TRUNC | O_WRONLY, O_TRUNC | O_RDWR};
    ALLOW(SCMP_SYS(open), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, cut, 0));
    ALLOW(SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, cut, 0));
    for (size_t i = 0; i < sizeof writing / sizeof *writing; i++) {
        ALLOW(SCMP_SYS(open), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, both, writing[i]));
        ALLOW(SCMP_SYS(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, both, writing[i]));
    }
    return 0;
}

// Calls whose arguments decide.
static int add_conditional(scmp_filter_ctx filter, enum kf_sandbox_profile profile)
{
    // Threads, never processes: every flag that pthread_create sets must be there.
    const unsigned long thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    ALLOW(SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread));
    // glibc tries clone3 first and falls back on ENOSYS; its arguments lie in memory, where a filter cannot look.
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc < 0)
        return rc;
    int executable = profile == KF_SANDBOX_ONEDNN || profile == KF_SANDBOX_MESA;
    if (executable) {
        ALLOW(SCMP_SYS(mmap), 0);
        ALLOW(SCMP_SYS(mprotect), 0);
    } else {
        ALLOW(SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        ALLOW(SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    }
    ALLOW(SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL));
    ALLOW(SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETFL));
    ALLOW(SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFD));
    ALLOW(SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_SETFD));
    ALLOW(SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_DUPFD_CLOEXEC));
    ALLOW(SCMP_SYS(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0)); // reading limits, not setting them
    ALLOW(SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    ALLOW(SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())); // abort()
    if (profile == KF_SANDBOX_MESA)
        ALLOW(SCMP_SYS(ioctl), 0);
    return 0;
}

// Sockets of the internet and of this machine; nothing of the kernel's own.
static int add_client(scmp_filter_ctx filter)
{
    static const unsigned long families[] = {AF_UNIX, AF_INET, AF_INET6};
    static const unsigned long questions[] = {FIONREAD, FIONBIO};
    for (size_t i = 0; i < sizeof client_calls / sizeof *client_calls; i++)
        ALLOW(client_calls[i], 0);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        ALLOW(SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        ALLOW(SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, questions[i]));
    return 0;
}

static int install_filter(enum kf_sandbox_profile profile, int client)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return -ENOMEM;
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof common_calls / sizeof *common_calls; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, common_calls[i], 0);
    if (profile == KF_SANDBOX_MESA)
        for (size_t i = 0; !rc && i < sizeof mesa_calls / sizeof *mesa_calls; i++)
            rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mesa_calls[i], 0);
    if (!rc)
        rc = add_opening(filter);
    if (!rc)
        rc = add_conditional(filter, profile);
    if (!rc && client)
        rc = add_client(filter);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

// ---------------------------------------------------------------------------------------------- Landlock
static int allow_path(int ruleset, const char *path, __u64 rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    if (rule.parent_fd < 0)
        return -errno;
    struct stat st;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode)) // folder rights on a file are an error
        rule.allowed_access &= LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
    int rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
    close(rule.parent_fd);
    return rc;
}

int kf_sandbox_landlock_abi(void)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? abi : 0;
}

// Returns the ABI in force (0 without Landlock) or a negative errno.
static int install_landlock(const struct kf_sandbox_rules *rules)
{
    int abi = kf_sandbox_landlock_abi();
    if (!abi)
        return 0;
    const __u64 all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; // the rights of ABI 1
    const __u64 reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    struct landlock_ruleset_attr attr = {.handled_access_fs = all};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0)
        return -errno;
    int rc = allow_path(ruleset, rules->writable,
                        reading | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                            LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR);
    for (const char *const *path = rules->readable; !rc && path && *path; path++)
        rc = allow_path(ruleset, *path, reading);
    // What OpenMP and malloc ask about the machine; absent on odd systems, and then they do without.
    allow_path(ruleset, "/sys/devices/system/cpu", reading);
    allow_path(ruleset, "/proc/self", reading);
    if (!rc && syscall(SYS_landlock_restrict_self, ruleset, 0))
        rc = -errno;
    close(ruleset);
    return rc ? rc : abi;
}

// ---------------------------------------------------------------------------------------------- limits, privileges
static int limit(int resource, int64_t value)
{
    if (value <= 0)
        return 0;
    struct rlimit r = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value};
    return setrlimit((__rlimit_resource_t)resource, &r) ? -errno : 0;
}

static int set_limits(const struct kf_sandbox_rules *rules)
{
    int rc = limit(RLIMIT_CPU, rules->cpu_limit_s);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (!rc)
        rc = limit(RLIMIT_AS, rules->memory_limit_bytes);
#endif
    if (!rc)
        rc = limit(RLIMIT_FSIZE, rules->file_limit_bytes);
    if (!rc)
        rc = limit(RLIMIT_NOFILE, 512);
    struct rlimit none = {0};
    if (!rc && setrlimit(RLIMIT_CORE, &none))
        rc = -errno;
    return rc;
}

// Keeps those of its capabilities that are in `kept` (a bit each, of the first 32).
static int drop_privileges(__u32 kept)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return -errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    memset(caps, 0, sizeof caps);
    if (kept && syscall(SYS_capget, &header, caps))
        return -errno;
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        caps[i].permitted &= i == 0 ? kept : 0;
        caps[i].effective = caps[i].permitted;
        caps[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, caps) ? -errno : 0;
}

enum kf_status kf_sandbox_enter(const struct kf_sandbox_rules *rules, struct kf_sandbox_state *state,
                                struct kf_error *err)
{
    struct kf_sandbox_state now = {0};
    const char *step = "resource limits";
    int rc = set_limits(rules);
    // Landlock's rules name paths that only their owner can open: before the capabilities go.
    if (!rc) {
        step = "no_new_privs and capabilities";
        rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
    }
    if (!rc) {
        step = "Landlock";
        rc = install_landlock(rules);
        now.landlock_abi = rc > 0 ? rc : 0;
        rc = rc > 0 ? 0 : rc;
    }
    if (!rc) {
        step = "capabilities";
        rc = drop_privileges(0);
    }
    if (!rc) {
        step = "seccomp";
        rc = install_filter(rules->profile, 0);
        now.seccomp = rc == 0;
    }
    if (state)
        *state = now;
    if (rc)
        return kf_error_set(err, KF_INTERNAL, "sandbox_failed", "the sandbox could not be set up (%s): %s", step,
                            strerror(-rc));
    return KF_OK;
}

enum kf_status kf_sandbox_enter_client(struct kf_error *err)
{
    // What root may do to files without being their owner: the data folder and the database's socket may be another's.
    const __u32 files = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
    const char *step = "privileges";
    int rc = drop_privileges(files);
    if (!rc) {
        step = "seccomp";
        rc = install_filter(KF_SANDBOX_PLAIN, 1);
    }
    if (rc)
        return kf_error_set(err, KF_INTERNAL, "sandbox_failed", "the sandbox could not be set up (%s): %s", step,
                            strerror(-rc));
    return KF_OK;
}
