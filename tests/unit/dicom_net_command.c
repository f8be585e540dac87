// Command sets, file headers and the acceptance policy: what every association goes through.
#include "server/base/test.h"
#include "workers/dicom/net_command.h"
#include "workers/dicom/net_part10.h"
#include "workers/dicom/net_policy.h"

static const char ct_class[] = "1.2.840.10008.5.1.4.1.1.2";

static size_t store_request(unsigned char *to, size_t size)
{
    struct kf_dimse_command c = {.field = KF_DIMSE_STORE_RQ, .message_id = 77, .data_set_type = 1};
    strcpy(c.sop_class, ct_class);
    strcpy(c.sop_instance, "1.2.3.4.5");
    return kf_dimse_encode(&c, to, size);
}

KF_TEST(command_round_trip)
{
    unsigned char bytes[512];
    size_t n = store_request(bytes, sizeof bytes);
    KF_REQUIRE(n > 0 && n % 2 == 0);
    KF_CHECK_EQ(bytes[8] | bytes[9] << 8, n - 12); // (0000,0000) counts what follows it
    struct kf_dimse_command back;
    KF_REQUIRE(kf_dimse_parse(bytes, n, &back, NULL) == KF_OK);
    KF_CHECK_EQ(back.field, KF_DIMSE_STORE_RQ);
    KF_CHECK_EQ(back.message_id, 77);
    KF_CHECK_EQ(back.data_set_type, 1);
    KF_CHECK(!back.has_status);
    KF_CHECK_STR(back.sop_class, ct_class);
    KF_CHECK_STR(back.sop_instance, "1.2.3.4.5");

    back.field |= KF_DIMSE_RESPONSE;
    back.status = KF_DIMSE_OUT_OF_RESOURCES;
    n = kf_dimse_encode(&back, bytes, sizeof bytes);
    struct kf_dimse_command response;
    KF_REQUIRE(kf_dimse_parse(bytes, n, &response, NULL) == KF_OK);
    KF_CHECK(response.has_status);
    KF_CHECK_EQ(response.status, 0xa700);
    KF_CHECK_EQ(response.message_id, 77);
}

KF_TEST(command_encode_needs_room)
{
    unsigned char bytes[512];
    size_t n = store_request(bytes, sizeof bytes);
    for (size_t size = 0; size < n; size++)
        KF_CHECK_EQ(store_request(bytes, size), 0);
    KF_CHECK_EQ(store_request(bytes, n), n);
}

// Every proper prefix is either cut inside an element (refused) or lacks the command field (refused) or is a shorter
// command set; none may read past its end (the sanitizer build sees it).
KF_TEST(command_truncated)
{
    unsigned char bytes[512];
    size_t n = store_request(bytes, sizeof bytes);
    int refused = 0;
    for (size_t cut = 0; cut < n; cut++) {
        unsigned char *exact = malloc(cut ? cut : 1);
        memcpy(exact, bytes, cut);
        struct kf_dimse_command c;
        struct kf_error err = {0};
        refused += kf_dimse_parse(exact, cut, &c, &err) == KF_INVALID;
        free(exact);
    }
    KF_CHECK(refused > (int)n - 8);
}

static enum kf_status parse_with(size_t at, unsigned char value, char code[48])
{
    unsigned char bytes[512];
    size_t n = store_request(bytes, sizeof bytes);
    bytes[at] = value;
    struct kf_dimse_command c;
    struct kf_error err = {0};
    enum kf_status status = kf_dimse_parse(bytes, n, &c, &err);
    strcpy(code, err.code);
    return status;
}

KF_TEST(command_hostile)
{
    char code[48];
    KF_CHECK_EQ(parse_with(0, 8, code), KF_INVALID); // group 0008
    KF_CHECK_STR(code, "command_group");
    KF_CHECK_EQ(parse_with(7, 0xff, code), KF_INVALID); // a length of 4 GB
    KF_CHECK_STR(code, "command_truncated");
    KF_CHECK_EQ(parse_with(20, 'x', code), KF_INVALID); // a letter in the SOP class
    KF_CHECK_STR(code, "command_value");
    struct kf_dimse_command c;
    KF_CHECK_EQ(kf_dimse_parse((const unsigned char *)"", 0, &c, NULL), KF_INVALID);
}

KF_TEST(uid_rules)
{
    KF_CHECK(kf_dimse_uid_valid("1.2.3"));
    KF_CHECK(kf_dimse_uid_valid("1.02.3"));
    KF_CHECK(!kf_dimse_uid_valid(""));
    KF_CHECK(!kf_dimse_uid_valid("1..2"));
    KF_CHECK(!kf_dimse_uid_valid(".1"));
    KF_CHECK(!kf_dimse_uid_valid("1."));
    KF_CHECK(!kf_dimse_uid_valid("1.2 3"));
    char longest[67];
    memset(longest, '1', 65);
    longest[65] = 0;
    KF_CHECK(!kf_dimse_uid_valid(longest));
    longest[64] = 0;
    KF_CHECK(kf_dimse_uid_valid(longest));
}

KF_TEST(part10_header)
{
    unsigned char to[KF_PART10_HEADER];
    size_t n = kf_part10_header(ct_class, "1.2.3", "1.2.840.10008.1.2.1", "PACS", to, sizeof to);
    KF_REQUIRE(n > 132);
    KF_CHECK(memcmp(to + 128, "DICM\2\0\0\0UL\4\0", 12) == 0);
    size_t group = to[140] | (size_t)to[141] << 8;
    KF_CHECK_EQ(group, n - 144);
    KF_CHECK_EQ(n % 2, 0);
    for (size_t size = 0; size < n; size++)
        KF_CHECK_EQ(kf_part10_header(ct_class, "1.2.3", "1.2.840.10008.1.2.1", "PACS", to, size), 0);
    KF_CHECK_EQ(kf_part10_header("", "1.2.3", "1.2.840.10008.1.2.1", "", to, sizeof to), 0);
}

KF_TEST(classes)
{
    KF_CHECK_EQ(kf_net_class("1.2.840.10008.1.1"), KF_CLASS_VERIFICATION);
    // What the issue names: CT, MR, enhanced, secondary capture, SEG, RTSTRUCT, SR, documents, cone beam, PR, KO.
    static const char *const storage[] = {
        "1.2.840.10008.5.1.4.1.1.2",      "1.2.840.10008.5.1.4.1.1.4",      "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.4.1",    "1.2.840.10008.5.1.4.1.1.2.2",    "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.4",    "1.2.840.10008.5.1.4.1.1.66.4",   "1.2.840.10008.5.1.4.1.1.66.5",
        "1.2.840.10008.5.1.4.1.1.481.3",  "1.2.840.10008.5.1.4.1.1.481.2",  "1.2.840.10008.5.1.4.1.1.88.33",
        "1.2.840.10008.5.1.4.1.1.88.67",  "1.2.840.10008.5.1.4.1.1.88.59",  "1.2.840.10008.5.1.4.1.1.104.1",
        "1.2.840.10008.5.1.4.1.1.104.3",  "1.2.840.10008.5.1.4.1.1.104.4",  "1.2.840.10008.5.1.4.1.1.13.1.2",
        "1.2.840.10008.5.1.4.1.1.11.1",   "1.2.840.10008.5.1.4.1.1.66",     "1.2.840.10008.5.1.4.1.1.66.1",
        "1.2.840.10008.5.1.4.1.1.128",    "1.2.840.10008.5.1.4.1.1.20",     "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.12.1",   "1.2.840.10008.5.1.4.1.1.66.7",   "1.2.840.10008.5.1.4.1.1.6.1",
    };
    for (size_t i = 0; i < sizeof storage / sizeof *storage; i++) {
        if (kf_net_class(storage[i]) != KF_CLASS_STORAGE)
            fprintf(stderr, "class %s\n", storage[i]);
        KF_CHECK_EQ(kf_net_class(storage[i]), KF_CLASS_STORAGE);
    }
    KF_CHECK_EQ(kf_net_class("1.2.840.113619.4.30"), KF_CLASS_UNKNOWN); // a vendor's private class
    KF_CHECK_EQ(kf_net_class("1.2.840.10008.5.1.4.1.1.999.1"), KF_CLASS_UNKNOWN);
    KF_CHECK_EQ(kf_net_class("1.2.840.10008.5.1.4.1.2.2.1"), KF_CLASS_OTHER); // Study Root FIND
    KF_CHECK_EQ(kf_net_class("1.2.840.10008.5.1.4.31"), KF_CLASS_OTHER);      // worklist
    KF_CHECK_EQ(kf_net_class("1.2.840.10008.5.1.4.38.1"), KF_CLASS_OTHER);    // hanging protocol: no patient
}

KF_TEST(syntax_choice)
{
    const char *native[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"};
    KF_CHECK_EQ(kf_net_choose(native, 3), 0); // the sender's order
    const char *lossy_first[] = {"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2"};
    KF_CHECK_EQ(kf_net_choose(lossy_first, 3), 2); // never talked into a loss
    KF_CHECK_EQ(kf_net_choose(lossy_first, 2), 0); // but taken when that is all there is
    const char *compressed[] = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1"};
    KF_CHECK_EQ(kf_net_choose(compressed, 2), 0); // kept as it is stored, not expanded
    const char *unknown[] = {"1.2.3.4", "1.2.840.10008.1.2.4.94"}; // private; JPIP: the pixels lie elsewhere
    KF_CHECK_EQ(kf_net_choose(unknown, 2), -1);
    KF_CHECK_EQ(kf_net_choose(unknown, 0), -1);
    static const char *const common[] = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93",
        "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203",
        "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        KF_CHECK_EQ(kf_net_choose(&common[i], 1), 0);
}

KF_TEST_MAIN(KF_RUN(command_round_trip); KF_RUN(command_encode_needs_room); KF_RUN(command_truncated);
             KF_RUN(command_hostile); KF_RUN(uid_rules); KF_RUN(part10_header); KF_RUN(classes); KF_RUN(syntax_choice);)
