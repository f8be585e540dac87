// Groups, then stacks, then splits. A stack is tried as a whole first: scanners that step and shoot give every table
// position its own acquisition number, and those belong together.
#include "workers/dicom/series.h"

#include "server/base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_SLICES 3    // two have one distance, with nothing to check it against
#define MOST_VOLUMES 64   // of one series
#define MOST_TRIES   2000 // ways to split: a hostile series has no end of them

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void cross(const double a[3], const double b[3], double to[3])
{
    to[0] = a[1] * b[2] - a[2] * b[1];
    to[1] = a[2] * b[0] - a[0] * b[2];
    to[2] = a[0] * b[1] - a[1] * b[0];
}

void kf_slice_name(const struct kf_slice *slice, char to[64])
{
    int n = slice->has_number ? snprintf(to, 64, "instance %d", slice->number)
                              : snprintf(to, 64, "input %d", slice->instance + 1);
    if (slice->frame > 0 && n > 0 && n < 40)
        snprintf(to + n, (size_t)(64 - n), ", frame %d", slice->frame + 1);
}

// ---- the working set ----

struct planner {
    const struct kf_slice *slices;
    kf_same_pixels *same;
    void *context;
    struct kf_series_plan *plan;
    int stack_room, problem_room;
    double *along; // per slice: projection on its group's normal
    int tries;     // stacks tried; hostile headers could ask for thousands of ways to split
    int failed;    // out of memory
};

static struct kf_series_problem *add_problem(struct planner *p, const char *code, int first, int count, int set_aside)
{
    struct kf_series_plan *plan = p->plan;
    if (plan->problem_count == p->problem_room) {
        int room = p->problem_room ? 2 * p->problem_room : 8;
        struct kf_series_problem *more = realloc(plan->problems, (size_t)room * sizeof *more);
        if (!more) {
            p->failed = 1;
            return NULL;
        }
        plan->problems = more;
        p->problem_room = room;
    }
    struct kf_series_problem *problem = &plan->problems[plan->problem_count++];
    *problem = (struct kf_series_problem){.first_slice = first, .slice_count = count, .set_aside = set_aside};
    kf_str_copy(problem->code, sizeof problem->code, code);
    return problem;
}

static void add_correction(struct kf_stack *stack, const char *code, const char *detail)
{
    if (stack->correction_count == KF_SERIES_CORRECTIONS)
        return;
    struct kf_series_correction *c = &stack->corrections[stack->correction_count++];
    kf_str_copy(c->code, sizeof c->code, code);
    kf_str_copy(c->detail, sizeof c->detail, detail);
}

static void release_stack(struct kf_stack *stack)
{
    free(stack->slices);
    free(stack->along_mm);
    free(stack->shift_row_mm);
    free(stack->shift_column_mm);
    *stack = (struct kf_stack){0};
}

// ---- one stack ----

struct failure {
    char code[48];
    char detail[240];
    int first_slice;
};

static int fail(struct failure *f, const char *code, int slice, const char *detail)
{
    kf_str_copy(f->code, sizeof f->code, code);
    kf_str_copy(f->detail, sizeof f->detail, detail);
    f->first_slice = slice;
    return -1;
}

struct order {
    int slice;
    double along;
    int number;
};

static int by_place(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->along != y->along)
        return x->along < y->along ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->slice < y->slice ? -1 : x->slice > y->slice;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// The median distance between neighbours that are not in the same place; 0 when all are.
static double median_step(const struct order *order, int count, double *room)
{
    int n = 0;
    for (int i = 1; i < count; i++)
        if (order[i].along - order[i - 1].along > 1e-3)
            room[n++] = order[i].along - order[i - 1].along;
    if (n == 0)
        return 0;
    qsort(room, (size_t)n, sizeof *room, by_value);
    return room[n / 2];
}

// Exact direction cosines: a unit row, a column at right angles to it, and their normal.
static void frame_axes(const struct kf_dicom_frame *f, double row[3], double column[3], double normal[3])
{
    double length = sqrt(dot(f->row_lps, f->row_lps));
    for (int i = 0; i < 3; i++)
        row[i] = f->row_lps[i] / length;
    double along = dot(f->column_lps, row);
    for (int i = 0; i < 3; i++)
        column[i] = f->column_lps[i] - along * row[i];
    length = sqrt(dot(column, column));
    for (int i = 0; i < 3; i++)
        column[i] /= length;
    cross(row, column, normal);
}

// Drops all but the first of slices with the same place and the same pixels. Returns the new count, or -1.
static int drop_duplicates(struct planner *p, struct order *order, int count, double step, struct failure *f,
                           int *dropped)
{
    double same_place = step * 0.02 > 1e-3 ? step * 0.02 : 1e-3;
    int n = 1;
    for (int i = 1; i < count; i++) {
        if (order[i].along - order[n - 1].along > same_place) {
            order[n++] = order[i];
            continue;
        }
        if (!p->same(p->context, order[n - 1].slice, order[i].slice)) {
            char a[64], b[64], detail[240];
            kf_slice_name(&p->slices[order[n - 1].slice], a);
            kf_slice_name(&p->slices[order[i].slice], b);
            snprintf(detail, sizeof detail, "%s and %s lie in the same place and hold different pixels", a, b);
            return fail(f, "duplicate_position", order[i].slice, detail);
        }
        (*dropped)++;
    }
    return n;
}

static int check_gaps(struct planner *p, const struct order *order, int count, double median, struct failure *f)
{
    for (int i = 1; i < count; i++) {
        double gap = order[i].along - order[i - 1].along;
        if (gap <= 1.5 * median)
            continue;
        char a[64], b[64], detail[240];
        kf_slice_name(&p->slices[order[i - 1].slice], a);
        kf_slice_name(&p->slices[order[i].slice], b);
        snprintf(detail, sizeof detail, "%.3f mm between %s and %s, where the median is %.3f mm", gap, a, b, median);
        return fail(f, "missing_slice", order[i].slice, detail);
    }
    return 0;
}

// Fills the grid and the shifts of a stack whose order is settled. Returns -1 when the origins are on no line.
static int lay_out(struct planner *p, const struct order *order, int count, struct kf_stack *stack, struct failure *f)
{
    const struct kf_slice *first = &p->slices[order[0].slice], *last = &p->slices[order[count - 1].slice];
    double row[3], column[3], normal[3];
    frame_axes(&first->place, row, column, normal);
    double extent = order[count - 1].along - order[0].along, off_grid = 0;
    double step = rint(extent / (count - 1) * 1e9) / 1e9; // to a picometre: positions are decimal numbers
    double whole[3];
    for (int i = 0; i < 3; i++)
        whole[i] = last->place.position_lps[i] - first->place.position_lps[i];
    double shift_row = dot(whole, row), shift_column = dot(whole, column);
    for (int k = 0; k < count; k++) {
        const double *at = p->slices[order[k].slice].place.position_lps;
        double from[3] = {at[0] - first->place.position_lps[0], at[1] - first->place.position_lps[1],
                          at[2] - first->place.position_lps[2]};
        double along = order[k].along - order[0].along;
        stack->along_mm[k] = along;
        stack->shift_row_mm[k] = dot(from, row);
        stack->shift_column_mm[k] = dot(from, column);
        if (fabs(stack->shift_row_mm[k] - shift_row * along / extent) > 0.1 ||
            fabs(stack->shift_column_mm[k] - shift_column * along / extent) > 0.1) {
            char name[64], detail[240];
            kf_slice_name(&p->slices[order[k].slice], name);
            snprintf(detail, sizeof detail, "%s is shifted sideways against its neighbours by more than 0.1 mm", name);
            return fail(f, "positions_off_line", order[k].slice, detail);
        }
        off_grid = fmax(off_grid, fabs(along - k * step));
        stack->slices[k] = order[k].slice;
        stack->thickness_mm = fmax(stack->thickness_mm, p->slices[order[k].slice].place.thickness_mm);
    }
    double shift = hypot(shift_row, shift_column);
    stack->count = count;
    stack->sheared = shift > 0.2;
    stack->uneven = off_grid > fmin(0.1, fmax(0.05 * step, 0.005));
    stack->tilt_rad = atan2(shift, extent);
    stack->in = (struct kf_grid){.dim = {first->columns, first->rows, count},
                                 .spacing_mm = {first->place.spacing_mm[0], first->place.spacing_mm[1], step}};
    for (int i = 0; i < 3; i++) {
        double middle =
            stack->sheared || shift <= 0.01 ? 0 : 0.5; // a shift too small to shear is spread over both ends
        stack->in.origin_lps[i] =
            first->place.position_lps[i] + middle * (shift_row * row[i] + shift_column * column[i]);
        stack->in.direction[3 * i] = row[i] + 0.0; // no negative zeros in documents
        stack->in.direction[3 * i + 1] = column[i] + 0.0;
        stack->in.direction[3 * i + 2] = normal[i] + 0.0;
    }
    return 0;
}

static void describe_stack(struct kf_stack *stack, int dropped, double smallest, double largest)
{
    char detail[160];
    if (dropped) {
        snprintf(detail, sizeof detail, "%d slices that were there twice were dropped", dropped);
        add_correction(stack, "duplicates_dropped", detail);
    }
    if (stack->sheared) {
        snprintf(detail, sizeof detail, "gantry tilt of %.2f degrees sheared to an orthogonal grid",
                 stack->tilt_rad * 57.295779513082323);
        add_correction(stack, "gantry_tilt_sheared", detail);
    }
    if (stack->uneven) {
        snprintf(detail, sizeof detail, "slice distances from %.3f to %.3f mm resampled to %.3f mm", smallest, largest,
                 stack->in.spacing_mm[2]);
        add_correction(stack, "resampled_spacing", detail);
    }
}

static double determinant(const double m[9])
{
    return m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]);
}

static int too_few(const struct kf_slice *slices, const int *members, int count, struct failure *f)
{
    char name[64], detail[240];
    kf_slice_name(&slices[members[0]], name);
    if (count == 1) {
        snprintf(detail, sizeof detail, "%s is the only slice", name);
        return fail(f, "single_slice", members[0], detail);
    }
    snprintf(detail, sizeof detail, "%d slices from %s on: with fewer than %d no distance can be checked", count, name,
             LEAST_SLICES);
    return fail(f, "too_few_slices", members[0], detail);
}

static int fill_stack(struct planner *p, const int *members, int count, struct order *order, double *steps,
                      struct kf_stack *stack, struct failure *f)
{
    for (int i = 0; i < count; i++) {
        const struct kf_slice *s = &p->slices[members[i]];
        order[i] = (struct order){members[i], p->along[members[i]], s->has_number ? s->number : 0};
    }
    qsort(order, (size_t)count, sizeof *order, by_place);
    double step = median_step(order, count, steps);
    int dropped = 0;
    if (step == 0 && count > 1) {
        char name[64], detail[240];
        kf_slice_name(&p->slices[order[0].slice], name);
        snprintf(detail, sizeof detail, "all %d slices lie in one place, that of %s", count, name);
        return fail(f, "not_a_volume", order[0].slice, detail);
    }
    int kept = drop_duplicates(p, order, count, step, f, &dropped);
    if (kept < 0)
        return -1;
    if (kept < LEAST_SLICES)
        return too_few(p->slices, members, kept, f);
    step = median_step(order, kept, steps);
    double smallest = steps[0], largest = steps[kept - 2];
    if (check_gaps(p, order, kept, step, f) || lay_out(p, order, kept, stack, f))
        return -1;
    if (!(determinant(stack->in.direction) > 0.999))
        return fail(f, "mirrored", order[0].slice, "the axes of the volume are left-handed");
    describe_stack(stack, dropped, smallest, largest);
    return 0;
}

// 0 and *stack (owned), or -1 and *f (f->code empty: out of memory).
static int try_stack(struct planner *p, const int *members, int count, struct kf_stack *stack, struct failure *f)
{
    size_t n = (size_t)count;
    struct order *order = malloc(n * sizeof *order);
    double *steps = malloc(n * sizeof *steps);
    *f = (struct failure){0};
    *stack = (struct kf_stack){.slices = malloc(n * sizeof *stack->slices),
                               .along_mm = malloc(n * sizeof(double)),
                               .shift_row_mm = malloc(n * sizeof(double)),
                               .shift_column_mm = malloc(n * sizeof(double))};
    int bad = -1;
    p->tries++;
    if (order && steps && stack->slices && stack->along_mm && stack->shift_row_mm && stack->shift_column_mm)
        bad = fill_stack(p, members, count, order, steps, stack, f);
    else
        p->failed = 1;
    free(order);
    free(steps);
    if (bad)
        release_stack(stack);
    return bad;
}

// ---- splitting ----

struct keyed {
    int64_t key;
    int slice;
};

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->slice < y->slice ? -1 : x->slice > y->slice;
}

static int keep_stack(struct planner *p, struct kf_stack *stack)
{
    struct kf_series_plan *plan = p->plan;
    if (plan->stack_count == p->stack_room) {
        int room = p->stack_room ? 2 * p->stack_room : 4;
        struct kf_stack *more = realloc(plan->stacks, (size_t)room * sizeof *more);
        if (!more) {
            p->failed = 1;
            release_stack(stack);
            return -1;
        }
        plan->stacks = more;
        p->stack_room = room;
    }
    plan->stacks[plan->stack_count++] = *stack;
    return 0;
}

static int resolve(struct planner *p, const int *members, int count, int key, struct failure *f);

// Takes back what was added since the plan had `stacks` and `problems`.
static void roll_back(struct planner *p, int stacks, int problems)
{
    while (p->plan->stack_count > stacks)
        release_stack(&p->plan->stacks[--p->plan->stack_count]);
    p->plan->problem_count = problems;
}

// Every part of at least three slices must become a volume; the parts may be split further by later keys.
static int split_by(struct planner *p, const struct keyed *keyed, int *members, int count, int key)
{
    int stacks = p->plan->stack_count, problems = p->plan->problem_count, left_over = 0;
    for (int begin = 0, end; begin < count; begin = end) {
        for (end = begin; end < count && keyed[end].key == keyed[begin].key; end++)
            members[end] = keyed[end].slice;
        struct failure f;
        if (end - begin < LEAST_SLICES) {
            struct failure small;
            too_few(p->slices, members + begin, end - begin, &small);
            struct kf_series_problem *problem = add_problem(p, small.code, small.first_slice, end - begin, 1);
            if (problem)
                kf_str_copy(problem->detail, sizeof problem->detail, small.detail);
            left_over += end - begin;
        } else if (p->failed || resolve(p, members + begin, end - begin, key + 1, &f)) {
            roll_back(p, stacks, problems);
            return -1;
        }
    }
    if (left_over * 3 > count || p->plan->stack_count == stacks) {
        roll_back(p, stacks, problems);
        return -1;
    }
    for (int i = stacks; i < p->plan->stack_count; i++) {
        char code[48];
        snprintf(code, sizeof code, "split_by_%s", kf_dicom_split_names[key]);
        add_correction(&p->plan->stacks[i], code, "several volumes of one series were told apart");
    }
    return 0;
}

static int try_splits(struct planner *p, const int *members, int count, int key)
{
    struct keyed *keyed = malloc((size_t)count * sizeof *keyed);
    int *parts = malloc((size_t)count * sizeof *parts);
    int done = -1;
    if (!keyed || !parts) {
        p->failed = 1;
        goto done;
    }
    for (; done && key < KF_SPLIT_COUNT && !p->failed && p->tries < MOST_TRIES; key++) {
        for (int i = 0; i < count; i++)
            keyed[i] = (struct keyed){p->slices[members[i]].place.split[key], members[i]};
        qsort(keyed, (size_t)count, sizeof *keyed, by_key);
        if (keyed[0].key != keyed[count - 1].key)
            done = split_by(p, keyed, parts, count, key);
    }
done:
    free(keyed);
    free(parts);
    return done;
}

// 1 when no two stacks added since `from` cover the same stretch of the normal.
static int stacks_follow(const struct planner *p, int from)
{
    for (int i = from; i < p->plan->stack_count; i++)
        for (int j = i + 1; j < p->plan->stack_count; j++) {
            const struct kf_stack *a = &p->plan->stacks[i], *b = &p->plan->stacks[j];
            if (p->along[a->slices[0]] < p->along[b->slices[b->count - 1]] &&
                p->along[b->slices[0]] < p->along[a->slices[a->count - 1]])
                return 0;
        }
    return 1;
}

// As one stack when it is regular. An uneven one is split when its parts cover the same place (two scans whose slices
// interleave), and resampled when they follow each other (one scan whose step changes). A stack that is no volume as a
// whole is split, or refused.
static int resolve(struct planner *p, const int *members, int count, int key, struct failure *f)
{
    struct kf_stack stack;
    int stacks = p->plan->stack_count, problems = p->plan->problem_count;
    int whole = try_stack(p, members, count, &stack, f);
    if (whole == 0 && !stack.uneven)
        return keep_stack(p, &stack);
    int split = -1;
    if (!p->failed && strcmp(f->code, "not_a_volume") != 0)
        split = try_splits(p, members, count, key);
    if (split == 0 && whole == 0 && stacks_follow(p, stacks)) {
        roll_back(p, stacks, problems);
        split = -1;
    }
    if (split == 0) {
        if (whole == 0)
            release_stack(&stack);
        return 0;
    }
    return whole == 0 ? keep_stack(p, &stack) : -1;
}

// ---- grouping ----

static int same_direction(const double a[3], const double b[3])
{
    for (int i = 0; i < 3; i++)
        if (fabs(a[i] - b[i]) > 1e-3)
            return 0;
    return 1;
}

static int same_group(const struct kf_slice *a, const struct kf_slice *b)
{
    return a->rows == b->rows && a->columns == b->columns && a->group == b->group &&
           fabs(a->place.spacing_mm[0] - b->place.spacing_mm[0]) <= 1e-4 * a->place.spacing_mm[0] &&
           fabs(a->place.spacing_mm[1] - b->place.spacing_mm[1]) <= 1e-4 * a->place.spacing_mm[1] &&
           same_direction(a->place.row_lps, b->place.row_lps) &&
           same_direction(a->place.column_lps, b->place.column_lps);
}

static const char *place_fault(const struct kf_slice *s, const char **detail)
{
    const double *row = s->place.row_lps, *column = s->place.column_lps;
    *detail = "has no Image Position and Orientation (Patient)";
    if (!s->place.has_place)
        return "no_position";
    *detail = "has no Pixel Spacing";
    if (!s->place.has_spacing)
        return "no_pixel_spacing";
    *detail = "has direction cosines that are not at right angles and of unit length";
    if (fabs(dot(row, row) - 1) > 2e-3 || fabs(dot(column, column) - 1) > 2e-3 || fabs(dot(row, column)) > 1e-3)
        return "orientation_not_orthonormal";
    return NULL;
}

// Members of groups: group_of[i] is the first slice of i's group, or -1 when the slice has no usable place.
static int assign_groups(struct planner *p, int count, int *group_of)
{
    int groups = 0;
    int *firsts = malloc((size_t)(count ? count : 1) * sizeof *firsts);
    if (!firsts) {
        p->failed = 1;
        return 0;
    }
    for (int i = 0; i < count; i++) {
        const char *detail, *code = place_fault(&p->slices[i], &detail);
        group_of[i] = -1;
        if (code) {
            struct kf_series_problem *last =
                p->plan->problem_count ? &p->plan->problems[p->plan->problem_count - 1] : NULL;
            if (last && strcmp(last->code, code) == 0) {
                last->slice_count++;
                continue;
            }
            char name[64];
            kf_slice_name(&p->slices[i], name);
            struct kf_series_problem *problem = add_problem(p, code, i, 1, 0);
            if (problem)
                snprintf(problem->detail, sizeof problem->detail, "%s %s", name, detail);
            continue;
        }
        int g = 0;
        while (g < groups && !same_group(&p->slices[firsts[g]], &p->slices[i]))
            g++;
        if (g == groups)
            firsts[groups++] = i;
        group_of[i] = firsts[g];
        double row[3], column[3], normal[3];
        frame_axes(&p->slices[firsts[g]].place, row, column, normal);
        p->along[i] = dot(p->slices[i].place.position_lps, normal);
    }
    free(firsts);
    return groups;
}

static int gather(const int *group_of, int count, int group, int *members)
{
    int n = 0;
    for (int i = group; i < count; i++)
        if (group_of[i] == group)
            members[n++] = i;
    return n;
}

static void note_failure(struct planner *p, const struct failure *f, int count, int set_aside)
{
    struct kf_series_problem *problem = add_problem(p, f->code, f->first_slice, count, set_aside);
    if (problem)
        kf_str_copy(problem->detail, sizeof problem->detail, f->detail);
}

static void plan_group(struct planner *p, const int *members, int count, int groups, int big_groups)
{
    struct failure f = {0};
    int before = p->plan->stack_count;
    if (count < LEAST_SLICES && groups > 1) {
        char name[64], detail[240];
        kf_slice_name(&p->slices[members[0]], name);
        snprintf(detail, sizeof detail,
                 "%s differs from the others in orientation, matrix, spacing or frame of reference", name);
        fail(&f, big_groups ? "other_orientation" : "mixed_orientation", members[0], detail);
        note_failure(p, &f, count, big_groups > 0);
        return;
    }
    if (count < LEAST_SLICES)
        too_few(p->slices, members, count, &f);
    if (count < LEAST_SLICES || resolve(p, members, count, 0, &f)) {
        if (!p->failed)
            note_failure(p, &f, count, 0);
        return;
    }
    for (int i = before; big_groups > 1 && i < p->plan->stack_count; i++)
        add_correction(&p->plan->stacks[i], "split_by_orientation",
                       "the series holds several orientations, matrices or frames of reference");
}

static void plan_groups(struct planner *p, int count, int *group_of, int *members)
{
    int groups = assign_groups(p, count, group_of), big = 0;
    for (int i = 0; i < count; i++)
        if (group_of[i] == i && gather(group_of, count, i, members) >= LEAST_SLICES)
            big++;
    if (big > MOST_VOLUMES || groups > 4096) {
        struct failure f;
        fail(&f, "too_many_volumes", 0, "the series falls into too many groups to be volumes");
        note_failure(p, &f, count, 0);
        return;
    }
    for (int i = 0; i < count && !p->failed; i++)
        if (group_of[i] == i)
            plan_group(p, members, gather(group_of, count, i, members), groups, big);
    if (p->plan->stack_count > MOST_VOLUMES) {
        struct failure f;
        roll_back(p, 0, 0);
        fail(&f, "too_many_volumes", 0, "the series holds more than 64 volumes, as perfusion and cine series do");
        note_failure(p, &f, count, 0);
    }
}

enum kf_status kf_series_plan(const struct kf_slice *slices, int count, kf_same_pixels *same, void *context,
                              struct kf_series_plan *plan, struct kf_error *err)
{
    *plan = (struct kf_series_plan){0};
    size_t n = (size_t)(count ? count : 1);
    struct planner p = {.slices = slices, .same = same, .context = context, .plan = plan};
    int *group_of = malloc(n * sizeof *group_of), *members = malloc(n * sizeof *members);
    p.along = calloc(n, sizeof *p.along);
    if (group_of && members && p.along)
        plan_groups(&p, count, group_of, members);
    else
        p.failed = 1;
    free(group_of);
    free(members);
    free(p.along);
    if (!p.failed)
        return KF_OK;
    kf_series_plan_release(plan);
    return kf_error_set(err, KF_NOMEM, NULL, "no memory to order the slices");
}

void kf_series_plan_release(struct kf_series_plan *plan)
{
    for (int i = 0; i < plan->stack_count; i++)
        release_stack(&plan->stacks[i]);
    free(plan->stacks);
    free(plan->problems);
    *plan = (struct kf_series_plan){0};
}
