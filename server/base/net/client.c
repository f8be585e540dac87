#include "server/base/net/client.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define JSON_LIMIT_BYTES ((size_t)64 << 20)
#define PROBLEM_LIMIT    ((size_t)65536)

struct kf_net_client {
    CURL *curl;
    struct curl_slist *headers;
    char *base;
};

struct transfer {
    struct kf_net_client *client;
    kf_net_sink sink;
    void *user;
    struct kf_str problem; // body of an answer that is no 200
};

enum kf_status kf_net_client_new(const char *base, const char *bearer, const char *ca_file, struct kf_net_client **out,
                                 struct kf_error *err)
{
    *out = NULL;
    struct kf_net_client *client = calloc(1, sizeof *client);
    if (!client)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an HTTP client");
    client->curl = curl_easy_init();
    client->base = strdup(base);
    int ok = client->curl && client->base;
    if (ok && bearer) {
        struct kf_str header = {0};
        kf_str_printf(&header, "Authorization: Bearer %s", bearer);
        client->headers = header.failed ? NULL : curl_slist_append(NULL, header.data);
        ok = client->headers != NULL;
        kf_str_release(&header);
    }
    if (!ok) {
        kf_net_client_free(client);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an HTTP client");
    }
    curl_easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(client->curl, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1");
    if (ca_file)
        curl_easy_setopt(client->curl, CURLOPT_CAINFO, ca_file);
    *out = client;
    return KF_OK;
}

void kf_net_client_free(struct kf_net_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->headers);
    free(client->base);
    free(client);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct transfer *transfer = user;
    size_t length = size * count;
    long status = 0;
    curl_easy_getinfo(transfer->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200)
        return transfer->sink(transfer->user, bytes, length) ? 0 : length;
    if (transfer->problem.length + length <= PROBLEM_LIMIT)
        kf_str_add(&transfer->problem, bytes, length);
    return length;
}

static enum kf_status status_of_http(long http)
{
    for (int i = 1; i < KF_STATUS_COUNT; i++)
        if (kf_status_http((enum kf_status)i) == http)
            return (enum kf_status)i;
    return KF_UNAVAILABLE;
}

static enum kf_status problem_error(struct transfer *transfer, long http, struct kf_error *err)
{
    json_t *problem = NULL;
    struct kf_error ignored;
    enum kf_status status = status_of_http(http);
    if (kf_json_parse(kf_str_text(&transfer->problem), transfer->problem.length, &problem, &ignored))
        return kf_error_set(err, status, NULL, "the server answered %ld", http);
    kf_error_set(err, status, kf_json_text(problem, "code", NULL), "the server answered %ld: %s", http,
                 kf_json_text(problem, "detail", ""));
    json_decref(problem);
    return status;
}

enum kf_status kf_net_get(struct kf_net_client *client, const char *path, kf_net_sink sink, void *user,
                          struct kf_error *err)
{
    struct transfer transfer = {.client = client, .sink = sink, .user = user};
    struct kf_str url = {0};
    kf_str_printf(&url, "%s%s", client->base, path);
    if (url.failed)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an address");
    curl_easy_setopt(client->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, &transfer);
    CURLcode rc = curl_easy_perform(client->curl);
    long http = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &http);
    enum kf_status status = KF_OK;
    if (rc == CURLE_WRITE_ERROR)
        status = kf_error_set(err, KF_CANCELLED, NULL, "the receiver of an answer gave up");
    else if (rc)
        status = kf_error_set(err, KF_UNAVAILABLE, NULL, "the server cannot be reached: %s", curl_easy_strerror(rc));
    else if (http != 200)
        status = problem_error(&transfer, http, err);
    kf_str_release(&transfer.problem);
    kf_str_release(&url);
    return status;
}

struct memory_sink {
    struct kf_str *out;
    size_t limit;
};

static int to_memory(void *user, const void *bytes, size_t length)
{
    struct memory_sink *sink = user;
    if (length > sink->limit - sink->out->length)
        return -1;
    kf_str_add(sink->out, bytes, length);
    return sink->out->failed;
}

enum kf_status kf_net_get_text(struct kf_net_client *client, const char *path, size_t limit, struct kf_str *out,
                               struct kf_error *err)
{
    kf_str_clear(out);
    struct memory_sink sink = {out, limit};
    return kf_net_get(client, path, to_memory, &sink, err);
}

enum kf_status kf_net_get_json(struct kf_net_client *client, const char *path, json_t **out, struct kf_error *err)
{
    *out = NULL;
    struct kf_str text = {0};
    enum kf_status status = kf_net_get_text(client, path, JSON_LIMIT_BYTES, &text, err);
    if (!status)
        status = kf_json_parse(kf_str_text(&text), text.length, out, err);
    kf_str_release(&text);
    return status;
}
