// Whom the daemons run as when kerf up is root: the user of KERF_USER, who then owns what they write.
#ifndef KERF_MAIN_RUN_AS_H
#define KERF_MAIN_RUN_AS_H

#include "server/base/error.h"

// Root takes settings (programs too) and files from `data`, a path without links, and hands over what lies in it. So it
// and every folder on the way to it must be root's, and open to no other writer (but for sticky folders like /tmp on the
// way): KF_CONFLICT "data_untrusted". Nothing is asked of anybody but root.
KF_MUST_USE enum kf_status kf_run_as_trust(const char *data, struct kf_error *err);

// Looks at KERF_USER and gets `data` ready for that user: blobs, scratch and our own certificate change hands, once.
// *user is NULL (everybody stays who they are: we are not root, or none is named), or borrowed from the settings.
// private_database: the daemons must reach the private PostgreSQL, whose socket lets in its own user alone.
// KF_INVALID "no_such_user", "user_differs", "programs_unreachable"; KF_CONFLICT "data_of_another" when blobs or
// scratch belong to somebody else.
KF_MUST_USE enum kf_status kf_run_as_prepare(const char *data, int private_database, const char **user,
                                             struct kf_error *err);

#endif
