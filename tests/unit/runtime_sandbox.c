// The sandbox keeps a job child from everything but its inputs, its scratch folder and computing.
#include "server/base/test.h"
#include "workers/runtime/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/kerf-sandbox.XXXXXX";
static char input[64], scratch[64];

static void prepare(void)
{
    if (!mkdtemp(folder))
        abort();
    snprintf(input, sizeof input, "%s/input", folder);
    snprintf(scratch, sizeof scratch, "%s/scratch", folder);
    FILE *f = fopen(input, "w");
    fputs("bytes", f);
    fclose(f);
    mkdir(scratch, 0700);
}

static int enter(enum kf_sandbox_profile profile, struct kf_sandbox_state *state)
{
    const char *readable[] = {input, NULL};
    struct kf_sandbox_rules rules = {.profile = profile,
                                     .readable = readable,
                                     .writable = scratch,
                                     .memory_limit_bytes = (int64_t)512 << 20,
                                     .file_limit_bytes = 1 << 20,
                                     .cpu_limit_s = 10};
    struct kf_error err;
    return kf_sandbox_enter(&rules, state, &err) ? -1 : 0;
}

// Runs `probe` inside the sandbox in a child and gives its exit code (or -signal).
static int inside(enum kf_sandbox_profile profile, int (*probe)(const struct kf_sandbox_state *state))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct kf_sandbox_state state;
        if (enter(profile, &state))
            _exit(99);
        _exit(probe(&state));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int probe_network(const struct kf_sandbox_state *state)
{
    (void)state;
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM)
        return 1;
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EPERM ? 2 : 0;
}

static int probe_processes(const struct kf_sandbox_state *state)
{
    (void)state;
    pid_t child = fork();
    if (child >= 0)
        return 1;
    char *const argv[] = {(char[]){"true"}, NULL};
    execv("/bin/true", argv);
    if (errno != EPERM && errno != EACCES)
        return 2;
    return kill(getppid(), 0) == 0 ? 3 : 0;
}

static int probe_files(const struct kf_sandbox_state *state)
{
    char path[80], byte;
    int in = open(input, O_RDONLY);
    if (in < 0 || read(in, &byte, 1) != 1)
        return 1;
    snprintf(path, sizeof path, "%s/out", scratch);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0 || write(out, "x", 1) != 1 || rename(path, path) || unlink(path))
        return 2;
    if (!state->landlock_abi)
        return 0; // this kernel cannot restrict paths; the caller prints it
    if (open("/etc/passwd", O_RDONLY) >= 0)
        return 3;
    if (open(input, O_WRONLY) >= 0)
        return 4;
    snprintf(path, sizeof path, "%s/elsewhere", folder);
    return open(path, O_WRONLY | O_CREAT, 0600) >= 0 ? 5 : 0;
}

// Nor may it empty an input, or take away the right to read it.
static int probe_inputs(const struct kf_sandbox_state *state)
{
    (void)state;
    struct stat st;
    if (open(input, O_RDONLY | O_TRUNC) >= 0 || stat(input, &st) || st.st_size != 5)
        return 1;
    int in = open(input, O_RDONLY);
    if (in < 0 || fchmod(in, 0) == 0 || chmod(input, 0) == 0)
        return 2;
    return truncate(input, 0) == 0 || ftruncate(in, 0) == 0 ? 3 : 0;
}

static int probe_executable_memory(const struct kf_sandbox_state *state)
{
    (void)state;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? 0 : 1;
}

static int probe_limits(const struct kf_sandbox_state *state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__)
    if (mmap(NULL, (size_t)1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return 1;
#endif
    char path[80];
    snprintf(path, sizeof path, "%s/big", scratch);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    signal(SIGXFSZ, SIG_IGN);
    return ftruncate(out, 2 << 20) == 0 ? 2 : 0;
}

static void *add_one(void *number)
{
    ++*(int *)number;
    return NULL;
}

static int probe_threads(const struct kf_sandbox_state *state)
{
    (void)state;
    pthread_t thread;
    int number = 1;
    if (pthread_create(&thread, NULL, add_one, &number) || pthread_join(thread, NULL))
        return 1;
    return number == 2 ? 0 : 2;
}

KF_TEST(a_job_has_no_network)
{
    KF_CHECK_EQ(inside(KF_SANDBOX_DCMTK, probe_network), 0);
}
KF_TEST(a_job_starts_no_process_and_signals_none)
{
    KF_CHECK_EQ(inside(KF_SANDBOX_OPENMP, probe_processes), 0);
}
KF_TEST(a_job_reads_its_inputs_and_writes_its_scratch_only)
{
    KF_CHECK_EQ(inside(KF_SANDBOX_PLAIN, probe_files), 0);
}
KF_TEST(a_job_leaves_its_inputs_whole)
{
    KF_CHECK_EQ(inside(KF_SANDBOX_PLAIN, probe_inputs), 0);
    KF_CHECK_EQ(inside(KF_SANDBOX_MESA, probe_inputs), 0);
}
KF_TEST(only_code_generators_get_executable_memory)
{
    KF_CHECK_EQ(inside(KF_SANDBOX_DCMTK, probe_executable_memory), 0);
    KF_CHECK_EQ(inside(KF_SANDBOX_ONEDNN, probe_executable_memory), 1);
}
KF_TEST(memory_and_file_size_are_limited)
{
    KF_CHECK_EQ(inside(KF_SANDBOX_OPENMP, probe_limits), 0);
}
KF_TEST(threads_work_in_every_profile)
{
    for (int profile = KF_SANDBOX_PLAIN; profile <= KF_SANDBOX_MESA; profile++)
        KF_CHECK_EQ(inside((enum kf_sandbox_profile)profile, probe_threads), 0);
}

// What a process that serves a connection may and may not do; the connection was there before the walls.
static int serving(int listener, int given)
{
    struct kf_error err;
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    char path[80], byte;
    if (getsockname(listener, (struct sockaddr *)&at, &length) || kf_sandbox_enter_client(&err))
        return 99;
    if (send(given, "x", 1, 0) != 1 || recv(given, &byte, 1, 0) != 1)
        return 1;
    int out = socket(AF_INET, SOCK_STREAM, 0);
    if (out < 0 || connect(out, (struct sockaddr *)&at, sizeof at) || shutdown(out, SHUT_WR))
        return 2;
    if (bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&at, sizeof at) == 0 || errno != EPERM)
        return 3;
    if (listen(out, 1) == 0 || errno != EPERM || accept(listener, NULL, NULL) >= 0 || errno != EPERM)
        return 4;
    if (socket(AF_NETLINK, SOCK_RAW, 0) >= 0 || socket(AF_PACKET, SOCK_RAW, 0) >= 0)
        return 5;
    snprintf(path, sizeof path, "%s/stored", scratch);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0 || write(file, "x", 1) != 1 || fdatasync(file) || ftruncate(file, 0) || unlink(path))
        return 6;
    if (chmod(scratch, 0777) == 0 || chown(scratch, 1, 1) == 0 || setuid(1) == 0)
        return 7;
    if (probe_executable_memory(NULL))
        return 8;
    int processes = probe_processes(NULL);
    return processes ? 10 + processes : 0;
}

KF_TEST(who_serves_a_connection_connects_and_stores_and_does_little_else)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), pair[2], status = -1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    KF_REQUIRE(bind(listener, (struct sockaddr *)&any, sizeof any) == 0 && listen(listener, 4) == 0);
    KF_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && send(pair[0], "y", 1, 0) == 1);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(serving(listener, pair[1]));
    waitpid(child, &status, 0);
    KF_CHECK(WIFEXITED(status));
    KF_CHECK_EQ(WEXITSTATUS(status), 0);
    close(listener);
    close(pair[0]);
    close(pair[1]);
}

static void clean(void)
{
    char path[80];
    snprintf(path, sizeof path, "%s/big", scratch);
    unlink(path);
    unlink(input);
    rmdir(scratch);
    rmdir(folder);
}

KF_TEST_MAIN(prepare(); KF_RUN(a_job_has_no_network); KF_RUN(a_job_starts_no_process_and_signals_none);
             KF_RUN(a_job_reads_its_inputs_and_writes_its_scratch_only);
             KF_RUN(a_job_leaves_its_inputs_whole);
             KF_RUN(only_code_generators_get_executable_memory); KF_RUN(memory_and_file_size_are_limited);
             KF_RUN(threads_work_in_every_profile);
             KF_RUN(who_serves_a_connection_connects_and_stores_and_does_little_else); clean();)
