#include "server/http/sse.h"

#include <stdlib.h>
#include <string.h>

static long stream_read(void *state, char *to, size_t room)
{
    return kf_live_read(state, to, room);
}

static void stream_attach(void *state, void (*wake)(void *waker), void *waker)
{
    kf_live_attach(state, wake, waker);
}

static void stream_close(void *state)
{
    kf_live_leave(state);
}

static const struct kf_stream stream = {stream_read, stream_attach, stream_close};

// -1: none, or not one of ours.
static int64_t resume_id(const struct kf_request *request)
{
    const char *text = kf_request_header(request, "last-event-id");
    if (!text)
        text = kf_request_query(request, "last_event_id");
    if (!text || !*text || strlen(text) > 18 || strspn(text, "0123456789") < strlen(text))
        return -1;
    return strtoll(text, NULL, 10);
}

enum kf_status kf_sse_subscribe(struct kf_live *live, struct kf_request *request, struct kf_response *response,
                                const char *case_id, struct kf_error *err)
{
    const struct kf_principal *principal = request->principal;
    if (!principal)
        return kf_error_set(err, KF_UNAUTHENTICATED, NULL, "Sign in first.");
    if (request->head) { // nothing would ever read it
        response->status = 200;
        return KF_OK;
    }
    struct kf_live_subscription *subscription = NULL;
    enum kf_status status = kf_live_join(live, request->thread, principal->organisation_id, principal->session_id,
                                         case_id, resume_id(request), &subscription, err);
    if (status != KF_OK)
        return status;
    kf_response_stream(response, "text/event-stream", &stream, subscription);
    response->cache_control = "no-store";
    kf_response_header(request, response, "X-Accel-Buffering", "no"); // a proxy must not hold events back
    return KF_OK;
}
