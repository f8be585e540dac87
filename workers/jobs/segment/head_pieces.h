// Inside of segment.head: pieces of bone, measured in a frame of the head, and what they may be.
#ifndef KERF_JOBS_SEGMENT_HEAD_PIECES_H
#define KERF_JOBS_SEGMENT_HEAD_PIECES_H

#include "workers/jobs/segment/head.h"

struct kf_head_piece {
    double ml, low[3], high[3], centre[3];
    double middle;     // share of its voxels within 8 mm of the vertical through its box's middle
    double from_field; // mm from its lowest point to the lowest point of the field
};

// Measures every component in the frame that the grid is posed in; `piece` has c->count entries.
void kf_head_pieces_measure(const struct kf_components *c, const struct kf_grid *g, struct kf_head_piece *piece);

// Front and top by the component `n`, should it be a mandible; *cut: its joints may lie outside of the field.
// 0: it has no chin or no joints of a mandible, or they are cut.
int kf_head_pieces_pitch(const struct kf_components *c, const struct kf_grid *g, int64_t n,
                         const struct kf_head_frame *from, struct kf_head_frame *to, int *cut);

// The skull's piece besides the component `jaw`: the largest by far, or where the field shows little of it the largest
// that lies above the jaw and as far in front. -1: none.
int64_t kf_head_pieces_skull(const struct kf_head_piece *piece, int64_t count, const double jaw_low[3],
                             const double jaw_centre[3], int64_t jaw);
int kf_head_piece_is_mandible(const struct kf_head_piece *p, const struct kf_head_piece *skull);
// A ramus or half that a defect or the separation itself cut off the mandible m.
int kf_head_piece_of_mandible(const struct kf_head_piece *p, const struct kf_head_piece *m);
// Two rami whose chin lies below the field.
int kf_head_pieces_are_rami(const struct kf_head_piece *a, const struct kf_head_piece *b);
int kf_head_piece_is_spine(const struct kf_head_piece *p, const struct kf_head_cores *cores);

#endif
