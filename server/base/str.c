#include "server/base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kf_str_init(struct kf_str *str)
{
    *str = (struct kf_str){0};
}

void kf_str_release(struct kf_str *str)
{
    free(str->data);
    kf_str_init(str);
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

int kf_str_copy(char *to, size_t size, const char *text)
{
    size_t length = strlen(text);
    size_t kept = length < size ? length : size - 1;
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
