// kerf peer: who may send DICOM to us.
#include "server/main/admin.h"
#include "server/store/account.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "kerf peer add AE [--called AE] [--address ADDRESS[/BITS]] [--port PORT] [--name NAME] [--tls] [--no-store]\n"
    "kerf peer list\n"
    "kerf peer remove ID\n\n"
    "AE '*' means any calling AE title, no --address any address (be careful with both at once).\n"
    "All take --data DIR and --organisation NAME.\n";

static enum kf_status list(struct kf_admin *admin, struct kf_error *err)
{
    struct kf_arena arena = {0};
    struct kf_peer_row *rows;
    size_t count;
    enum kf_status status = kf_store_peer_list(admin->store, admin->organisation, &arena, &rows, &count, err);
    for (size_t i = 0; !status && i < count; i++)
        printf("%s\t%s\t%s -> %s\t%s%s%s\n", rows[i].id, rows[i].name, rows[i].ae_title, rows[i].called_ae_title,
               *rows[i].address ? rows[i].address : "any address", rows[i].tls ? "\ttls" : "",
               rows[i].may_store ? "" : "\tmay not store");
    kf_arena_release(&arena);
    return status;
}

int kf_command_peer(int argc, char **argv)
{
    struct kf_admin admin;
    const char *called = NULL, *address = NULL, *port = NULL, *name = NULL;
    int tls = 0, no_store = 0;
    const struct kf_admin_option options[] = {{"--called", &called, NULL}, {"--address", &address, NULL},
                                              {"--port", &port, NULL},     {"--name", &name, NULL},
                                              {"--tls", NULL, &tls},       {"--no-store", NULL, &no_store},
                                              {0}};
    int code = kf_admin_open(&admin, argc, argv, usage, options);
    if (code >= 0)
        return code;
    struct kf_error err;
    enum kf_status status = KF_OK;
    const char *verb = admin.word_count ? admin.words[0] : "";
    int known = 1;
    if (admin.word_count == 1 && strcmp(verb, "list") == 0) {
        status = list(&admin, &err);
    } else if (admin.word_count == 2 && strcmp(verb, "add") == 0) {
        char id[KF_ID_TEXT];
        struct kf_peer_new peer = {.name = name ? name : admin.words[1], .ae_title = admin.words[1],
                                   .called_ae_title = called, .address = address, .port = port ? atoi(port) : 0,
                                   .tls = tls, .may_store = !no_store};
        status = kf_store_peer_add(admin.store, admin.organisation, &peer, id, &err);
        if (!status)
            puts(id);
    } else if (admin.word_count == 2 && strcmp(verb, "remove") == 0) {
        status = kf_store_peer_remove(admin.store, admin.organisation, admin.words[1], &err);
    } else {
        known = 0;
    }
    kf_admin_close(&admin);
    if (!known) {
        fputs(usage, stderr);
        return KF_EXIT_USAGE;
    }
    return status ? kf_command_failed("peer", &err) : KF_EXIT_OK;
}
