#include "workers/intake/listener.h"
#include "server/base/log.h"
#include "server/base/timeid.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_S 1000000000ll

enum {
    BACKLOG = 256,
    LINGERING = 64,   // refused connections whose last bytes are still on their way
    LINGER_S = 2,
    TICK_MS = 250,
    CUT_GRACE_S = 5,  // a child that was cut has this long to say goodbye
    STOP_GRACE_S = 15,
};

struct child {
    pid_t pid; // 0: the slot is free
    int64_t started_ns;
    int64_t cut_ns; // 0: not cut
    char address[KF_LISTENER_ADDRESS];
};

struct lingering {
    int fd; // -1: free
    int64_t until_ns;
};

struct kf_listener {
    struct kf_listener_options options;
    int fds[2]; // plain, TLS; -1: none
    int signals;
    struct child *children;
    struct kf_slot *slots; // shared memory, one for each child
    struct lingering lingering[LINGERING];
};

void kf_slot_enter(struct kf_slot *slot, enum kf_slot_phase phase)
{
    slot->alive_ns = kf_time_monotonic_ns();
    slot->phase = phase;
}

int kf_child_alone(const struct kf_child *child)
{
    for (int i = 0; i < child->slot_count; i++) {
        if (&child->slots[i] != child->slot && child->slots[i].phase != KF_SLOT_FREE)
            return 0;
    }
    return 1;
}

// ---------------------------------------------------------------------------------------------- sockets

// Every address: one IPv6 socket that takes IPv4 too, or IPv4 alone where the host has no IPv6.
static int bind_any(int port)
{
    int off = 0, on = 1;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = in6addr_any};
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&six, sizeof six) == 0)
        return fd;
    int bind_error = errno;
    if (fd >= 0)
        close(fd);
    if (bind_error == EADDRINUSE || bind_error == EACCES) {
        errno = bind_error;
        return -1;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
                    bind(fd, (struct sockaddr *)&four, sizeof four))) {
        bind_error = errno;
        close(fd);
        errno = bind_error;
        return -1;
    }
    return fd;
}

static int bind_one(const char *address, int port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int is_four = inet_pton(AF_INET, address, &four.sin_addr) == 1;
    if (!is_four && inet_pton(AF_INET6, address, &six.sin6_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    int on = 1;
    int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    const struct sockaddr *to = is_four ? (const struct sockaddr *)&four : (const struct sockaddr *)&six;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, to, is_four ? sizeof four : (socklen_t)sizeof six)) {
        int keep = errno;
        close(fd);
        errno = keep;
        return -1;
    }
    return fd;
}

static enum kf_status open_port(const char *address, int port, int *out, struct kf_error *err)
{
    *out = -1;
    if (port < 0)
        return KF_OK;
    int any = !address[0] || strcmp(address, "::") == 0 || strcmp(address, "*") == 0;
    int fd = any ? bind_any(port) : bind_one(address, port);
    if (fd < 0)
        return kf_error_set(err, KF_UNAVAILABLE, "dicom_port", "DICOM port %d cannot be bound: %s.", port,
                            strerror(errno));
    if (listen(fd, BACKLOG)) {
        close(fd);
        return kf_error_set(err, KF_UNAVAILABLE, "dicom_port", "DICOM port %d cannot be listened on.", port);
    }
    *out = fd;
    return KF_OK;
}

static int bound_port(int fd)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&name, &length))
        return -1;
    return name.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&name)->sin6_port)
                                      : ntohs(((struct sockaddr_in *)&name)->sin_port);
}

static void address_text(const struct sockaddr_storage *name, char to[KF_LISTENER_ADDRESS])
{
    to[0] = 0;
    if (name->ss_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)name)->sin_addr, to, KF_LISTENER_ADDRESS);
    } else if (name->ss_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)name)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(six))
            inet_ntop(AF_INET, six->s6_addr + 12, to, KF_LISTENER_ADDRESS);
        else
            inet_ntop(AF_INET6, six, to, KF_LISTENER_ADDRESS);
    }
}

int kf_listener_port(const struct kf_listener *listener)
{
    return bound_port(listener->fds[0]);
}

int kf_listener_tls_port(const struct kf_listener *listener)
{
    return bound_port(listener->fds[1]);
}

// ---------------------------------------------------------------------------------------------- life

enum kf_status kf_listener_new(const struct kf_listener_options *options, struct kf_listener **out,
                               struct kf_error *err)
{
    *out = NULL;
    struct kf_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
    listener->options = *options;
    listener->fds[0] = listener->fds[1] = listener->signals = -1;
    for (int i = 0; i < LINGERING; i++)
        listener->lingering[i].fd = -1;
    size_t bytes = (size_t)options->max_associations * sizeof *listener->slots;
    listener->slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (listener->slots == MAP_FAILED)
        listener->slots = NULL;
    listener->children = calloc((size_t)options->max_associations, sizeof *listener->children);
    enum kf_status status = KF_OK;
    if (!listener->slots || !listener->children)
        status = kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
    if (status == KF_OK)
        status = open_port(options->bind_address, options->port, &listener->fds[0], err);
    if (status == KF_OK)
        status = open_port(options->bind_address, options->tls_port, &listener->fds[1], err);
    if (status != KF_OK)
        kf_listener_free(listener);
    else
        *out = listener;
    return status;
}

void kf_listener_free(struct kf_listener *listener)
{
    if (!listener)
        return;
    for (int i = 0; i < 2; i++) {
        if (listener->fds[i] >= 0)
            close(listener->fds[i]);
    }
    if (listener->signals >= 0)
        close(listener->signals);
    for (int i = 0; i < LINGERING; i++) {
        if (listener->lingering[i].fd >= 0)
            close(listener->lingering[i].fd);
    }
    if (listener->slots)
        munmap(listener->slots, (size_t)listener->options.max_associations * sizeof *listener->slots);
    free(listener->children);
    free(listener);
}

// ---------------------------------------------------------------------------------------------- children

static volatile int child_cut;
static int child_fd = -1;

// SIGTERM from the parent: the deadline has passed, or everything stops. Whatever read is under way ends.
static void on_cut(int signal_number)
{
    (void)signal_number;
    child_cut = 1;
    if (child_fd >= 0)
        shutdown(child_fd, SHUT_RD);
}

static void enter_child(struct kf_listener *listener, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    struct sigaction cut = {.sa_handler = on_cut, .sa_flags = SA_RESTART};
    sigemptyset(&cut.sa_mask);
    sigaction(SIGTERM, &cut, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGINT, SIG_IGN); // Ctrl-C goes to the whole group; the parent decides
    sigset_t none;
    sigemptyset(&none);
    for (int i = 0; i < 2; i++) {
        if (listener->fds[i] >= 0)
            close(listener->fds[i]);
    }
    close(listener->signals);
    for (int i = 0; i < LINGERING; i++) {
        if (listener->lingering[i].fd >= 0)
            close(listener->lingering[i].fd);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int free_slot(const struct kf_listener *listener, const char *address)
{
    int found = -1, same = 0;
    for (int i = 0; i < listener->options.max_associations; i++) {
        if (listener->children[i].pid == 0)
            found = found < 0 ? i : found;
        else
            same += strcmp(listener->children[i].address, address) == 0;
    }
    return same >= listener->options.max_per_address ? -1 : found;
}

// No room: says so in DICOM (A-ASSOCIATE-RJ, transient, local limit exceeded; PS3.8 section 9.3.4) without having read
// anything. The connection is closed only when the peer has had time to read the answer.
static void refuse(struct kf_listener *listener, int fd, int tls)
{
    static const unsigned char rejection[10] = {3, 0, 0, 0, 0, 4, 0, 2, 3, 2};
    if (!tls && send(fd, rejection, sizeof rejection, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof rejection) {
        shutdown(fd, SHUT_WR);
        for (int i = 0; i < LINGERING; i++) {
            if (listener->lingering[i].fd < 0) {
                listener->lingering[i].fd = fd;
                listener->lingering[i].until_ns = kf_time_monotonic_ns() + LINGER_S * NS_PER_S;
                return;
            }
        }
    }
    close(fd);
}

static void start_child(struct kf_listener *listener, int fd, int tls, const char *address,
                        int (*child_main)(const struct kf_child *child, void *context), void *context)
{
    int at = free_slot(listener, address);
    if (at < 0) {
        kf_log(KF_LOG_WARN, "association.refused", "address=%s reason=limit", address);
        refuse(listener, fd, tls);
        return;
    }
    kf_slot_enter(&listener->slots[at], KF_SLOT_NEGOTIATING);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        child_fd = fd;
        enter_child(listener, parent);
        struct kf_child child = {fd, tls, address, &listener->slots[at], listener->slots,
                                 listener->options.max_associations, &child_cut};
        _exit(child_main(&child, context));
    }
    if (pid < 0) {
        kf_log(KF_LOG_ERROR, "association.refused", "address=%s reason=fork", address);
        listener->slots[at].phase = KF_SLOT_FREE;
        refuse(listener, fd, tls);
        return;
    }
    close(fd);
    struct child *child = &listener->children[at];
    *child = (struct child){.pid = pid, .started_ns = kf_time_monotonic_ns()};
    memcpy(child->address, address, sizeof child->address);
}

static void accept_all(struct kf_listener *listener, int tls,
                       int (*child_main)(const struct kf_child *child, void *context), void *context)
{
    for (int round = 0; round < 64; round++) {
        struct sockaddr_storage from;
        socklen_t length = sizeof from;
        int fd = accept4(listener->fds[tls], (struct sockaddr *)&from, &length, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                poll(NULL, 0, 50); // the connection waits in the queue; do not spin on it
            return;
        }
        char address[KF_LISTENER_ADDRESS];
        address_text(&from, address);
        start_child(listener, fd, tls, address, child_main, context);
    }
}

static void reap(struct kf_listener *listener)
{
    int result;
    pid_t pid;
    while ((pid = waitpid(-1, &result, WNOHANG)) > 0) {
        for (int i = 0; i < listener->options.max_associations; i++) {
            if (listener->children[i].pid != pid)
                continue;
            if (WIFSIGNALED(result))
                kf_log(KF_LOG_ERROR, "association.crashed", "address=%s pid=%d signal=%d",
                       listener->children[i].address, (int)pid, WTERMSIG(result));
            listener->children[i].pid = 0;
            listener->slots[i].phase = KF_SLOT_FREE;
        }
    }
}

// ---------------------------------------------------------------------------------------------- deadlines

static const char *broken_deadline(const struct kf_listener *listener, int i, int64_t now)
{
    const struct kf_listener_options *o = &listener->options;
    int phase = listener->slots[i].phase;
    int64_t quiet = now - listener->slots[i].alive_ns;
    int64_t age = now - listener->children[i].started_ns;
    if (phase == KF_SLOT_NEGOTIATING && age > o->negotiation_s * NS_PER_S)
        return "negotiation";
    if (phase == KF_SLOT_READING && quiet > o->idle_s * NS_PER_S)
        return "idle";
    if (phase != KF_SLOT_BUSY && age > o->association_s * NS_PER_S)
        return "absolute";
    return NULL;
}

static void enforce(struct kf_listener *listener)
{
    int64_t now = kf_time_monotonic_ns();
    for (int i = 0; i < listener->options.max_associations; i++) {
        struct child *child = &listener->children[i];
        if (child->pid == 0)
            continue;
        int busy = listener->slots[i].phase == KF_SLOT_BUSY;
        int64_t quiet = now - listener->slots[i].alive_ns;
        int hung = busy ? quiet > listener->options.busy_s * NS_PER_S
                        : child->cut_ns && now - child->cut_ns > CUT_GRACE_S * NS_PER_S;
        if (hung) {
            kf_log(KF_LOG_ERROR, "association.killed", "address=%s pid=%d", child->address, (int)child->pid);
            kill(child->pid, SIGKILL);
            continue;
        }
        const char *deadline = child->cut_ns ? NULL : broken_deadline(listener, i, now);
        if (deadline) {
            kf_log(KF_LOG_WARN, "association.deadline", "address=%s pid=%d deadline=%s", child->address,
                   (int)child->pid, deadline);
            child->cut_ns = now;
            kill(child->pid, SIGTERM);
        }
    }
}

// Reads away, unseen, what refused peers still send, and closes when they have closed or the time is up.
static void linger(struct kf_listener *listener)
{
    int64_t now = kf_time_monotonic_ns();
    for (int i = 0; i < LINGERING; i++) {
        struct lingering *l = &listener->lingering[i];
        if (l->fd < 0)
            continue;
        char drop[4096];
        ssize_t n = recv(l->fd, drop, sizeof drop, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || now > l->until_ns) {
            close(l->fd);
            l->fd = -1;
        }
    }
}

static int living(const struct kf_listener *listener)
{
    int count = 0;
    for (int i = 0; i < listener->options.max_associations; i++)
        count += listener->children[i].pid != 0;
    return count;
}

static void stop_children(struct kf_listener *listener)
{
    int64_t until = kf_time_monotonic_ns() + STOP_GRACE_S * NS_PER_S;
    for (int i = 0; i < listener->options.max_associations; i++) {
        if (listener->children[i].pid)
            kill(listener->children[i].pid, SIGTERM);
    }
    for (reap(listener); living(listener) > 0; reap(listener)) {
        if (kf_time_monotonic_ns() > until) {
            for (int i = 0; i < listener->options.max_associations; i++) {
                if (listener->children[i].pid)
                    kill(listener->children[i].pid, SIGKILL);
            }
        }
        poll(NULL, 0, 10);
    }
}

// 1 when a stop was asked for.
static int take_signals(struct kf_listener *listener)
{
    struct signalfd_siginfo info;
    int stop = 0;
    while (read(listener->signals, &info, sizeof info) == (ssize_t)sizeof info)
        stop |= info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
    return stop;
}

enum kf_status kf_listener_run(struct kf_listener *listener,
                               int (*child_main)(const struct kf_child *child, void *context), void *context,
                               struct kf_error *err)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGCHLD);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGPIPE, SIG_IGN);
    listener->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (listener->signals < 0)
        return kf_error_errno(err, errno, "signalfd");
    for (int stop = 0; !stop;) {
        struct pollfd wait[3] = {{listener->signals, POLLIN, 0},
                                 {listener->fds[0], POLLIN, 0}, // a negative descriptor is ignored
                                 {listener->fds[1], POLLIN, 0}};
        poll(wait, 3, TICK_MS);
        stop = take_signals(listener);
        reap(listener);
        for (int tls = 0; tls < 2 && !stop; tls++) {
            if (wait[1 + tls].revents)
                accept_all(listener, tls, child_main, context);
        }
        enforce(listener);
        linger(listener);
    }
    stop_children(listener);
    return KF_OK;
}
