#include "server/app/events.h"

#include "server/app/internal.h"
#include "server/base/timeid.h"
#include "server/store/account.h"
#include "server/store/read.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kf_status kf_app_events_enter(struct kf_app_thread *thread, const struct kf_actor *actor, const char *case_id,
                                   struct kf_error *err)
{
    int one = case_id && *case_id;
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_CASE_READ, "event_stream", one ? case_id : "", err);
    if (status != KF_OK || !one)
        return status;
    return kf_store_case_exists(thread->store, actor->organisation_id, case_id, err);
}

struct notified {
    struct kf_app *app;
    void (*call)(void *to, const char *organisation_id, int64_t event_id);
    void *to;
};

// Payload: "ORGANISATION EVENT_ID", or for a change of who may come in "ORGANISATION 0 ACCOUNT_OR_TOKEN [SESSION]"
// (schema/0002_change_notify.sql).
static void take_payload(void *context, const char *payload)
{
    struct notified *notified = context;
    char organisation[KF_ID_TEXT];
    if (strlen(payload) < KF_ID_TEXT || payload[KF_ID_TEXT - 1] != ' ')
        return;
    memcpy(organisation, payload, KF_ID_TEXT - 1);
    organisation[KF_ID_TEXT - 1] = 0;
    char *rest, who[KF_ID_TEXT] = "", session[KF_ID_TEXT] = "";
    long long event_id = strtoll(payload + KF_ID_TEXT, &rest, 10);
    if (sscanf(rest, " %36s %36s", who, session) > 0 && notified->app->session_changed)
        notified->app->session_changed(notified->app->session_changed_context, who, *session ? session : NULL);
    notified->call(notified->to, organisation, event_id);
}

enum kf_status kf_app_events_wait(struct kf_app_thread *thread, int timeout_ms,
                                  void (*notified)(void *to, const char *organisation_id, int64_t event_id), void *to,
                                  struct kf_error *err)
{
    struct notified context = {thread->app, notified, to};
    return kf_store_wait(thread->store, "kerf_event", timeout_ms, take_payload, &context, err);
}

enum kf_status kf_app_events_after(struct kf_app_thread *thread, const char *organisation, int64_t after, int limit,
                                   void (*emit)(void *to, const struct kf_event_row *event), void *to,
                                   struct kf_error *err)
{
    return kf_store_events_after(thread->store, organisation, after, limit, emit, to, err);
}

enum kf_status kf_app_events_newest(struct kf_app_thread *thread, const char *organisation, int64_t *id,
                                    struct kf_error *err)
{
    return kf_store_event_newest(thread->store, organisation, id, err);
}

int kf_app_session_alive(struct kf_app_thread *thread, const char *organisation, const char *session_id)
{
    int alive = 1;
    enum kf_status status = kf_store_session_alive(thread->store, organisation, session_id, &alive, NULL);
    return status == KF_OK ? alive : status != KF_NOT_FOUND;
}
