#include "server/domain/text.h"

#include "server/base/str.h"

#include <string.h>

// Decodes one character at text[*at]; -1 when it is not valid. Moves *at behind it.
static long next_character(const unsigned char *text, size_t length, size_t *at)
{
    const unsigned char *u = text + *at;
    size_t bytes = kf_utf8_sequence((const char *)u, length - *at);
    long c = bytes > 1 ? u[0] & (0x7F >> bytes) : u[0];
    for (size_t i = 1; i < bytes; i++)
        c = c << 6 | (u[i] & 0x3F);
    *at += bytes;
    return bytes ? c : -1;
}

long kf_text_characters(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    long count = 0;
    for (size_t at = 0; at < length; count++)
        if (next_character(bytes, length, &at) < 0)
            return -1;
    return count;
}

static int is_forbidden(long c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x2028 || c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF;
}

enum kf_status kf_text_line_check(const char *text, long least, long most, struct kf_error *err)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t length = strlen(text);
    long count = kf_text_characters(text, length);
    if (count < 0)
        return kf_error_set(err, KF_INVALID, "invalid_text", "The text is not valid UTF-8.");
    if (count < least || count > most)
        return kf_error_set(err, KF_INVALID, "invalid_text", "The text must have %ld to %ld characters.", least, most);
    for (size_t at = 0; at < length;)
        if (is_forbidden(next_character(bytes, length, &at)))
            return kf_error_set(err, KF_INVALID, "invalid_text", "The text has a control character.");
    if (length && (text[0] == ' ' || text[length - 1] == ' '))
        return kf_error_set(err, KF_INVALID, "invalid_text", "The text begins or ends with a space.");
    return KF_OK;
}

static int is_login_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("._-+@", c));
}

enum kf_status kf_login_check(const char *login, struct kf_error *err)
{
    size_t length = strlen(login);
    int good = length >= 1 && length <= 200 && is_login_character(login[0]) && !strchr("._-+@", login[0]);
    for (size_t i = 0; good && i < length; i++)
        good = is_login_character(login[i]);
    return good ? KF_OK
                : kf_error_set(err, KF_INVALID, "invalid_login",
                               "A login has 1 to 200 of a-z, 0-9 and . _ - + @, and starts with a letter or digit.");
}

enum kf_status kf_ae_title_check(const char *title, struct kf_error *err)
{
    size_t length = strlen(title);
    int good = length >= 1 && length <= 16 && title[0] != ' ' && title[length - 1] != ' ';
    for (size_t i = 0; good && i < length; i++)
        good = title[i] >= 0x20 && title[i] < 0x7F && title[i] != '\\';
    if (good && length > 1 && strchr(title, '*'))
        good = 0;
    return good ? KF_OK
                : kf_error_set(err, KF_INVALID, "invalid_ae_title",
                               "An AE title has 1 to 16 printable ASCII characters without backslash or star; "
                               "a star alone means any.");
}

int kf_uid_valid(const char *uid)
{
    size_t length = strlen(uid);
    if (length < 1 || length > 64 || uid[0] == '.' || uid[length - 1] == '.')
        return 0;
    for (size_t i = 0; i < length; i++)
        if ((uid[i] < '0' || uid[i] > '9') && (uid[i] != '.' || uid[i - 1] == '.'))
            return 0;
    return 1;
}
