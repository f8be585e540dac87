// The multipart parser: the first byte says how the rest is cut. Whatever the cut, the events must be the same.
#include "server/base/str.h"
#include "server/http/multipart.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum kf_status on_begin(void *context, const struct kf_multipart_part *part, struct kf_error *err)
{
    (void)err;
    if (strchr(part->file_name, '/') || strchr(part->file_name, '\\'))
        abort();
    kf_str_printf(context, "<%s|%s|%s|%s>", part->name, part->file_name, part->content_type, part->content_location);
    return KF_OK;
}

static enum kf_status on_data(void *context, const void *bytes, size_t length, struct kf_error *err)
{
    (void)err;
    if (!length)
        abort();
    kf_str_add(context, bytes, length);
    return KF_OK;
}

static enum kf_status on_end(void *context, struct kf_error *err)
{
    (void)err;
    kf_str_add_text(context, "</>");
    return KF_OK;
}

static const struct kf_multipart_events events = {on_begin, on_data, on_end};

static enum kf_status parse(const uint8_t *data, size_t size, size_t step, struct kf_str *to)
{
    struct kf_multipart *parser = NULL;
    struct kf_error err = {0};
    if (kf_multipart_new("b", 100, &events, to, &parser, &err) != KF_OK)
        abort();
    enum kf_status status = KF_OK;
    for (size_t i = 0; status == KF_OK && i < size; i += step)
        status = kf_multipart_feed(parser, data + i, size - i < step ? size - i : step, &err);
    if (status == KF_OK)
        status = kf_multipart_finish(parser, &err);
    kf_multipart_free(parser);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct kf_str whole = {0}, cut = {0};
    enum kf_status a = parse(data + 1, size - 1, size, &whole), b = parse(data + 1, size - 1, 1 + data[0] % 7, &cut);
    if (a != b || (a == KF_OK &&
                   (whole.length != cut.length || (whole.length && memcmp(whole.data, cut.data, whole.length) != 0))))
        abort();
    kf_str_release(&whole);
    kf_str_release(&cut);
    return 0;
}
