#include "workers/dicom/net_command.h"
#include <string.h>

enum {
    TAG_GROUP_LENGTH = 0x0000,
    TAG_AFFECTED_CLASS = 0x0002,
    TAG_REQUESTED_CLASS = 0x0003,
    TAG_COMMAND_FIELD = 0x0100,
    TAG_MESSAGE_ID = 0x0110,
    TAG_RESPONDED_ID = 0x0120,
    TAG_PRIORITY = 0x0700,
    TAG_DATA_SET_TYPE = 0x0800,
    TAG_STATUS = 0x0900,
    TAG_AFFECTED_INSTANCE = 0x1000,
    TAG_REQUESTED_INSTANCE = 0x1001,
};

static uint16_t read_u16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int kf_dimse_uid_valid(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n >= KF_DIMSE_UID || text[0] == '.' || text[n - 1] == '.')
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '.' ? text[i + 1] == '.' : text[i] < '0' || text[i] > '9')
            return 0;
    }
    return 1;
}

// Value of a UID element: padded with one NUL by the standard, with a space by some devices.
static int copy_uid(char to[KF_DIMSE_UID], const unsigned char *value, uint32_t length)
{
    while (length > 0 && (value[length - 1] == 0 || value[length - 1] == ' '))
        length--;
    if (length >= KF_DIMSE_UID || memchr(value, 0, length))
        return -1;
    memcpy(to, value, length);
    to[length] = 0;
    return length == 0 || kf_dimse_uid_valid(to) ? 0 : -1;
}

static int take_u16(uint16_t *to, const unsigned char *value, uint32_t length)
{
    if (length != 2)
        return -1;
    *to = read_u16(value);
    return 0;
}

// One element of group 0000; -1 when its value cannot be what its tag says.
static int take_element(struct kf_dimse_command *out, uint16_t element, const unsigned char *value, uint32_t length)
{
    switch (element) {
    case TAG_COMMAND_FIELD:
        return take_u16(&out->field, value, length);
    case TAG_MESSAGE_ID:
    case TAG_RESPONDED_ID:
        return take_u16(&out->message_id, value, length);
    case TAG_DATA_SET_TYPE:
        return take_u16(&out->data_set_type, value, length);
    case TAG_STATUS:
        out->has_status = 1;
        return take_u16(&out->status, value, length);
    case TAG_AFFECTED_CLASS:
    case TAG_REQUESTED_CLASS:
        return copy_uid(out->sop_class, value, length);
    case TAG_AFFECTED_INSTANCE:
    case TAG_REQUESTED_INSTANCE:
        return copy_uid(out->sop_instance, value, length);
    default:
        return 0;
    }
}

enum kf_status kf_dimse_parse(const unsigned char *bytes, size_t length, struct kf_dimse_command *out,
                              struct kf_error *err)
{
    memset(out, 0, sizeof *out);
    out->data_set_type = KF_DIMSE_NO_DATA;
    struct kf_dimse_command read = *out;
    int seen_field = 0;
    for (size_t at = 0; at < length;) {
        if (length - at < 8)
            return kf_error_set(err, KF_INVALID, "command_truncated", "The command set ends inside an element.");
        uint16_t group = read_u16(bytes + at), element = read_u16(bytes + at + 2);
        uint32_t size = read_u32(bytes + at + 4);
        at += 8;
        if (group != 0)
            return kf_error_set(err, KF_INVALID, "command_group", "The command set holds an element of group %04x.",
                                group);
        if (size > length - at)
            return kf_error_set(err, KF_INVALID, "command_truncated", "An element of the command set runs out of it.");
        if (take_element(&read, element, bytes + at, size))
            return kf_error_set(err, KF_INVALID, "command_value", "Element (0000,%04x) of the command set is malformed.",
                                element);
        seen_field |= element == TAG_COMMAND_FIELD;
        at += size;
    }
    if (!seen_field)
        return kf_error_set(err, KF_INVALID, "command_field", "The command set has no command field.");
    *out = read;
    return KF_OK;
}

struct writer {
    unsigned char *to;
    size_t size, length;
    int full;
};

static void put_element(struct writer *w, uint16_t element, const void *value, size_t length)
{
    size_t padded = length + (length & 1);
    if (w->size - w->length < 8 + padded) {
        w->full = 1;
        return;
    }
    unsigned char *p = w->to + w->length;
    p[0] = p[1] = 0;
    p[2] = (unsigned char)element;
    p[3] = (unsigned char)(element >> 8);
    p[4] = (unsigned char)padded;
    p[5] = (unsigned char)(padded >> 8);
    p[6] = p[7] = 0;
    memcpy(p + 8, value, length);
    if (padded > length)
        p[8 + length] = 0;
    w->length += 8 + padded;
}

static void put_u16(struct writer *w, uint16_t element, uint16_t value)
{
    unsigned char bytes[2] = {(unsigned char)value, (unsigned char)(value >> 8)};
    put_element(w, element, bytes, sizeof bytes);
}

size_t kf_dimse_encode(const struct kf_dimse_command *command, unsigned char *to, size_t size)
{
    struct writer w = {to, size, 0, 0};
    unsigned char group_length[4] = {0};
    put_element(&w, TAG_GROUP_LENGTH, group_length, sizeof group_length);
    if (command->sop_class[0])
        put_element(&w, TAG_AFFECTED_CLASS, command->sop_class, strlen(command->sop_class));
    put_u16(&w, TAG_COMMAND_FIELD, command->field);
    int response = (command->field & KF_DIMSE_RESPONSE) != 0;
    put_u16(&w, response ? TAG_RESPONDED_ID : TAG_MESSAGE_ID, command->message_id);
    if (command->field == KF_DIMSE_STORE_RQ)
        put_u16(&w, TAG_PRIORITY, 0);
    put_u16(&w, TAG_DATA_SET_TYPE, command->data_set_type);
    if (response)
        put_u16(&w, TAG_STATUS, command->status);
    if (command->sop_instance[0])
        put_element(&w, TAG_AFFECTED_INSTANCE, command->sop_instance, strlen(command->sop_instance));
    if (w.full)
        return 0;
    size_t rest = w.length - 12;
    for (int i = 0; i < 4; i++)
        to[8 + i] = (unsigned char)(rest >> (8 * i));
    return w.length;
}
