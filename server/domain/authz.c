#include "server/domain/authz.h"

#include <stddef.h>
#include <string.h>

static const char *const role_wire[KF_ROLE_COUNT] = {
#define X(id, wire) wire,
    KF_ROLE_TABLE(X)
#undef X
};

static const char *const permission_wire[KF_PERM_COUNT] = {
#define X(id, wire, a, t, p, s, v) wire,
    KF_PERMISSION_TABLE(X)
#undef X
};

static const unsigned char may[KF_PERM_COUNT][KF_ROLE_COUNT] = {
#define X(id, wire, a, t, p, s, v) {a, t, p, s, v},
    KF_PERMISSION_TABLE(X)
#undef X
};

const char *kf_role_wire(enum kf_role role)
{
    return (unsigned)role < KF_ROLE_COUNT ? role_wire[role] : "none";
}

const char *kf_permission_wire(enum kf_permission permission)
{
    return (unsigned)permission < KF_PERM_COUNT ? permission_wire[permission] : "none";
}

static int find(const char *const *names, int count, const char *text)
{
    for (int i = 0; text && i < count; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

enum kf_status kf_role_parse(const char *text, enum kf_role *out)
{
    int found = find(role_wire, KF_ROLE_COUNT, text);
    *out = found < 0 ? KF_ROLE_COUNT : (enum kf_role)found;
    return found < 0 ? KF_INVALID : KF_OK;
}

enum kf_status kf_permission_parse(const char *text, enum kf_permission *out)
{
    int found = find(permission_wire, KF_PERM_COUNT, text);
    *out = found < 0 ? KF_PERM_COUNT : (enum kf_permission)found;
    return found < 0 ? KF_INVALID : KF_OK;
}

int kf_role_may(enum kf_role role, enum kf_permission permission)
{
    if ((unsigned)permission >= KF_PERM_COUNT)
        return 0;
    if (permission == KF_PERM_PUBLIC)
        return 1;
    return (unsigned)role < KF_ROLE_COUNT && may[permission][role];
}

enum kf_status kf_account_change_allowed(int is_self, enum kf_role old_role, enum kf_role new_role, int new_disabled,
                                         struct kf_error *err)
{
    if (is_self && new_disabled)
        return kf_error_set(err, KF_CONFLICT, "own_account", "You cannot disable the account you are signed in with.");
    if (is_self && old_role != new_role)
        return kf_error_set(err, KF_CONFLICT, "own_account", "You cannot change the role of your own account.");
    return KF_OK;
}
