#include "server/store/account.h"

#include "server/store/row.h"
#include <arpa/inet.h>
#include <string.h>

enum kf_status kf_store_peer_find(struct kf_store *store, const char *calling_ae, const char *called_ae,
                                  const char *address, struct kf_peer_match *out, struct kf_error *err)
{
    static const struct kf_query query = {
        "peer_find", "SELECT r_peer, r_organisation, r_tls, r_may_store FROM kerf.peer_find($1, $2, $3)"};
    *out = (struct kf_peer_match){0};
    if (strncasecmp(address, "::ffff:", 7) == 0)
        address += 7; // an IPv4 peer on an IPv6 socket
    struct in6_addr binary;
    if (inet_pton(AF_INET, address, &binary) != 1 && inet_pton(AF_INET6, address, &binary) != 1)
        return kf_not_found(err, "peer");
    struct kf_args args = {0};
    kf_args_text(&args, calling_ae);
    kf_args_text(&args, called_ae);
    kf_args_text(&args, address);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &args, KF_RUN_READ, &rows, err);
    if (!status && !rows.count)
        status = kf_not_found(err, "peer");
    if (!status) {
        kf_row_copy(&rows, 0, 0, out->peer_id, sizeof out->peer_id);
        kf_row_copy(&rows, 0, 1, out->organisation_id, sizeof out->organisation_id);
        out->tls = kf_row_flag(&rows, 0, 2);
        out->may_store = kf_row_flag(&rows, 0, 3);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_peer_add(struct kf_store *store, const char *organisation, const struct kf_peer_new *peer,
                                 char id[KF_ID_TEXT], struct kf_error *err)
{
    static const struct kf_query query = {
        "peer_add", "INSERT INTO kerf.peer (id, organisation_id, name, ae_title, called_ae_title, address, port, tls, "
                    "may_store) "
                    "SELECT $1::uuid, kerf.organisation(), $2, $3::text, $4::text, nullif($5, '')::cidr, "
                    "nullif($6::integer, 0), $7::boolean, $8::boolean "
                    "WHERE NOT ($9::boolean AND kerf.peer_is_foreign($3, $4, nullif($5, '')::cidr))"};
    kf_id_new(id);
    struct kf_args args = {0};
    kf_args_text(&args, id);
    kf_args_text(&args, peer->name);
    kf_args_text(&args, peer->ae_title);
    kf_args_text(&args, peer->called_ae_title ? peer->called_ae_title : "*");
    kf_args_string(&args, peer->address);
    kf_args_integer(&args, peer->port);
    kf_args_flag(&args, peer->tls);
    kf_args_flag(&args, peer->may_store);
    kf_args_flag(&args, peer->only_ours);
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = KF_CONFLICT;
    kf_rows_release(&rows);
    if (status)
        id[0] = 0;
    if (status == KF_CONFLICT)
        return kf_error_set(err, KF_CONFLICT, "peer_taken", "A peer with these titles and this address exists "
                                                            "already.");
    if (status == KF_INVALID)
        return kf_error_set(err, KF_INVALID, "bad_peer",
                            "AE titles have 1 to 16 characters; an address is an IP address or a network without host "
                            "bits, such as 10.1.0.0/16.");
    return status;
}

enum kf_status kf_store_peer_list(struct kf_store *store, const char *organisation, struct kf_arena *arena,
                                  struct kf_peer_row **out, size_t *count, struct kf_error *err)
{
    static const struct kf_query query = {
        "peer_list", "SELECT id, name, ae_title, called_ae_title, coalesce(address::text, ''), coalesce(port, 0), tls, "
                     "may_store, " KF_MS("created_at") " FROM kerf.peer ORDER BY created_at, id LIMIT 1000"};
    *out = NULL;
    *count = 0;
    struct kf_args none = {0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, organisation, &query, &none, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    *out = kf_arena_alloc(arena, (size_t)rows.count * sizeof **out + 1);
    if (!*out)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list of peers.");
    for (int i = 0; *out && i < rows.count; i++) {
        struct kf_peer_row *peer = &(*out)[(*count)++];
        kf_row_copy(&rows, i, 0, peer->id, sizeof peer->id);
        kf_row_copy(&rows, i, 1, peer->name, sizeof peer->name);
        kf_row_copy(&rows, i, 2, peer->ae_title, sizeof peer->ae_title);
        kf_row_copy(&rows, i, 3, peer->called_ae_title, sizeof peer->called_ae_title);
        kf_row_copy(&rows, i, 4, peer->address, sizeof peer->address);
        peer->port = (int)kf_row_integer(&rows, i, 5);
        peer->tls = kf_row_flag(&rows, i, 6);
        peer->may_store = kf_row_flag(&rows, i, 7);
        peer->created_ms = kf_row_integer(&rows, i, 8);
    }
    kf_rows_release(&rows);
    return status;
}

enum kf_status kf_store_peer_remove(struct kf_store *store, const char *organisation, const char *id,
                                    struct kf_error *err)
{
    static const struct kf_query query = {"peer_remove", "DELETE FROM kerf.peer WHERE id = $1"};
    enum kf_status status = kf_ids_check(err, id, NULL);
    if (status)
        return status;
    struct kf_args args = {0};
    kf_args_text(&args, id);
    struct kf_rows rows;
    status = kf_run(store, organisation, &query, &args, KF_RUN_WRITE, &rows, err);
    if (!status && !rows.changed)
        status = kf_not_found(err, "peer");
    kf_rows_release(&rows);
    return status;
}
