// A growing byte string. Always NUL-terminated; may hold NULs. Errors stick: after an allocation fails, `failed` is set,
// further appends do nothing, and one check at the end is enough.
#ifndef KERF_BASE_STR_H
#define KERF_BASE_STR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kf_str { // zeroed, it is empty and ready
    char *data; // never NULL after the first append; use kf_str_text to read
    size_t length;
    size_t capacity;
    int failed;
};

void kf_str_release(struct kf_str *str);
void kf_str_clear(struct kf_str *str); // keeps the memory
void kf_str_add(struct kf_str *str, const void *bytes, size_t length);
void kf_str_add_text(struct kf_str *str, const char *text);
void kf_str_add_char(struct kf_str *str, char c);
void kf_str_printf(struct kf_str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *kf_str_text(const struct kf_str *str); // borrowed; "" when empty

// Length of the valid UTF-8 character at `at` (Unicode table 3-7), 0 when there is none within `left` bytes.
size_t kf_utf8_sequence(const char *at, size_t left);
// How many of the first `most` bytes of text to keep so that a cut splits no UTF-8 character: most less 0 to 3. Looks at
// those bytes alone. What is no UTF-8 is cut anywhere.
size_t kf_utf8_cut(const char *text, size_t most);
// Puts a question mark in place of every byte that belongs to no valid character.
void kf_utf8_clean(char *text);

// Copies text into a fixed buffer of `size` bytes, always terminated. Returns 0, or -1 when it was cut short: no UTF-8
// character is split.
int kf_str_copy(char *to, size_t size, const char *text);

// Lower-case hexadecimal: writes 2·n characters and a NUL. Decoding returns 0, or -1 when text is not 2·n hex digits.
void kf_hex_encode(char *to, const unsigned char *bytes, size_t n);
int kf_hex_decode(unsigned char *to, size_t n, const char *text);

#ifdef __cplusplus
}
#endif

#endif
