// A growing byte string. Always NUL-terminated; may hold NULs. Errors stick: after an allocation fails, `failed` is set,
// further appends do nothing, and one check at the end is enough.
#ifndef KERF_BASE_STR_H
#define KERF_BASE_STR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kf_str {
    char *data; // never NULL after the first append; use kf_str_text to read
    size_t length;
    size_t capacity;
    int failed;
};

void kf_str_init(struct kf_str *str); // no allocation; a zeroed struct is an initialised one
void kf_str_release(struct kf_str *str);
void kf_str_clear(struct kf_str *str); // keeps the memory
void kf_str_add(struct kf_str *str, const void *bytes, size_t length);
void kf_str_add_text(struct kf_str *str, const char *text);
void kf_str_add_char(struct kf_str *str, char c);
void kf_str_printf(struct kf_str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *kf_str_text(const struct kf_str *str); // borrowed; "" when empty

// Copies text into a fixed buffer of `size` bytes, always terminated. Returns 0, or -1 when it was cut short.
int kf_str_copy(char *to, size_t size, const char *text);

// Lower-case hexadecimal: writes 2·n characters and a NUL. Decoding returns 0, or -1 when text is not 2·n hex digits.
void kf_hex_encode(char *to, const unsigned char *bytes, size_t n);
int kf_hex_decode(unsigned char *to, size_t n, const char *text);

#ifdef __cplusplus
}
#endif

#endif
