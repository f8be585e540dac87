// Clocks and identifiers.
#ifndef KERF_BASE_TIMEID_H
#define KERF_BASE_TIMEID_H

#include <stdint.h>

#define KF_ID_TEXT 37 // a UUID's 36 characters and a NUL

int64_t kf_time_monotonic_ns(void);
int64_t kf_time_unix_ms(void);
void kf_time_rfc3339(char to[32], int64_t unix_ms); // 2026-11-21T06:28:56.123Z

void kf_id_new(char to[KF_ID_TEXT]);          // UUIDv7 (RFC 9562), lower case
int kf_id_valid(const char *text);            // 1 when text is a UUID in canonical form
void kf_random_bytes(void *to, unsigned long n); // from the operating system; aborts if it has none

#endif
