// The command line of `kerf phantom`.
#include "server/base/str.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/phantom/vec.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum value_type { TEXT = 1, NUMBER, THREE_NUMBERS, THREE_INTEGERS, SWITCH, SEED, THREADS, SIDE, SYNTAX, TEETH };

struct option_row {
    const char *flag, *value, *fallback, *help;
    enum value_type type;
    size_t offset;     // in struct kf_phantom_options
    const char *kinds; // the only ones it is for, a space before and after each; NULL: all
};

#define AT(member) offsetof(struct kf_phantom_options, member)
#define SPINES     " spine spine-mr "

static const struct option_row rows[] = {
    {"--out", "DIR", "required", "folder that gets the DICOM files", TEXT, AT(out), NULL},
    {"--truth", "DIR", "none", "folder that gets label maps, landmarks and, for spine-mr, the true transform", TEXT,
     AT(truth), NULL},
    {"--size", "IxJxK", "by kind", "voxels; spacing then follows from the field of view", THREE_INTEGERS, AT(dim),
     NULL},
    {"--spacing", "XxYxZ", "by kind", "voxel size in mm", THREE_NUMBERS, AT(spacing_mm), NULL},
    {"--noise", "SD", "12 to 14", "standard deviation of the noise in HU (CT) or intensity (MR)", NUMBER, AT(noise),
     NULL},
    {"--blur", "MM", "0.35 to 0.45", "standard deviation of the point spread in mm", NUMBER, AT(blur_mm), NULL},
    {"--seed", "N", "1", "which individual: a whole number", SEED, AT(seed), NULL},
    {"--metal", "", "off", "head: fillings and a crown; spine: pedicle screws and rods, L3 to L5; with streaks", SWITCH,
     AT(metal), " head" SPINES},
    {"--defect", "", "off", "head: a tumour of the left mandibular body", SWITCH, AT(defect), " head "},
    {"--missing-teeth", "LIST", "none", "head: FDI numbers (36,37), upper, lower or all; a jaw without teeth is lower",
     TEETH, AT(missing_teeth), " head "},
    {"--resected", "MM", "0", "head: so much of the left mandibular body is gone, 0 to 40", NUMBER, AT(resected_mm),
     " head "},
    {"--table", "", "off", "head: a head rest below the patient", SWITCH, AT(table), " head "},
    {"--no-bone", "", "off", "soft tissue in place of bone and teeth", SWITCH, AT(no_bone), NULL},
    {"--lumbar-rib", "", "off", "spine: ribs on L1 too, so that levels cannot be told", SWITCH, AT(lumbar_rib), SPINES},
    {"--eleven-ribs", "", "off", "spine: no ribs on T12, so that levels cannot be told", SWITCH, AT(eleven_ribs),
     SPINES},
    {"--sacralised", "", "off", "spine: L5 with wings like a sacrum's, so that levels cannot be told", SWITCH,
     AT(sacralised), SPINES},
    {"--trabecular", "HU", "185", "spine: spongy bone of the vertebrae, 40 to 300; their shell follows", NUMBER,
     AT(trabecular_hu), SPINES},
    {"--scoliosis", "DEG", "0", "spine: Cobb angle between T11 and L4, -45 to 45; convex to the right above 0", NUMBER,
     AT(scoliosis_deg), SPINES},
    {"--pelvis", "MM", "none", "spine: ilia with joints of that width to the sacrum, 0.1 to 5", NUMBER, AT(joint_mm),
     SPINES},
    {"--side", "left|right", "left", "leg: which leg", SIDE, AT(left), " leg "},
    {"--pose", "RXxRYxRZ", "0 (spine-mr 4x-3x2.5)", "turn of the patient about the scanner's axes in degrees",
     THREE_NUMBERS, AT(pose_deg), NULL},
    {"--shift", "XxYxZ", "0 (spine-mr 7x-5x9)", "offset of the patient and the field of view in mm", THREE_NUMBERS,
     AT(shift_mm), NULL},
    {"--warp", "MM", "2.5", "spine-mr: amplitude of the smooth deformation in mm, 0 to 4", NUMBER, AT(warp_mm),
     " spine-mr "},
    {"--bias", "SHARE", "0.3", "spine-mr: amplitude of the coil's shading, 0 to 0.9", NUMBER, AT(bias), " spine-mr "},
    {"--tilt", "DEG", "0", "CT: gantry tilt in degrees, -40 to 40", NUMBER, AT(tilt_deg), " head leg spine "},
    {"--enhanced", "", "off", "one multi-frame object instead of a file a slice", SWITCH, AT(enhanced), NULL},
    {"--reversed", "", "off", "instance numbers from head to foot", SWITCH, AT(reversed), NULL},
    {"--syntax", "NAME", "explicit", "explicit, implicit, big-endian, deflated, rle, jpeg-lossless or jpeg-ls", SYNTAX,
     AT(syntax), NULL},
    {"--patient", "NAME", "PHANTOM^KIND", "patient's name", TEXT, AT(patient), NULL},
    {"--threads", "N", "all", "threads; the result does not depend on them", THREADS, AT(threads), NULL},
};

static void help(FILE *to)
{
    fprintf(to, "usage: kerf phantom KIND --out DIR [options]\n\n"
                "Makes a DICOM series of anatomy whose truth is known. KIND is one of\n"
                "  head      CT of skull, maxilla, mandible, teeth, nerve canals, airway, C1 to C4\n"
                "  leg       CT of a whole tibia and fibula\n"
                "  spine     CT of T10 to S1 with discs, canal, cord, roots\n"
                "  spine-mr  the same anatomy as T2-weighted MR, in another pose and deformed\n\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char left[40];
        snprintf(left, sizeof left, "%s %s", rows[i].flag, rows[i].value);
        fprintf(to, "  %-22s %s (default: %s)\n", left, rows[i].help, rows[i].fallback);
    }
}

static int number(const char *text, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *out > -1e9 && *out < 1e9;
}

// "1x2x3"; one number stands for all three.
static int three(const char *text, double out[3])
{
    char copy[96];
    if (kf_str_copy(copy, sizeof copy, text) != 0)
        return 0;
    int n = 0;
    char *rest = NULL;
    for (char *part = strtok_r(copy, "x,", &rest); part; part = strtok_r(NULL, "x,", &rest), n++)
        if (n == 3 || !number(part, &out[n]))
            return 0;
    if (n == 1)
        out[1] = out[2] = out[0];
    return n == 1 || n == 3;
}

// "36,37", "upper", "lower", "all"; FDI numbers of permanent teeth.
static int teeth(const char *text, uint32_t *missing)
{
    char copy[128];
    if (kf_str_copy(copy, sizeof copy, text) != 0)
        return 0;
    char *rest = NULL;
    *missing = 0;
    for (char *part = strtok_r(copy, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        double fdi;
        if (strcmp(part, "upper") == 0 || strcmp(part, "all") == 0)
            *missing |= 0xffff;
        if (strcmp(part, "lower") == 0 || strcmp(part, "all") == 0)
            *missing |= 0xffff0000;
        if (strcmp(part, "upper") == 0 || strcmp(part, "lower") == 0 || strcmp(part, "all") == 0)
            continue;
        if (!number(part, &fdi) || fdi != floor(fdi) || fdi < 11 || fdi > 48)
            return 0;
        int quadrant = (int)fdi / 10, n = (int)fdi % 10;
        if (n < 1 || n > 8)
            return 0;
        *missing |= (uint32_t)1 << (8 * (quadrant - 1) + n - 1);
    }
    return *missing != 0;
}

static int set(const struct option_row *row, const char *value, struct kf_phantom_options *o)
{
    void *at = (char *)o + row->offset;
    double v[3];
    switch (row->type) {
    case TEXT:
        *(const char **)at = value;
        return 1;
    case NUMBER:
        return number(value, at);
    case THREE_NUMBERS:
        return three(value, at);
    case THREE_INTEGERS:
        if (!three(value, v))
            return 0;
        for (int i = 0; i < 3; i++) {
            if (v[i] < 2 || v[i] > 2048 || v[i] != floor(v[i]))
                return 0;
            ((int64_t *)at)[i] = (int64_t)v[i];
        }
        return 1;
    case SEED:
    case THREADS:
        if (!number(value, v) || v[0] < (row->type == THREADS) || v[0] != floor(v[0]) ||
            (row->type == THREADS && v[0] > 1024))
            return 0;
        if (row->type == SEED)
            *(uint64_t *)at = (uint64_t)v[0];
        else
            *(int *)at = (int)v[0];
        return 1;
    case SIDE:
        *(int *)at = strcmp(value, "left") == 0;
        return *(int *)at || strcmp(value, "right") == 0;
    case SYNTAX:
        *(enum kf_dicom_write_syntax *)at = kf_dicom_write_syntax_find(value);
        return *(enum kf_dicom_write_syntax *)at != KF_WRITE_SYNTAX_COUNT;
    case TEETH:
        return teeth(value, at);
    case SWITCH:
        *(int *)at = 1;
        return 1;
    }
    return 0;
}

static int is_for(const struct option_row *row, const char *kind)
{
    char word[16];
    int n = snprintf(word, sizeof word, " %s ", kind);
    return !row->kinds || (n > 0 && (size_t)n < sizeof word && strstr(row->kinds, word));
}

static int parse(int argc, char **argv, struct kf_phantom_options *o)
{
    for (int i = 2; i < argc; i++) {
        const struct option_row *row = NULL;
        for (size_t r = 0; r < sizeof rows / sizeof *rows && !row; r++)
            row = strcmp(argv[i], rows[r].flag) == 0 ? &rows[r] : NULL;
        const char *value = row && row->type == SWITCH ? "" : i + 1 < argc ? argv[++i] : NULL;
        if (!row || !value || !set(row, value, o)) {
            fprintf(stderr, "kerf phantom: %s %s\n", row ? "not a value for" : "unknown option",
                    row ? row->flag : argv[i]);
            return 0;
        }
        if (!is_for(row, o->kind)) { // else a phantom would be made that is not what was asked for
            fprintf(stderr, "kerf phantom: a %s has no %s; it is for:%s\n", o->kind, row->flag, row->kinds);
            return 0;
        }
    }
    if (!o->out)
        fprintf(stderr, "kerf phantom: --out DIR is missing\n");
    return o->out != NULL;
}

int kf_phantom_main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(stdout);
            return 0;
        }
    struct kf_phantom_options options;
    struct kf_error err = {0};
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (kf_phantom_defaults(argv[1], &options, &err) != KF_OK) {
        fprintf(stderr, "kerf phantom: %s\n", err.detail);
        return 2;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options.threads = cores > 0 && cores < 1024 ? (int)cores : 1;
    if (!parse(argc, argv, &options))
        return 2;
    struct kf_phantom_report report;
    if (kf_phantom_run(&options, &report, &err) != KF_OK) {
        fprintf(stderr, "kerf phantom: %s (%s)\n", err.detail, err.code);
        return err.status == KF_INVALID || err.status == KF_UNSUPPORTED ? 2 : 1;
    }
    const struct kf_grid *g = &report.grid;
    printf("%s: %" PRId64 "x%" PRId64 "x%" PRId64 " voxels of %.4gx%.4gx%.4g mm, %d files in %s", options.kind,
           g->dim[0], g->dim[1], g->dim[2], g->spacing_mm[0], g->spacing_mm[1], g->spacing_mm[2], report.files,
           options.out);
    if (options.truth)
        printf("; %d labels and %d landmarks in %s", report.labels, report.landmarks, options.truth);
    printf("\n");
    return 0;
}
