// Voxels as a file of any format stores them, and how they become a volume: what a format's header must say, and the
// one conversion that NIfTI, NRRD and MetaImage share.
#ifndef KERF_IO_STORED_H
#define KERF_IO_STORED_H

#include "server/base/error.h"
#include "workers/io/aside.h"
#include "workers/kernels/volume.h"

enum kf_stored_type {
    KF_STORED_INT8 = 1,
    KF_STORED_UINT8,
    KF_STORED_INT16,
    KF_STORED_UINT16,
    KF_STORED_INT32,
    KF_STORED_UINT32,
    KF_STORED_INT64,
    KF_STORED_UINT64,
    KF_STORED_FLOAT32,
    KF_STORED_FLOAT64
};

enum kf_stored_packing { KF_PACKED_NOT = 0, KF_PACKED_GZIP, KF_PACKED_ZLIB };

// What a header says, in one form for all formats.
struct kf_stored {
    struct kf_grid grid; // LPS mm
    enum kf_stored_type type;
    int swap;            // the file has the other byte order
    double slope, inter; // value = slope · stored + inter; 1 and 0 for none
    enum kf_stored_packing packing;
    int64_t data_offset; // of the first voxel (or of the packed stream), bytes from the start of the file
    int64_t data_length; // bytes of the packed stream; -1: to the end of the file. Not looked at when not packed.
    int data_at_end;     // 1: the voxels are the last bytes of the file, wherever it begins (not packed)
    char data_file[256]; // bare name of the file that holds the data, "" for this one
};

// Of one voxel.
int kf_stored_value_bytes(enum kf_stored_type type);
int64_t kf_stored_data_bytes(const struct kf_stored *stored); // of all voxels, unpacked

// Fills dim from sizes of strangers: KF_INVALID with `code` under 1, KF_TOO_LARGE over 2048 on an axis or 2^31 in all.
KF_MUST_USE enum kf_status kf_stored_dimensions(const int64_t sizes[3], struct kf_grid *grid, const char *code,
                                                struct kf_error *err);

// The grid of a header whose axes are the columns of `axes` (row major, mm per voxel step, LPS), dim already set.
// KF_INVALID with `code` when they are singular, sheared or not finite.
KF_MUST_USE enum kf_status kf_stored_geometry(const double axes[9], const double origin_lps[3], struct kf_grid *grid,
                                              const char *code, struct kf_error *err);

// The type that can be taken as it lies for a volume of type `as` (0: an image); 0 when the values must be converted.
enum kf_voxel_type kf_stored_direct(const struct kf_stored *stored, enum kf_voxel_type as);

// Makes a volume of kf_stored_data_bytes bytes of plain voxels. `as`: KF_VOXEL_UINT8: labels; KF_VOXEL_FLOAT32:
// float32; 0: int16 when every value is an integer in its range, else float32. Fractions of float64 are rounded to
// float32, integers never: KF_INVALID "integers_range" when an integer beyond ±2^24 would have to be, or a number is
// too large for float32; "scale_range" when slope and inter make it so; "labels_range" when a label is not an integer from
// 0 to 255; KF_CANCELLED. `work` may be NULL. *out is owned: kf_volume_release.
KF_MUST_USE enum kf_status kf_stored_volume(const struct kf_work *work, const struct kf_stored *stored,
                                            const void *data, enum kf_voxel_type as, struct kf_volume *out,
                                            struct kf_error *err);

#endif
