#include "workers/manager/scratch.h"

#include "server/base/timeid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) && errno != ENOENT ? -1 : 0;
}

void kf_scratch_remove(const char *folder)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

// The lock file lies inside; whoever gets the lock owns the folder.
static int lock_folder(const char *folder)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void remove_abandoned(const char *root)
{
    DIR *dir = opendir(root);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char folder[3072];
        if (!kf_id_valid(entry->d_name) || snprintf(folder, sizeof folder, "%s/%s", root, entry->d_name) >= 3072)
            continue;
        int fd = lock_folder(folder);
        if (fd < 0)
            continue;
        kf_scratch_remove(folder);
        close(fd);
    }
    closedir(dir);
}

enum kf_status kf_scratch_open(struct kf_scratch *scratch, const char *root, struct kf_error *err)
{
    *scratch = (struct kf_scratch){.lock_fd = -1};
    if (mkdir(root, 0700) && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make the scratch folder");
    remove_abandoned(root);
    char id[KF_ID_TEXT];
    kf_id_new(id);
    int n = snprintf(scratch->folder, sizeof scratch->folder, "%s/%s", root, id);
    if (n < 0 || (size_t)n >= sizeof scratch->folder)
        return kf_error_set(err, KF_INVALID, NULL, "the scratch folder's path is too long");
    if (mkdir(scratch->folder, 0700))
        return kf_error_errno(err, errno, "cannot make a scratch folder");
    scratch->lock_fd = lock_folder(scratch->folder);
    if (scratch->lock_fd < 0)
        return kf_error_set(err, KF_IO, NULL, "cannot lock the scratch folder");
    return KF_OK;
}

void kf_scratch_close(struct kf_scratch *scratch)
{
    if (scratch->lock_fd < 0)
        return;
    kf_scratch_remove(scratch->folder);
    close(scratch->lock_fd);
    scratch->lock_fd = -1;
}

enum kf_status kf_scratch_job(const struct kf_scratch *scratch, const char *job_id, char *to, unsigned long size,
                              struct kf_error *err)
{
    // A job that comes back to the same worker finds nothing of its last attempt.
    int n = snprintf(to, size, "%s/%s", scratch->folder, job_id);
    if (n < 0 || (unsigned long)n >= size)
        return kf_error_set(err, KF_INVALID, NULL, "the scratch folder's path is too long");
    kf_scratch_remove(to);
    return mkdir(to, 0700) ? kf_error_errno(err, errno, "cannot make a job's scratch folder") : KF_OK;
}
