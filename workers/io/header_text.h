// Text headers of strangers (NRRD, MetaImage): lines, words and numbers that never leave their bytes. No allocation.
#ifndef KERF_IO_HEADER_TEXT_H
#define KERF_IO_HEADER_TEXT_H

#include <stdint.h>

#define KF_HEADER_MOST ((int64_t)1 << 20) // no header is longer, its data must begin before

// The next line of bytes [*at, length) without its end ("\n" or "\r\n") as a NUL-terminated copy; *at moves behind it.
// 1: a line; 0: no whole line is left, or it is longer than `size` - 1 or holds a NUL.
int kf_header_line(const unsigned char *bytes, int64_t length, int64_t *at, char *line, int64_t size);

// Cuts blanks off both ends, in place; the first character that is left.
char *kf_header_trim(char *text);

// Exactly `count` finite reals, or integers in 64 bits, with blanks between and nothing else: 1, else 0.
int kf_header_reals(const char *text, int count, double *to);
int kf_header_integers(const char *text, int count, int64_t *to);

#endif
