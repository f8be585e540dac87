#include "server/base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kf_str_release(struct kf_str *str)
{
    free(str->data);
    *str = (struct kf_str){0};
}

void kf_str_clear(struct kf_str *str)
{
    str->length = 0;
    str->failed = 0;
    if (str->data)
        str->data[0] = 0;
}

static int reserve(struct kf_str *str, size_t more)
{
    if (str->failed || more >= SIZE_MAX / 2 - str->length) {
        str->failed = 1;
        return -1;
    }
    size_t need = str->length + more + 1;
    if (need <= str->capacity)
        return 0;
    size_t capacity = str->capacity ? str->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(str->data, capacity);
    if (!data) {
        str->failed = 1;
        return -1;
    }
    str->data = data;
    str->capacity = capacity;
    return 0;
}

void kf_str_add(struct kf_str *str, const void *bytes, size_t length)
{
    if (reserve(str, length))
        return;
    if (length)
        memcpy(str->data + str->length, bytes, length);
    str->length += length;
    str->data[str->length] = 0;
}

void kf_str_add_text(struct kf_str *str, const char *text)
{
    kf_str_add(str, text, strlen(text));
}

void kf_str_add_char(struct kf_str *str, char c)
{
    kf_str_add(str, &c, 1);
}

void kf_str_printf(struct kf_str *str, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length >= 0 && !reserve(str, (size_t)length)) {
        vsnprintf(str->data + str->length, (size_t)length + 1, format, again);
        str->length += (size_t)length;
    }
    va_end(again);
}

const char *kf_str_text(const struct kf_str *str)
{
    return str->data ? str->data : "";
}

size_t kf_utf8_sequence(const char *at, size_t left)
{
    const unsigned char *u = (const unsigned char *)at;
    unsigned char c = left ? u[0] : 0xff;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return left >= 2 && (u[1] & 0xc0) == 0x80 ? 2 : 0;
    if (c >= 0xe0 && c <= 0xef) {
        unsigned char least = c == 0xe0 ? 0xa0 : 0x80, most = c == 0xed ? 0x9f : 0xbf;
        return left >= 3 && u[1] >= least && u[1] <= most && (u[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        unsigned char least = c == 0xf0 ? 0x90 : 0x80, most = c == 0xf4 ? 0x8f : 0xbf;
        return left >= 4 && u[1] >= least && u[1] <= most && (u[2] & 0xc0) == 0x80 && (u[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

size_t kf_utf8_cut(const char *text, size_t most)
{
    const unsigned char *u = (const unsigned char *)text;
    size_t lead = most; // where the last character begins
    while (lead > 0 && most - lead < 4)
        if ((u[--lead] & 0xc0) != 0x80) {
            size_t bytes = u[lead] >= 0xf0 ? 4 : u[lead] >= 0xe0 ? 3 : u[lead] >= 0xc0 ? 2 : 1;
            return bytes > most - lead ? lead : most;
        }
    return most;
}

void kf_utf8_clean(char *text)
{
    size_t left = strlen(text);
    while (left) {
        size_t n = kf_utf8_sequence(text, left);
        if (!n)
            *text = '?';
        text += n ? n : 1;
        left -= n ? n : 1;
    }
}

int kf_str_copy(char *to, size_t size, const char *text)
{
    size_t length = strlen(text);
    size_t kept = length < size ? length : kf_utf8_cut(text, size - 1);
    memcpy(to, text, kept);
    to[kept] = 0;
    return kept == length ? 0 : -1;
}

void kf_hex_encode(char *to, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = digits[bytes[i] >> 4];
        to[2 * i + 1] = digits[bytes[i] & 15];
    }
    to[2 * n] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int kf_hex_decode(unsigned char *to, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
        if (low < 0)
            return -1;
        to[i] = (unsigned char)(high << 4 | low);
    }
    return text[2 * n] ? -1 : 0;
}
