// What may stand in a name, a title, a login, an address: checked once, here, before anything is stored.
#ifndef KERF_DOMAIN_TEXT_H
#define KERF_DOMAIN_TEXT_H

#include "server/base/error.h"
#include <stddef.h>

// Characters of a UTF-8 string of `length` bytes; -1 when it is not valid UTF-8 (overlong forms, surrogates and values
// above U+10FFFF are refused).
long kf_text_characters(const char *text, size_t length);

// One line for people (title, display name, peer or token name): `least` to `most` characters, valid UTF-8, no control
// characters (C0, C1, line and paragraph separators, bidirectional overrides), no white space at either end.
// KF_INVALID with code invalid_text.
KF_MUST_USE enum kf_status kf_text_line_check(const char *text, long least, long most, struct kf_error *err);

// Lower-case login: 1 to 200 of a–z, 0–9 and . _ - + @, starting with a letter or digit. KF_INVALID "invalid_login".
KF_MUST_USE enum kf_status kf_login_check(const char *login, struct kf_error *err);

// An application entity title (PS3.8, VR AE): 1 to 16 characters of the default repertoire without backslash, no
// leading or trailing space; "*" stands for any. KF_INVALID "invalid_ae_title".
KF_MUST_USE enum kf_status kf_ae_title_check(const char *title, struct kf_error *err);

// A DICOM unique identifier (PS3.5 §9.1): 1 to 64 of digits and dots, no empty component. (A leading zero, which the
// standard forbids and machines send, is let through.) 1 when it is one.
int kf_uid_valid(const char *uid);

#endif
