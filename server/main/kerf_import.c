// kerf import: sends a study to a DICOM peer, to ourselves as a rule.
#include "server/base/json.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "server/main/kerf.h"
#include "workers/dicom/meta.h"
#include "workers/intake/send.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: kerf import STUDY --to AE@HOST:PORT [--as AE]\n"
    "\n"
    "Sends a folder, a file or a zip of DICOM as it is (C-STORE). Prints one JSON object; exits 0 when every object\n"
    "was taken, else 1 with the reason (empty_study, not_dicom, truncated_zip, refused_objects, connect, …).\n"
    "  --to AE@HOST:PORT  the peer, for example KERF@127.0.0.1:11112\n"
    "  --as AE            our own AE title (KERFIMPORT)\n";

struct arguments {
    const char *study, *calling;
    char called[17], host[256];
    int port;
};

// AE@HOST:PORT; HOST may be an IPv6 address in brackets.
static int parse_peer(const char *text, struct arguments *out)
{
    const char *at = strchr(text, '@'), *colon = strrchr(text, ':');
    if (!at || !colon || colon < at || at == text || (size_t)(at - text) >= sizeof out->called)
        return -1;
    const char *host = at + 1;
    size_t length = (size_t)(colon - host);
    if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof out->host)
        return -1;
    memcpy(out->called, text, (size_t)(at - text));
    memcpy(out->host, host, length);
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (*end || port < 1 || port > 65535)
        return -1;
    out->port = (int)port;
    return 0;
}

static int parse_arguments(int argc, char **argv, struct arguments *out)
{
    *out = (struct arguments){.calling = "KERFIMPORT"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--to") == 0 && i + 1 < argc) {
            if (parse_peer(argv[++i], out))
                return -1;
        } else if (strcmp(argv[i], "--as") == 0 && i + 1 < argc) {
            out->calling = argv[++i];
        } else if (argv[i][0] != '-' && !out->study) {
            out->study = argv[i];
        } else {
            return -1;
        }
    }
    return out->study && out->port && out->calling[0] && strlen(out->calling) <= 16 ? 0 : -1;
}

// At most five times a second, and only to a person.
static int show_progress(void *context, const struct kf_send_report *so_far)
{
    int64_t *shown_ns = context, now = kf_time_monotonic_ns();
    int done = so_far->sent + so_far->refused;
    if (isatty(STDERR_FILENO) && (now - *shown_ns > 200000000 || done == so_far->objects)) {
        fprintf(stderr, "\r%d of %d", done, so_far->objects);
        if (done == so_far->objects)
            fputc('\n', stderr);
        *shown_ns = now;
    }
    return 0;
}

static void print_report(const struct kf_send_report *report, const struct kf_error *err)
{
    json_t *out = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:f}", "status", err->code[0] ? err->code : "ok", "files",
                            report->files, "objects", report->objects, "sent", report->sent, "refused",
                            report->refused, "skipped", report->skipped, "seconds", report->seconds);
    char *text = out ? kf_json_canonical(out) : NULL;
    puts(text ? text : "{}");
    free(text);
    json_decref(out);
}

int kf_command_import(int argc, char **argv)
{
    struct arguments arguments;
    if (parse_arguments(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    struct kf_scu_options peer = {.host = arguments.host, .port = arguments.port, .calling_ae = arguments.calling,
                                  .called_ae = arguments.called, .timeout_s = 60};
    struct kf_send_report report = {0};
    struct kf_error err = {0};
    int64_t shown_ns = 0;
    enum kf_status status = kf_dicom_init(&err);
    if (status == KF_OK)
        status = kf_send_study(arguments.study, &peer, show_progress, &shown_ns, &report, &err);
    if (status != KF_OK)
        fprintf(stderr, "kerf import: %s: %s\n", err.code[0] ? err.code : kf_status_wire(status), err.detail);
    print_report(&report, &err);
    return status == KF_OK ? 0 : 1;
}
