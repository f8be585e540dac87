// Which bone is surely skull, mandible or spine. Bone is taken apart by ever stronger separations: higher thresholds,
// erosions, and leaving out enamel and metal, through which the teeth of both jaws touch. The mildest at which a piece
// has the shape and place of a mandible decides: as wide as a jaw, its front near the front of the skull, its middle
// empty, below the middle of the skull, and no brain between its sides, as a piece of a vault has. That is asked in the
// frame which the piece itself would give the head, were it a mandible (head_frame.c), or in the scanner's where its
// joints lie outside of the field. Bone above which there is no skull is a jaw only where there are teeth or air.
#include "workers/jobs/segment/head_pieces.h"
#include "workers/kernels/image.h"

#include <math.h>
#include <string.h>

#define GRID_MM  1.25
#define COUNT    32
#define AIR_HU   -400
#define WHOLE_ML 25.0
#define LEAST_ML 2.0  // of a ramus, the smallest piece that is looked for
#define DENSE_HU 1900 // enamel and metal
#define CROWN_ML 0.25 // enamel of one small crown
#define MOUTH_ML 1.0  // air of a mouth or throat
// Share of a jaw's box that is a cavity of the skull. Of jaws, whole, cropped or rami alone, 0 to 0.04 on phantoms; of
// pieces of a vault 0.06 (its top 3 cm) to 0.7.
#define VAULT_SHARE 0.05
#define DENS_MM     34.0      // the dens ends 19 to 25 mm below the joints, the next vertebra 46
#define TURN_COS    0.6427876 // of 50 degrees

// What is searched, and what of it need not be looked at again.
struct search {
    const struct kf_head_evidence *evidence;
    const struct kf_volume *v;   // on the coarse grid, in the scanner
    const struct kf_bits *solid; // its bone
    int dense;                   // 0: nothing is DENSE_HU in the field: to leave it out changes nothing
    int mouth;                   // 1: teeth or air, without which a bone alone is not taken for a jaw
    uint8_t may[COUNT];          // bit r: round r finds a mandible at this separation
    uint8_t empty[COUNT];        // 1: not a piece of LEAST_ML is left, nor at any stronger separation
};

struct separation {
    double hu, erode_mm;
    int capped; // enamel and metal left out
};

// The components of one separation, measured twice: in the frame so far and in one on trial.
struct step {
    struct kf_components c;
    struct kf_head_piece *piece, *trial;
    uint8_t *keep;
    int64_t skull; // -1: none
};

static struct separation separation_at(int step)
{
    static const double hu[] = {300, 450, 650, 900}, erode[] = {0, 1.3, 2.0, 2.7};
    return (struct separation){hu[step % 4], erode[step / 8], step / 4 % 2};
}

enum kf_kernel_status kf_head_bone(const struct kf_work *work, const struct kf_volume *volume,
                                   const struct kf_head_settings *s, const struct kf_bits *body, struct kf_bits *bone)
{
    const double *spacing = volume->grid.spacing_mm;
    double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000;
    struct kf_bits seeds;
    enum kf_kernel_status status = kf_bits_alloc(work, bone->dim, &seeds);
    if (status)
        return status;
    status = kf_bits_threshold(work, volume, s->bone_hu, 1e9, bone);
    if (!status)
        status = kf_bits_threshold(work, volume, s->bone_hu + 200, 1e9, &seeds);
    if (!status) {
        kf_bits_combine(work, bone, KF_BITS_AND, body);
        status = kf_bits_hysteresis(work, bone, &seeds);
    }
    if (!status)
        status = kf_bits_drop_islands(work, bone, KF_NEIGHBOURS_26, (int64_t)ceil(s->island_ml / voxel_ml), NULL);
    if (!status)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, (int64_t)(2 / voxel_ml), NULL);
    if (!status) // marrow is filled, a sinus or the nose is not
        status = kf_bits_threshold(work, volume, -3000, AIR_HU, &seeds);
    if (!status)
        kf_bits_combine(work, bone, KF_BITS_AND_NOT, &seeds);
    kf_bits_release(work, &seeds);
    return status;
}

// bone ∧ value ≥ hu, without what is dense and 1.3 mm around it when capped, eroded.
static enum kf_kernel_status separate(const struct kf_work *work, const struct kf_volume *v, struct separation how,
                                      const struct kf_bits *bone, struct kf_bits *out)
{
    const double *spacing = v->grid.spacing_mm;
    struct kf_bits dense = {0};
    enum kf_kernel_status status = kf_bits_threshold(work, v, how.hu, 1e9, out);
    if (!status && how.capped) {
        status = kf_bits_alloc(work, out->dim, &dense);
        if (!status)
            status = kf_bits_threshold(work, v, DENSE_HU, 1e9, &dense);
        if (!status)
            status = kf_bits_dilate(work, &dense, spacing, 1.3);
        if (!status)
            kf_bits_combine(work, out, KF_BITS_AND_NOT, &dense);
    }
    if (!status) {
        kf_bits_combine(work, out, KF_BITS_AND, bone);
        status = how.erode_mm > 0 ? kf_bits_erode(work, out, spacing, how.erode_mm) : KF_KERNEL_OK;
    }
    kf_bits_release(work, &dense);
    return status;
}

static int64_t largest(const struct kf_head_piece *piece, int64_t count)
{
    int64_t best = 0;
    for (int64_t n = 1; n < count; n++)
        best = piece[n].ml > piece[best].ml ? n : best;
    return best;
}

static enum kf_kernel_status step_open(const struct kf_work *work, const struct kf_bits *mask, struct step *s)
{
    memset(s, 0, sizeof *s);
    s->skull = -1;
    enum kf_kernel_status status = kf_components_find(work, mask, KF_NEIGHBOURS_6, &s->c);
    if (status)
        return status;
    s->piece = kf_work_take(work, s->c.count * (int64_t)sizeof *s->piece);
    s->trial = kf_work_take(work, s->c.count * (int64_t)sizeof *s->trial);
    s->keep = kf_work_take(work, s->c.count);
    return s->piece && s->trial && s->keep ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
}

static void step_close(const struct kf_work *work, struct step *s)
{
    kf_work_give(work, s->keep);
    kf_work_give(work, s->trial);
    kf_work_give(work, s->piece);
    kf_components_release(work, &s->c);
}

// What is sought in turn: a jaw below a skull, the head turned by up to TURN_COS; then a jaw without skull, or rami
// without chin; at last a whole jaw below a skull whatever way it lies.
enum round { ROUND_USUAL, ROUND_PART, ROUND_TURNED, ROUNDS };

// A part of a vault can have the shape of a jaw; but a jaw has no brain between its sides.
static int is_vault(const struct search *of, const struct kf_head_frame *frame, const double low[3],
                    const double high[3])
{
    double box_ml = (high[0] - low[0]) * (high[1] - low[1]) * (high[2] - low[2]) / 1000;
    return kf_head_evidence_within(of->evidence, frame, low, high) > VAULT_SHARE * box_ml;
}

// alone: a jaw will do above which there is no bone of a skull. The pieces are measured in `frame`.
static int fits(const struct search *of, const struct step *s, const struct kf_head_piece *piece, int64_t n, int alone,
                const struct kf_head_frame *frame)
{
    int64_t skull = kf_head_pieces_skull(piece, s->c.count, piece[n].low, piece[n].centre, n);
    return (skull >= 0 || (alone && of->mouth)) &&
           kf_head_piece_is_mandible(&piece[n], skull < 0 ? NULL : &piece[skull]) &&
           !is_vault(of, frame, piece[n].low, piece[n].high);
}

// The component that is a mandible, the largest if several are, and the head's frame with it. -1: none.
static int64_t pick_mandible(const struct search *of, struct step *s, const struct kf_grid *mirrored, enum round round,
                             struct kf_head_frame *frame)
{
    struct kf_head_frame from = *frame;
    int64_t best = -1;
    int alone = round == ROUND_PART;
    for (int64_t n = 0; n < s->c.count; n++) {
        if (s->piece[n].ml < 5 || s->piece[n].ml > 130 || (best >= 0 && s->piece[n].ml <= s->piece[best].ml) ||
            (round == ROUND_TURNED && (s->c.table[n].border || s->piece[n].ml < WHOLE_ML)))
            continue;
        struct kf_head_frame to = from;
        struct kf_grid posed = of->v->grid;
        int cut = 0, found = kf_head_pieces_pitch(&s->c, mirrored, n, &from, &to, &cut);
        found = found && (round == ROUND_TURNED || kf_head_frame_cosine(&to) >= TURN_COS);
        if (found) {
            kf_head_frame_pose(&to, &posed);
            kf_head_pieces_measure(&s->c, &posed, s->trial);
        }
        if ((found && fits(of, s, s->trial, n, alone, &to)) || (cut && fits(of, s, s->piece, n, alone, &from))) {
            best = n;
            *frame = found ? to : from;
        }
    }
    return best;
}

// The sizes that kf_head_pieces_are_rami takes; noise makes specks by the ten thousand.
static int may_be_ramus(const struct kf_head_piece *p)
{
    return p->ml >= LEAST_ML && p->ml <= 45;
}

// Two rami whose chin is not in the field: Where the chin would be is said by the joints.
static int pick_rami(const struct search *of, const struct step *s, const struct kf_head_frame *frame, int64_t pair[2])
{
    for (int64_t n = 0; n < s->c.count; n++)
        for (int64_t m = n + 1; m < s->c.count && may_be_ramus(&s->piece[n]); m++) {
            const struct kf_head_piece *a = &s->piece[n], *b = &s->piece[m];
            if (!may_be_ramus(b) || !kf_head_pieces_are_rami(a, b))
                continue;
            double low[3], high[3];
            for (int x = 0; x < 3; x++) {
                low[x] = fmin(a->low[x], b->low[x]);
                high[x] = fmax(a->high[x], b->high[x]);
            }
            if (is_vault(of, frame, low, high))
                continue;
            pair[0] = n;
            pair[1] = m;
            return 1;
        }
    return 0;
}

static void take_mandible(struct kf_head_cores *cores, struct step *s, int64_t main)
{
    const struct kf_head_piece *m = &s->piece[main];
    memcpy(cores->low, m->low, sizeof cores->low);
    memcpy(cores->high, m->high, sizeof cores->high);
    memcpy(cores->centre, m->centre, sizeof cores->centre);
    // The middle of a jaw that lacks a part of one side is not the middle of the head, which is the frame's mirror
    // plane.
    double middle = (cores->low[0] + cores->high[0]) / 2;
    cores->centre[0] = fabs(middle) > 8 ? 0 : middle;
    cores->pieces = 0;
    s->skull = kf_head_pieces_skull(s->piece, s->c.count, m->low, m->centre, main);
    for (int64_t n = 0; n < s->c.count; n++) {
        s->keep[n] = n != s->skull && (n == main || kf_head_piece_of_mandible(&s->piece[n], m));
        cores->pieces += s->keep[n];
    }
    cores->mandible_found = 1;
}

// An adult jaw is about 85 mm deep and 90 mm high.
static void take_rami(struct kf_head_cores *cores, struct step *s, const int64_t pair[2])
{
    const struct kf_head_piece *a = &s->piece[pair[0]], *b = &s->piece[pair[1]];
    for (int x = 0; x < 3; x++) {
        cores->low[x] = fmin(a->low[x], b->low[x]);
        cores->high[x] = fmax(a->high[x], b->high[x]);
        cores->centre[x] = (a->centre[x] + b->centre[x]) / 2;
    }
    cores->low[1] = fmin(cores->low[1], cores->high[1] - 85);
    cores->low[2] = fmin(cores->low[2], cores->high[2] - 90);
    s->skull = kf_head_pieces_skull(s->piece, s->c.count, cores->low, cores->centre, pair[0]);
    for (int64_t n = 0; n < s->c.count; n++)
        s->keep[n] = n == pair[0] || n == pair[1];
    cores->pieces = 2;
    cores->mandible_found = cores->chin_missing = 1;
}

// Bone of the skull's piece where only the spine can be, in ml: box[0] to box[1].
static double skull_within(const struct kf_components *c, const struct kf_grid *g, int64_t skull,
                           const double box[2][3])
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000, ml = 0;
    for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
        for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++) {
            double ijk[3] = {0.5 * (c->start[r] + c->end[r] - 1), (double)(row % g->dim[1]), (double)(row / g->dim[1])},
                   p[3];
            kf_grid_to_lps(g, ijk, p);
            int in = c->component[r] == skull;
            for (int a = 0; a < 3; a++)
                in = in && p[a] >= box[0][a] && p[a] <= box[1][a];
            ml += in ? (double)(c->end[r] - c->start[r]) * voxel_ml : 0;
        }
    return ml;
}

// 1 when the skull is free of the spine below the atlas.
static int spine_apart(const struct kf_components *c, const struct kf_grid *g, int64_t skull,
                       const struct kf_head_cores *m)
{
    const double box[2][3] = {{m->centre[0] - 25, m->low[1] + 72, -1e9}, {m->centre[0] + 25, 1e9, m->low[2] + 38}};
    return skull_within(c, g, skull, box) < 0.3;
}

// 1 when the skull is also free of the atlas: nothing of it around the dens, whose tip is the top of the spine. A spine
// that ends farther below the joints of the jaw has left its dens on the skull.
static int atlas_apart(const struct kf_components *c, const struct kf_grid *g, int64_t skull,
                       const struct kf_head_piece *piece, const struct kf_head_cores *m)
{
    const struct kf_head_piece *top = NULL;
    for (int64_t n = 0; n < c->count; n++)
        if (n != skull && kf_head_piece_is_spine(&piece[n], m) && piece[n].ml > 2 &&
            (!top || piece[n].high[2] > top->high[2]))
            top = &piece[n];
    if (!top)
        return 1;
    if (top->high[2] < m->high[2] - DENS_MM)
        return 0;
    const double box[2][3] = {{m->centre[0] - 12, top->low[1] - 15, top->high[2] - 25},
                              {m->centre[0] + 12, top->low[1] + 15, top->high[2] - 4}};
    return skull_within(c, g, skull, box) < 0.1;
}

// What a step finds of the mandible goes into *cores; 1 when it found one.
static int try_mandible(const struct kf_work *work, const struct search *of, struct step *s, enum round round,
                        struct kf_grid *posed, struct kf_head_cores *cores)
{
    int64_t pair[2], main = pick_mandible(of, s, posed, round, &cores->frame);
    if (main < 0 && round == ROUND_PART && pick_rami(of, s, &cores->frame, pair)) {
        take_rami(cores, s, pair);
    } else if (main >= 0) {
        *posed = of->v->grid;
        kf_head_frame_pose(&cores->frame, posed);
        kf_head_pieces_measure(&s->c, posed, s->piece);
        take_mandible(cores, s, main);
    } else {
        return 0;
    }
    kf_components_draw(work, &s->c, s->keep, &cores->part[1]);
    return 1;
}

// After a step that showed no mandible: which of the later rounds would find one in it, and whether any piece is left.
static void look_ahead(struct search *of, struct step *s, int step, const struct kf_grid *posed,
                       const struct kf_head_frame *frame)
{
    of->empty[step] = 1;
    for (int64_t n = 0; n < s->c.count; n++)
        of->empty[step] &= s->piece[n].ml < LEAST_ML;
    for (int round = ROUND_PART; round < ROUNDS && !of->empty[step]; round++) {
        int64_t pair[2];
        struct kf_head_frame trial = *frame;
        if (pick_mandible(of, s, posed, (enum round)round, &trial) >= 0 ||
            (round == ROUND_PART && pick_rami(of, s, frame, pair)))
            of->may[step] |= (uint8_t)(1 << round);
    }
}

// 1: the step shows no mandible in this round, as the steps before it have shown.
static int is_idle(const struct search *of, int step, enum round round)
{
    int idle = round != ROUND_USUAL && !(of->may[step] >> round & 1);
    idle |= step / 4 % 2 && !of->dense;
    for (int weaker = 0; weaker < step; weaker++) // lower threshold, less left out, less eroded
        idle |= of->empty[weaker] && weaker % 4 <= step % 4 && weaker / 4 % 2 <= step / 4 % 2;
    return idle;
}

// One step: what it finds goes into *cores. `mask` is scratch; *posed is the grid of v in the frame so far.
static enum kf_kernel_status try_step(const struct kf_work *work, struct search *of, int step, enum round round,
                                      struct kf_bits *mask, struct kf_grid *posed, struct kf_head_cores *cores)
{
    struct step s = {0};
    enum kf_kernel_status status = separate(work, of->v, separation_at(step), of->solid, mask);
    if (!status)
        status = step_open(work, mask, &s);
    if (!status && s.c.count > 1) {
        kf_head_pieces_measure(&s.c, posed, s.piece);
        int before = cores->mandible_found;
        int now = !before && try_mandible(work, of, &s, round, posed, cores);
        if (!before && !now && round == ROUND_USUAL)
            look_ahead(of, &s, step, posed, &cores->frame);
        if (now)
            cores->step = step;
        else
            s.skull = kf_head_pieces_skull(s.piece, s.c.count, cores->low, cores->centre, -1);
        if (!cores->mandible_found && s.skull < 0)
            s.skull = largest(s.piece, s.c.count);
        int apart = cores->mandible_found && spine_apart(&s.c, posed, s.skull, cores);
        int atlas = apart && atlas_apart(&s.c, posed, s.skull, s.piece, cores);
        if (apart && (atlas || !cores->spine_apart)) {
            cores->spine_apart = 1;
            cores->atlas_apart = atlas;
            for (int64_t n = 0; n < s.c.count; n++)
                s.keep[n] = n != s.skull && kf_head_piece_is_spine(&s.piece[n], cores);
            kf_components_draw(work, &s.c, s.keep, &cores->part[2]);
            kf_bits_combine(work, &cores->part[2], KF_BITS_AND_NOT, &cores->part[1]);
        }
        if (now || atlas || !cores->mandible_found) {
            memset(s.keep, 0, (size_t)s.c.count);
            if (s.skull >= 0)
                s.keep[s.skull] = 1;
            kf_components_draw(work, &s.c, s.keep, &cores->part[0]);
            kf_bits_combine(work, &cores->part[0], KF_BITS_AND_NOT, &cores->part[1]);
        }
    }
    step_close(work, &s);
    return status;
}

// The bone on the coarse grid: a voxel counts when its mean is bone.
static enum kf_kernel_status coarse_bone(const struct kf_work *work, const struct kf_volume *v, struct kf_bits *bone)
{
    enum kf_kernel_status status = kf_bits_threshold(work, v, 250, 1e9, bone);
    if (!status)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, 1000, NULL);
    return status;
}

enum kf_kernel_status kf_head_cores_find(const struct kf_work *work, const struct kf_volume *volume,
                                         const struct kf_head_frame *frame, const struct kf_head_evidence *evidence,
                                         struct kf_head_cores *cores)
{
    memset(cores, 0, sizeof *cores);
    cores->frame = *frame;
    for (int a = 0; a < 3; a++)
        cores->factor[a] = (int64_t)fmax(1, floor(GRID_MM / volume->grid.spacing_mm[a]));
    kf_reduce_grid(&volume->grid, cores->factor, &cores->grid);
    struct kf_volume v = {.grid = cores->grid, .type = volume->type};
    struct kf_bits mask = {0}, solid = {0};
    v.data = kf_work_take(work, kf_grid_voxels(&v.grid) * kf_voxel_bytes(v.type));
    enum kf_kernel_status status = v.data ? kf_reduce(work, volume, cores->factor, &v) : KF_KERNEL_NOMEM;
    for (int p = 0; p < 3 && !status; p++)
        status = kf_bits_alloc(work, v.grid.dim, &cores->part[p]);
    if (!status)
        status = kf_bits_alloc(work, v.grid.dim, &mask);
    if (!status)
        status = kf_bits_alloc(work, v.grid.dim, &solid);
    if (!status)
        status = coarse_bone(work, &v, &solid);
    struct search of = {.evidence = evidence, .v = &v, .solid = &solid};
    if (!status)
        status = kf_bits_threshold(work, &v, DENSE_HU, 1e9, &mask);
    if (!status) {
        const double *spacing = v.grid.spacing_mm;
        double dense_ml = (double)kf_bits_count(work, &mask) * spacing[0] * spacing[1] * spacing[2] / 1000;
        of.dense = dense_ml > 0;
        of.mouth = dense_ml >= CROWN_ML || evidence->air_ml >= MOUTH_ML;
    }
    struct kf_grid posed = v.grid;
    kf_head_frame_pose(frame, &posed);
    for (int n = 0; n < ROUNDS * COUNT && !status && !(cores->mandible_found && cores->atlas_apart); n++) {
        enum round round = (enum round)(n / COUNT);
        int step = n % COUNT;
        if (step == 0 && cores->mandible_found)
            break;
        if (cores->mandible_found || !is_idle(&of, step, round))
            status = try_step(work, &of, step, round, &mask, &posed, cores);
        if (!status && kf_work_step(work, (double)(n + 1) / (ROUNDS * COUNT)))
            status = KF_KERNEL_CANCELLED;
    }
    kf_bits_release(work, &mask);
    kf_bits_release(work, &solid);
    kf_work_give(work, v.data);
    return status;
}

void kf_head_cores_release(const struct kf_work *work, struct kf_head_cores *cores)
{
    for (int p = 0; p < 3; p++)
        kf_bits_release(work, &cores->part[p]);
}
