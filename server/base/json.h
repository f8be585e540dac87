// The one door to Jansson: includes it, and adds what it lacks. Everybody else includes this header.
#ifndef KERF_BASE_JSON_H
#define KERF_BASE_JSON_H

#include "server/base/error.h"
#include <jansson.h>
#include <stddef.h>

// Parses a text of `length` bytes that may come from a stranger: at most 32 levels deep, duplicate keys refused.
// *out is owned (json_decref). The error names line and column, never the content.
KF_MUST_USE enum kf_status kf_json_parse(const char *text, size_t length, json_t **out, struct kf_error *err);
// The same of a file, of at most 64 MiB (KF_TOO_LARGE).
KF_MUST_USE enum kf_status kf_json_load(const char *path, json_t **out, struct kf_error *err);

// Canonical bytes (RFC 8785 restricted to what we use: sorted keys, no spaces, doubles as %.17g shortest form that
// reads back equal, integers as integers). Owned, release with free; NULL when memory has run out. A hash over JSON is
// always taken over these bytes.
char *kf_json_canonical(const json_t *value);

// Members with a fallback when absent or of another type; borrowed strings.
const char *kf_json_text(const json_t *object, const char *key, const char *otherwise);
double kf_json_number(const json_t *object, const char *key, double otherwise);
json_int_t kf_json_integer(const json_t *object, const char *key, json_int_t otherwise);
int kf_json_flag(const json_t *object, const char *key, int otherwise);

// Writes value to path: temporary name, fsync, rename.
KF_MUST_USE enum kf_status kf_json_save(const char *path, const json_t *value, struct kf_error *err);

#endif
