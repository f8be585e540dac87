// The association over a real socket, without files or database: well-behaved peers through our own sending side, and
// peers that break the protocol byte by byte.
#include "server/base/test.h"
#include "workers/dicom/net_command.h"
#include "workers/dicom/net_scp.h"
#include "workers/dicom/net_scu.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CT "1.2.840.10008.5.1.4.1.1.2"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define OBJECT_LIMIT (1 << 20)

// What the serving child saw, in memory shared with the test.
struct seen {
    struct kf_scp_report report;
    int begun, ended, cut, done;
    uint16_t answer_begin, answer_data, answer_end; // what the handler is to answer
    int verdict;
    size_t bytes;
    unsigned checksum;
    char calling[KF_AE_TITLE], transfer_syntax[65], sop_instance[65];
};
static struct seen *seen;
static int port;
static pid_t server;

static unsigned checksum(unsigned sum, const unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

static enum kf_scp_verdict on_admit(void *context, const struct kf_scp_peer *peer)
{
    (void)context;
    memcpy(seen->calling, peer->calling_ae, sizeof seen->calling);
    return (enum kf_scp_verdict)seen->verdict;
}

static uint16_t on_begin(void *context, const struct kf_scp_object *object)
{
    (void)context;
    seen->begun++;
    seen->bytes = 0;
    seen->checksum = 2166136261u;
    snprintf(seen->transfer_syntax, sizeof seen->transfer_syntax, "%s", object->transfer_syntax);
    snprintf(seen->sop_instance, sizeof seen->sop_instance, "%s", object->sop_instance);
    return seen->answer_begin;
}

static uint16_t on_data(void *context, const unsigned char *bytes, size_t length)
{
    (void)context;
    seen->bytes += length;
    seen->checksum = checksum(seen->checksum, bytes, length);
    return seen->answer_data;
}

static uint16_t on_end(void *context)
{
    (void)context;
    seen->ended++;
    return seen->answer_end;
}

static void on_cut(void *context)
{
    (void)context;
    seen->cut++;
}

static void on_alive(void *context)
{
    (void)context;
}

// Starts a server for one association; its port is `port`.
static void start_server(int verdict)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&name, sizeof name) || listen(listener, 4) ||
        getsockname(listener, (struct sockaddr *)&name, &length))
        abort();
    port = ntohs(name.sin_port);
    memset(seen, 0, sizeof *seen);
    seen->verdict = verdict;
    server = fork();
    if (server == 0) {
        alarm(20);
        int fd = accept(listener, NULL, NULL);
        close(listener);
        volatile int cut = 0;
        struct kf_scp_options options = {.set_aside_unknown = 1, .object_limit = OBJECT_LIMIT, .pdu_bytes = 131072};
        struct kf_scp_handler handler = {NULL, on_admit, on_begin, on_data, on_end, on_cut, on_alive};
        kf_scp_serve(fd, &options, &handler, &cut, &seen->report);
        seen->done = 1;
        _exit(0);
    }
    close(listener);
}

// The server must end by itself, and not by a signal.
static int server_ended(void)
{
    int status = -1;
    waitpid(server, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && seen->done;
}

static struct kf_scu *connect_scu(struct kf_error *err)
{
    struct kf_scu_options options = {.host = "127.0.0.1", .port = port, .calling_ae = "TESTER", .called_ae = "KERF",
                                     .timeout_s = 10};
    struct kf_scu_context contexts[] = {{CT, EXPLICIT}, {"1.2.840.10008.5.1.4.1.2.2.1", EXPLICIT}};
    struct kf_scu *scu = NULL;
    (void)!kf_scu_open(&options, contexts, 2, &scu, err);
    return scu;
}

static int temporary_file(const unsigned char *bytes, size_t length)
{
    int fd = memfd_create("object", 0);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        abort();
    return fd;
}

static enum kf_status store_bytes(struct kf_scu *scu, size_t length, uint16_t *answer, unsigned *sum)
{
    unsigned char *bytes = malloc(length ? length : 1);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)(i * 31 + (i >> 8));
    *sum = checksum(2166136261u, bytes, length);
    int fd = temporary_file(bytes, length);
    free(bytes);
    struct kf_scu_object object = {CT, "1.2.3.4", EXPLICIT, fd, 0, (int64_t)length};
    enum kf_status status = kf_scu_store(scu, &object, answer, NULL);
    close(fd);
    return status;
}

// ---------------------------------------------------------------------------------------------- behaving peers

KF_TEST(stores_bytes_untouched)
{
    start_server(KF_SCP_ADMIT);
    struct kf_error err = {0};
    struct kf_scu *scu = connect_scu(&err);
    KF_REQUIRE(scu);
    uint16_t answer = 0xffff;
    KF_CHECK(kf_scu_echo(scu, &answer, NULL) == KF_OK && answer == 0);
    // Around the fragment sizes, and an odd and an empty one.
    static const size_t lengths[] = {0, 1, 131071, 131072, 131061, 400001, 526336};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unsigned sum;
        answer = 0xffff;
        KF_CHECK(store_bytes(scu, lengths[i], &answer, &sum) == KF_OK && answer == 0);
        KF_CHECK_EQ(seen->bytes, lengths[i]);
        KF_CHECK_EQ(seen->checksum, sum);
    }
    kf_scu_close(scu);
    KF_CHECK(server_ended());
    KF_CHECK_EQ(seen->report.outcome, KF_SCP_RELEASED);
    KF_CHECK_EQ(seen->report.stores, 7);
    KF_CHECK_EQ(seen->report.echoes, 1);
    KF_CHECK_EQ(seen->report.failures, 0);
    KF_CHECK_EQ(seen->report.contexts_refused, 1); // the query class
    KF_CHECK_STR(seen->calling, "TESTER");
    KF_CHECK_STR(seen->transfer_syntax, EXPLICIT);
    KF_CHECK_STR(seen->sop_instance, "1.2.3.4");
}

// A failing handler's status reaches the sender, the rest of the object is dropped, and the association goes on.
KF_TEST(failure_is_answered_and_survived)
{
    start_server(KF_SCP_ADMIT);
    struct kf_scu *scu = connect_scu(NULL);
    KF_REQUIRE(scu);
    uint16_t answer = 0;
    unsigned sum;
    seen->answer_data = KF_DIMSE_OUT_OF_RESOURCES;
    KF_CHECK(store_bytes(scu, 600000, &answer, &sum) == KF_OK && answer == 0xa700);
    KF_CHECK_EQ(seen->ended, 0);
    seen->answer_data = 0;
    seen->answer_begin = 0x0124;
    KF_CHECK(store_bytes(scu, 1000, &answer, &sum) == KF_OK && answer == 0x0124);
    seen->answer_begin = 0;
    seen->answer_end = KF_DIMSE_STORAGE_FAILED;
    KF_CHECK(store_bytes(scu, 1000, &answer, &sum) == KF_OK && answer == 0xc001);
    seen->answer_end = 0;
    KF_CHECK(store_bytes(scu, 1000, &answer, &sum) == KF_OK && answer == 0);
    kf_scu_close(scu);
    KF_CHECK(server_ended());
    KF_CHECK_EQ(seen->report.failures, 3);
    KF_CHECK_EQ(seen->report.stores, 4);
    KF_CHECK_EQ(seen->cut, 0);
}

KF_TEST(object_over_the_limit)
{
    start_server(KF_SCP_ADMIT);
    struct kf_scu *scu = connect_scu(NULL);
    KF_REQUIRE(scu);
    uint16_t answer = 0;
    unsigned sum;
    KF_CHECK(store_bytes(scu, OBJECT_LIMIT + 2, &answer, &sum) == KF_OK && answer == 0xa700);
    KF_CHECK_EQ(seen->cut, 1);
    KF_CHECK(store_bytes(scu, OBJECT_LIMIT, &answer, &sum) == KF_OK && answer == 0);
    // Far over it there is no more listening.
    KF_CHECK(store_bytes(scu, 4 * OBJECT_LIMIT, &answer, &sum) != KF_OK);
    kf_scu_close(scu);
    KF_CHECK(server_ended());
    KF_CHECK_EQ(seen->report.outcome, KF_SCP_MALFORMED);
    KF_CHECK_STR(seen->report.reason, "object_too_large");
}

static void check_rejection(int verdict, const char *code)
{
    start_server(verdict);
    struct kf_error err = {0};
    KF_CHECK(connect_scu(&err) == NULL);
    KF_CHECK_STR(err.code, code);
    KF_CHECK(server_ended());
    KF_CHECK_EQ(seen->report.outcome, KF_SCP_REJECTED);
}

KF_TEST(rejections_name_the_reason)
{
    check_rejection(KF_SCP_UNKNOWN_CALLING, "rejected_calling_ae");
    check_rejection(KF_SCP_UNKNOWN_CALLED, "rejected_called_ae");
    check_rejection(KF_SCP_BUSY, "rejected_busy");
}

// ---------------------------------------------------------------------------------------------- breaking peers

struct bytes {
    unsigned char data[4096];
    size_t length;
};

static void put(struct bytes *b, const void *data, size_t n)
{
    memcpy(b->data + b->length, data, n);
    b->length += n;
}

static void put_u32(struct bytes *b, size_t n)
{
    unsigned char be[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                           (unsigned char)n};
    put(b, be, 4);
}

static void put_item(struct bytes *b, unsigned char type, const void *data, size_t n)
{
    unsigned char head[4] = {type, 0, (unsigned char)(n >> 8), (unsigned char)n};
    put(b, head, 4);
    put(b, data, n);
}

// A-ASSOCIATE-RQ proposing CT in explicit little endian under context id 1.
static void association_request(struct bytes *out, const char *application_context)
{
    struct bytes body = {.length = 0}, context = {.length = 0}, user = {.length = 0};
    put(&body, "\0\1\0\0", 4);
    put(&body, "KERF            TESTER          ", 32);
    static const unsigned char zeros[32];
    put(&body, zeros, 32);
    put_item(&body, 0x10, application_context, strlen(application_context));
    put(&context, "\1\0\0\0", 4);
    put_item(&context, 0x30, CT, strlen(CT));
    put_item(&context, 0x40, EXPLICIT, strlen(EXPLICIT));
    put_item(&body, 0x20, context.data, context.length);
    put_item(&user, 0x51, "\0\0\x40\0", 4);
    put_item(&user, 0x52, "1.2.3", 5);
    put_item(&body, 0x50, user.data, user.length);
    out->length = 0;
    put(out, "\1\0", 2);
    put_u32(out, body.length);
    put(out, body.data, body.length);
}

static void put_pdv(struct bytes *out, unsigned char context, unsigned char control, const void *data, size_t n)
{
    put(out, "\4\0", 2);
    put_u32(out, n + 6);
    put_u32(out, n + 2);
    put(out, &context, 1);
    put(out, &control, 1);
    put(out, data, n);
}

static int dial(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof name))
        abort();
    return fd;
}

// The type of the next PDU, whose body is read away; -1 at the end.
static int next_pdu(int fd)
{
    unsigned char head[6];
    if (recv(fd, head, 6, MSG_WAITALL) != 6)
        return -1;
    size_t rest = (size_t)head[2] << 24 | (size_t)head[3] << 16 | (size_t)head[4] << 8 | head[5];
    unsigned char drop[4096];
    while (rest > 0) {
        ssize_t n = recv(fd, drop, rest < sizeof drop ? rest : sizeof drop, 0);
        if (n <= 0)
            return -1;
        rest -= (size_t)n;
    }
    return head[0];
}

// Associates, sends `attack` and expects an A-ABORT and the reason in the report.
static void check_attack(const struct bytes *attack, const char *reason)
{
    start_server(KF_SCP_ADMIT);
    int fd = dial();
    struct bytes request;
    association_request(&request, "1.2.840.10008.3.1.1.1");
    KF_CHECK(write(fd, request.data, request.length) == (ssize_t)request.length);
    KF_CHECK_EQ(next_pdu(fd), 2);
    KF_CHECK(write(fd, attack->data, attack->length) == (ssize_t)attack->length);
    shutdown(fd, SHUT_WR);
    int answer = next_pdu(fd);
    if (reason[0])
        KF_CHECK_EQ(answer, 7);
    close(fd);
    KF_CHECK(server_ended());
    KF_CHECK_EQ(seen->report.outcome, reason[0] ? KF_SCP_MALFORMED : KF_SCP_CLOSED);
    KF_CHECK_STR(seen->report.reason, reason);
    KF_CHECK_EQ(seen->ended, 0);
}

static void command_bytes(struct bytes *out, uint16_t field, const char *sop_class, int with_data)
{
    struct kf_dimse_command c = {.field = field, .message_id = 1,
                                 .data_set_type = (uint16_t)(with_data ? 0 : KF_DIMSE_NO_DATA)};
    snprintf(c.sop_class, sizeof c.sop_class, "%s", sop_class);
    snprintf(c.sop_instance, sizeof c.sop_instance, "1.2.3");
    out->length = kf_dimse_encode(&c, out->data, sizeof out->data);
}

KF_TEST(malformed_messages_are_aborted)
{
    struct bytes attack, command;
    command_bytes(&command, KF_DIMSE_STORE_RQ, CT, 1);

    attack.length = 0;
    put_pdv(&attack, 1, 0x02, "data", 4);
    check_attack(&attack, "data_before_command");

    attack.length = 0;
    put_pdv(&attack, 3, 0x03, command.data, command.length);
    check_attack(&attack, "context_not_accepted");

    attack.length = 0;
    put_pdv(&attack, 1, 0x03, "\0\0\0\1\xff\xff\xff\x7f", 8);
    check_attack(&attack, "command_truncated");

    attack.length = 0; // a command in the middle of a data set
    put_pdv(&attack, 1, 0x03, command.data, command.length);
    put_pdv(&attack, 1, 0x00, "data", 4);
    put_pdv(&attack, 1, 0x03, command.data, command.length);
    check_attack(&attack, "data_set_interrupted");
    KF_CHECK_EQ(seen->cut, 1);

    attack.length = 0; // a PDV longer than its PDU
    put(&attack, "\4\0\0\0\0\6\0\0\x7f\xff\1\3", 12);
    check_attack(&attack, "pdu");

    attack.length = 0; // a PDU longer than any we allow
    put(&attack, "\4\0\x7f\xff\xff\xff\0\0\0\4\1\3xx", 14);
    check_attack(&attack, "pdu");

    attack.length = 0;
    command_bytes(&command, KF_DIMSE_STORE_RQ | KF_DIMSE_RESPONSE, CT, 0);
    put_pdv(&attack, 1, 0x03, command.data, command.length);
    check_attack(&attack, "unasked_response");

    attack.length = 0; // the line goes dead inside an object
    command_bytes(&command, KF_DIMSE_STORE_RQ, CT, 1);
    put_pdv(&attack, 1, 0x03, command.data, command.length);
    put_pdv(&attack, 1, 0x00, "data", 4);
    check_attack(&attack, "");
    KF_CHECK_EQ(seen->cut, 1);
}

KF_TEST(endless_command_is_bounded)
{
    start_server(KF_SCP_ADMIT);
    int fd = dial();
    struct bytes request, part = {.length = 0};
    association_request(&request, "1.2.840.10008.3.1.1.1");
    KF_CHECK(write(fd, request.data, request.length) == (ssize_t)request.length);
    KF_CHECK_EQ(next_pdu(fd), 2);
    static const unsigned char filler[1024];
    put_pdv(&part, 1, 0x01, filler, sizeof filler);
    for (int i = 0; i < 20; i++) {
        if (send(fd, part.data, part.length, MSG_NOSIGNAL) < 0)
            break;
    }
    KF_CHECK_EQ(next_pdu(fd), 7);
    close(fd);
    KF_CHECK(server_ended());
    KF_CHECK_STR(seen->report.reason, "command_too_long");
}

// A request whose class is not its context's, and a verb that we do not know: answered, and the association goes on.
KF_TEST(wrong_requests_are_answered)
{
    start_server(KF_SCP_ADMIT);
    int fd = dial();
    struct bytes out, command;
    association_request(&out, "1.2.840.10008.3.1.1.1");
    KF_CHECK(write(fd, out.data, out.length) == (ssize_t)out.length);
    KF_CHECK_EQ(next_pdu(fd), 2);
    out.length = 0;
    command_bytes(&command, KF_DIMSE_STORE_RQ, "1.2.840.10008.5.1.4.1.1.4", 1);
    put_pdv(&out, 1, 0x03, command.data, command.length);
    put_pdv(&out, 1, 0x02, "data", 4);
    command_bytes(&command, 0x0020, CT, 1); // C-FIND
    put_pdv(&out, 1, 0x03, command.data, command.length);
    put_pdv(&out, 1, 0x02, "data", 4);
    command_bytes(&command, KF_DIMSE_STORE_RQ, CT, 0); // C-STORE without a data set
    put_pdv(&out, 1, 0x03, command.data, command.length);
    put(&out, "\5\0\0\0\0\4\0\0\0\0", 10); // A-RELEASE-RQ
    KF_CHECK(write(fd, out.data, out.length) == (ssize_t)out.length);
    for (int i = 0; i < 3; i++)
        KF_CHECK_EQ(next_pdu(fd), 4);
    KF_CHECK_EQ(next_pdu(fd), 6);
    close(fd);
    KF_CHECK(server_ended());
    KF_CHECK_EQ(seen->report.outcome, KF_SCP_RELEASED);
    KF_CHECK_EQ(seen->report.failures, 2);
    KF_CHECK_EQ(seen->begun, 0);
}

KF_TEST(malformed_association_requests)
{
    struct bytes good;
    association_request(&good, "1.2.840.10008.3.1.1.1");
    // Every truncation and, at every tenth byte, 0xff: nothing may crash or be admitted as more than it is.
    for (size_t at = 0; at < good.length; at += 7) {
        struct bytes bad = good;
        bad.data[at] = 0xff;
        start_server(KF_SCP_ADMIT);
        int fd = dial();
        KF_CHECK(write(fd, bad.data, bad.length) == (ssize_t)bad.length);
        shutdown(fd, SHUT_WR);
        (void)next_pdu(fd);
        close(fd);
        KF_CHECK(server_ended());
    }
    for (size_t cut = 0; cut < good.length; cut += 13) {
        start_server(KF_SCP_ADMIT);
        int fd = dial();
        KF_CHECK(write(fd, good.data, cut) == (ssize_t)cut);
        shutdown(fd, SHUT_WR);
        (void)next_pdu(fd);
        close(fd);
        KF_CHECK(server_ended());
        KF_CHECK_EQ(seen->report.outcome, KF_SCP_CLOSED);
    }
    start_server(KF_SCP_ADMIT);
    int fd = dial();
    association_request(&good, "1.2.3.4");
    KF_CHECK(write(fd, good.data, good.length) == (ssize_t)good.length);
    KF_CHECK_EQ(next_pdu(fd), 3);
    close(fd);
    KF_CHECK(server_ended());
    KF_CHECK_STR(seen->report.reason, "application_context");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED)
        return 1;
    KF_RUN(stores_bytes_untouched);
    KF_RUN(failure_is_answered_and_survived);
    KF_RUN(object_over_the_limit);
    KF_RUN(rejections_name_the_reason);
    KF_RUN(malformed_messages_are_aborted);
    KF_RUN(endless_command_is_bounded);
    KF_RUN(wrong_requests_are_answered);
    KF_RUN(malformed_association_requests);
    return kf_test_failures ? 1 : 0;
}
