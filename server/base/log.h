// Structured logs: one JSON object a line on standard error, with time, level, program and event. A field never holds
// patient data: log ids, hashes, counts, codes.
#ifndef KERF_BASE_LOG_H
#define KERF_BASE_LOG_H

#include "server/base/error.h"

enum kf_log_level { KF_LOG_DEBUG, KF_LOG_INFO, KF_LOG_WARN, KF_LOG_ERROR };

// Before the first line. program is borrowed for ever; what is below `least` is not written.
void kf_log_init(const char *program, enum kf_log_level least);

// kf_log(KF_LOG_INFO, "association.closed", "peer=%s instances=%d", peer, n): `fields` is key=value pairs parted by
// single spaces; each value becomes a JSON string (or a number where it reads as one). Values with spaces: use
// kf_log_text for the one free text field "detail".
void kf_log(enum kf_log_level level, const char *event, const char *fields, ...) __attribute__((format(printf, 3, 4)));
void kf_log_text(enum kf_log_level level, const char *event, const char *detail);
void kf_log_error(enum kf_log_level level, const char *event, const struct kf_error *err);

#endif
