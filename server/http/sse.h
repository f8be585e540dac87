// The live stream as a response: server/live on the dispatcher's streams.
#ifndef KERF_HTTP_SSE_H
#define KERF_HTTP_SSE_H

#include "server/http/http.h"
#include "server/live/live.h"

// Turns the response into an event stream for the request's organisation, of one case (or all when case_id is NULL or
// ""), resuming behind the Last-Event-ID header (or the last_event_id parameter). Call after the authorisation of that
// case. KF_UNAVAILABLE when there are too many streams.
KF_MUST_USE enum kf_status kf_sse_subscribe(struct kf_live *live, struct kf_request *request,
                                            struct kf_response *response, const char *case_id, struct kf_error *err);

#endif
