// The stages of segment.head: each takes what the ones before it found. Lengths are millimetres, positions LPS.
#ifndef KERF_JOBS_SEGMENT_HEAD_H
#define KERF_JOBS_SEGMENT_HEAD_H

#include "workers/kernels/bits.h"

// Labels in labels.nii.gz; they do not change.
enum kf_head_label {
    KF_HEAD_SKULL = 1, // with the maxilla
    KF_HEAD_MANDIBLE = 2,
    KF_HEAD_UPPER_TEETH = 3,
    KF_HEAD_LOWER_TEETH = 4,
    KF_HEAD_AIRWAY = 5, // with the sinuses
    KF_HEAD_SKIN = 6,   // all within the skin that has no other label
    KF_HEAD_SPINE = 7,
    KF_HEAD_NERVE_LEFT = 8, // canals of the inferior alveolar nerve, within the mandible
    KF_HEAD_NERVE_RIGHT = 9,
    KF_HEAD_LABELS = 10
};

struct kf_head_settings {
    double bone_hu, jaw_hu, island_ml;
};

// Where left, back and up of the head point: rows of `axis`, unit vectors in LPS. The plane x = 0 through origin_lps
// mirrors the bone. Stages after it see positions in this frame, through kf_head_frame_pose, and call them LPS.
struct kf_head_frame {
    double axis[9], origin_lps[3];
    double symmetry; // correlation of the bone with its mirror image, 0…1
    int pitch_found; // 0: up is the scanner's, as far as it is square to left
};

// How the mandible was told from the skull.
struct kf_head_cores {
    struct kf_bits part[3]; // skull, mandible, spine: bone that surely is theirs, on a grid of about 1.2 mm
    struct kf_grid grid;
    int64_t factor[3]; // voxels of the volume in one of the grid
    struct kf_head_frame frame;
    int chin_missing; // 1: only rami are in the field; low and high are then those of a whole jaw, about
    int skull_cut, joints_cut, chin_cut; // 1: that part lies outside of the field, or some of it
    int mandible_found;                  // 0: no piece has the shape and place of a mandible
    int spine_apart;                     // 0: bone where the spine must be holds on to the skull
    int atlas_apart;                     // 0: the atlas holds on to the skull
    int step;                            // which of the ever stronger separations did it, from 0
    int pieces;                          // of the mandible
    double low[3], high[3];              // box of the mandible's core, in the frame
    double centre[3];
};

#define KF_HEAD_NERVE_POINTS 256
#define KF_HEAD_NERVE_MM     1.4 // half the canal's width

// A way from the mandibular to the mental foramen. Where the field shows no such way, it has no points.
struct kf_head_nerve {
    double point[KF_HEAD_NERVE_POINTS][3]; // in the frame, mm
    int64_t count;
    double length_mm;
    double seen;     // share of the way along which the wall of a canal shows, 0…1
    int interrupted; // 1: it ends at a defect, or is left out
};

// Bone within `body`: pieces from s->bone_hu up that reach 200 HU more somewhere, without the small ones, their marrow
// filled, air never. `bone` has the volume's dimensions.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_bone(const struct kf_work *work, const struct kf_volume *volume,
                                                      const struct kf_head_settings *s, const struct kf_bits *body,
                                                      struct kf_bits *bone);
// The mirror plane; front and top as the scanner says. Without bone: the scanner's axes.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_frame_find(const struct kf_work *work, const struct kf_volume *volume,
                                                            const struct kf_bits *body, struct kf_head_frame *frame);
// Front and top from three points of a mandible in the frame `from`: the bone's middle at the chin, of both joints, of
// all of it. 0: they are none of a mandible. The rise of 48° from chin to joints is that of the phantoms (52° at their
// pogonion; a real head lies within 5° of it).
int kf_head_frame_pitch(const double chin[3], const double joints[3], const double centre[3],
                        const struct kf_head_frame *from, struct kf_head_frame *to);
// Cosine of the angle between the frame and the scanner's.
double kf_head_frame_cosine(const struct kf_head_frame *frame);
// Places the grid in the frame: the voxels stay, their positions become those in the head.
void kf_head_frame_pose(const struct kf_head_frame *frame, struct kf_grid *grid);

// What speaks for a head in the field, besides a mandible.
struct kf_head_evidence {
    double brain_ml; // soft tissue that a vault of bone encloses
    double sinus_ml; // air that bone encloses
    double air_ml;   // any air in the body
    // Soft tissue that bone encloses, so far as the field shows: a slab of a vault counts, of which brain_ml knows
    // nothing. Every second voxel of `grid` on each axis stands for its eight.
    struct kf_grid grid;
    struct kf_bits cavity;
};
// `grid` is the masks'. Bone is kf_head_bone's, air kf_head_airway's. *evidence is owned: kf_head_evidence_release,
// after a failure too.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_evidence_find(const struct kf_work *work, const struct kf_grid *grid,
                                                               const struct kf_bits *body, const struct kf_bits *air,
                                                               const struct kf_bits *bone,
                                                               struct kf_head_evidence *evidence);
void kf_head_evidence_release(const struct kf_work *work, struct kf_head_evidence *evidence);
// ml of the cavity in a box of the frame.
double kf_head_evidence_within(const struct kf_head_evidence *evidence, const struct kf_head_frame *frame,
                               const double low[3], const double high[3]);
// 0: neither a vault around a brain nor sinuses: without a mandible it is no head.
int kf_head_evidence_suffices(const struct kf_head_evidence *evidence);

// *cores is owned: kf_head_cores_release, after a failure too.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_cores_find(const struct kf_work *work, const struct kf_volume *volume,
                                                            const struct kf_head_frame *frame,
                                                            const struct kf_head_evidence *evidence,
                                                            struct kf_head_cores *cores);
void kf_head_cores_release(const struct kf_work *work, struct kf_head_cores *cores);

// The parts compete for the bone: labels (one byte per voxel, zero before) get skull, mandible and spine.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_split(const struct kf_work *work, const struct kf_volume *volume,
                                                       const struct kf_bits *bone, const struct kf_head_cores *cores,
                                                       uint8_t *labels);
// Takes the blurred rim below jaw_hu off the mandible and fills its marrow.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_jaw_trim(const struct kf_work *work, const struct kf_volume *volume,
                                                          const struct kf_head_settings *s, uint8_t *labels);
// Takes the blurred rim off skull and spine, where bone lies behind it: their surface is half way up to it.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_rim_trim(const struct kf_work *work, const struct kf_volume *volume,
                                                          uint8_t *labels);
// Dense crowns and what hangs on to them become teeth of the jaw that they are in.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_teeth(const struct kf_work *work, const struct kf_volume *volume,
                                                       const struct kf_head_cores *cores, uint8_t *labels);

// What speaks for the teeth of one jaw.
struct kf_head_teeth_seen {
    double edge;      // share of their border, by area, where the value falls by 400 HU and more
    double metal;     // share of their voxels at or above 2800 HU
    double enamel_ml; // at or above 2000 HU
};
// Of the voxels that have `label`; all 0 when there are none.
void kf_head_teeth_evidence(const struct kf_volume *volume, const uint8_t *labels, uint8_t label,
                            struct kf_head_teeth_seen *seen);

// Tubes and wires in mouth and throat lose the label of a bone. `g` is posed.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_drop_tubes(const struct kf_work *work, const struct kf_grid *g,
                                                            const struct kf_head_cores *cores, uint8_t *labels);

// Sets skull_cut, joints_cut and chin_cut by what is labelled at the border of the posed grid.
void kf_head_field_check(const struct kf_grid *g, const uint8_t *labels, struct kf_head_cores *cores);

// 0: the mandibular foramina lie above the field.
int kf_head_nerve_in_field(const struct kf_head_cores *cores);
// 1: the slices are too thick to tell a canal from other dark marrow.
int kf_head_nerve_thick(const struct kf_grid *g);
// The nerve canal of one side (1: left, -1: right) in a posed volume whose mandible is labelled.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_nerve_find(const struct kf_work *work, const struct kf_volume *volume,
                                                            const struct kf_head_cores *cores, const uint8_t *labels,
                                                            int sign, struct kf_head_nerve *nerve);
// Ends a way before a defect: where the other side's way, mirrored, has no bone around it and the way itself goes
// elsewhere (along the rim of a tumour a wall shows as beside a canal). Too short a rest is left out: no points.
// `other` is not changed, and must not have been shortened itself.
void kf_head_nerve_interrupt(const struct kf_grid *g, const uint8_t *labels, const struct kf_head_cores *cores,
                             const struct kf_head_nerve *other, struct kf_head_nerve *nerve);
// Voxels of the mandible within KF_HEAD_NERVE_MM of the way get `label`.
void kf_head_nerve_paint(const struct kf_grid *g, const struct kf_head_nerve *nerve, uint8_t label, uint8_t *labels);
// The way back in the patient: frame to LPS.
void kf_head_frame_to_lps(const struct kf_head_frame *frame, const double p[3], double p_lps[3]);

// The patient without table, filled.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_body(const struct kf_work *work, const struct kf_volume *volume,
                                                      struct kf_bits *body);
// Air within the body in pieces of 1 ml and more.
KF_KERNEL_MUST_USE enum kf_kernel_status kf_head_airway(const struct kf_work *work, const struct kf_volume *volume,
                                                        const struct kf_bits *body, struct kf_bits *airway);

#endif
