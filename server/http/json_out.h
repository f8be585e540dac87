// Writes JSON text into a growing string: the answer side of every codec. Keys are literals of ours; values are
// escaped, and bytes that are not UTF-8 become U+FFFD. Errors stick in text.failed.
#ifndef KERF_HTTP_JSON_OUT_H
#define KERF_HTTP_JSON_OUT_H

#include "server/base/str.h"
#include <stdint.h>

#define KF_OUT_DEPTH 16

struct kf_out {
    struct kf_str text;
    int comma; // a value stands before the next one on this level
    int depth;
    char close[KF_OUT_DEPTH];
};

// A zeroed struct is an initialised one; release text when done. key is NULL inside an array and at the top.
void kf_out_object(struct kf_out *out, const char *key);
void kf_out_array(struct kf_out *out, const char *key);
void kf_out_close(struct kf_out *out);                                    // the innermost object or array
void kf_out_text(struct kf_out *out, const char *key, const char *value); // NULL becomes null
void kf_out_int(struct kf_out *out, const char *key, int64_t value);
void kf_out_number(struct kf_out *out, const char *key, double value); // not finite: null
void kf_out_flag(struct kf_out *out, const char *key, int value);
void kf_out_null(struct kf_out *out, const char *key);
void kf_out_raw(struct kf_out *out, const char *key, const char *json); // JSON text from the database; "" becomes {}
void kf_out_time(struct kf_out *out, const char *key, int64_t unix_ms); // RFC 3339; 0 becomes null

#endif
