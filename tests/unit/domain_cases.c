// Which state changes a person may ask for.
#include "server/base/test.h"
#include "server/domain/cases.h"

KF_TEST(names_round_trip)
{
    for (int i = 0; i < KF_CASE_STATE_COUNT; i++) {
        enum kf_case_state state;
        KF_CHECK(kf_case_state_parse(kf_case_state_wire((enum kf_case_state)i), &state) == KF_OK);
        KF_CHECK_EQ(state, i);
    }
    enum kf_case_state state;
    KF_CHECK(kf_case_state_parse("Ready", &state) == KF_INVALID);
    KF_CHECK(kf_case_state_parse(NULL, &state) == KF_INVALID);
}

KF_TEST(a_person_makes_ready_or_archives_and_nothing_else)
{
    struct kf_error err;
    for (int from = 0; from < KF_CASE_STATE_COUNT; from++) {
        for (int to = 0; to < KF_CASE_STATE_COUNT; to++) {
            int busy = from == KF_CASE_RECEIVING || from == KF_CASE_PROCESSING;
            int asked = to == KF_CASE_READY || to == KF_CASE_ARCHIVED;
            int expected = from == to || (asked && !busy);
            enum kf_status status = kf_case_change_allowed((enum kf_case_state)from, (enum kf_case_state)to, &err);
            KF_CHECK_EQ(status, expected ? KF_OK : KF_CONFLICT);
        }
    }
    KF_CHECK(kf_case_change_allowed(KF_CASE_PROCESSING, KF_CASE_ARCHIVED, &err) == KF_CONFLICT);
    KF_CHECK_STR(err.code, "case_busy");
    KF_CHECK(kf_case_change_allowed(KF_CASE_READY, KF_CASE_RECEIVING, &err) == KF_CONFLICT);
    KF_CHECK_STR(err.code, "case_state");
}

KF_TEST_MAIN(KF_RUN(names_round_trip); KF_RUN(a_person_makes_ready_or_archives_and_nothing_else);)
