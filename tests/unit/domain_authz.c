// The authorisation table: who may do what, and the rules that keep an organisation from locking itself out.
#include "server/base/test.h"
#include "server/domain/authz.h"

KF_TEST(names_round_trip)
{
    for (int i = 0; i < KF_ROLE_COUNT; i++) {
        enum kf_role role;
        KF_CHECK(kf_role_parse(kf_role_wire((enum kf_role)i), &role) == KF_OK);
        KF_CHECK_EQ(role, i);
    }
    for (int i = 0; i < KF_PERM_COUNT; i++) {
        enum kf_permission permission;
        KF_CHECK(kf_permission_parse(kf_permission_wire((enum kf_permission)i), &permission) == KF_OK);
        KF_CHECK_EQ(permission, i);
    }
    enum kf_role role;
    KF_CHECK(kf_role_parse("root", &role) == KF_INVALID);
    KF_CHECK(kf_role_parse(NULL, &role) == KF_INVALID);
    KF_CHECK_EQ(role, KF_ROLE_COUNT);
}

KF_TEST(unknown_roles_and_permissions_hold_nothing)
{
    KF_CHECK(!kf_role_may(KF_ROLE_COUNT, KF_PERM_SELF));
    KF_CHECK(!kf_role_may((enum kf_role) - 1, KF_PERM_CASE_READ));
    KF_CHECK(!kf_role_may(KF_ROLE_ADMIN, KF_PERM_COUNT));
    KF_CHECK(!kf_role_may(KF_ROLE_ADMIN, (enum kf_permission) - 1));
    KF_CHECK(kf_role_may(KF_ROLE_COUNT, KF_PERM_PUBLIC));
}

KF_TEST(administration_is_for_administrators)
{
    for (int role = 0; role < KF_ROLE_COUNT; role++) {
        int admin = role == KF_ROLE_ADMIN;
        KF_CHECK_EQ(kf_role_may((enum kf_role)role, KF_PERM_ACCOUNT_MANAGE), admin);
        KF_CHECK_EQ(kf_role_may((enum kf_role)role, KF_PERM_TOKEN_MANAGE), admin);
        KF_CHECK_EQ(kf_role_may((enum kf_role)role, KF_PERM_JOB_REVIEW), admin);
        KF_CHECK_EQ(kf_role_may((enum kf_role)role, KF_PERM_PEER_MANAGE), admin || role == KF_ROLE_TECHNICIAN);
        KF_CHECK_EQ(kf_role_may((enum kf_role)role, KF_PERM_JOB_RETRY), admin || role == KF_ROLE_TECHNICIAN);
    }
}

KF_TEST(those_who_only_look_change_nothing)
{
    static const enum kf_role lookers[] = {KF_ROLE_SURGEON, KF_ROLE_VIEWER};
    for (int i = 0; i < 2; i++) {
        KF_CHECK(kf_role_may(lookers[i], KF_PERM_CASE_READ));
        KF_CHECK(!kf_role_may(lookers[i], KF_PERM_CASE_WRITE));
        KF_CHECK(!kf_role_may(lookers[i], KF_PERM_DICOM_STORE));
        KF_CHECK(!kf_role_may(lookers[i], KF_PERM_JOB_RUN));
    }
    KF_CHECK(kf_role_may(KF_ROLE_PLANNER, KF_PERM_JOB_RUN));
}

// One line for each permission, as the manual has it: a permission that is new here must be decided on here.
KF_TEST(the_whole_table_is_as_decided)
{
    static const struct {
        const char *permission, *roles; // a t p s v: admin, technician, planner, surgeon, viewer
    } rows[] = {{"public", "atpsv"},      {"session.self", "atpsv"}, {"case.read", "atpsv"},  {"case.write", "atp"},
                {"dicom.store", "atp"},   {"job.read", "atpsv"},     {"job.run", "atp"},      {"job.retry", "at"},
                {"job.review", "a"},      {"account.manage", "a"},   {"token.manage", "a"},   {"peer.manage", "at"},
                {"metrics.read", "a"},    {"level.state", "aps"}};
    KF_CHECK_EQ((int)(sizeof rows / sizeof *rows), KF_PERM_COUNT);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum kf_permission permission;
        KF_REQUIRE(kf_permission_parse(rows[i].permission, &permission) == KF_OK);
        for (int role = 0; role < KF_ROLE_COUNT; role++)
            KF_CHECK_EQ(kf_role_may((enum kf_role)role, permission), strchr(rows[i].roles, "atpsv"[role]) != NULL);
    }
}

KF_TEST(an_administrator_cannot_lock_himself_out)
{
    struct kf_error err;
    KF_CHECK(kf_account_change_allowed(1, KF_ROLE_ADMIN, KF_ROLE_ADMIN, 1, &err) == KF_CONFLICT);
    KF_CHECK_STR(err.code, "own_account");
    KF_CHECK(kf_account_change_allowed(1, KF_ROLE_ADMIN, KF_ROLE_VIEWER, 0, &err) == KF_CONFLICT);
    KF_CHECK(kf_account_change_allowed(1, KF_ROLE_ADMIN, KF_ROLE_ADMIN, 0, &err) == KF_OK);
    KF_CHECK(kf_account_change_allowed(0, KF_ROLE_ADMIN, KF_ROLE_VIEWER, 1, &err) == KF_OK);
}

KF_TEST_MAIN(KF_RUN(names_round_trip); KF_RUN(unknown_roles_and_permissions_hold_nothing);
             KF_RUN(administration_is_for_administrators); KF_RUN(those_who_only_look_change_nothing);
             KF_RUN(the_whole_table_is_as_decided);
             KF_RUN(an_administrator_cannot_lock_himself_out);)
