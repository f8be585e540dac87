#include "server/main/run_as.h"
#include "server/base/config.h"
#include "server/base/log.h"
#include "server/base/process.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// The tree's root comes last, so that a start that was interrupted is taken up again by the next. Nobody but root can
// have put anything into it before: the folder is root's, and closed to others.
static enum kf_status change_owner(char *path, uid_t uid, gid_t gid, struct kf_error *err)
{
    char *const paths[] = {path, NULL};
    enum kf_status status = KF_OK;
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
    FTSENT *entry;
    while (!status && tree && (errno = 0, entry = fts_read(tree))) {
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
            status = kf_error_errno(err, entry->fts_errno, "cannot read a folder that changes hands");
        else if (entry->fts_info != FTS_D && lchown(entry->fts_path, uid, gid))
            status = kf_error_errno(err, errno, "cannot hand a file over");
    }
    if (!status && tree && errno)
        status = kf_error_errno(err, errno, "cannot read a folder that changes hands");
    if (!tree || fts_close(tree))
        return status ? status : kf_error_errno(err, errno, "cannot hand a folder over");
    return status;
}

// A folder of the data folder becomes the user's, with all that is in it; it is made when missing. `uid` 0: nobody's
// but root's.
static enum kf_status hand_over(const char *data, const char *name, uid_t uid, gid_t gid, struct kf_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", data, name);
    if (mkdir(path, 0700) && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make a folder of the data folder");
    if (lstat(path, &st))
        return kf_error_errno(err, errno, "cannot look at a folder of the data folder");
    if (st.st_uid == uid)
        return KF_OK;
    if (!S_ISDIR(st.st_mode))
        return kf_error_set(err, KF_CONFLICT, "data_no_folder",
                            "%.200s is no folder (a link?): name the place in KERF_BLOBS or KERF_SCRATCH", path);
    if (st.st_uid == 0 && (st.st_mode & 077))
        return kf_error_set(err, KF_CONFLICT, "data_open", "%.200s is open to others: chmod 700", path);
    if (st.st_uid != 0)
        return kf_error_set(err, KF_CONFLICT, "data_of_another",
                            "%.200s belongs to the user with the number %u: name that user in KERF_USER, or hand the "
                            "folder back",
                            path, (unsigned)st.st_uid);
    kf_log(KF_LOG_INFO, "up.hand_over", "folder=%s uid=%u", name, (unsigned)uid);
    return change_owner(path, uid, gid, err);
}

static enum kf_status hand_over_all(const char *data, uid_t uid, gid_t gid, struct kf_error *err)
{
    static const char *const files[] = {"tls.crt", "tls.key"};
    enum kf_status status = KF_OK;
    if (!*kf_config_text("KERF_BLOBS"))
        status = hand_over(data, "blobs", uid, gid, err);
    if (!status && !*kf_config_text("KERF_SCRATCH"))
        status = hand_over(data, "scratch", uid, gid, err);
    for (size_t i = 0; !status && uid && i < sizeof files / sizeof *files; i++) {
        char path[PATH_MAX]; // in a folder that only root can write to
        snprintf(path, sizeof path, "%s/%s", data, files[i]);
        if (lchown(path, uid, gid) && errno != ENOENT)
            status = kf_error_errno(err, errno, "cannot hand the certificate over");
    }
    return status;
}

// Every folder on the way to the programs must let the user through.
static enum kf_status check_programs(const char *user, struct kf_error *err)
{
    char folder[PATH_MAX - 32], program[PATH_MAX], nothing[64];
    enum kf_status status = kf_process_own_folder(folder, sizeof folder, err);
    if (status)
        return status;
    snprintf(program, sizeof program, "%s/kerf-server", folder);
    const char *const argv[] = {"/usr/bin/test", "-x", program, NULL};
    if (kf_process_output(argv, user, nothing, sizeof nothing, 10000, err) == KF_OK)
        return KF_OK;
    return kf_error_set(err, KF_INVALID, "programs_unreachable",
                        "user %.40s cannot run %.200s: install Kerf where others may enter, or leave KERF_USER empty",
                        user, program);
}

enum kf_status kf_run_as_trust(const char *data, struct kf_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (geteuid() != 0)
        return KF_OK;
    size_t length = strlen(data);
    for (size_t end = 1; end <= length; end++) { // "/", "/a", "/a/b"
        if (end > 1 && end < length && data[end] != '/')
            continue;
        snprintf(path, sizeof path, "%.*s", (int)end, data);
        if (lstat(path, &st))
            return kf_error_errno(err, errno, "cannot look at a folder on the way to the data");
        // In a folder like /tmp nobody moves what is root's; in the data folder itself nobody else may add anything.
        unsigned writers = (st.st_mode & S_IWOTH) | (st.st_gid ? st.st_mode & S_IWGRP : 0);
        int sticky = (st.st_mode & S_ISVTX) && end < length;
        if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (writers && !sticky))
            return kf_error_set(err, KF_CONFLICT, "data_untrusted",
                                "%.200s is not root's alone, and whoever can change it would decide what root does: "
                                "choose a data folder that only root can reach into, or do not start as root",
                                path);
    }
    return KF_OK;
}

enum kf_status kf_run_as_prepare(const char *data, int private_database, const char **user, struct kf_error *err)
{
    const char *wanted = kf_config_text("KERF_USER");
    *user = NULL;
    if (geteuid() != 0)
        return KF_OK;
    if (!*wanted) {
        kf_log_text(KF_LOG_WARN, "up.as_root", "the daemons run as root; KERF_USER names a user for them");
        return hand_over_all(data, 0, 0, err);
    }
    const struct passwd *entry = getpwnam(wanted);
    if (!entry)
        return kf_error_set(err, KF_INVALID, "no_such_user", "there is no user %.40s to run as", wanted);
    uid_t uid = entry->pw_uid; // the next question of this kind overwrites the entry
    gid_t gid = entry->pw_gid;
    const char *database =
        private_database ? kf_process_unprivileged_user(kf_config_text("KERF_POSTGRES_USER")) : NULL;
    if (private_database && (!database || strcmp(database, wanted) != 0))
        return kf_error_set(
            err, KF_INVALID, "user_differs",
            "the private PostgreSQL lets in its own user alone: KERF_USER and KERF_POSTGRES_USER must be "
            "the same");
    enum kf_status status = check_programs(wanted, err);
    if (!status)
        status = hand_over_all(data, uid, gid, err);
    if (!status)
        *user = wanted;
    return status;
}
