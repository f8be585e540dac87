// Settings: one table (config_table.h) with name, kind, default, range and help. A value comes from the environment
// variable of that name, else from the file DATA/kerf.conf (lines `KERF_NAME = value`, # comments), else from the table.
// Read once at start, then read-only: safe for all threads.
#ifndef KERF_BASE_CONFIG_H
#define KERF_BASE_CONFIG_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// Reads and checks everything. data_dir NULL: the value of KERF_DATA. KF_INVALID "setting" names the offending setting
// or the unknown name in the file; KF_CONFLICT "setting" when we are root and somebody else could write the file or
// its folder. May be called again (tests).
KF_MUST_USE enum kf_status kf_config_load(const char *data_dir, struct kf_error *err);

// By name; asking for a name that the table lacks, or in another kind, is a bug and aborts. Texts are borrowed for the life
// of the process; "" when empty. Before kf_config_load: the defaults.
const char *kf_config_text(const char *name);
int64_t kf_config_integer(const char *name);
double kf_config_number(const char *name);
int kf_config_flag(const char *name);
// The folder that a setting names, or KERF_DATA/below when it is empty. KF_INVALID when both are empty or it is too long.
KF_MUST_USE enum kf_status kf_config_folder(const char *name, const char *below, char *to, size_t size,
                                            struct kf_error *err);
// Overrides (command line). Same checks.
KF_MUST_USE enum kf_status kf_config_set(const char *name, const char *value, struct kf_error *err);

// `kerf settings`: name, value, where it comes from, help. Secret values are shown as "(set)". markdown: as a table with
// the defaults only, for the README.
void kf_config_print(FILE *to, int markdown);

#endif
