// DICOM that comes over HTTP: files are staged on disk as they arrive, read in batches by sandboxed `kerf-job index`
// children (this process parses neither DICOM nor zip), and what they find is stored with the durability of a C-STORE:
// an instance counts as stored only after its bytes were synced and its row was committed.
//
// Memory is flat: the bytes of an upload are never held; what grows is one small record for each instance.
// Threads: an upload belongs to the request's thread; the pool's threads (each with its own database connection) work
// on its batches meanwhile.
#ifndef KERF_APP_RECEIVE_H
#define KERF_APP_RECEIVE_H

#include "server/app/app.h"

struct kf_upload;
struct kf_index_pool;

enum kf_received_status {
    KF_RECEIVED_STORED,
    KF_RECEIVED_DUPLICATE, // the same UID and content were here: nothing changed, and that is success
    KF_RECEIVED_CONFLICT,  // the same UID with other content: stored and flagged
    KF_RECEIVED_SET_ASIDE, // stored, takes no part in volumes; reason says why
    KF_RECEIVED_REFUSED    // not stored; reason and detail say why
};
const char *kf_received_wire(enum kf_received_status status);

struct kf_received {
    const char *file;      // as it was sent, zip entries as a.zip!/entry
    const char *sop_uid;   // "" when unknown
    const char *sop_class; // "" when unknown
    const char *study_uid;
    enum kf_received_status status;
    const char *reason; // stable code, "" when there is nothing to say
    const char *detail; // a sentence, or ""
    int ours;           // refused for want of disk or database: the same file may do later
    size_t order;       // place among the findings of one child
};

// source: "stow" or "upload". study_uid: instances of other studies are refused; NULL takes any.
KF_MUST_USE enum kf_status kf_upload_open(struct kf_app *app, const struct kf_actor *actor, const char *source,
                                          const char *study_uid, struct kf_upload **out, struct kf_error *err);
// One file after the other. name is a label for people. KF_NOSPACE, KF_TOO_LARGE, KF_IO end the upload.
KF_MUST_USE enum kf_status kf_upload_begin(struct kf_upload *upload, const char *name, struct kf_error *err);
KF_MUST_USE enum kf_status kf_upload_data(struct kf_upload *upload, const void *bytes, size_t length,
                                          struct kf_error *err);
KF_MUST_USE enum kf_status kf_upload_end(struct kf_upload *upload, struct kf_error *err);

// Waits until everything is indexed and stored, and sets the imports of the series that grew going.
KF_MUST_USE enum kf_status kf_upload_finish(struct kf_upload *upload, struct kf_app_thread *thread,
                                            struct kf_error *err);
// After finish: calls each for every instance and refused file, in the order of arrival. Texts are borrowed.
void kf_upload_each(const struct kf_upload *upload, void (*each)(void *to, const struct kf_received *received),
                    void *to);
// After finish: the cases that got something, without repetition; the array is the upload's.
size_t kf_upload_cases(const struct kf_upload *upload, const char (**ids)[KF_ID_TEXT]);
// Removes what was staged, at once or when the batch that is being worked on is done. Does not wait.
void kf_upload_free(struct kf_upload *upload);

// Removes what uploads of processes that died have left in the scratch folder, which may be shared with living ones.
void kf_upload_sweep(const char *scratch);

KF_MUST_USE enum kf_status kf_index_pool_new(struct kf_app *app, struct kf_index_pool **out, struct kf_error *err);
void kf_index_pool_free(struct kf_index_pool *pool); // no upload may be left

#endif
