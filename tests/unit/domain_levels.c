// Which levels may be said of a spine, and when several people have said the same.
#include "server/base/test.h"
#include "server/domain/levels.h"

// A spine whose vertebrae have the labels 40, 41, …, listed out of order and between other parts.
static json_t *spine(int vertebrae)
{
    json_t *list = json_pack("[{s:i, s:s}, {s:i, s:s}]", "label", 7, "name", "Sacrum", "label", 90, "name",
                             "Disc below vertebra 1 of 9 (level unconfirmed)");
    for (int i = vertebrae - 1; i >= 0; i--)
        json_array_append_new(list, json_pack("{s:i, s:s}", "label", 40 + i, "name", "Vertebra 1 of 9"));
    return json_pack("{s:s, s:o}", "levels", "unconfirmed", "segments", list);
}

// The code for levels that are parted by spaces, of as many vertebrae; "" when they are fine.
static const char *said(const char *levels)
{
    static struct kf_error err;
    char text[200], *rest = NULL, key[16];
    int count = 0;
    json_t *map = json_object();
    snprintf(text, sizeof text, "%s", levels);
    for (char *level = strtok_r(text, " ", &rest); level; level = strtok_r(NULL, " ", &rest)) {
        snprintf(key, sizeof key, "%d", 40 + count++);
        json_object_set_new(map, key, json_string(level));
    }
    json_t *meta = spine(count);
    memset(&err, 0, sizeof err);
    enum kf_status status = kf_levels_check(map, meta, &err);
    KF_CHECK_EQ(status, err.code[0] ? KF_UNPROCESSABLE : KF_OK);
    json_decref(map);
    json_decref(meta);
    return err.code;
}

KF_TEST(levels_follow_from_the_top_down_without_a_gap)
{
    static const char *const fine[] = {"L1 L2 L3 L4 L5", "C1 C2 C3 C4 C5 C6 C7 T1", "T10 T11 L1", "T12 T13 L1",
                                       "T12 L1", "L5 L6", "C7"};
    static const char *const wrong[] = {"L1 L3", "L2 L1", "L1 L1", "T10 L1", "C6 T1", "C7 L1", "L5 T1", "L6 L7",
                                        "T13 T14", "C0 C1", "S1", "L01", "L", "l1", "L1x", "L-1", "T12 L2", "C7 T2"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        KF_CHECK_STR(said(fine[i]), "");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        KF_CHECK_STR(said(wrong[i]), "levels_order");
}

KF_TEST(every_vertebra_has_a_level_and_nothing_else_has_one)
{
    struct kf_error err = {0};
    json_t *two = spine(2), *none = spine(0);
    json_t *one = json_pack("{s:s}", "40", "L1"), *other = json_pack("{s:s, s:s}", "40", "L1", "7", "L2");
    json_t *number = json_pack("{s:s, s:i}", "40", "L1", "41", 2), *empty = json_object();
    json_t *bone = json_pack("{s:[{s:i, s:s}]}", "segments", "label", 40, "name", "Vertebra 1 of 1");
    const json_t *incomplete[] = {one, other, number, empty};
    for (size_t i = 0; i < 4; i++) {
        KF_CHECK(kf_levels_check(incomplete[i], two, &err) == KF_UNPROCESSABLE);
        KF_CHECK_STR(err.code, "levels_incomplete");
    }
    const json_t *without[] = {none, bone, empty, NULL}; // "levels" is what tells a spine from bone
    for (size_t i = 0; i < 4; i++) {
        KF_CHECK(kf_levels_check(one, without[i], &err) == KF_UNPROCESSABLE);
        KF_CHECK_STR(err.code, "no_levels");
    }
    json_t *many = spine(33);
    KF_CHECK(kf_levels_check(one, many, &err) == KF_UNPROCESSABLE);
    json_t *all[] = {two, none, one, other, number, empty, bone, many};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        json_decref(all[i]);
}

KF_TEST(two_people_who_say_the_same_confirm_it)
{
    const char *alike[] = {"{\"1\": \"L1\"}", "{\"1\": \"L1\"}", "{\"1\": \"L2\"}"};
    KF_CHECK_EQ(kf_levels_verdict(alike, 1), KF_LEVELS_ONCE);
    KF_CHECK_EQ(kf_levels_verdict(alike, 2), KF_LEVELS_CONFIRMED);
    KF_CHECK_EQ(kf_levels_verdict(alike, 3), KF_LEVELS_DISPUTED); // a third who disagrees undoes it
    KF_CHECK_EQ(kf_levels_verdict(alike + 1, 2), KF_LEVELS_DISPUTED);
    KF_CHECK_STR(kf_level_verdict_wire(KF_LEVELS_CONFIRMED), "confirmed");
}

KF_TEST_MAIN(KF_RUN(levels_follow_from_the_top_down_without_a_gap);
             KF_RUN(every_vertebra_has_a_level_and_nothing_else_has_one);
             KF_RUN(two_people_who_say_the_same_confirm_it);)
