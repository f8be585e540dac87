#include "workers/io/header_text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int kf_header_line(const unsigned char *bytes, int64_t length, int64_t *at, char *line, int64_t size)
{
    const unsigned char *from = bytes + *at;
    const unsigned char *end = *at < length ? memchr(from, '\n', (size_t)(length - *at)) : NULL;
    if (!end)
        return 0;
    int64_t n = end - from;
    *at += n + 1;
    if (n > 0 && from[n - 1] == '\r')
        n--;
    if (n >= size || memchr(from, 0, (size_t)n))
        return 0;
    memcpy(line, from, (size_t)n);
    line[n] = 0;
    return 1;
}

char *kf_header_trim(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        text[--n] = 0;
    return text;
}

// What may follow a number: a blank or the end.
static int ends_here(const char *end)
{
    return *end == 0 || *end == ' ' || *end == '\t';
}

static int nothing_left(const char *text)
{
    return text[strspn(text, " \t")] == 0;
}

int kf_header_reals(const char *text, int count, double *to)
{
    for (int i = 0; i < count; i++) {
        char *end;
        to[i] = strtod(text, &end);
        if (end == text || !ends_here(end) || !isfinite(to[i]))
            return 0;
        text = end;
    }
    return nothing_left(text);
}

int kf_header_integers(const char *text, int count, int64_t *to)
{
    for (int i = 0; i < count; i++) {
        char *end;
        errno = 0;
        to[i] = strtoll(text, &end, 10);
        if (end == text || !ends_here(end) || errno)
            return 0;
        text = end;
    }
    return nothing_left(text);
}
