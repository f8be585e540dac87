// Inside segment.spine: label numbers and what its stages hand on. Frames: LPS mm; the column's own coordinates are s
// (mm along the canal, towards the feet), u (mm to the patient's left) and v (mm forwards), both from the canal's
// middle.
#ifndef KERF_SEGMENT_SPINE_H
#define KERF_SEGMENT_SPINE_H

#include "workers/kernels/bits.h"

#include <math.h>

// Labels of segment.spine. A named vertebra keeps its number in every case; one whose level is unconfirmed has
// KF_SPINE_UNKNOWN + its place from above (0 is the highest seen). A disc has the label of the vertebra above it + 50.
enum kf_spine_label {
    KF_SPINE_C1 = 1, // … 7 is C7, 8 … 19 T1 … T12, 20 … 24 L1 … L5
    KF_SPINE_T12 = 19,
    KF_SPINE_L5 = 24,
    KF_SPINE_UNKNOWN = 25, // … 49
    KF_SPINE_DISC = 50,    // + vertebra: 51 … 99
    KF_SPINE_SACRUM = 100,
    KF_SPINE_CANAL = 101,
    KF_SPINE_SAC = 102, // with the cauda equina
    KF_SPINE_CORD = 103,
    KF_SPINE_ROOTS = 104,
    KF_SPINE_FLAVUM = 105,
    KF_SPINE_METAL = 106, // implants
    KF_SPINE_REST = 255,  // other bone; never written
};

#define KF_SPINE_MOST     25   // vertebrae
#define KF_SPINE_STATIONS 2048 // of 1 mm

// One millimetre of the canal.
struct kf_spine_station {
    double p[3];     // middle of the canal
    double down[3];  // along the canal, towards the feet
    double front[3]; // unit vectors, ⟂ down
    double left[3];
};

struct kf_spine_disc {
    double s;         // where its plane meets the body axis
    double normal[3]; // towards the feet
    double middle[3];
    double contrast_hu;
    double usual_hu; // typical contrast of discs near it
};

struct kf_spine {
    struct kf_spine_station *station;
    int stations;
    int fluid_end; // of an MR: the station where the sac's fluid ends; 0 where that is not known
    int discs;
    struct kf_spine_disc disc[KF_SPINE_MOST];
    int vertebrae;   // discs, or discs + 1 when there is no sacrum
    int sacrum;      // 1: seen below the last disc
    int rib[KF_SPINE_MOST];
    int lowest; // label of the lowest vertebra when `named`
    int named;
    double slice_mm; // how far a voxel of a CT reaches along the patient's axis; 0 of an MR
    double clear; // 0…1: how far the evidence of ribs, at the last and below, and of a sacrum is from the other reading
    int metal;    // 1: there are implants
    int arches_by_form; // 1: of an MR whose arches were told by an atlas and their values together
    double even; // 0…1: how even the tissues' values are; 1 for a CT
    double cord_sure, roots_sure, flavum_sure; // 0…1: how well the image shows each
};

// From where on a voxel is bone, HU: shells, and their spongy inside where noise is smoothed away.
struct kf_spine_bone {
    double shell_hu, spongy_hu;
};
#define KF_SPINE_SPONGY 0.36 // of usual shells

// Of the walls of bodies: the most on the way through each, its median and what one in ten does not reach; the median 1
// to 3 mm farther out. HU.
struct kf_spine_walls {
    double shell_hu, thin_hu, outside_hu;
};

#define KF_SPINE_BODY_MM 22.0 // from the middle of the canal to the axis of the bodies

// Index of the voxel that holds a point, −1 outside of the grid.
static inline int64_t kf_spine_voxel(const struct kf_grid *g, const double p_lps[3])
{
    double p[3];
    int64_t i[3];
    kf_grid_to_ijk(g, p_lps, p);
    for (int a = 0; a < 3; a++) {
        i[a] = (int64_t)floor(p[a] + 0.5);
        if (i[a] < 0 || i[a] >= g->dim[a])
            return -1;
    }
    return (i[2] * g->dim[1] + i[1]) * g->dim[0] + i[0];
}

static inline void kf_spine_point(const struct kf_grid *g, int64_t i, int64_t j, int64_t k, double p_lps[3])
{
    double ijk[3] = {(double)i, (double)j, (double)k};
    kf_grid_to_lps(g, ijk, p_lps);
}

// Calls visit for every voxel that lies at least `border` voxels within the grid, in parallel over slices: what it
// writes, no other voxel's visit may read.
typedef void kf_spine_visit(void *context, int64_t i, int64_t j, int64_t k, int64_t at);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_each_voxel(const struct kf_work *work, const struct kf_grid *grid,
                                                             int border, kf_spine_visit *visit, void *context);

// Signed distance of a point from a disc's plane in mm, towards the feet.
static inline double kf_spine_below(const struct kf_spine_disc *disc, const double p_lps[3])
{
    double sum = 0;
    for (int c = 0; c < 3; c++)
        sum += disc->normal[c] * (p_lps[c] - disc->middle[c]);
    return sum;
}

// The canal in a volume of about 2 mm whose axes are those of the patient: the path from the upper to the lower border
// that is most enclosed by bone, by dynamic programming over slices. spine->station (KF_SPINE_STATIONS of them) is the
// caller's. thin: 0, or up to KF_SPINE_LOOKS - 1 for old bone, of whose thin shells less is left in a voxel, and whose
// marrow must be told from a canal.
// stations = 0 when nothing is enclosed over at least 40 mm.
#define KF_SPINE_LOOKS 3
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_canal(const struct kf_work *work, const struct kf_volume *coarse,
                                                             int thin, struct kf_spine *spine);
// How much voxel (i, j) of a slice is like the middle of a canal. ray: directions (cosine, sine) to look in.
#define KF_SPINE_RAYS 16
typedef float kf_spine_rate(const int16_t *slice, const int64_t *dim, int64_t i, int64_t j,
                            const double ray[KF_SPINE_RAYS][2]);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_score(const struct kf_work *work, const struct kf_volume *coarse,
                                                        kf_spine_rate *rate, float *score);
// Weighted mean over neighbours, a triangle of half width `reach`, ends left out. scratch: `count` doubles.
void kf_spine_smooth(double *values, int count, int reach, double *scratch);
// Forwards (0, -1, 0) for a vector of length 0.
void kf_spine_unit(double v[3]);
// path[k]: j · dim[0] + i of slice k on the path of the greatest total score that moves by at most two voxels a slice.
// best: two slices; from: a byte per voxel.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_follow(const struct kf_work *work, const int64_t dim[3],
                                                         const float *score, float *best, uint8_t *from, int64_t *path);
// Moves the stations to the middle of the widest tube of ellipses that fits between what is labelled (not 0; one byte
// per voxel). Their directions stay.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_centre_canal(const struct kf_work *work, const struct kf_grid *grid,
                                                               const uint8_t *labels, struct kf_spine *spine);
// Discs: dark plates between bright ones across the bodies' axis, at distances that change slowly; dynamic programming
// over place and distance. No two are nearer to each other than least_mm, KF_SPINE_NEAREST_MM or more.
#define KF_SPINE_NEAREST_MM 13 // in any neck
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_discs(const struct kf_work *work, const struct kf_volume *volume,
                                                             int least_mm, struct kf_spine *spine);
// The nearest station's coordinates of a point; 0 when it lies beyond the ends.
int kf_spine_coordinates(const struct kf_spine *spine, const double p_lps[3], double suv[3]);
// Point and coordinates of a voxel at once.
int kf_spine_locate(const struct kf_spine *spine, const struct kf_grid *grid, int64_t i, int64_t j, int64_t k,
                    double p_lps[3], double suv[3]);
// The place `u` to the left and `v` in front of the middle of a station, mm.
static inline void kf_spine_place(const struct kf_spine_station *t, double u, double v, double p[3])
{
    for (int c = 0; c < 3; c++)
        p[c] = t->p[c] + u * t->left[c] + v * t->front[c];
}
// Trilinear value in an int16 volume, `outside` beyond its border.
double kf_spine_value(const struct kf_volume *volume, const double p_lps[3], double outside);

// Metal of a CT into `metal` (one byte per voxel: 0, 1); *found 1 when there is an implant's worth of it. Then what
// beam hardening by it made of its axial slices is taken from the volume, and what lies beside it is put in its place.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mend_metal(const struct kf_work *work, struct kf_volume *volume,
                                                             uint8_t *metal, int *found);
// Bone of each vertebra by watershed from its body, then discs, and names (kf_spine_name), which sets what a spine says of
// its vertebrae. has_cortex: bodies have a wall that is brighter than all around (not in an MR as a CT would show it, which
// has even bodies instead). `labels` (one byte per voxel of volume):
// 1 + place from above for vertebrae, KF_SPINE_DISC + 1 + place for discs, else as above.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_split(const struct kf_work *work, const struct kf_volume *volume,
                                                        const struct kf_spine_bone *bone, int has_cortex,
                                                        struct kf_spine *spine, uint8_t *labels);
// bodies[v] (one byte per voxel of volume): 1 + place from above of the vertebra within the wall of whose body the voxel
// lies, KF_SPINE_REST between end plates (disc, never bone), else 0. A body whose wall does not show has neither.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_bodies(const struct kf_work *work, const struct kf_volume *volume,
                                                              const struct kf_spine *spine, uint8_t *bodies);
// The same, and what the walls are like: zeros where none was found. seen may be NULL.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_walls(const struct kf_work *work,
                                                             const struct kf_volume *volume,
                                                             const struct kf_spine *spine, uint8_t *bodies,
                                                             struct kf_spine_walls *seen);
// Whether spongy bone of the bodies is too dark for spongy_hu. 0 of fewer than two discs.
int kf_spine_is_dark(const struct kf_volume *volume, const struct kf_spine *spine, double spongy_hu);
// Where it is: bone->shell_hu comes down to half way between the walls of bodies and what is around them, and marrow that
// such shells enclose is lifted to what is usual in the middle of life. The discs are known.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_lift_marrow(const struct kf_work *work, struct kf_volume *volume,
                                                              const struct kf_spine *spine,
                                                              struct kf_spine_bone *bone);
// Voxels as dense as shells of bone, with holes in them and the joints between two of them closed. Owned:
// kf_bits_release.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_find_shells(const struct kf_work *work,
                                                              const struct kf_volume *volume, double bone_hu,
                                                              struct kf_bits *shells);
// Whether a point below the last disc lies where the joint of sacrum and ilium may be: farther back it comes nearer to
// the midline.
int kf_spine_beside_sacrum(const struct kf_spine *spine, const double p_lps[3], const double suv[3]);
// Marrow beside the sacrum in which the column has no markers, or next to none, is an ilium's: KF_SPINE_REST into all of
// it.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_mark_ilia(const struct kf_work *work, const struct kf_grid *grid,
                                                            const struct kf_spine *spine, const struct kf_bits *bone,
                                                            const struct kf_bits *shells, uint8_t *labels);
// Moves the surface of bone by up to a voxel inwards and two outwards to the middle between least and greatest value
// near it, but nothing off `bodies` (kf_spine_find_bodies) and nothing between them. `scratch`: one byte per voxel.
void kf_spine_sharpen(const struct kf_work *work, const struct kf_volume *volume, const uint8_t *bodies,
                      uint8_t *labels, uint8_t *scratch);
// In slices thicker than end plates: moves the borders of discs with bone to where the plates begin.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_settle_plates(const struct kf_work *work,
                                                                const struct kf_volume *volume,
                                                                const struct kf_spine *spine, uint8_t *labels);
KF_KERNEL_MUST_USE enum kf_kernel_status kf_spine_fill_canal(const struct kf_work *work, const struct kf_volume *volume,
                                                             struct kf_spine *spine, uint8_t *labels);
// Ribs, sacrum, and names by the rule: counted between ribs above and a sacrum below without a transitional sign. A
// sacrum is two wings, or what the field's lower border cuts of them below a vertebra of the form of L5. At least one
// disc is known.
void kf_spine_name(const struct kf_volume *volume, struct kf_spine *spine);

#endif
